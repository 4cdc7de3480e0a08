// When the application is asked how it is, and what its answers mean. The time is moved by hand; what goes over the sockets is waited for.

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { createHealthGate, type HealthGate } from '../../src/machine/health.ts'
import { FakeClock } from './fixtures.ts'
import { startServer } from './test-server.ts'
import { until } from './until.ts'

interface Subject {
  readonly gate: HealthGate
  readonly clock: FakeClock
  /** Requests so far, by method and path. */
  readonly asked: readonly string[]
  /** What was told of, in order. */
  readonly told: readonly string[]
  /** Requests that wait for an answer. */
  readonly open: ServerResponse[]
  connections(): number
}

/** Answers 200 until told otherwise; `hold`: not before the test does. */
async function withGate(run: (subject: Subject, answer: (next: number | 'hold') => void) => Promise<void>) {
  const asked: string[] = []
  const told: string[] = []
  const open: ServerResponse[] = []
  let next: number | 'hold' = 200
  const server = await startServer((request, _body, response) => {
    asked.push(`${request.method} ${request.url}`)
    if (next === 'hold') open.push(response)
    else response.writeHead(next, { location: '/' }).end('x')
  })
  const clock = new FakeClock()
  const gate = createHealthGate({ origin: server.url, path: '/healthz?deep=1', clock, timeoutMs: 30_000, signer: null })
  gate.watch(() => told.push(gate.health.type))
  try {
    await run({ gate, clock, asked, told, open, connections: () => server.connections }, (given) => {
      next = given
    })
  } finally {
    await gate.close()
    await server.stop()
    assert.deepEqual(clock.dueInMs, [])
  }
}

test('it is asked at once, and then a second after each answer, on one connection', async () => {
  await withGate(async ({ gate, clock, asked, told, connections }) => {
    assert.equal(gate.health.type, 'unknown')
    await until(() => told.length === 1)
    assert.deepEqual(gate.health, { type: 'healthy' })
    for (let second = 2; second <= 4; second++) {
      await until(() => clock.dueInMs.includes(1000))
      await clock.advance(999)
      assert.equal(asked.length, second - 1)
      await clock.advance(1)
      await until(() => asked.length === second)
    }
    assert.deepEqual(asked, Array(4).fill('GET /healthz?deep=1'))
    assert.deepEqual(told, ['healthy'])
    assert.equal(connections(), 1)
  })
})

for (const [status, type] of [
  [200, 'healthy'],
  [204, 'healthy'],
  [299, 'healthy'],
  [302, 'unhealthy'],
  [304, 'unhealthy'],
  [401, 'unhealthy'],
  [404, 'unhealthy'],
  [429, 'unhealthy'],
  [500, 'unhealthy'],
  [503, 'unhealthy'],
] as const) {
  test(`one that answers ${status} is ${type}`, async () => {
    await withGate(async ({ gate, clock, told }, answer) => {
      await until(() => told.length === 1)
      answer(status)
      await clock.advance(1000)
      if (type === 'healthy') {
        await until(() => clock.dueInMs.includes(1000))
        assert.deepEqual(told, ['healthy'])
        return
      }
      await until(() => told.length === 2)
      assert.equal(gate.health.type, 'unhealthy')
      const sentence = 'sentence' in gate.health ? gate.health.sentence : ''
      assert.match(sentence, new RegExp(`not healthy: GET http.*/healthz\\?deep=1 answered ${status}`))
    })
  })
}

test('it is told of once while it stays as it is, and again when it is well', async () => {
  await withGate(async ({ clock, told }, answer) => {
    await until(() => told.length === 1)
    for (const [status, count] of [
      [503, 2],
      [503, 2],
      [500, 3],
      [200, 4],
      [200, 4],
    ] as const) {
      answer(status)
      await clock.advance(1000)
      await until(() => clock.dueInMs.includes(1000))
      assert.equal(told.length, count)
    }
    assert.deepEqual(told, ['healthy', 'unhealthy', 'unhealthy', 'healthy'])
  })
})

test('one that takes too long is not healthy', async () => {
  await withGate(async ({ gate, clock, told, open }, answer) => {
    await until(() => told.length === 1)
    answer('hold')
    await clock.advance(1000)
    await until(() => open.length === 1)
    await clock.advance(4999)
    assert.equal(gate.health.type, 'healthy')
    await clock.advance(1)
    await until(() => told.length === 2)
    assert.match(JSON.stringify(gate.health), /got no answer: no whole answer within 5000 ms/)
  })
})

test('one that is not there is not healthy', async () => {
  const server = await startServer(() => {})
  await server.stop()
  const clock = new FakeClock()
  const gate = createHealthGate({ origin: server.url, path: '/', clock, timeoutMs: 1000, signer: null })
  let told = 0
  gate.watch(() => told++)
  await until(() => told === 1)
  assert.match(JSON.stringify(gate.health), /ECONNREFUSED/)
  await gate.close()
})

test('after a failure the last answer counts no more, and it is asked at once', async () => {
  await withGate(async ({ gate, asked, told }) => {
    await until(() => told.length === 1)
    gate.doubt()
    assert.equal(gate.health.type, 'unknown')
    await until(() => told.length === 3)
    assert.deepEqual(told, ['healthy', 'unknown', 'healthy'])
    assert.equal(asked.length, 2)
  })
})

test('an answer to what was asked before the failure says nothing', async () => {
  await withGate(async ({ gate, clock, asked, told, open }, answer) => {
    await until(() => told.length === 1)
    answer('hold')
    await clock.advance(1000)
    await until(() => open.length === 1)
    gate.doubt()
    answer(503)
    open[0]?.writeHead(200).end()
    await until(() => told.length === 3)
    assert.deepEqual(told, ['healthy', 'unknown', 'unhealthy'])
    assert.equal(asked.length, 3)
  })
})
