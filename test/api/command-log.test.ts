// GET /v1/commands: pages, long polls and streams of committed commands.

import assert from 'node:assert/strict'
import { request } from 'node:http'
import { type TestContext, test } from 'node:test'
import { ReadError } from '../../src/errors.ts'
import { assertFits, readDocument } from './described.ts'
import { openEvents } from './event-source.ts'
import { type RunningApi, startApi, until } from './running-api.ts'

const timestamp = '2026-11-23T05:00:00.123Z'
const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

/** Commands 1 to `count`, and the log ends with them. */
async function startWith(t: TestContext, count: number, overrides = {}): Promise<RunningApi> {
  const running = await startApi(t, overrides)
  running.node.commitIndex = 0
  for (let index = 1; index <= count; index++) running.node.commit(String(index))
  return running
}

test('committed commands are read in order, with all that the log holds of them', async (t) => {
  const { node, send } = await startWith(t, 0)
  node.commit('{"a": 12345678901234567890}', { key: 'k"\\', traceparent })
  node.commit(null)
  node.commit('', { kind: 'bytes', payload: Buffer.from([0, 255, 16]) })
  node.commit('"x"', { skipped: true })
  const reply = await send('GET', '/v1/commands')
  assert.equal(reply.status, 200)
  const place = { term: 3, timestamp }
  assert.deepEqual(reply.json, {
    commands: [
      { index: 1, ...place, key: 'k"\\', traceparent, command: { a: Number('12345678901234567890') } },
      { index: 3, ...place, bytes: 'AP8Q' },
      { index: 4, ...place, command: 'x', skipped: true },
    ],
    through: 4,
  })
  assert.ok(reply.text.includes('"command":{"a": 12345678901234567890}'), 'the stored bytes are spliced in')
  assert.equal(reply.headers['content-type'], 'application/json; charset=utf-8')
})

const pages: readonly [query: string, indexes: readonly number[], through: number][] = [
  ['?after=0', [1, 2, 3, 4, 5], 5],
  ['?after=3', [4, 5], 5],
  ['?after=5', [], 5],
  ['?after=9', [], 9],
  ['?limit=2', [1, 2], 2],
  ['?after=2&limit=2', [3, 4], 4],
  ['?after=5&wait=0ms', [], 5],
]
for (const [query, indexes, through] of pages) {
  test(`GET /v1/commands${query} reads ${indexes.join(', ') || 'nothing'}`, async (t) => {
    const { send } = await startWith(t, 5)
    const { json } = await send('GET', `/v1/commands${query}`)
    const commands = json.commands as { index: number }[]
    assert.deepEqual(
      commands.map(({ index }) => index),
      indexes,
    )
    assert.equal(json.through, through)
  })
}

test('a page is bounded in commands and bytes', async (t) => {
  const { node, send } = await startWith(t, 1)
  await send('GET', '/v1/commands')
  await send('GET', '/v1/commands?limit=1000')
  assert.deepEqual(
    node.reads.map(({ limit, maxBytes }) => [limit, maxBytes]),
    [
      [100, 1024 * 1024],
      [1_000, 1024 * 1024],
    ],
  )
})

const invalid: readonly [query: string, sentence: RegExp][] = [
  ['after=-1', /`after` is "-1": give the index of a command/],
  ['after=1.5', /`after`/],
  ['after=', /`after`/],
  ['after=99999999999999999', /`after`/],
  ['limit=0', /`limit` is "0": give a whole number from 1 to 1000/],
  ['limit=1001', /`limit`/],
  ['limit=ten', /`limit`/],
  ['wait=61s', /`wait` is "61s": give 0ms to 60s/],
  ['wait=1', /`wait`/],
  ['from=1', /does not offer the query parameter `from`/],
]
for (const [query, sentence] of invalid) {
  test(`GET /v1/commands?${query} is refused`, async (t) => {
    const { node, send } = await startWith(t, 1)
    const reply = await send('GET', `/v1/commands?${query}`)
    assert.deepEqual([reply.status, reply.json.code], [400, 'invalid-parameter'])
    assert.match(String(reply.json.detail), sentence)
    assert.equal(node.reads.length, 0)
  })
}

test('a long poll is answered as soon as there is a command, and no sooner', async (t) => {
  const { node, send } = await startWith(t, 5)
  const waiting = send('GET', '/v1/commands?after=5&wait=60s')
  await until(() => node.waiters.size === 1, 'the poll waits')
  // An entry that is no command is no answer, but it need not be looked at again.
  node.commit(null)
  await until(() => [...node.waiters].some(({ after }) => after === 6), 'the poll waits behind it')
  node.commit('7')
  const { json } = await waiting
  assert.deepEqual([(json.commands as { index: number }[]).map(({ index }) => index), json.through], [[7], 7])
})

test('a long poll that waits in vain is answered with nothing', async (t) => {
  const { send } = await startWith(t, 5)
  assert.deepEqual((await send('GET', '/v1/commands?after=5&wait=1ms')).json, { commands: [], through: 5 })
})

test('a long poll is answered at once when the API closes', async (t) => {
  const { api, node, send } = await startWith(t, 5)
  const waiting = send('GET', '/v1/commands?after=5&wait=60s')
  await until(() => node.waiters.size === 1, 'the poll waits')
  const closed = api.close()
  const reply = await waiting
  assert.deepEqual([reply.status, reply.json], [200, { commands: [], through: 5 }])
  assert.equal(reply.headers.connection, 'close')
  await closed
})

test('what the log no longer holds is 410, with the first index that it does', async (t) => {
  const { node, port, send } = await startWith(t, 10)
  node.compact(7)
  const page = await send('GET', '/v1/commands?after=3')
  assert.equal(page.status, 410)
  assert.deepEqual([page.json.code, page.json.firstIndex], ['compacted', 7])
  const stream = await openEvents(t, port, '/v1/commands?after=3')
  assert.equal(stream.response.statusCode, 410)
  assert.equal((await send('GET', '/v1/commands?after=6')).status, 200)
})

test('a stream tells the commands that there are, and each that comes', async (t) => {
  const { node, port } = await startWith(t, 2)
  const stream = await openEvents(t, port, '/v1/commands')
  assert.equal(stream.response.statusCode, 200)
  assert.equal(stream.response.headers['content-type'], 'text/event-stream; charset=utf-8')
  assert.equal(stream.response.headers['cache-control'], 'no-store')
  assert.equal(stream.response.headers['raft-index'], '41')
  await stream.take(2)
  node.commit('3', { key: 'k' })
  const events = await stream.take(3)
  assert.deepEqual(
    events.map(({ id, name }) => [id, name]),
    [
      ['1', 'command'],
      ['2', 'command'],
      ['3', 'command'],
    ],
  )
  assert.deepEqual(JSON.parse(String(events[2]?.data)), { index: 3, term: 3, timestamp, key: 'k', command: 3 })
  const document = await readDocument()
  for (const { data } of events) {
    assertFits(document, { $ref: '#/components/schemas/LoggedCommand' }, JSON.parse(String(data)), 'an event')
  }
})

test('an event is one line, whatever white space the stored JSON has', async (t) => {
  const { node, port } = await startWith(t, 0)
  node.commit('{\r\n  "a": "\\n",\r  "\u2028": [\n]\n}')
  const [event] = await (await openEvents(t, port, '/v1/commands')).take(1)
  assert.deepEqual(JSON.parse(String(event?.data)).command, { a: '\n', '\u2028': [] })
})

test('a stream resumes behind the last event that was seen, whatever the URL says', async (t) => {
  const { port, send } = await startWith(t, 5)
  const resumed = await openEvents(t, port, '/v1/commands?after=1', { 'last-event-id': '3' })
  assert.deepEqual(
    (await resumed.take(2)).map(({ id }) => id),
    ['4', '5'],
  )
  const headers = { accept: 'text/event-stream', 'last-event-id': 'x' }
  assert.equal((await send('GET', '/v1/commands', { headers })).json.code, 'invalid-parameter')
})

test('limit and wait have no meaning for a stream, and are refused', async (t) => {
  const { send } = await startWith(t, 1)
  for (const query of ['limit=1', 'wait=1s']) {
    const reply = await send('GET', `/v1/commands?${query}`, { headers: { accept: 'text/event-stream' } })
    assert.deepEqual([reply.status, reply.json.code], [400, 'invalid-parameter'])
  }
})

test('while nothing is committed, a heartbeat says how far the log was looked at', async (t) => {
  const { node, port } = await startWith(t, 2)
  const stream = await openEvents(t, port, '/v1/commands?after=2')
  await until(() => node.waiters.size === 1, 'the stream waits')
  node.wakeAll()
  await until(() => stream.text().includes(':\nid: 2\n\n'), 'a heartbeat comes')
  node.commit(null)
  await until(() => stream.text().includes(':\nid: 3\n\n'), 'it moves on')
  assert.equal(stream.events.length, 0)
})

test('a stream that the log leaves behind ends with the problem', async (t) => {
  const { node, port } = await startWith(t, 2)
  const stream = await openEvents(t, port, '/v1/commands?after=2')
  await until(() => node.waiters.size === 1, 'the stream waits')
  node.firstIndex = 9
  node.commit('3')
  const [event] = await stream.take(1)
  assert.equal(event?.name, 'error')
  const problem = JSON.parse(String(event?.data))
  assert.deepEqual([problem.status, problem.code, problem.firstIndex], [410, 'compacted', 9])
  await until(stream.ended, 'the stream ends')
})

test('a stream ends when the node stops, and with a problem when the node has a bug', async (t) => {
  for (const [error, name] of [
    [new ReadError('shutting-down', 'Stopping.'), undefined],
    [new Error('secret'), 'error'],
  ] as const) {
    const { node, port } = await startWith(t, 2)
    node.waitCommitted = () => Promise.reject(error)
    const stream = await openEvents(t, port, '/v1/commands?after=2')
    await until(stream.ended, 'the stream ends')
    assert.equal(stream.events[0]?.name, name)
    assert.doesNotMatch(stream.text(), /secret/)
  }
})

test('streams end when the API closes, and what was in flight is whole', async (t) => {
  const { api, node, port } = await startWith(t, 2, { closeTimeoutMs: 60_000 })
  const stream = await openEvents(t, port, '/v1/commands')
  await stream.take(2)
  await until(() => node.waiters.size === 1, 'the stream waits')
  await api.close()
  await until(stream.ended, 'the stream ends')
  assert.equal(stream.response.complete, true)
})

test('a client that reads slowly is never far behind the log', async (t) => {
  const { node, port } = await startWith(t, 0)
  const payload = JSON.stringify('x'.repeat(64 * 1024))
  for (let i = 0; i < 1_000; i++) node.commit(payload)
  let received = 0
  let furthest = 0
  const { readCommitted } = node
  node.readCommitted = (after, limit, maxBytes) => {
    furthest = Math.max(furthest, after * payload.length - received)
    assert.ok(maxBytes <= 64 * 1024)
    return readCommitted.call(node, after, limit, maxBytes)
  }
  const call = request({
    port,
    host: '127.0.0.1',
    path: '/v1/commands',
    headers: { accept: 'text/event-stream' },
  }).end()
  t.after(() => call.destroy())
  call.on('error', () => {})
  await new Promise<void>((resolve) => {
    call.on('response', (response) => {
      response.on('data', (chunk: Buffer) => {
        received += chunk.length
        response.pause()
        setImmediate(() => response.resume())
        if (received > 1_000 * payload.length) resolve()
      })
    })
  })
  // What the buffers of two sockets take is the system's choice; the rest has to stay in the log.
  assert.ok(furthest < 32 * 1024 * 1024, `the log was read ${furthest} bytes ahead`)
})

test('streams and polls that wait are bounded, and one that ends makes room', async (t) => {
  const { node, port, send } = await startWith(t, 2, { maxStreams: 2 })
  const first = await openEvents(t, port, '/v1/commands')
  const second = await openEvents(t, port, '/v1/events')
  for (const path of ['/v1/commands', '/v1/events']) {
    const reply = await send('GET', path, { headers: { accept: 'text/event-stream' } })
    assert.deepEqual([reply.status, reply.json.code, reply.headers['retry-after']], [429, 'too-many-streams', '1'])
  }
  assert.equal((await send('GET', '/v1/commands?after=2&wait=1s')).status, 429)
  assert.equal((await send('GET', '/v1/commands')).status, 200, 'what does not wait is served')
  second.response.destroy()
  await until(async () => (await send('GET', '/v1/commands?after=2&wait=1ms')).status === 200, 'there is room again')
  first.response.destroy()
  // It gives its place back when the wait that it began is over.
  await until(async () => {
    node.wakeAll()
    const third = await openEvents(t, port, '/v1/commands?after=2')
    return third.response.statusCode === 200
  }, 'there is room again')
})

test('a stream whose client takes nothing is cut, and its place is free again', async (t) => {
  const { node, port } = await startWith(t, 0, { maxStreams: 1, streamIdleTimeoutMs: 50 })
  const payload = JSON.stringify('x'.repeat(1024 * 1024))
  for (let i = 0; i < 64; i++) node.commit(payload)
  const stuck = await openEvents(t, port, '/v1/commands')
  stuck.response.pause()
  await until(async () => {
    const next = await openEvents(t, port, '/v1/commands?after=64')
    return next.response.statusCode === 200
  }, 'the stuck one is cut')
})

test('a HEAD is refused: it would read all of it, or never end', async (t) => {
  const { send } = await startWith(t, 1)
  assert.equal((await send('HEAD', '/v1/commands')).status, 405)
  assert.equal((await send('HEAD', '/v1/events')).status, 405)
})
