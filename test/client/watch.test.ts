// Watching: every committed command once and in order, whatever happens to the connections, and no faster than it is read.

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { Caller } from '../../src/client/caller.ts'
import { CompactedError, type LoggedCommand } from '../../src/client/client.ts'
import type { Transport } from '../../src/client/transport.ts'
import { watchCommands } from '../../src/client/watch.ts'
import { until } from '../api/running-api.ts'
import type { Request } from '../cli/fake-sidecar.ts'
import { failure, noLeader, problem, scene } from './client-kit.ts'

const timestamp = '2026-11-23T05:00:00.123Z'

function event(index: number, more: object = { command: { n: index } }): string {
  return `id: ${index}\nevent: command\ndata: ${JSON.stringify({ index, term: 3, timestamp, ...more })}\n\n`
}

/** Sends the text, and then the connection breaks off, ends in order, or stays. */
function stream(text: string, then: 'break' | 'end' | 'stay'): (response: ServerResponse) => void {
  return (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(text, () => {
      if (then === 'break') response.destroy()
      if (then === 'end') response.end()
    })
  }
}

async function take(watched: AsyncIterable<LoggedCommand>, count: number): Promise<LoggedCommand[]> {
  const commands: LoggedCommand[] = []
  for await (const command of watched) if (commands.push(command) === count) break
  return commands
}

const askedAfter = ({ path, query, headers }: Request) => [path, query.after, headers['last-event-id']]

for (const [what, options] of [
  ['undici', {}],
  ['a given fetch', { fetch: globalThis.fetch }],
] as const) {
  test(`by ${what}: each command once, over connections that break, end, are refused and send things again`, async (t) => {
    const { client, sidecar } = await scene(
      t,
      [
        stream(event(5) + event(7), 'break'),
        null,
        noLeader,
        stream(`: hello\n\n${event(7)}${event(8)}id: 9\ndata: {"index":9,`, 'end'),
        stream(event(9), 'stay'),
      ],
      options,
    )
    const commands = await take(client.watch({ after: 4 }), 4)
    assert.deepEqual(
      commands.map(({ index, command }) => [index, command]),
      [5, 7, 8, 9].map((n) => [n, { n }]),
    )
    assert.deepEqual(sidecar.requests.map(askedAfter), [
      ['/v1/commands', '4', undefined],
      ['/v1/commands', '7', '7'],
      ['/v1/commands', '7', '7'],
      ['/v1/commands', '7', '7'],
      ['/v1/commands', '8', '8'],
    ])
    assert.ok(sidecar.requests.every(({ headers }) => headers.accept === 'text/event-stream'))
  })
}

test('an id without a command moves the place to go on from', async (t) => {
  const { client, sidecar } = await scene(t, [stream(`${event(5)}id: 90\n\n`, 'break'), stream(event(91), 'stay')])
  assert.equal((await take(client.watch(), 2)).length, 2)
  assert.deepEqual(sidecar.requests.map(askedAfter), [
    ['/v1/commands', '0', undefined],
    ['/v1/commands', '90', '90'],
  ])
})

test('key, trace and skip are told, and bytes are a Buffer', async (t) => {
  const more = { key: 'k', traceparent: '00-a', skipped: true, bytes: 'AP8=' }
  const { client } = await scene(t, [stream(event(1, more) + event(2), 'stay')])
  const command = Buffer.from([0, 255])
  assert.deepEqual(await take(client.watch(), 2), [
    { index: 1, term: 3, timestamp, key: 'k', traceparent: '00-a', command, skipped: true },
    { index: 2, term: 3, timestamp, key: null, traceparent: null, command: { n: 2 }, skipped: false },
  ])
})

test('a log that no longer reaches back is an error that says from where on it does, also after a break', async (t) => {
  const gone = problem(410, 'compacted', { firstIndex: 100 })
  const told = `event: error\ndata: ${JSON.stringify(gone.body)}\n\n`
  for (const answers of [[gone], [stream(event(5), 'break'), gone], [stream(event(5) + told, 'end')]]) {
    const { client } = await scene(t, answers)
    const error = await failure(take(client.watch({ after: 4 }), 9))
    assert(error instanceof CompactedError)
    assert.deepEqual([error.code, error.firstIndex, error.status], ['compacted', 100, 410])
  }
})

test('what cannot get better ends the watch', async (t) => {
  const refused = await scene(t, [problem(401, 'unauthorized')])
  assert.equal((await failure(take(refused.client.watch(), 1))).code, 'unauthorized')
  const page = await scene(t, [{ status: 200, body: [] }])
  assert.equal((await failure(take(page.client.watch(), 1))).code, 'malformed-answer')
  const garbage = await scene(t, [stream('data: {"index":1}\n\n', 'stay')])
  assert.equal((await failure(take(garbage.client.watch(), 1))).code, 'malformed-answer')
})

test('a signal ends it while it waits, and so does closing the client', async (t) => {
  const abort = new AbortController()
  const { client } = await scene(t, [stream(event(1), 'stay')])
  const watched = client.watch({ signal: abort.signal })[Symbol.asyncIterator]()
  assert.equal((await watched.next()).value.index, 1)
  const reason = new Error('enough')
  const waiting = watched.next()
  abort.abort(reason)
  await assert.rejects(waiting, reason)

  const other = client.watch()[Symbol.asyncIterator]()
  await other.next()
  const closed = failure(other.next())
  await client.close()
  assert.equal((await closed).code, 'client-closed')
})

test('leaving it closes its connection, and so does an answer that is no stream', async (t) => {
  let closed = 0
  let isStream = true
  const { client } = await scene(t, () => (response) => {
    response.on('close', () => {
      closed++
    })
    if (isStream) stream(event(1), 'stay')(response)
    else response.writeHead(200, { 'content-type': 'text/html' }).flushHeaders()
  })
  await take(client.watch(), 1)
  await until(() => closed === 1, 'the connection is closed')
  isStream = false
  await failure(take(client.watch(), 1))
  await until(() => closed === 2, 'the other one is closed')
})

test('nothing is read ahead of the reader', async () => {
  let chunksRead = 0
  const body = (async function* () {
    for (let n = 0; ; n += 2) {
      chunksRead++
      yield Buffer.from(event(n + 1) + event(n + 2))
    }
  })()
  const header = () => 'text/event-stream'
  const transport: Transport = {
    send: () => assert.fail(),
    open: async () => ({ status: 200, header, body }),
    close: async () => {},
  }
  const watched = watchCommands(new Caller(transport, { retryUnreachable: true }), {})
  for (const [index, chunks] of [
    [1, 1],
    [2, 1],
    [3, 2],
  ]) {
    assert.equal((await watched.next()).value?.index, index)
    assert.equal(chunksRead, chunks)
  }
  await watched.return()
})

test('events come with their name, and go on after a break', async (t) => {
  const { client, sidecar } = await scene(t, [
    stream('retry: 1000\n\nevent: leader\ndata: {"leader":null,"term":3}\n\n', 'break'),
    stream('event: weather\ndata: 1\n\nevent: health\ndata: {"ready":true,"checks":[]}\n\n', 'stay'),
  ])
  const events: unknown[] = []
  for await (const event of client.events()) if (events.push(event) === 2) break
  assert.deepEqual(events, [
    { type: 'leader', data: { leader: null, term: 3 } },
    { type: 'health', data: { ready: true, checks: [] } },
  ])
  assert.deepEqual(
    sidecar.requests.map(({ path }) => path),
    ['/v1/events', '/v1/events'],
  )
})
