import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { FakeSidecar } from './fake-sidecar.ts'
import { Queue } from './task-queue/queue.ts'
import { Replica } from './task-queue/replica.ts'
import { createServer } from './task-queue/server.ts'
import { Sidecar } from './task-queue/sidecar.ts'
import { work } from './task-queue/worker.ts'

async function start(t: TestContext) {
  const sidecar = new FakeSidecar()
  const sidecarUrl = await sidecar.listen()
  const replica = new Replica(new Queue())
  const client = new Sidecar(sidecarUrl)
  const server = createServer(replica, client)
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  sidecar.attach(`${url}/raft`)
  t.after(async () => {
    await server.close()
    await sidecar.close()
  })
  return { sidecar, replica, client, url }
}

async function enqueue(url: string, task: unknown) {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${url}/tasks`, { method: 'POST', headers, body: JSON.stringify(task) })
  return { status: response.status, body: await response.json() }
}

async function get(url: string): Promise<unknown> {
  return (await fetch(url)).json()
}

async function until(condition: () => boolean): Promise<void> {
  for (let left = 1000; left > 0; left--) {
    if (condition()) return
    await sleep(10)
  }
  assert.fail(`Waited in vain for ${condition}`)
}

describe('the hooks of the task queue', () => {
  it('answer the position, from 0 in a fresh process on', async (t) => {
    const { sidecar, url } = await start(t)
    assert.deepEqual(await get(`${url}/raft/position`), { position: 0 })
    sidecar.append({ op: 'enqueue', id: 'a', path: 'a' })
    sidecar.append({ op: 'enqueue', id: 'b', path: 'b' })
    assert.deepEqual(await sidecar.deliver(0), {
      status: 200,
      body: {
        results: [
          { ok: true, known: false },
          { ok: true, known: false },
        ],
      },
    })
    assert.deepEqual(await get(`${url}/raft/position`), { position: 2 })
  })

  it('ignore what is delivered twice, answering null for it', async (t) => {
    const { sidecar, replica } = await start(t)
    for (const id of ['a', 'b', 'c']) sidecar.append({ op: 'enqueue', id, path: id })
    await sidecar.deliver(0)
    const digest = replica.queue.digest()
    assert.deepEqual(await sidecar.deliver(1), { status: 200, body: { results: [null, null] } })
    assert.equal(replica.queue.digest(), digest)
  })

  it('answer 409 with the position when commands are missing in between', async (t) => {
    const { sidecar, replica } = await start(t)
    for (const id of ['a', 'b', 'c', 'd']) sidecar.append({ op: 'enqueue', id, path: id })
    assert.deepEqual(await sidecar.deliver(2), { status: 409, body: { position: 0 } })
    assert.deepEqual(replica.queue.stats(), { queued: 0, leased: 0, done: 0, refused: 0 })
    assert.equal((await sidecar.deliver(0)).status, 200)
    assert.equal(replica.position, 4)
  })

  it('take a batch of the largest size that a sidecar sends', async (t) => {
    const { sidecar, replica } = await start(t)
    for (let number = 0; number < 1000; number++)
      sidecar.append({ op: 'enqueue', id: `t${number}`, path: 'x'.repeat(2000) })
    assert.equal((await sidecar.deliver(0)).status, 200)
    assert.equal(replica.queue.stats().queued, 1000)
  })

  it('take any JSON that was committed, whatever its names', async (t) => {
    const { sidecar, replica } = await start(t)
    sidecar.append(JSON.parse('{"op":"enqueue","__proto__":{"id":"a","path":"a"},"constructor":{"prototype":1}}'))
    assert.deepEqual(await sidecar.deliver(0), {
      status: 200,
      body: { results: [{ ok: false, reason: 'not a command of this queue' }] },
    })
    assert.equal(replica.position, 1)
  })
})

describe('the API of the task queue', () => {
  it('enqueues through the sidecar, and says when the task was known', async (t) => {
    const { url } = await start(t)
    assert.deepEqual(await enqueue(url, { id: 'a', path: 'a' }), { status: 200, body: { ok: true, known: false } })
    assert.deepEqual(await enqueue(url, { id: 'a', path: 'a' }), { status: 200, body: { ok: true, known: true } })
    assert.deepEqual(await get(`${url}/stats`), { position: 2, queued: 1, leased: 0, done: 0, refused: 0 })
  })

  it('answers 503 while the sidecar has no leader, and 400 to what is no task', async (t) => {
    const { sidecar, url } = await start(t)
    sidecar.leaderless = true
    assert.equal((await enqueue(url, { id: 'a', path: 'a' })).status, 503)
    assert.equal((await enqueue(url, { id: '', path: 'a' })).status, 400)
    assert.equal((await enqueue(url, { path: 'a' })).status, 400)
    assert.equal(sidecar.log.length, 0)
  })

  it('shows the digest of the state with the index that it belongs to, and the history of every task', async (t) => {
    const { replica, url } = await start(t)
    await enqueue(url, { id: 'a', path: 'p' })
    assert.deepEqual(await get(`${url}/state`), { position: 1, digest: replica.queue.digest() })
    assert.deepEqual(await get(`${url}/history`), {
      position: 1,
      tasks: [{ id: 'a', path: 'p', leases: [], completions: [] }],
    })
  })
})

describe('a worker of the task queue', () => {
  async function startWorker(t: TestContext) {
    const folder = await mkdtemp(join(tmpdir(), 'task-queue-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    await writeFile(join(folder, 'hello.txt'), 'hello')
    const app = await start(t)
    const stop = new AbortController()
    const working = work({ name: 'w', folder, leaseMs: 1000 }, app.replica, app.client, stop.signal)
    t.after(async () => {
      stop.abort()
      await working
    })
    return app
  }

  it('hashes the file of a task and completes it with the digest', async (t) => {
    const { replica, url } = await startWorker(t)
    await enqueue(url, { id: 'a', path: 'hello.txt' })
    await until(() => replica.queue.stats().done === 1)
    const expected = createHash('sha256').update('hello').digest('hex')
    assert.equal(replica.queue.history()[0]?.completions[0]?.result, expected)
  })

  it('gives an unreadable file back twice, then completes it as unreadable', async (t) => {
    const { replica, url } = await startWorker(t)
    await enqueue(url, { id: 'gone', path: 'gone.txt' })
    await enqueue(url, { id: 'outside', path: '../outside.txt' })
    await until(() => replica.queue.stats().done === 2)
    for (const task of replica.queue.history()) {
      assert.equal(task.leases.length, 3)
      assert.match(task.completions[0]?.result ?? '', /^unreadable: /)
    }
  })

  it('goes on by itself after a time without a leader', async (t) => {
    const { sidecar, replica, url } = await startWorker(t)
    await enqueue(url, { id: 'a', path: 'hello.txt' })
    await until(() => replica.queue.stats().done === 1)
    sidecar.leaderless = true
    sidecar.append({ op: 'enqueue', id: 'b', path: 'hello.txt' })
    await sidecar.deliver(replica.position)
    assert.equal(replica.queue.stats().queued, 1)
    sidecar.leaderless = false
    await until(() => replica.queue.stats().done === 2)
  })
})
