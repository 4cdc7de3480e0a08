import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { FakeSidecar } from './fake-sidecar.ts'
import { Replica } from './task-queue/replica.ts'
import { createServer } from './task-queue/server.ts'
import { Sidecar } from './task-queue/sidecar.ts'
import { work } from './task-queue/worker.ts'

async function start(t: TestContext) {
  const sidecar = new FakeSidecar()
  const sidecarUrl = await sidecar.listen()
  const replica = new Replica()
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

describe('the snapshot hooks of the task queue', () => {
  /** Tasks that wait, that are leased and given back, that are done, and a refusal. */
  function fill(sidecar: FakeSidecar) {
    for (const id of ['a', 'b', 'c', 'd', 'e']) sidecar.append({ op: 'enqueue', id, path: id })
    sidecar.append({ op: 'lease', worker: 'w', leaseMs: 1000, max: 4 })
    sidecar.append({ op: 'complete', id: 'b', leaseId: 'b#1', result: 'B' })
    sidecar.append({ op: 'retry', id: 'a', leaseId: 'a#1', reason: 'x' })
    sidecar.append({ op: 'complete', id: 'a', leaseId: 'a#1', result: 'late' })
  }

  async function snapshotOf(url: string) {
    const response = await fetch(`${url}/raft/snapshot`, { method: 'POST' })
    assert.equal(response.status, 200)
    return { position: response.headers.get('raft-position') ?? '', state: await response.text() }
  }

  function restore(url: string, state: string, position: string) {
    const headers = { 'content-type': 'application/octet-stream', 'raft-position': position }
    return fetch(`${url}/raft/snapshot`, { method: 'PUT', headers, body: state })
  }

  it('bring another instance to the same queue, which then goes on alike', async (t) => {
    const first = await start(t)
    const second = await start(t)
    fill(first.sidecar)
    await first.sidecar.deliver(0)
    const { position, state } = await snapshotOf(first.url)
    assert.equal(position, `${first.replica.position}`)
    second.sidecar.append({ op: 'enqueue', id: 'of another past', path: 'x' })
    await second.sidecar.deliver(0)
    assert.equal((await restore(second.url, state, position)).status, 204)
    assert.deepEqual(await get(`${second.url}/state`), await get(`${first.url}/state`))
    assert.deepEqual(await get(`${second.url}/raft/position`), { position: first.replica.position })
    // Whom the leases go to next depends on the order of what waits and what is leased.
    for (const { sidecar, replica } of [first, second]) {
      sidecar.nowMs += 5000
      sidecar.log.length = 0
      sidecar.log.push({
        index: replica.position + 1,
        timestamp: new Date(sidecar.nowMs).toISOString(),
        command: { op: 'lease', worker: 'v', leaseMs: 1000, max: 3 },
      })
    }
    assert.deepEqual(
      await second.sidecar.deliver(second.replica.position),
      await first.sidecar.deliver(first.replica.position),
    )
    assert.equal(second.replica.queue.digest(), first.replica.queue.digest())
  })

  it('show one moment', async (t) => {
    const { sidecar, replica, url } = await start(t)
    fill(sidecar)
    await sidecar.deliver(0)
    const digest = replica.queue.digest()
    const { position, state } = await snapshotOf(url)
    const before = Number(position)
    sidecar.append({ op: 'complete', id: 'c', leaseId: 'c#1', result: 'C' })
    await sidecar.deliver(before, before + 1)
    assert.notEqual(replica.queue.digest(), digest)
    assert.equal((await restore(url, state, position)).status, 204)
    assert.equal(replica.queue.digest(), digest)
    assert.equal(replica.position, before)
  })

  it('take nothing of what is no queue', async (t) => {
    const { sidecar, replica, url } = await start(t)
    fill(sidecar)
    await sidecar.deliver(0)
    const digest = replica.queue.digest()
    const { state } = await snapshotOf(url)
    for (const damaged of ['', state.slice(0, -10), '{}', '{"tasks":[],"queued":[0],"leased":[],"refused":0}']) {
      assert.equal((await restore(url, damaged, '4')).status, 500)
    }
    assert.equal(replica.queue.digest(), digest)
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
