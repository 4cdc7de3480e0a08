// The client against the real API in front of a fake node, and against answers that no sidecar would give.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createApi } from '../../src/api/server.ts'
import { type Client, type ClientOptions, createClient, RaftSidecarError } from '../../src/client/client.ts'
import { ProposalError, ReadError, SnapshotError } from '../../src/errors.ts'
import { FakeBackup } from '../api/fake-backup.ts'
import { appliedAt, FakeNode } from '../api/fake-node.ts'
import { apiOptions, kvOf, type RunningApi, startApi, until } from '../api/running-api.ts'

const timestamp = '2026-11-23T05:00:00.123Z'

function connected(t: TestContext, options: ClientOptions): Client {
  const client = createClient(options)
  t.after(() => client.close())
  return client
}

async function start(
  t: TestContext,
  overrides: Parameters<typeof startApi>[1] = {},
  token?: string,
): Promise<RunningApi & { client: Client }> {
  const running = await startApi(t, overrides)
  const baseUrl = `http://127.0.0.1:${running.port}/`
  return { ...running, client: connected(t, { baseUrl, ...(token === undefined ? {} : { token }) }) }
}

async function failure(promise: Promise<unknown>): Promise<RaftSidecarError> {
  try {
    await promise
  } catch (error) {
    assert(error instanceof RaftSidecarError, String(error))
    return error
  }
  assert.fail('The call should have failed')
}

const ways: readonly [name: string, fetch: { fetch?: typeof globalThis.fetch }][] = [
  ['undici', {}],
  ['a given fetch', { fetch: globalThis.fetch }],
]
for (const [name, fetch] of ways) {
  test(`by ${name}: JSON, bytes, waiting for the commit only, and errors`, async (t) => {
    const { node, port } = await startApi(t)
    const client = connected(t, { baseUrl: `http://127.0.0.1:${port}`, ...fetch })
    assert.deepEqual(await client.propose({ a: 'ü' }), { index: 42, term: 3, timestamp, result: { ok: true } })
    assert.deepEqual(await client.propose('x', { wait: 'committed' }), { index: 42, term: 3, timestamp })
    await client.propose(Uint8Array.of(0, 255), { timeoutMs: 60_000 })
    assert.deepEqual(
      node.proposals.map(({ command }) => [command.kind, Buffer.from(command.payload).toString('latin1')]),
      [
        ['json', Buffer.from('{"a":"ü"}').toString('latin1')],
        ['json', '"x"'],
        ['bytes', '\x00\xff'],
      ],
    )
    assert.ok((node.proposals[2]?.timeoutMs ?? 0) > 50_000)
    node.onPropose = () =>
      Promise.reject(new ProposalError('apply-pending', 'committed', 'Not yet.', { index: 9, term: 2 }))
    const error = await failure(client.propose(1))
    assert.deepEqual(
      [error.code, error.outcome, error.status, error.committed, error.message],
      ['apply-pending', 'committed', 504, { index: 9, term: 2 }, 'Not yet.'],
    )
  })
}

test('keys of every spelling reach the machine, and a missing one reads as null', async (t) => {
  const items = ['a/k', '50%', 'ü?#'].map((key) => ({ key, value: key, createdIndex: 1, modifiedIndex: 2 }))
  const { node, client } = await start(t, { kv: kvOf(items) })
  for (const item of items) {
    assert.deepEqual(await client.kv.get(item.key), item)
    assert.equal((await client.kv.set(item.key, [item.key])).index, 42)
    const payload = Buffer.from(node.proposals.at(-1)?.command.payload ?? []).toString()
    assert.deepEqual(JSON.parse(payload), { op: 'set', key: item.key, value: [item.key] })
  }
  const barriers = node.barriers.length
  assert.equal(await client.kv.get('none', { consistency: 'local' }), null)
  assert.equal(node.barriers.length, barriers)
  await client.kv.delete('a/k')
  assert.equal(Buffer.from(node.proposals.at(-1)?.command.payload ?? []).toString(), '{"op":"delete","key":"a/k"}')
})

test('barrier, leader, status and readiness', async (t) => {
  const checks = [{ name: 'leader', ok: false, why: 'there is none' }]
  const { node, client } = await start(t, { readyChecks: () => checks })
  assert.deepEqual(await client.barrier({ minIndex: 50 }), { index: 50 })
  assert.equal(node.appliedIndex, 50)
  assert.deepEqual(await client.leader(), { id: 'n1', term: 3, self: true, appUrl: null, fencingToken: 3 })
  node.leaderView = null
  assert.equal(await client.leader(), null)
  const { cluster, id, appliedIndex } = await client.status()
  assert.deepEqual([cluster, id, appliedIndex], ['orders', 'n1', 50])
  assert.deepEqual(await client.ready(), { ready: false, detail: '[-]leader failed: there is none\nnot ready\n' })
})

test('the token is shown, and a wrong one is an error of its own', async (t) => {
  const { client, port } = await start(t, { token: 's3cret' }, 's3cret')
  assert.equal((await client.propose(1)).index, 42)
  const error = await failure(connected(t, { baseUrl: `http://127.0.0.1:${port}`, token: 'no' }).leader())
  assert.deepEqual([error.code, error.status], ['unauthorized', 401])
})

test('what never entered the log is repeated within the timeout', async (t) => {
  const { node, client } = await start(t)
  for (const code of ['no-leader', 'too-many-proposals'] as const) {
    let failures = 1
    node.onPropose = async () => {
      if (failures-- > 0) throw new ProposalError(code, 'not_applied', 'Not now.')
      return appliedAt(43, { term: 4, result: null })
    }
    assert.equal((await client.propose(1)).index, 43)
  }
  let failures = 1
  node.onBarrier = async () => {
    if (failures-- > 0) throw new ReadError('no-leader', 'Not now.')
    return 7
  }
  assert.deepEqual(await client.barrier(), { index: 7 })
})

test('nothing is repeated past the timeout', async (t) => {
  const { node, client } = await start(t)
  node.onPropose = () => Promise.reject(new ProposalError('no-leader', 'not_applied', 'None.'))
  assert.equal((await failure(client.propose(1, { timeoutMs: 500 }))).code, 'no-leader')
  assert.equal(node.proposals.length, 1)
})

for (const [code, outcome] of [
  ['leadership-lost', 'unknown'],
  ['commit-timeout', 'unknown'],
  ['apply-pending', 'committed'],
  ['storage-full', 'not_applied'],
  ['shutting-down', 'not_applied'],
] as const) {
  test(`${code} is not repeated`, async (t) => {
    const { node, client } = await start(t)
    node.onPropose = () => Promise.reject(new ProposalError(code, outcome, 'Why.'))
    const error = await failure(client.propose(1))
    assert.deepEqual([error.code, error.outcome], [code, outcome])
    assert.equal(node.proposals.length, 1)
  })
}

test('over a unix socket, named either way', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-client-'))
  t.after(() => rm(directory, { recursive: true }))
  const socketPath = join(directory, 'api.sock')
  const api = createApi(apiOptions(new FakeNode(), { listen: { path: socketPath } }))
  await api.listen()
  t.after(() => api.close())
  for (const options of [{ socketPath }, { baseUrl: `unix:${socketPath}` }]) {
    assert.equal((await connected(t, options).propose(1)).index, 42)
  }
})

test('a sidecar that is not there has applied nothing', async (t) => {
  const { api, port } = await startApi(t)
  await api.close()
  for (const [, fetch] of ways) {
    const client = connected(t, { baseUrl: `http://127.0.0.1:${port}`, ...fetch })
    const error = await failure(client.propose(1))
    assert.deepEqual([error.code, error.outcome, error.status], ['unreachable', 'not_applied', 0])
    assert.equal((await failure(client.barrier())).outcome, null)
  }
  const error = await failure(connected(t, { socketPath: '/nowhere/api.sock' }).propose(1))
  assert.deepEqual([error.code, error.outcome], ['unreachable', 'not_applied'])
})

const strange: readonly [what: string, answer: RequestListener, code: string][] = [
  ['a connection that breaks off', (request) => request.socket.destroy(), 'no-answer'],
  ['an answer that is not JSON', (_request, response) => response.writeHead(200).end('<html>'), 'malformed-answer'],
  ['an error page of a proxy', (_request, response) => response.writeHead(502).end('<html>'), 'malformed-answer'],
  ['an error that is no problem', (_request, response) => response.writeHead(500).end('null'), 'malformed-answer'],
]
for (const [what, answer, code] of strange) {
  test(`${what} leaves the outcome of a command unknown, and it is not repeated`, async (t) => {
    let requests = 0
    const server = createServer((request, response) => {
      requests++
      answer(request, response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    const address = server.address()
    assert(typeof address === 'object' && address !== null)
    const client = connected(t, { baseUrl: `http://127.0.0.1:${address.port}` })
    const error = await failure(client.kv.set('k', 1))
    assert.deepEqual([error.code, error.outcome], [code, 'unknown'])
    assert.equal(requests, 1)
  })
}

test('a value without a JSON form is refused before it is sent', async (t) => {
  const { node, client } = await start(t)
  await assert.rejects(client.propose(undefined), /no JSON form/)
  assert.equal(node.proposals.length, 0)
})

for (const [name, fetch] of ways) {
  test(`by ${name}: a snapshot is taken, and a backup streamed`, async (t) => {
    const { node, port } = await startApi(t)
    const client = connected(t, { baseUrl: `http://127.0.0.1:${port}`, ...fetch })
    assert.deepEqual(await client.takeSnapshot(), { index: 40, term: 2, sizeBytes: 1_234 })
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
    const client = connected(t, { baseUrl: `http://127.0.0.1:${port}`, ...fetch })
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
    const client = connected(t, { baseUrl: `http://127.0.0.1:${port}`, ...fetch })
    node.onSnapshot = () => Promise.reject(new SnapshotError('snapshot-failed', 'Not now.'))
    node.onBackup = node.onSnapshot as never
    for (const call of [client.takeSnapshot, client.openBackup]) {
      const error = await failure(call())
      const { code, message, outcome, status, retryAfterMs } = error
      assert.deepEqual(
        [code, message, outcome, status, retryAfterMs],
        ['snapshot-failed', 'Not now.', null, 503, 5_000],
      )
    }
    await api.close()
    for (const call of [client.takeSnapshot, client.openBackup]) {
      const { outcome, status } = await failure(call())
      assert.deepEqual([outcome, status], [null, 0])
    }
  })
}

test('an answer that says nothing of the snapshot in it is no backup', async (t) => {
  const server = createServer((_request, response) => response.writeHead(200).end('bytes'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = server.address()
  assert(typeof address === 'object' && address !== null)
  const client = connected(t, { baseUrl: `http://127.0.0.1:${address.port}` })
  assert.equal((await failure(client.openBackup())).code, 'malformed-answer')
})
