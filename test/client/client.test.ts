// The client against the real API in front of a fake node, and against answers that no sidecar would give.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createApi } from '../../src/api/server.ts'
import type { Client } from '../../src/client/client.ts'
import { SnapshotError } from '../../src/errors.ts'
import { FakeBackup } from '../api/fake-backup.ts'
import { FakeNode } from '../api/fake-node.ts'
import { apiOptions, kvOf, type RunningApi, startApi, until } from '../api/running-api.ts'
import type { Answers } from '../cli/fake-sidecar.ts'
import { applied, connect, failure, noLeader, ok, problem, scene } from './client-kit.ts'

async function start(
  t: TestContext,
  overrides: Parameters<typeof startApi>[1] = {},
  token?: string,
): Promise<RunningApi & { client: Client }> {
  const running = await startApi(t, overrides)
  const url = `http://127.0.0.1:${running.port}/`
  return { ...running, client: connect(t, { url, ...(token === undefined ? {} : { token }) }) }
}

const ways: readonly [name: string, fetch: { fetch?: typeof globalThis.fetch }][] = [
  ['undici', {}],
  ['a given fetch', { fetch: globalThis.fetch }],
]

test('keys of every spelling reach the machine, and a missing one reads as null', async (t) => {
  const items = ['a/k', '50%', 'ü?#'].map((key) => ({ key, value: key, createdIndex: 1, modifiedIndex: 2 }))
  const { node, client } = await start(t, { kv: kvOf(items) })
  for (const item of items) assert.deepEqual(await client.kv.get(item.key), item)
  const barriers = node.barriers.length
  assert.equal(await client.kv.get('none', { consistency: 'local' }), null)
  assert.equal(node.barriers.length, barriers)
})

test('barrier, leader, status and readiness', async (t) => {
  const checks = [{ name: 'leader', ok: false, why: 'there is none' }]
  const { node, client } = await start(t, { readyChecks: () => checks })
  assert.deepEqual(await client.barrier({ minIndex: 50 }), { index: 50 })
  assert.equal(node.appliedIndex, 50)
  assert.deepEqual(await client.leader(), { id: 'n1', term: 3, self: true, appUrl: null, fencingToken: 3 })
  assert.equal(await client.isLeader(), true)
  node.quorum = false
  assert.equal(await client.isLeader(), false)
  node.leaderView = null
  assert.equal(await client.leader(), null)
  const { cluster, id, appliedIndex } = await client.status()
  assert.deepEqual([cluster, id, appliedIndex], ['orders', 'n1', 50])
  assert.deepEqual(await client.ready(), { ready: false, detail: '[-]leader failed: there is none\nnot ready\n' })
})

test('the token is shown, and a wrong one is an error of its own', async (t) => {
  const { client, port } = await start(t, { token: 's3cret' }, 's3cret')
  assert.deepEqual(await client.barrier(), { index: 41 })
  const error = await failure(connect(t, { url: `http://127.0.0.1:${port}`, token: 'no' }).leader())
  assert.deepEqual([error.code, error.outcome, error.status], ['unauthorized', null, 401])
})

test('over a unix socket', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-client-'))
  t.after(() => rm(directory, { recursive: true }))
  const path = join(directory, 'api.sock')
  const api = createApi(apiOptions(new FakeNode(), { listen: { path } }))
  await api.listen()
  t.after(() => api.close())
  assert.equal((await connect(t, { url: `unix:${path}` }).barrier()).index, 41)
  assert.throws(() => connect(t, { url: `unix:${path}`, fetch: globalThis.fetch }), /cannot reach a unix socket/)
})

test('a barrier is asked for again, by lease where that is wanted', async (t) => {
  const { client, sidecar } = await scene(t, [null, noLeader, problem(504, 'read-timeout'), ok({ index: 7 })])
  assert.deepEqual(await client.barrier({ mode: 'lease' }), { index: 7 })
  assert.deepEqual(
    sidecar.requests.map(({ query }) => query.mode),
    Array(4).fill('lease'),
  )
  const reset = await scene(t, [null])
  const error = await failure(reset.client.barrier({ timeoutMs: 200 }))
  assert.deepEqual([error.code, error.outcome], ['no-answer', null])
})

test('what tells how things are now is asked once', async (t) => {
  const { client, sidecar } = await scene(t, [null])
  for (const call of [client.leader, client.status, client.members, client.ready, client.snapshot]) {
    const error = await failure(call())
    assert.deepEqual([error.code, error.outcome], ['no-answer', null])
  }
  assert.equal(sidecar.requests.length, 5)
})

test('members, and a transfer of leadership to one of them or to whoever is furthest', async (t) => {
  const members = [{ id: 'n1', role: 'voter' }]
  const leader = { id: 'n2', term: 4, self: false, appUrl: null }
  const { client, sidecar } = await scene(t, ({ path }) => ok(path === '/v1/members' ? { members } : { leader }))
  assert.deepEqual(await client.members(), members)
  assert.deepEqual(await client.transfer('n2'), leader)
  await client.transfer(null, { timeoutMs: 1_000 })
  assert.deepEqual(
    sidecar.requests.slice(1).map(({ method, path, query, body }) => [method, path, query.timeout, body]),
    [
      ['POST', '/v1/leader/transfer', '10000ms', '{"to":"n2"}'],
      ['POST', '/v1/leader/transfer', '1000ms', '{}'],
    ],
  )
})

test('a command is left out by its index', async (t) => {
  const place = { index: 50, term: 3, timestamp: '2026-11-23T05:00:00.123Z' }
  const { client, sidecar } = await scene(t, [noLeader, ok(place)])
  assert.deepEqual(await client.skip(41), place)
  const { method, path } = sidecar.requests[1] ?? assert.fail()
  assert.deepEqual([method, path], ['POST', '/v1/commands/41/skip'])
})

const strange: readonly [what: string, answer: ReturnType<Answers>][] = [
  ['an answer that is not JSON', (response) => void response.writeHead(200).end('<html>')],
  ['an error page of a proxy', (response) => void response.writeHead(502).end('<html>')],
  ['an error that is no problem', { status: 500, body: null }],
]
for (const [what, answer] of strange) {
  test(`${what} leaves the outcome of a command unknown`, async (t) => {
    const { client, sidecar } = await scene(t, [answer, ok(applied)])
    const error = await failure(client.kv.set('k', 1))
    assert.deepEqual([error.code, error.outcome], ['malformed-answer', 'unknown'])
    assert.equal(sidecar.requests.length, 1)
  })
}

for (const [name, fetch] of ways) {
  test(`by ${name}: a snapshot is taken, and a backup streamed`, async (t) => {
    const { node, port } = await startApi(t)
    const client = connect(t, { url: `http://127.0.0.1:${port}`, ...fetch })
    assert.deepEqual(await client.snapshot(), { index: 40, term: 2, sizeBytes: 1_234 })
    const backup = new FakeBackup(3_000_000)
    node.onBackup = async () => backup
    const { body, ...about } = await client.openBackup()
    assert.deepEqual(about, { index: 40, term: 2, sizeBytes: 3_000_000, filename: 'orders-40.snapshot' })
    const chunks: Uint8Array[] = []
    for await (const chunk of body) chunks.push(chunk)
    assert.ok(Buffer.concat(chunks).equals(backup.bytes))
  })

  test(`by ${name}: a backup that breaks off is an error, and one that is left is closed`, async (t) => {
    const { node, port } = await startApi(t)
    const client = connect(t, { url: `http://127.0.0.1:${port}`, ...fetch })
    const broken = new FakeBackup(3_000_000)
    broken.beforeRead = () => (broken.reads.length > 4 ? Promise.reject(new Error('bit rot')) : Promise.resolve())
    node.onBackup = async () => broken
    const { body } = await client.openBackup()
    const reading = (async () => {
      for await (const _ of body);
    })()
    const error = await failure(reading)
    assert.deepEqual([error.code, error.outcome, error.status], ['no-answer', null, 0])
    assert.match(error.message, /^The connection ended after \d+ of the snapshot's 3000000 bytes$/)

    const left = new FakeBackup(64_000_000)
    node.onBackup = async () => left
    for await (const _ of (await client.openBackup()).body) break
    await until(() => left.closed === 1, 'the file is closed')
  })

  test(`by ${name}: no snapshot is an error with its code, and leaves nothing in doubt`, async (t) => {
    const { api, node, port } = await startApi(t)
    const client = connect(t, { url: `http://127.0.0.1:${port}`, ...fetch })
    node.onSnapshot = () => Promise.reject(new SnapshotError('snapshot-failed', 'Not now.'))
    node.onBackup = node.onSnapshot as never
    for (const call of [client.snapshot, client.openBackup]) {
      const error = await failure(call())
      const { code, message, outcome, status, retryAfterMs } = error
      assert.deepEqual(
        [code, message, outcome, status, retryAfterMs],
        ['snapshot-failed', 'Not now.', null, 503, 5_000],
      )
    }
    await api.close()
    for (const call of [client.snapshot, client.openBackup]) {
      const { outcome, status } = await failure(call())
      assert.deepEqual([outcome, status], [null, 0])
    }
  })
}

test('an answer that says nothing of the snapshot in it is no backup', async (t) => {
  const { client } = await scene(t, [(response) => void response.writeHead(200).end('bytes')])
  assert.equal((await failure(client.openBackup())).code, 'malformed-answer')
})
