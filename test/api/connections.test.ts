// Connections that misbehave, and those that are open when the API closes.

import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { ProposalError } from '../../src/errors.ts'
import type { AppliedCommand } from '../../src/node/contract.ts'
import { appliedAt } from './fake-node.ts'
import { jsonType, startApi, until } from './running-api.ts'

function raw(port: number): { socket: Socket; received: () => string; ended: Promise<string> } {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', (chunk) => {
    text += String(chunk)
  })
  const ended = new Promise<string>((resolve) => {
    socket.on('error', () => {})
    socket.on('close', () => resolve(text))
  })
  return { socket, received: () => text, ended }
}

const post = (body: string) =>
  `POST /v1/commands HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`

const garbage: readonly [what: string, bytes: string, status: number][] = [
  ['no HTTP at all', '\x16\x03\x01\x02\x00\x01\x00\x01', 400],
  ['a wrong method', 'FLY /v1/commands HTTP/1.1\r\n\r\n', 400],
  ['a broken header', 'GET /livez HTTP/1.1\r\nhost localhost\r\n\r\n', 400],
  ['two lengths', `${post('1').replace('content-length: 1', 'content-length: 1\r\ncontent-length: 2')}`, 400],
  ['a broken chunk', `${post('').replace('content-length: 0', 'transfer-encoding: chunked')}zz\r\n`, 400],
  ['endless headers', `GET /livez HTTP/1.1\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ['no Host in HTTP/1.1', 'GET /livez HTTP/1.1\r\n\r\n', 400],
]
for (const [what, bytes, status] of garbage) {
  test(`${what} is answered with ${status} and a closed connection; others do not notice`, async (t) => {
    const { port, node, send } = await startApi(t)
    const { socket, ended } = raw(port)
    socket.write(bytes)
    const text = await ended
    assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.doesNotMatch(text, /node_modules|\.ts\b/)
    assert.equal((await send('POST', '/v1/commands', { headers: jsonType, body: '1' })).status, 200)
    assert.equal(node.proposals.length, 1)
  })
}

test('garbage behind a command that waits is not answered in its stead', async (t) => {
  const { port, node } = await startApi(t)
  node.onPropose = () => new Promise(() => {})
  const { socket, ended } = raw(port)
  socket.write(`${post('1')}garbage\r\n\r\n`)
  assert.doesNotMatch(await ended, /400/)
  assert.equal(node.proposals.length, 1)
})

test('pipelined commands are answered in order', async (t) => {
  const { port, node } = await startApi(t)
  const release: ((command: AppliedCommand) => void)[] = []
  node.onPropose = () => new Promise((resolve) => release.push(resolve))
  const { socket, received } = raw(port)
  socket.write(post('1') + post('2'))
  await until(() => release.length === 2, 'both are proposed')
  release[1]?.(appliedAt(2))
  release[0]?.(appliedAt(1))
  await until(() => received().includes('"index":2'), 'both are answered')
  assert.ok(received().indexOf('"index":1') < received().indexOf('"index":2'))
  socket.destroy()
})

test('commands that arrive together are proposed in one turn of the event loop', async (t) => {
  const { port, node } = await startApi(t)
  let turn = 0
  const count = () => {
    turn++
    counting = setImmediate(count)
  }
  let counting = setImmediate(count)
  t.after(() => clearImmediate(counting))
  const turns: number[] = []
  node.onPropose = async () => {
    turns.push(turn)
    return appliedAt(1)
  }
  const { socket } = raw(port)
  socket.write(post('[1]').repeat(3))
  await until(() => turns.length === 3, 'the commands are proposed')
  assert.equal(new Set(turns).size, 1)
  socket.destroy()
})

test('ten slow clients do not hold up the others, and get their answers', async (t) => {
  const { port, node, send } = await startApi(t)
  const slow = Array.from({ length: 10 }, () => raw(port))
  const text = post('[1,2,3]')
  for (const { socket } of slow) socket.write(text.slice(0, 30))
  for (let at = 30; at < text.length; at += 20) {
    for (const { socket } of slow) socket.write(text.slice(at, at + 20))
    assert.equal((await send('POST', '/v1/commands', { headers: jsonType, body: '1' })).status, 200)
  }
  await until(() => slow.every(({ received }) => received().startsWith('HTTP/1.1 200')), 'the slow ones are answered')
  assert.equal(node.proposals.filter(({ command }) => command.payload.length === 7).length, 10)
  for (const { socket } of slow) socket.destroy()
})

test('a client that goes away before its answer does no harm', async (t) => {
  const { port, node, send } = await startApi(t)
  let release = (_command: AppliedCommand) => {}
  node.onPropose = () =>
    new Promise((resolve) => {
      release = resolve
    })
  const { socket, ended } = raw(port)
  socket.write(post('1'))
  await until(() => node.proposals.length === 1, 'the command is proposed')
  socket.destroy()
  await ended
  release(appliedAt(1))
  assert.equal((await send('GET', '/livez')).status, 200)
})

test('close answers what is in flight, closes the connections and accepts no more', async (t) => {
  const { api, port, node } = await startApi(t)
  const settle: { resolve: (command: AppliedCommand) => void; reject: (error: Error) => void }[] = []
  node.onPropose = () => new Promise((resolve, reject) => settle.push({ resolve, reject }))
  const clients = [raw(port), raw(port)]
  const silent = raw(port)
  const idle = raw(port)
  idle.socket.write('GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n')
  for (const { socket } of clients) socket.write(post('1'))
  await until(() => settle.length === 2 && idle.received() !== '', 'the commands are proposed')
  const closed = api.close()
  await Promise.all([idle.ended, silent.ended])
  await assert.rejects(
    new Promise((resolve, reject) => connect(port, '127.0.0.1').once('connect', resolve).once('error', reject)),
  )
  settle[0]?.resolve(appliedAt(42))
  settle[1]?.reject(new ProposalError('shutting-down', 'not_applied', 'This node is shutting down.'))
  const texts = await Promise.all(clients.map(({ ended }) => ended))
  const [ok, refused] = texts[0]?.includes('"index":42') ? texts : texts.toReversed()
  assert.match(ok ?? '', /^HTTP\/1\.1 200 [\s\S]*connection: close/i)
  assert.match(refused ?? '', /^HTTP\/1\.1 503 [\s\S]*connection: close[\s\S]*shutting-down/i)
  await closed
  await api.close()
})

test('a command that comes on an open connection during the close is refused as not applied', async (t) => {
  const { api, port, node } = await startApi(t)
  let release = (_command: AppliedCommand) => {}
  node.onPropose = () =>
    new Promise((resolve) => {
      release = resolve
    })
  const { socket, ended } = raw(port)
  socket.write(post('1'))
  await until(() => node.proposals.length === 1, 'the first is proposed')
  const closed = api.close()
  socket.write(post('2'))
  const before = node.proposals.length
  setImmediate(() => release(appliedAt(42)))
  const text = await ended
  assert.match(text, /^HTTP\/1\.1 200 /)
  assert.equal(node.proposals.length, before)
  await closed
})

test('close is bounded when the node never answers', async (t) => {
  const { api, port, node } = await startApi(t, { closeTimeoutMs: 50 })
  node.onPropose = () => new Promise(() => {})
  const { socket, ended } = raw(port)
  socket.write(post('1'))
  await until(() => node.proposals.length === 1, 'the command is proposed')
  await api.close()
  assert.equal(await ended, '')
})
