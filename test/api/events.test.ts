// GET /v1/events: the present state first, then what changes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ReadyCheck } from '../../src/api/options.ts'
import type { NodeChange } from '../../src/node/contract.ts'
import { assertFits, readDocument } from './described.ts'
import { openEvents } from './event-source.ts'
import { startApi, until } from './running-api.ts'

const members = [{ id: 'n1', peerAddress: '127.0.0.1:4000', role: 'voter' }] as const
const leader = { id: 'n1', term: 3, self: true, appUrl: null }
const snapshot = { index: 40, term: 2, sizeBytes: 1_234 }

test('the present state of each comes first', async (t) => {
  const { port } = await startApi(t, { readyChecks: () => [{ name: 'leader', ok: true, why: 'unused' }] })
  const events = await openEvents(t, port, '/v1/events')
  assert.equal(events.response.headers['content-type'], 'text/event-stream; charset=utf-8')
  const first = await events.take(4)
  assert.deepEqual(
    first.map(({ name, data }) => [name, JSON.parse(String(data))]),
    [
      ['leader', { leader, term: 3 }],
      ['membership', { index: null, members }],
      ['snapshot', { snapshot, installedFrom: null }],
      ['health', { ready: true, checks: [{ name: 'leader', ok: true, why: null }] }],
    ],
  )
})

const changes: readonly [change: NodeChange, name: string, data: object][] = [
  [{ type: 'leader', leader: null, term: 4 }, 'leader', { leader: null, term: 4 }],
  [
    { type: 'leader', leader: { id: 'n2', term: 4, self: false, appUrl: 'http://x' }, term: 4 },
    'leader',
    { leader: { id: 'n2', term: 4, self: false, appUrl: 'http://x' }, term: 4 },
  ],
  [{ type: 'membership', index: 50, configuration: { members } }, 'membership', { index: 50, members }],
  [{ type: 'snapshot', snapshot, installedFrom: null }, 'snapshot', { snapshot, installedFrom: null }],
  [{ type: 'snapshot', snapshot, installedFrom: 'n2' }, 'snapshot', { snapshot, installedFrom: 'n2' }],
]

test('every change is told to everybody who listens, in order, and fits its schema', async (t) => {
  const { node, port } = await startApi(t)
  const listeners = [await openEvents(t, port, '/v1/events'), await openEvents(t, port, '/v1/events')]
  for (const listener of listeners) await listener.take(4)
  for (const [change] of changes) node.tell(change)
  // For the application's hook; no event of the API.
  node.tell({ type: 'leadership', leadership: { event: 'lost', leader: null, term: 4 } })
  node.tell({ type: 'leader', leader, term: 9 })
  const document = await readDocument()
  for (const listener of listeners) {
    const told = (await listener.take(4 + changes.length + 1)).slice(4, -1)
    assert.deepEqual(
      told.map(({ name, data }) => [name, JSON.parse(String(data))]),
      changes.map(([, name, data]) => [name, data]),
    )
    for (const { name, data } of listener.events) {
      const schema = `${String(name)[0]?.toUpperCase()}${String(name).slice(1)}Event`
      assertFits(document, { $ref: `#/components/schemas/${schema}` }, JSON.parse(String(data)), `event ${name}`)
    }
  }
  assert.equal(node.subscribers.size, 1, 'one subscription serves them all')
})

test('a check that changes is told, with why', async (t) => {
  let check: ReadyCheck = { name: 'storage', ok: true, why: '' }
  const { port } = await startApi(t, { readyChecks: () => [check] })
  const events = await openEvents(t, port, '/v1/events')
  await events.take(4)
  check = { name: 'storage', ok: false, why: 'the disk is full' }
  const [failed] = (await events.take(5)).slice(4)
  assert.equal(failed?.name, 'health')
  assert.deepEqual(JSON.parse(String(failed?.data)), {
    ready: false,
    checks: [{ name: 'storage', ok: false, why: 'the disk is full' }],
  })
  check = { name: 'storage', ok: true, why: '' }
  assert.equal(JSON.parse(String((await events.take(6))[5]?.data)).ready, true)
})

test('while nobody listens, nothing is subscribed to and no check is made', async (t) => {
  let checks = 0
  const { node, port } = await startApi(t, {
    readyChecks: () => {
      checks++
      return []
    },
  })
  assert.deepEqual([node.subscribers.size, checks], [0, 0])
  const events = await openEvents(t, port, '/v1/events')
  await until(() => checks > 2, 'checks are made while somebody listens')
  events.response.destroy()
  await until(() => node.subscribers.size === 0, 'the subscription ends')
})

test('a client that does not read is cut off: what waits for it is bounded', async (t) => {
  const { node, port } = await startApi(t)
  const deaf = await openEvents(t, port, '/v1/events')
  await deaf.take(4)
  deaf.response.pause()
  const appUrl = `http://${'x'.repeat(32 * 1024)}`
  let told = 0
  await until(() => {
    node.tell({ type: 'leader', leader: { ...leader, appUrl }, term: ++told })
    return node.subscribers.size === 0
  }, 'nobody listens any more')
  // What the buffers of two sockets take is the system's choice.
  assert.ok(told * appUrl.length < 32 * 1024 * 1024, `${told} events were held for it`)
  deaf.response.resume()
  await until(deaf.ended, 'it notices')
  assert.equal(deaf.response.complete, false)
})

test('events end when the API closes', async (t) => {
  const { api, node, port } = await startApi(t, { closeTimeoutMs: 60_000 })
  const events = await openEvents(t, port, '/v1/events')
  await events.take(4)
  await api.close()
  await until(events.ended, 'the stream ends')
  assert.equal(events.response.complete, true)
  assert.equal(node.subscribers.size, 0)
})

test('events are for who has the token, and not for other machines', async (t) => {
  const { port, send, sendStatus } = await startApi(t, {
    token: 'a-long-enough-token',
    statusListen: { host: '127.0.0.1', port: 0 },
  })
  assert.equal((await send('GET', '/v1/events')).status, 401)
  assert.equal((await sendStatus('GET', '/v1/events')).status, 404)
  const events = await openEvents(t, port, '/v1/events', { authorization: 'Bearer a-long-enough-token' })
  await events.take(4)
})
