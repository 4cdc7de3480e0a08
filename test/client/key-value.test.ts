// The key-value store: what is asked of the sidecar, and what its answers become.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConditionFailedError } from '../../src/client/client.ts'
import { applied, failure, keysOf, noLeader, ok, problem, scene } from './client-kit.ts'

const item = (key: string) => ({ key, value: { of: key }, createdIndex: 1, modifiedIndex: 2 })

test('a key is read, and a missing one is null', async (t) => {
  const { client, sidecar } = await scene(t, ({ path }) =>
    path === '/v1/kv/none' ? problem(404, 'key-not-found') : ok(item('a/50% ü')),
  )
  assert.deepEqual(await client.kv.get('a/50% ü', { consistency: 'local', minIndex: 7 }), item('a/50% ü'))
  assert.equal(await client.kv.get('none'), null)
  const { path, query, headers } = sidecar.requests[0] ?? assert.fail()
  assert.deepEqual([path, query.consistency, headers['raft-min-index']], ['/v1/kv/a%2F50%25%20%C3%BC', 'local', '7'])
})

test('writes carry a key of their own, over all attempts', async (t) => {
  const { client, sidecar } = await scene(t, [null, noLeader, ok(applied)])
  assert.deepEqual(await client.kv.set('k', [1]), applied)
  assert.equal(keysOf(sidecar).size, 1)
  await client.kv.delete('k', { idempotencyKey: 'mine' })
  assert.deepEqual(
    sidecar.requests.map(({ method, path, body }) => `${method} ${path} ${body}`),
    ['PUT /v1/kv/k [1]', 'PUT /v1/kv/k [1]', 'PUT /v1/kv/k [1]', 'DELETE /v1/kv/k '],
  )
  assert.deepEqual([keysOf(sidecar).size, sidecar.requests[3]?.headers['idempotency-key']], [2, 'mine'])
})

test('conditions go as headers', async (t) => {
  const { client, sidecar } = await scene(t, [ok(applied)])
  await client.kv.set('k', 1, { ifMatch: 41 })
  await client.kv.set('k', 1, { ifNoneMatch: '*' })
  await client.kv.delete('k', { ifMatch: 41 })
  assert.deepEqual(
    sidecar.requests.map(({ headers }) => [headers['if-match'], headers['if-none-match']]),
    [
      ['"41"', undefined],
      [undefined, '*'],
      ['"41"', undefined],
    ],
  )
})

test('a condition that did not hold is an error that knows the version', async (t) => {
  for (const [more, modifiedIndex] of [
    [{ modifiedIndex: 40 }, 40],
    [{ modifiedIndex: 0 }, 0],
    [{}, null],
  ] as const) {
    const { client } = await scene(t, [
      null,
      problem(412, 'condition-failed', { outcome: 'committed', index: 42, term: 3, ...more }),
    ])
    const error = await failure(client.kv.set('k', 1, { ifMatch: 41 }))
    assert(error instanceof ConditionFailedError)
    // The answer is that to the command itself: the attempt that broke off leaves nothing open.
    assert.deepEqual([error.code, error.outcome, error.modifiedIndex], ['condition-failed', 'committed', modifiedIndex])
  }
})

test('a listing goes from page to page as it is read, each with its own attempts', async (t) => {
  const { client, sidecar } = await scene(t, [
    ok({ items: [item('a/1'), item('a/2')], next: 'a/2' }),
    noLeader,
    ok({ items: [item('a/3')], next: null }),
  ])
  const keys: string[] = []
  const asked: number[] = []
  for await (const { key } of client.kv.list({ prefix: 'a/', pageSize: 2, consistency: 'local' })) {
    keys.push(key)
    asked.push(sidecar.requests.length)
  }
  assert.deepEqual(
    [keys, asked],
    [
      ['a/1', 'a/2', 'a/3'],
      [1, 1, 3],
    ],
  )
  const { timeout: _, ...query } = sidecar.requests[2]?.query ?? {}
  assert.deepEqual(query, { prefix: 'a/', limit: '2', consistency: 'local', after: 'a/2' })
})

test('a listing that is left asks no more', async (t) => {
  const { client, sidecar } = await scene(t, [ok({ items: [item('a'), item('b')], next: 'b' })])
  for await (const _ of client.kv.list({ after: '0' })) break
  assert.equal(sidecar.requests.length, 1)
  assert.equal(sidecar.requests[0]?.query.after, '0')
})
