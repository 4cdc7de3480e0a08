import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { allChecks } from '../../scripts/conformance/checks.ts'
import { main } from '../../scripts/conformance/main.ts'
import { createClient } from '../../src/client/client.ts'
import { FakeSidecar } from './fake-sidecar.ts'
import { createService } from './task-queue/service.ts'
import { work } from './task-queue/worker.ts'
import { temporaryDirectory } from './temporary-directory.ts'

async function start(t: TestContext, secret?: string) {
  const sidecar = new FakeSidecar()
  const client = createClient({ url: await sidecar.listen(), retryUnreachable: false })
  const { http, queue } = createService(client, secret)
  const url = await http.listen({ host: '127.0.0.1', port: 0 })
  sidecar.attach(`${url}/raft`)
  t.after(async () => {
    await http.close()
    await client.close()
    await sidecar.close()
  })
  return { sidecar, client, queue, url }
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
  it('keep the whole contract, with two instances and signatures', async (t) => {
    const secret = `whsec_${Buffer.from('of the task queue').toString('base64')}`
    const [one, other] = [await start(t, secret), await start(t, secret)]
    const commands = [
      '{"op":"enqueue","id":"t{n}","path":"p"}',
      '{"op":"enqueue","id":"u{n}","path":"p"}',
      '{"op":"lease","worker":"w","leaseMs":3,"max":1}',
      '{"op":"complete","id":"t1","leaseId":"t1#1","result":"{n}"}',
    ].flatMap((command) => ['--command', command])
    const options = ['--peer', `${other.url}/raft`, '--secret', secret, ...commands, '--timeout-ms', '60000']
    const lines: string[] = []
    const exitCode = await main([`${one.url}/raft`, ...options], {
      say: (line) => lines.push(line),
      complain: assert.fail,
    })
    const notOk = lines.slice(1, -1).filter((line) => !line.startsWith('ok '))
    // Its workers run on every node, and ask nobody who leads.
    assert.equal(notOk.length, 1, notOk.join('\n'))
    assert.match(notOk[0] ?? '', /^skipped +leadership: no leadership hook/)
    assert.equal(lines.length, allChecks.length + 2)
    assert.equal(exitCode, 0)
  })

  it('bring another instance to the same queue, by a snapshot', async (t) => {
    const [one, other] = [await start(t), await start(t)]
    for (const id of ['a', 'b', 'c']) one.sidecar.append({ op: 'enqueue', id, path: id })
    one.sidecar.append({ op: 'lease', worker: 'w', leaseMs: 1000, max: 2 })
    one.sidecar.append({ op: 'complete', id: 'b', leaseId: 'b#1', result: 'B' })
    await one.sidecar.deliver(0)
    const taken = await fetch(`${one.url}/raft/snapshot`, { method: 'POST' })
    const headers = { 'raft-position': taken.headers.get('raft-position') ?? '' }
    const body = await taken.text()
    const restored = await fetch(`${other.url}/raft/snapshot`, { method: 'PUT', headers, body })
    assert.equal(restored.status, 204)
    assert.deepEqual(await get(`${other.url}/history`), await get(`${one.url}/history`))
    assert.deepEqual(one.queue().stats(one.sidecar.nowMs), { queued: 1, leased: 1, done: 1 })
    assert.deepEqual(other.queue().stats(one.sidecar.nowMs), { queued: 1, leased: 1, done: 1 })
  })

  it('take nothing of what is no queue', async (t) => {
    const { sidecar, queue, url } = await start(t)
    sidecar.append({ op: 'enqueue', id: 'a', path: 'a' })
    await sidecar.deliver(0)
    for (const body of ['', '[{"id":"b"', '{}', '7', '[{"id":"b"}]']) {
      const restored = await fetch(`${url}/raft/snapshot`, { method: 'PUT', headers: { 'raft-position': '4' }, body })
      assert.equal(restored.status, 500)
    }
    assert.deepEqual([...queue().tasks.keys()], ['a'])
    assert.deepEqual(await get(`${url}/raft/position`), { position: 1 })
  })
})

describe('the API of the task queue', () => {
  it('enqueues through the sidecar, once under one id', async (t) => {
    const { sidecar, url } = await start(t)
    assert.deepEqual(await enqueue(url, { id: 'a', path: 'a' }), { status: 200, body: { ok: true } })
    assert.deepEqual(await enqueue(url, { id: 'a', path: 'a' }), { status: 200, body: { ok: true, duplicate: true } })
    assert.deepEqual(
      sidecar.log.map(({ command }) => command),
      [{ op: 'enqueue', id: 'a', path: 'a' }],
    )
    assert.deepEqual(await get(`${url}/stats`), { position: 1, queued: 1, leased: 0, done: 0 })
  })

  it('enqueues once what the sidecar took and did not answer', async (t) => {
    const { sidecar, url } = await start(t)
    sidecar.losesAnswers = true
    const answer = enqueue(url, { id: 'a', path: 'a' })
    await sidecar.lostAnswers(1)
    sidecar.losesAnswers = false
    assert.deepEqual(await answer, { status: 200, body: { ok: true, duplicate: true } })
    assert.equal(sidecar.log.length, 1)
  })

  it('answers 503 while the sidecar has no leader, and 400 to what is no task', async (t) => {
    const { sidecar, url } = await start(t)
    sidecar.leaderless = true
    const { status, body } = await enqueue(url, { id: 'a', path: 'a' })
    assert.deepEqual([status, (body as { readonly code: string }).code], [503, 'no-leader'])
    assert.equal((await fetch(`${url}/tasks/a`)).status, 503)
    for (const task of [{ id: '', path: 'a' }, { id: 'a b', path: 'a' }, { path: 'a' }, { id: 'a', path: '' }]) {
      assert.equal((await enqueue(url, task)).status, 400)
    }
    assert.equal(sidecar.log.length, 0)
  })

  it('shows a task behind the barrier, and the history of every task with the index that it belongs to', async (t) => {
    const { sidecar, url } = await start(t)
    await enqueue(url, { id: 'a', path: 'p' })
    const task = { id: 'a', path: 'p', leases: [], completions: [] }
    assert.deepEqual(await get(`${url}/tasks/a`), task)
    assert.equal((await fetch(`${url}/tasks/b`)).status, 404)
    assert.equal(sidecar.barriers, 2)
    assert.deepEqual(await get(`${url}/history`), { position: 1, tasks: [task] })
  })
})

describe('a worker of the task queue', () => {
  async function startWorker(t: TestContext) {
    const folder = await temporaryDirectory(t)
    await writeFile(join(folder, 'hello.txt'), 'hello')
    const app = await start(t)
    const stop = new AbortController()
    const working = work({ name: 'w', folder, leaseMs: 1000 }, app.queue, app.client, stop.signal)
    t.after(async () => {
      stop.abort()
      await working
    })
    return app
  }

  it('hashes the file of a task and completes it with the digest', async (t) => {
    const { queue, url } = await startWorker(t)
    await enqueue(url, { id: 'a', path: 'hello.txt' })
    await until(() => queue().stats(0).done === 1)
    const expected = createHash('sha256').update('hello').digest('hex')
    assert.equal(queue().tasks.get('a')?.completions[0]?.result, expected)
  })

  it('completes what cannot be read as unreadable', async (t) => {
    const { queue, url } = await startWorker(t)
    await enqueue(url, { id: 'gone', path: 'gone.txt' })
    await enqueue(url, { id: 'outside', path: '../outside.txt' })
    await until(() => queue().stats(0).done === 2)
    assert.match(queue().tasks.get('gone')?.completions[0]?.result ?? '', /^unreadable: ENOENT/)
    assert.equal(queue().tasks.get('outside')?.completions[0]?.result, 'unreadable: outside the folder')
  })

  it('goes on by itself after a time without a leader', async (t) => {
    const { sidecar, queue, url } = await startWorker(t)
    await enqueue(url, { id: 'a', path: 'hello.txt' })
    await until(() => queue().stats(0).done === 1)
    sidecar.leaderless = true
    sidecar.append({ op: 'enqueue', id: 'b', path: 'hello.txt' })
    await sidecar.deliver(sidecar.log.at(-2)?.index ?? 0)
    await until(() => sidecar.refused > 0)
    assert.equal(queue().free(Date.now()).length, 1)
    sidecar.leaderless = false
    await until(() => queue().stats(0).done === 2)
  })
})
