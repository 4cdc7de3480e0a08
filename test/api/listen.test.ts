// Addresses: ports, unix sockets, the second listener, and what stops the start.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { link, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Client } from 'undici'
import { createApi } from '../../src/api/server.ts'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { FakeNode } from './fake-node.ts'
import { apiOptions, jsonType, startApi } from './running-api.ts'

async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-api-'))
  t.after(() => rm(directory, { recursive: true }))
  return directory
}

async function getOverSocket(path: string, url: string): Promise<number> {
  const client = new Client('http://localhost', { socketPath: path })
  try {
    const response = await client.request({ method: 'GET', path: url })
    await response.body.dump()
    return response.statusCode
  } finally {
    await client.close()
  }
}

test('a port that is in use stops the start in one line', async (t) => {
  const { port } = await startApi(t)
  const listen = { host: '127.0.0.1', port }
  await assert.rejects(createApi(apiOptions(new FakeNode(), { listen })).listen(), (error) => {
    assert(error instanceof FatalError)
    assert.equal(error.exitCode, exitCodes.unavailable)
    assert.equal(
      error.message,
      `Cannot listen on API_LISTEN=127.0.0.1:${port}: another process listens there. Stop it, or give API_LISTEN another address.`,
    )
    return true
  })
  const statusListen = { host: '127.0.0.1', port }
  await assert.rejects(
    createApi(apiOptions(new FakeNode(), { statusListen })).listen(),
    /^FatalError: Cannot listen on STATUS_LISTEN=/,
  )
})

test('an address of another machine stops the start', async () => {
  const options = apiOptions(new FakeNode(), { listen: { host: '192.0.2.1', port: 0 }, token: 't' })
  await assert.rejects(createApi(options).listen(), /no interface of this machine has that address/)
})

test('a unix socket serves, and is gone after the close', async (t) => {
  const path = join(await temporaryDirectory(t), 'api.sock')
  const api = createApi(apiOptions(new FakeNode(), { listen: { path } }))
  assert.deepEqual(await api.listen(), { api: { path }, status: null })
  assert.equal(await getOverSocket(path, '/v1/leader'), 200)
  await api.close()
  assert.equal(existsSync(path), false)
})

test('the socket file of a dead process is replaced, that of a live one is not', async (t) => {
  const path = join(await temporaryDirectory(t), 'api.sock')
  await leaveStaleSocket(path)
  assert.equal(existsSync(path), true)
  const api = createApi(apiOptions(new FakeNode(), { listen: { path } }))
  await api.listen()
  t.after(() => api.close())
  await assert.rejects(
    createApi(apiOptions(new FakeNode(), { listen: { path } })).listen(),
    (error) =>
      error instanceof FatalError && error.message.startsWith(`Cannot listen on API_LISTEN=unix:${path}: another`),
  )
  assert.equal(await getOverSocket(path, '/livez'), 200)
})

test('a file that is no socket is never removed', async (t) => {
  const path = join(await temporaryDirectory(t), 'api.sock')
  await writeFile(path, 'precious')
  await assert.rejects(
    createApi(apiOptions(new FakeNode(), { listen: { path } })).listen(),
    /it is a file of another kind\. Remove it or give another path/,
  )
  assert.equal(existsSync(path), true)
})

test('the second listener has health checks, metrics and the leader, and nothing else', async (t) => {
  const { node, sendStatus } = await startApi(t, { statusListen: { host: '127.0.0.1', port: 0 }, token: 's3cret' })
  for (const path of ['/livez', '/readyz', '/health/leader', '/metrics', '/v1/leader']) {
    const reply = await sendStatus('GET', path)
    assert.equal(reply.status, 200, path)
    assert.equal(reply.headers['raft-index'], '41')
  }
  for (const [method, path] of [
    ['POST', '/v1/commands'],
    ['GET', '/v1/status'],
    ['GET', '/v1/barrier'],
    ['GET', '/v1/kv/k'],
    ['PUT', '/v1/kv/k'],
  ] as const) {
    const body = method === 'GET' ? {} : { headers: { ...jsonType, authorization: 'Bearer s3cret' }, body: '1' }
    const reply = await sendStatus(method, path, body)
    assert.equal(reply.status, 404, path)
    assert.match(String(reply.json.detail), /STATUS_LISTEN is read-only/)
  }
  assert.equal((await sendStatus('POST', '/v1/leader')).status, 405)
  assert.equal(node.proposals.length, 0)
})

/** A socket file whose listener died without removing it, as a killed process leaves it. */
async function leaveStaleSocket(path: string): Promise<void> {
  const server = createServer()
  const listened = `${path}.live`
  await new Promise<void>((resolve) => server.listen(listened, resolve))
  await link(listened, path)
  await new Promise<void>((resolve) => server.close(() => resolve()))
}
