// Snapshots over the API: taking one, and downloading one as a backup whoever the client is and however it leaves.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { SnapshotError } from '../../src/errors.ts'
import { FakeBackup } from './fake-backup.ts'
import { type RunningApi, startApi, until } from './running-api.ts'

const MiB = 1024 * 1024

async function startWith(t: TestContext, backup: FakeBackup, overrides = {}): Promise<RunningApi> {
  const running = await startApi(t, overrides)
  running.node.onBackup = async () => backup
  return running
}

test('POST takes a snapshot and says which one', async (t) => {
  const { send } = await startApi(t)
  const reply = await send('POST', '/v1/snapshot')
  assert.equal(reply.status, 200)
  assert.deepEqual(reply.json, { index: 40, term: 2, sizeBytes: 1_234 })
  assert.equal((await send('POST', '/v1/snapshot', { body: '{}' })).json.code, 'invalid-parameter')
})

for (const sizeBytes of [0, 1, 256 * 1024, 3 * MiB + 17]) {
  test(`GET downloads a backup of ${sizeBytes} bytes, in parts of at most 256 KiB, and closes it`, async (t) => {
    const backup = new FakeBackup(sizeBytes)
    const { port } = await startWith(t, backup)
    const { response, body } = await download(port)
    assert.equal(response.statusCode, 200)
    assert.ok(body.equals(backup.bytes))
    const { headers } = response
    assert.equal(headers['content-type'], 'application/octet-stream')
    assert.equal(headers['content-length'], String(sizeBytes))
    assert.equal(headers['content-disposition'], 'attachment; filename="orders-40.snapshot"')
    assert.equal(headers['raft-snapshot-index'], '40')
    assert.equal(headers['raft-snapshot-term'], '2')
    assert.equal(headers['raft-index'], '41')
    assert.ok(backup.reads.every(({ wanted }) => wanted <= 256 * 1024))
    await until(() => backup.closed === 1, 'the file is closed')
  })
}

test('a client that reads slowly is never far behind the file', async (t) => {
  const backup = new FakeBackup(64 * MiB)
  const { port } = await startWith(t, backup)
  const { response } = await begin(port)
  let received = 0
  let furthest = 0
  backup.beforeRead = async () => {
    furthest = Math.max(furthest, backup.reads.length * 256 * 1024 - received)
  }
  response.on('data', (chunk: Buffer) => {
    received += chunk.length
    response.pause()
    setImmediate(() => response.resume())
  })
  await once(response, 'end')
  assert.equal(received, 64 * MiB)
  // What the buffers of two sockets take is the system's choice; the rest has to stay in the file.
  assert.ok(furthest < 32 * MiB, `the file was read ${furthest} bytes ahead`)
})

test('a client that goes away in the midst of it: the file is closed, and the next one is served', async (t) => {
  const backup = new FakeBackup(64 * MiB)
  const { port, node, send } = await startWith(t, backup)
  const { response } = await begin(port)
  response.once('data', () => response.destroy())
  await until(() => backup.closed === 1, 'the file is closed')
  const next = new FakeBackup(10)
  node.onBackup = async () => next
  assert.equal((await send('GET', '/v1/snapshot')).status, 200)
})

test('a client that goes away before the snapshot is taken: the file is closed, unread', async (t) => {
  const backup = new FakeBackup(10)
  const { node, port } = await startApi(t)
  let ready = () => {}
  let asked = false
  node.onBackup = () => {
    asked = true
    return new Promise((resolve) => {
      ready = () => resolve(backup)
    })
  }
  const call = request({ port, host: '127.0.0.1', path: '/v1/snapshot' }).end()
  call.on('error', () => {})
  await until(() => asked, 'the backup is asked for')
  call.destroy()
  // The server has noticed when it serves somebody else on a connection that was made later.
  await download(port, '/livez')
  ready()
  await until(() => backup.closed === 1, 'the file is closed')
  assert.deepEqual(backup.reads, [])
})

test('a client that stands still is cut off, and the file is closed', async (t) => {
  const backup = new FakeBackup(64 * MiB)
  const { port } = await startWith(t, backup, { backupIdleTimeoutMs: 50 })
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  t.after(() => socket.destroy())
  socket.write('GET /v1/snapshot HTTP/1.1\r\nhost: localhost\r\n\r\n')
  socket.pause()
  await until(() => backup.closed === 1, 'the file is closed')
})

test('a file that cannot be read on breaks the connection off: nobody takes it for whole', async (t) => {
  const faults: readonly ((backup: FakeBackup) => void)[] = [
    (backup) => {
      backup.beforeRead = () => (backup.reads.length > 2 ? Promise.reject(new Error('bit rot')) : Promise.resolve())
    },
    (backup) => {
      backup.snapshot.sizeBytes += 1
    },
  ]
  for (const fault of faults) {
    const backup = new FakeBackup(2 * MiB)
    const { port } = await startWith(t, backup)
    fault(backup)
    await assert.rejects(download(port), /aborted|ECONNRESET/)
    await until(() => backup.closed === 1, 'the file is closed')
  }
})

test('closing the API ends a download that goes on', async (t) => {
  const backup = new FakeBackup(64 * MiB)
  const { api, port } = await startWith(t, backup, { closeTimeoutMs: 50 })
  const { response } = await begin(port)
  response.on('error', () => {})
  await api.close()
  await until(() => backup.closed === 1, 'the file is closed')
})

test('HEAD would take a snapshot for nobody, and is refused', async (t) => {
  const { node, send } = await startApi(t)
  node.onBackup = () => assert.fail('nothing was to be opened')
  const reply = await send('HEAD', '/v1/snapshot')
  assert.deepEqual([reply.status, reply.headers.allow], [405, 'GET, POST'])
})

const failures: readonly [code: SnapshotError['code'], status: number, retryAfter: string | undefined][] = [
  ['snapshot-unsupported', 501, undefined],
  ['snapshot-failed', 503, '5'],
  ['storage-full', 507, undefined],
  ['shutting-down', 503, '5'],
]
for (const [code, status, retryAfter] of failures) {
  test(`${code} is ${status}, with no outcome: nothing was proposed`, async (t) => {
    const { node, send } = await startApi(t)
    node.onSnapshot = () => Promise.reject(new SnapshotError(code, 'Why.'))
    node.onBackup = () => Promise.reject(new SnapshotError(code, 'Why.'))
    for (const method of ['POST', 'GET']) {
      const reply = await send(method, '/v1/snapshot')
      assert.equal(reply.status, status)
      assert.match(String(reply.headers['content-type']), /^application\/problem\+json/)
      assert.deepEqual([reply.json.code, reply.json.detail, reply.json.outcome], [code, 'Why.', undefined])
      assert.equal(reply.headers['retry-after'], retryAfter)
    }
  })
}

test('a snapshot that is to hold an index waits until the node does', async (t) => {
  const { node, send } = await startApi(t)
  for (const method of ['POST', 'GET']) {
    node.appliedIndex = 41
    const backup = new FakeBackup(1)
    node.onBackup = async () => backup
    const headers = { 'raft-min-index': '50' }
    assert.equal((await send(method, '/v1/snapshot', { headers })).headers['raft-index'], '50')
  }
})

test('the token guards it, and the listener for other machines has none of it', async (t) => {
  const { node, send, sendStatus } = await startApi(t, {
    token: 'a-long-enough-token',
    statusListen: { host: '127.0.0.1', port: 0 },
  })
  node.onBackup = () => assert.fail('nothing was to be opened')
  node.onSnapshot = () => assert.fail('nothing was to be taken')
  for (const method of ['GET', 'POST']) {
    assert.equal((await send(method, '/v1/snapshot')).status, 401)
    assert.equal((await sendStatus(method, '/v1/snapshot')).status, 404)
  }
})

async function begin(port: number, path = '/v1/snapshot'): Promise<{ response: IncomingMessage }> {
  const call = request({ port, host: '127.0.0.1', path, agent: false }).end()
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  return { response }
}

async function download(port: number, path?: string): Promise<{ response: IncomingMessage; body: Buffer }> {
  const { response } = await begin(port, path)
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return { response, body: Buffer.concat(chunks) }
}
