// Applier and webhook together, against applications behind real sockets: what each answer of the contract leads to.

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { createAppMachine } from '../../src/machine/app.ts'
import { createApplier } from '../../src/machine/applier.ts'
import type { Applier } from '../../src/node/ports.ts'
import { commands, MemoryCursor, noEvents, noFatal } from './applier-kit.ts'
import { FakeClock, FakeLog, setEntry, someUnixMs } from './fixtures.ts'
import { startKvApp } from './kv-app.ts'
import { startServer } from './test-server.ts'
import { until } from './until.ts'

type Answer = (response: ServerResponse) => void

/** Unlike any time to a retry. */
const timeoutMs = 29_999

interface Delivery {
  readonly applier: Applier
  readonly log: FakeLog
  readonly clock: FakeClock
  readonly alarms: readonly string[]
  /** Lets what goes over the sockets come to its end; a timer, if one runs, is that of a retry. */
  rested(): Promise<void>
}

async function withDelivery(url: string, run: (delivery: Delivery) => Promise<void>): Promise<void> {
  const clock = new FakeClock()
  const log = new FakeLog()
  const alarms: string[] = []
  const machineClock = { after: clock.after, unixMs: () => someUnixMs }
  const machine = createAppMachine({ url, cluster: 'orders', node: 'n1', clock: machineClock, timeoutMs })
  const applier = createApplier({
    machine,
    cursor: new MemoryCursor(),
    clock: { after: clock.after, defer: clock.defer },
    random: () => 1,
    observer: {
      obstructed: (kind) => alarms.push(kind),
      resumed: () => alarms.push('resumed'),
      restoring() {},
    },
    onFatal: noFatal,
  })
  applier.start(log, noEvents)
  try {
    await run({
      applier,
      log,
      clock,
      alarms,
      async rested() {
        await clock.settle()
        await until(() => !clock.dueInMs.includes(timeoutMs))
        await clock.settle()
      },
    })
  } finally {
    const closed = applier.close()
    await clock.advance(2000)
    await closed
    await machine.close()
  }
}

const reply =
  (status: number, body: unknown = '', headers: Record<string, string> = {}): Answer =>
  (response) => {
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))
  }

/** To each the sidecar sends the same batch again, in so many ms, and raises an alarm of that kind. */
const rows: readonly [name: string, answer: Answer, retryInMs: number, alarm: string][] = [
  ['429', reply(429), 100, 'unavailable'],
  ['429 with Retry-After', reply(429, '', { 'retry-after': '7' }), 7000, 'unavailable'],
  ['503 with Retry-After', reply(503, 'busy', { 'retry-after': '3' }), 3000, 'unavailable'],
  ['500', reply(500), 100, 'unavailable'],
  ['504', reply(504), 100, 'unavailable'],
  ['a reset', (response) => response.socket?.resetAndDestroy(), 100, 'unavailable'],
  ['200 with another body', reply(200, { ok: true }), 100, 'malformed'],
  ['200 with too few results', reply(200, { results: [1] }), 100, 'malformed'],
  ['202', reply(202), 100, 'malformed'],
  ['422 without index', reply(422, { error: 'no' }), 100, 'malformed'],
  ['409 without position', reply(409), 100, 'malformed'],
  ['302', reply(302, '', { location: '/login' }), 30_000, 'misconfigured'],
  ['401', reply(401), 30_000, 'misconfigured'],
  ['403', reply(403), 30_000, 'misconfigured'],
  ['404', reply(404), 30_000, 'misconfigured'],
  ['405', reply(405), 30_000, 'misconfigured'],
  ['410', reply(410), 30_000, 'misconfigured'],
]

for (const [name, answer, retryInMs, alarm] of rows) {
  test(`after ${name} the same batch comes again in ${retryInMs} ms, and nothing is dropped`, async () => {
    const bodies: string[] = []
    const answers = [answer]
    const server = await startServer((request, body, response) => {
      if (request.url !== '/apply') return response.writeHead(404).end()
      bodies.push(body.toString())
      const next = answers.shift() ?? reply(204)
      return next(response)
    })
    await withDelivery(server.url, async ({ applier, log, clock, alarms, rested }) => {
      log.append(...commands(1, 3))
      applier.commit(2)
      await rested()
      assert.equal(bodies.length, 1)
      assert.notEqual(applier.blocked, null)
      assert.deepEqual(alarms, [alarm])
      applier.commit(3)
      await clock.advance(retryInMs - 1)
      assert.equal(bodies.length, 1)
      await clock.advance(1)
      await until(() => applier.appliedIndex === 3)
      assert.equal(bodies[1], bodies[0])
      assert.equal(JSON.parse(bodies[2] ?? '').after, 2)
      assert.equal(applier.blocked, null)
      assert.deepEqual(alarms, [alarm, 'resumed'])
    })
    await server.stop()
  })
}

test('after 422 delivery stops before the command, and goes on when the application takes it', async () => {
  const bodies: { commands: { index: number }[] }[] = []
  let isMended = false
  const server = await startServer((request, body, response) => {
    if (request.url !== '/apply') return response.writeHead(404).end()
    const batch = JSON.parse(body.toString())
    bodies.push(batch)
    const refuses = !isMended && batch.commands.some(({ index }: { index: number }) => index === 2)
    return reply(refuses ? 422 : 204, refuses ? { index: 2, reason: 'no such account' } : '')(response)
  })
  await withDelivery(server.url, async ({ applier, log, clock, rested }) => {
    log.append(...commands(1, 3))
    applier.commit(3)
    await until(() => applier.blocked !== null)
    await rested()
    assert.equal(applier.appliedIndex, 1)
    assert.equal(applier.poison?.index, 2)
    isMended = true
    await clock.advance(30_000)
    await until(() => applier.appliedIndex === 3)
    assert.equal(applier.poison, null)
    assert.deepEqual(
      bodies.map((each) => each.commands.map(({ index }) => index)),
      [[1, 2, 3], [1], [2, 3]],
    )
  })
  await server.stop()
})

for (const [memory, connections] of [
  ['lost', 'kept'],
  ['kept', 'kept'],
  ['lost', 'closed'],
  ['kept', 'closed'],
] as const) {
  test(`an application that is restarted between two batches, its memory ${memory}, its connections ${connections}, lacks nothing`, async () => {
    const app = await startKvApp()
    await withDelivery(app.url, async ({ applier, log, clock, alarms }) => {
      log.append(...[1, 2, 3].map((i) => setEntry(i, `k${i}`, i)))
      applier.commit(2)
      await until(() => applier.appliedIndex === 2)
      app.restart(memory, connections)
      applier.commit(3)
      // A batch that was sent into a closing connection comes again.
      while (applier.appliedIndex < 3) await clock.advance(connections === 'closed' ? 100 : 0)
      assert.deepEqual(
        [...app.state].toSorted(),
        [1, 2, 3].map((i) => [`k${i}`, i]),
      )
      assert.deepEqual(
        app.taken,
        memory === 'lost'
          ? [
              [1, 2],
              [1, 2, 3],
            ]
          : [[1, 2], [3]],
      )
      if (connections === 'kept') assert.deepEqual(alarms, [])
    })
    await app.stop()
  })
}

test('an application that answers late by any time is given nothing else meanwhile, and no more is read', async () => {
  let waiting: (() => void) | null = null
  const delivered: number[] = []
  const server = await startServer((request, body, response) => {
    if (request.url !== '/apply') return response.writeHead(404).end()
    assert.equal(waiting, null)
    waiting = () => {
      waiting = null
      delivered.push(...JSON.parse(body.toString()).commands.map(({ index }: { index: number }) => index))
      response.writeHead(204).end()
    }
  })
  await withDelivery(server.url, async ({ applier, log, clock }) => {
    log.append(...commands(1, 5000))
    for (let index = 1; index <= 5000; index++) {
      applier.commit(index)
      if (index % 500 === 0) await clock.settle()
    }
    for (let batch = 1; delivered.length < 5000; batch++) {
      await until(() => waiting !== null)
      await clock.advance(timeoutMs - 1)
      // Of the whole log, what is in flight was read, and nothing beyond it.
      assert.equal(log.reads.length, batch)
      assert.ok((log.reads.at(-1)?.through ?? 0) <= applier.appliedIndex + 1000)
      waiting?.()
      await until(() => applier.appliedIndex === delivered.at(-1))
    }
    assert.deepEqual(
      delivered,
      Array.from({ length: 5000 }, (_, i) => i + 1),
    )
  })
  await server.stop()
})
