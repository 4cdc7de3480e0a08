// A command is proposed under one key until its outcome is known, or the time is up; then the worst that was met on the way is told.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { SidecarError } from '../../src/client/client.ts'
import { startFakeSidecar } from '../cli/fake-sidecar.ts'
import { applied, connect, failure, keysOf, noLeader, ok, place, problem, scene } from './client-kit.ts'

const unknown = { outcome: 'unknown' }
const notApplied = { outcome: 'not_applied' }
const here = { outcome: 'committed', index: 42, term: 3 }

for (const [what, fetch] of [
  ['undici', {}],
  ['a given fetch', { fetch: globalThis.fetch }],
] as const) {
  test(`by ${what}: JSON, bytes, waiting for the commit only`, async (t) => {
    const { client, sidecar } = await scene(
      t,
      ({ query }) => (query.wait === 'committed' ? ok(place, 202) : ok(applied)),
      fetch,
    )
    assert.deepEqual(await client.propose({ a: 'ü' }), applied)
    assert.deepEqual(await client.propose('x', { wait: 'committed' }), place)
    await client.propose(Uint8Array.of(0, 255))
    assert.deepEqual(
      sidecar.requests.map(({ method, path, contentType, body }) => [method, path, contentType, body]),
      [
        ['POST', '/v1/commands', 'application/json', Buffer.from('{"a":"ü"}').toString('latin1')],
        ['POST', '/v1/commands', 'application/json', '"x"'],
        ['POST', '/v1/commands', 'application/octet-stream', '\x00\xff'],
      ],
    )
  })
}

test('each call has a key of its own, unless one is given, and may carry its trace', async (t) => {
  const { client, sidecar } = await scene(t, [ok(applied)])
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  await client.propose(1)
  await client.propose(1)
  await client.propose(1, { key: 'order-7', traceparent, minIndex: 40 })
  const [first, second, third] = sidecar.requests.map((request) => request.headers)
  assert.match(String(first?.['idempotency-key']), /^[0-9a-f-]{36}$/)
  assert.notEqual(first?.['idempotency-key'], second?.['idempotency-key'])
  assert.deepEqual(
    [third?.['idempotency-key'], third?.traceparent, third?.['raft-min-index'], first?.traceparent],
    ['order-7', traceparent, '40', undefined],
  )
  assert.equal(keysOf(sidecar).size, 3)
})

const passing: readonly (readonly [what: string, answer: Parameters<typeof scene>[1]])[] = [
  ['no leader', [noLeader]],
  ['a node that shuts down', [problem(503, 'shutting-down', notApplied, { 'retry-after': '0' })]],
  ['too many proposals', [problem(429, 'too-many-proposals', notApplied, { 'retry-after': '0' })]],
  ['a commit that takes too long', [problem(504, 'commit-timeout', unknown)]],
  ['leadership that was lost', [problem(503, 'leadership-lost', unknown)]],
  ['an application that has not taken it yet', [problem(504, 'apply-pending', here)]],
  ['a connection that breaks off', [null]],
  [
    'a connection that breaks off within the answer',
    [(response) => void response.writeHead(200, { 'content-length': '99' }).end('{').destroy()],
  ],
]
for (const [what, answers] of passing) {
  test(`${what}: the command is proposed again, under the same key`, async (t) => {
    const { client, sidecar } = await scene(t, [...(answers as []), ...(answers as []), ok(applied)])
    assert.deepEqual(await client.propose({ a: 1 }), applied)
    assert.equal(sidecar.requests.length, 3)
    assert.equal(keysOf(sidecar).size, 1)
    assert.deepEqual(new Set(sidecar.requests.map(({ body }) => body)), new Set(['{"a":1}']))
  })
}

test('a sidecar that is not there yet, or restarts, is waited for', async (t) => {
  const first = await startFakeSidecar(() => null)
  const port = Number(new URL(first.url).port)
  await first.close()
  const client = connect(t, { url: first.url })
  const proposed = client.propose(1)
  const second = await startFakeSidecar(() => ok(applied), port)
  t.after(() => second.close())
  assert.deepEqual(await proposed, applied)
})

const final: readonly (readonly [status: number, code: string, more: object])[] = [
  [400, 'invalid-command', notApplied],
  [401, 'unauthorized', notApplied],
  [403, 'forbidden-host', notApplied],
  [413, 'command-too-large', notApplied],
  [415, 'unsupported-media-type', notApplied],
  [422, 'idempotency-key-reused', notApplied],
  [507, 'storage-full', notApplied],
  [500, 'internal-error', unknown],
  [504, 'result-unknown', here],
]
for (const [status, code, more] of final) {
  test(`${status} ${code} is thrown at once`, async (t) => {
    const { client, sidecar } = await scene(t, [problem(status, code, more)])
    const error = await failure(client.propose(1))
    const { outcome } = more as { outcome: string }
    assert.deepEqual([error.code, error.outcome, error.status, error.message], [code, outcome, status, 'Why.'])
    assert.deepEqual(error.committed, outcome === 'committed' ? { index: 42, term: 3 } : null)
    assert.equal(sidecar.requests.length, 1)
  })
}

async function worst(t: TestContext, answers: Parameters<typeof scene>[1], timeoutMs = 300): Promise<SidecarError> {
  const { client } = await scene(t, answers)
  return await failure(client.propose(1, { timeoutMs }))
}

test('at the deadline, what never entered the log is told so', async (t) => {
  const error = await worst(t, [noLeader])
  assert.deepEqual([error.code, error.outcome], ['no-leader', 'not_applied'])
})

test('once the outcome was unknown, no later refusal makes it known', async (t) => {
  for (const last of [
    noLeader,
    problem(413, 'command-too-large', notApplied),
    problem(401, 'unauthorized', notApplied),
  ]) {
    const error = await worst(t, [problem(504, 'commit-timeout', unknown), last])
    assert.deepEqual([error.code, error.outcome], [last.body && (last.body as { code: string }).code, 'unknown'])
  }
})

test('once it was committed, it stays so, with its place', async (t) => {
  const error = await worst(t, [problem(504, 'apply-pending', here), null])
  assert.deepEqual([error.code, error.outcome, error.committed], ['no-answer', 'committed', { index: 42, term: 3 }])
})

test('an answer to the command itself settles what was unknown before', async (t) => {
  const error = await worst(t, [null, problem(504, 'apply-pending', here)])
  assert.deepEqual([error.code, error.outcome, error.committed], ['apply-pending', 'committed', { index: 42, term: 3 }])
})

test('a sidecar that is not there has applied nothing', async (t) => {
  const sidecar = await startFakeSidecar(() => null)
  await sidecar.close()
  const error = await failure(connect(t, { url: sidecar.url }).propose(1, { timeoutMs: 200 }))
  assert.deepEqual([error.code, error.outcome, error.status], ['unreachable', 'not_applied', 0])
  const error2 = await failure(connect(t, { url: 'unix:/nowhere/api.sock' }).propose(1, { timeoutMs: 200 }))
  assert.deepEqual([error2.code, error2.outcome], ['unreachable', 'not_applied'])
})

test('where it is asked for, a sidecar that is not there is not waited for, but one that went away is', async (t) => {
  const { client, sidecar } = await scene(t, [null, ok(applied)], { retryUnreachable: false })
  assert.deepEqual(await client.propose(1), applied)
  await sidecar.close()
  assert.equal((await failure(client.propose(1, { timeoutMs: 600_000 }))).code, 'unreachable')
})

test('nothing is waited for that would come after the deadline', async (t) => {
  const { client, sidecar } = await scene(t, [problem(503, 'no-leader', notApplied, { 'retry-after': '700' })])
  assert.equal((await failure(client.propose(1, { timeoutMs: 600_000 }))).retryAfterMs, 700_000)
  assert.equal(sidecar.requests.length, 1)
})

test('the sidecar is told how long the attempt may take: ten seconds at most, and no less than it takes', async (t) => {
  const { client, sidecar } = await scene(t, [ok(applied)])
  for (const timeoutMs of [60_000, 1_234, 1]) await client.propose(1, { timeoutMs })
  assert.deepEqual(
    sidecar.requests.map(({ query }) => query.timeout),
    ['10000ms', '1234ms', '100ms'],
  )
})

test('a key that begins like a quoted string goes as one', async (t) => {
  const { client, sidecar } = await scene(t, [ok(applied)])
  for (const key of ['"a"', '"a\\', 'a"b']) await client.propose(1, { key })
  assert.deepEqual([...keysOf(sidecar)], ['"\\"a\\""', '"\\"a\\\\"', 'a"b'])
})

test('a signal ends the call, before it, on its way and between two attempts', async (t) => {
  const stop = new Error('enough')
  const { client, sidecar } = await scene(t, [noLeader])
  await assert.rejects(client.propose(1, { signal: AbortSignal.abort(stop) }), stop)
  assert.equal(sidecar.requests.length, 0)

  const onTheWay = new AbortController()
  const hanging = await scene(t, () => () => onTheWay.abort(stop))
  await assert.rejects(hanging.client.propose(1, { signal: onTheWay.signal }), stop)

  const between = new AbortController()
  const waiting = await scene(t, () => {
    setImmediate(() => between.abort(stop))
    return problem(503, 'no-leader', notApplied, { 'retry-after': '700' })
  })
  await assert.rejects(waiting.client.propose(1, { signal: between.signal, timeoutMs: 1_000_000 }), stop)
})

test('closing the client ends what is on its way, and leaves its outcome open', async (t) => {
  const { client } = await scene(t, () => () => void client.close())
  const error = await failure(client.propose(1))
  assert.deepEqual([error.code, error.outcome], ['client-closed', 'unknown'])
})

test('what cannot be sent is refused before it is', async (t) => {
  const { client, sidecar } = await scene(t, [ok(applied)])
  await assert.rejects(client.propose(undefined), /no JSON form/)
  for (const key of ['', 'a b', 'ü', 'x'.repeat(256)]) {
    await assert.rejects(client.propose(1, { key }), /1 to 255 visible ASCII characters/)
  }
  await assert.rejects(client.proposeBatch([1], { key: 'x'.repeat(250) }), /1 to 249 visible ASCII characters/)
  await assert.rejects(client.propose(1, { traceparent: 'a\nb' }), (error) => !(error instanceof SidecarError))
  assert.equal(sidecar.requests.length, 0)
})
