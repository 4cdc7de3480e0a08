// A batch is repeated as a whole under one key; each line ends with its own result, or with the worst that it met.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SidecarError } from '../../src/client/client.ts'
import { failure, keysOf, noLeader, ok, problem, scene } from './client-kit.ts'

const done = (index: number) => ({ index, term: 3, result: { n: index } })
const lost = { code: 'leadership-lost', outcome: 'unknown', detail: 'Why.' }
const none = { code: 'no-leader', outcome: 'not_applied', detail: 'Why.' }
const refused = { code: 'invalid-command', outcome: 'not_applied', detail: 'Not JSON.' }
const batch = (...results: readonly object[]) => ok({ results })

function told(results: readonly unknown[]): readonly unknown[] {
  return results.map((result) => (result instanceof SidecarError ? [result.code, result.outcome] : result))
}

test('one JSON command a line, and one result for each', async (t) => {
  const { client, sidecar } = await scene(t, [batch(done(1), refused, done(3))])
  const results = await client.proposeBatch([{ a: 'x\ny' }, null, 'ü'], { key: 'K', timeoutMs: 2_000 })
  assert.deepEqual(told(results), [done(1), ['invalid-command', 'not_applied'], done(3)])
  const { method, path, contentType, headers, query, body } = sidecar.requests[0] ?? assert.fail()
  assert.deepEqual([method, path, contentType], ['POST', '/v1/commands/batch', 'application/x-ndjson'])
  assert.deepEqual([headers['idempotency-key'], query], ['K', { timeout: '2000ms' }])
  assert.equal(Buffer.from(body, 'latin1').toString(), '{"a":"x\\ny"}\nnull\n"ü"\n')
})

test('an empty one asks nothing', async (t) => {
  const { client, sidecar } = await scene(t, [])
  assert.deepEqual(await client.proposeBatch([]), [])
  assert.equal(sidecar.requests.length, 0)
})

test('the whole of it comes again while a line may fare better, and what was answered stays', async (t) => {
  const { client, sidecar } = await scene(t, [
    null,
    noLeader,
    batch(done(1), lost, refused),
    batch({ ...done(1), duplicate: true }, none, refused),
    batch({ ...done(1), duplicate: true }, done(2), refused),
  ])
  const results = await client.proposeBatch([1, 2, 3], { wait: 'committed' })
  // The first try, which broke off, may have carried the line that is refused now.
  assert.deepEqual(told(results), [done(1), done(2), ['invalid-command', 'unknown']])
  assert.equal(sidecar.requests.length, 5)
  assert.equal(keysOf(sidecar).size, 1)
  assert.equal(new Set(sidecar.requests.map(({ body }) => body)).size, 1)
  assert.equal(sidecar.requests[0]?.query.wait, 'committed')
})

test('at the deadline each line has what it got, and an unknown outcome stays unknown', async (t) => {
  const { client } = await scene(t, [batch(done(1), lost, none), batch(done(1), none, none), noLeader])
  const results = await client.proposeBatch([1, 2, 3], { timeoutMs: 300 })
  assert.deepEqual(told(results), [done(1), ['no-leader', 'unknown'], ['no-leader', 'not_applied']])
})

test('that not one line was answered is an error of the call', async (t) => {
  const { client } = await scene(t, [null, noLeader])
  const error = await failure(client.proposeBatch([1, 2], { timeoutMs: 300 }))
  assert.deepEqual([error.code, error.outcome], ['no-leader', 'unknown'])
  const tooLarge = await scene(t, [problem(413, 'command-too-large', { outcome: 'not_applied' })])
  assert.equal((await failure(tooLarge.client.proposeBatch([1]))).code, 'command-too-large')
})

test('an answer that does not fit leaves everything open', async (t) => {
  for (const body of [{ results: [done(1)] }, {}, null]) {
    const { client } = await scene(t, [ok(body)])
    const error = await failure(client.proposeBatch([1, 2]))
    assert.deepEqual([error.code, error.outcome], ['malformed-answer', 'unknown'])
  }
})

test('bytes and what has no JSON form are refused before anything is sent', async (t) => {
  const { client, sidecar } = await scene(t, [])
  await assert.rejects(client.proposeBatch([1, Uint8Array.of(1)]), /only `propose` takes them/)
  await assert.rejects(client.proposeBatch([1, undefined]), /no JSON form/)
  assert.equal(sidecar.requests.length, 0)
})
