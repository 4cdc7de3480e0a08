// What arrives faster than it can be taken: bodies under way, commands that wait, and connections are bounded, and what ends makes room.

import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { BodyBudget } from '../../src/api/body-budget.ts'
import { ProposalError } from '../../src/errors.ts'
import { jsonType, startApi, until } from './running-api.ts'

const limits = { maxCommandBytes: 60_000, maxPendingBytes: 100_000 }

class Upload {
  readonly #socket: Socket
  #received = ''
  closed = false

  /** Sends the head of a command of that size. */
  constructor(t: TestContext, port: number, sizeBytes: number, path = '/v1/commands') {
    this.#socket = connect(port, '127.0.0.1')
    t.after(() => this.#socket.destroy())
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => {
      this.closed = true
    })
    this.#socket.on('data', (chunk) => {
      this.#received += String(chunk)
    })
    const type = path.endsWith('batch') ? 'application/x-ndjson' : 'application/octet-stream'
    this.#socket.write(
      `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\ncontent-length: ${sizeBytes}\r\n\r\n`,
    )
  }

  send(sizeBytes: number): void {
    this.#socket.write('1'.repeat(sizeBytes))
  }

  leave(): void {
    this.#socket.destroy()
  }

  get received(): string {
    return this.#received
  }
}

test('what a full node must refuse is refused before its body is read', async (t) => {
  const { node, port } = await startApi(t, limits)
  const asked: number[] = []
  node.onAdmit = (sizeBytes) => {
    asked.push(sizeBytes)
    return new ProposalError('too-many-proposals', 'not_applied', 'No room.')
  }
  const uploads = ['/v1/commands', '/v1/commands/batch'].map((path) => new Upload(t, port, 50_000, path))
  await until(() => uploads.every(({ received }) => received !== ''), 'both are answered')
  for (const { received } of uploads) {
    assert.match(received, /^HTTP\/1\.1 429 /)
    assert.match(received, /\r\nretry-after: 1\r\n/)
    assert.match(received, /"code":"too-many-proposals","outcome":"not_applied"/)
  }
  assert.deepEqual(asked, [50_000, 50_000])
})

test('what a node is too full for when it has arrived is not even looked into', async (t) => {
  const { node, send } = await startApi(t, limits)
  const answers = [null, new ProposalError('too-many-proposals', 'not_applied', 'No room.')]
  node.onAdmit = () => answers.shift() ?? null
  const refused = await send('POST', '/v1/commands', { headers: jsonType, body: 'this is not JSON' })
  assert.deepEqual([refused.status, refused.json.code], [429, 'too-many-proposals'])
  const wrong = await send('POST', '/v1/commands', { headers: jsonType, body: 'this is not JSON' })
  assert.equal(wrong.status, 400)
})

test('slow uploads are refused beyond the bound on all of them, and the others go on', async (t) => {
  const { node, port } = await startApi(t, limits)
  const uploads = Array.from({ length: 5 }, () => new Upload(t, port, 60_000))
  for (const upload of uploads) upload.send(30_000)
  const refused = () => uploads.filter(({ received }) => received !== '')
  await until(() => refused().length === 2, 'two of them are refused')
  for (const { received } of refused()) {
    assert.match(received, /^HTTP\/1\.1 429 /)
    assert.match(received, /\r\nretry-after: 1\r\n/)
    assert.match(received, /"code":"too-many-proposals","outcome":"not_applied"/)
  }
  assert.equal(node.proposals.length, 0)
  for (const upload of uploads) upload.send(30_000)
  await until(() => node.proposals.length === 3, 'the others are proposed')
  assert.ok(node.proposals.every(({ command }) => command.payload.length === 60_000))
  // What is left of a refused body was read and dropped: its connection serves on.
  const [again] = refused()
  assert.equal(again?.closed, false)
})

test('uploads that are left, or whole, make room', async (t) => {
  const { node, port, send } = await startApi(t, limits)
  for (const end of ['left', 'whole'] as const) {
    const before = node.proposals.length
    const held = [new Upload(t, port, 60_000), new Upload(t, port, 60_000), new Upload(t, port, 60_000)]
    for (const upload of held) upload.send(30_000)
    const headers = { 'content-type': 'application/x-ndjson' }
    const body = '1'.repeat(20_000)
    const batch = async () => (await send('POST', '/v1/commands/batch', { headers, body })).status
    await until(async () => (await batch()) === 429, 'there is no room')
    for (const upload of held) {
      if (end === 'whole') upload.send(30_000)
      else upload.leave()
    }
    await until(async () => (await batch()) === 200, `there is room when they are ${end}`)
    assert.equal(node.proposals.length, before + (end === 'whole' ? 3 : 0))
  }
})

test('a batch under way counts as well', async (t) => {
  const { port } = await startApi(t, limits)
  const uploads = Array.from({ length: 3 }, () => new Upload(t, port, 50_000, '/v1/commands/batch'))
  for (const upload of uploads) upload.send(40_000)
  await until(() => uploads.some(({ received }) => received.startsWith('HTTP/1.1 429 ')), 'one of them is refused')
  assert.equal(uploads.filter(({ received }) => received !== '').length, 1)
})

test('a body that is whole in its first chunk passes, whatever else is under way', async (t) => {
  const { port, send } = await startApi(t, limits)
  const uploads = Array.from({ length: 4 }, () => new Upload(t, port, 60_000))
  for (const upload of uploads) upload.send(33_000)
  await until(() => uploads.some(({ received }) => received.startsWith('HTTP/1.1 429 ')), 'one of them is refused')
  assert.equal((await send('POST', '/v1/commands', { headers: jsonType, body: '1' })).status, 200)
})

test('commands that wait for an index are held within the same bound', async (t) => {
  const { node, send } = await startApi(t, { maxCommandBytes: 60_000, maxPendingBytes: 100_000 })
  let release = () => {}
  node.onWait = () =>
    new Promise((resolve) => {
      release = () => resolve()
    })
  const headers = { ...jsonType, 'raft-min-index': '50' }
  const body = `"${'x'.repeat(55_000)}"`
  const first = send('POST', '/v1/commands', { headers, body })
  const second = send('POST', '/v1/commands', { headers, body })
  const refused = await Promise.race([first, second])
  assert.deepEqual([refused.status, refused.json.code], [429, 'too-many-proposals'])
  assert.equal(node.proposals.length, 0)
  release()
  const statuses = (await Promise.all([first, second])).map(({ status }) => status)
  assert.deepEqual(statuses.toSorted(), [200, 429])
  const third = send('POST', '/v1/commands', { headers, body })
  await until(() => {
    release()
    return node.proposals.length === 2
  }, 'there is room again')
  assert.equal((await third).status, 200)
})

test('connections are bounded: one more is closed, and one that ends makes room', async (t) => {
  const { port } = await startApi(t, { maxConnections: 2 })
  const first = new Upload(t, port, 10)
  const second = new Upload(t, port, 10)
  for (const upload of [first, second]) upload.send(10)
  await until(() => first.received !== '' && second.received !== '', 'two are served')
  const third = new Upload(t, port, 10)
  await until(() => third.closed, 'the third is closed')
  assert.equal(third.received, '')
  first.leave()
  await until(async () => {
    const fourth = new Upload(t, port, 10)
    fourth.send(10)
    await until(() => fourth.closed || fourth.received !== '', 'it is served or closed')
    return fourth.received.startsWith('HTTP/1.1 200 ')
  }, 'there is room again')
})

test('the budget counts what is held, with what each chunk costs, and no more than once', () => {
  const budget = new BodyBudget(10_000)
  const [one, other] = [budget.open(), budget.open()]
  one.add(1_000)
  assert.equal(budget.usedBytes, 1_256)
  for (let i = 0; i < 30; i++) other.add(1)
  assert.equal(budget.usedBytes, 1_256 + 30 * 257)
  assert.throws(() => one.add(1_000), /more than MAX_PENDING_BYTES/)
  assert.equal(budget.usedBytes, 1_256 + 30 * 257, 'what is refused is not held')
  other.close()
  other.close()
  other.add(5_000)
  assert.equal(budget.usedBytes, 1_256)
  one.close()
  assert.equal(budget.usedBytes, 0)
})
