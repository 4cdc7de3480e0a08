// Real processes on loopback, and what an operator fears most.

import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import { ClusterProcesses, until } from './processes.ts'
import { missingOn, Workload } from './workload.ts'

let cluster: ClusterProcesses

afterEach(() => cluster.close())

describe('a cluster of three sidecars', () => {
  it('elects a leader within five seconds, and every node answers for it', async () => {
    cluster = await ClusterProcesses.prepare({ size: 3 })
    for (const { id } of cluster.sidecars) cluster.start(id)
    for (const { id } of cluster.sidecars) await until(`${id} to serve`, 20_000, () => cluster.status(id))
    const leader = await cluster.leader(5_000)
    for (const { id, apiUrl } of cluster.sidecars) {
      const named = await until(`${id} to know the leader`, 5_000, async () => {
        const response = await fetch(`${apiUrl}/v1/leader`)
        return response.status === 200 ? ((await response.json()) as { id: string; self: boolean }) : null
      })
      assert.deepEqual([named.id, named.self], [leader.id, id === leader.id])
    }
  })

  it('loses no acknowledged command and goes on when the leader is killed under load', async () => {
    cluster = await ClusterProcesses.start({ size: 3 })
    const leader = await cluster.leader()
    const workload = new Workload(cluster, 'w').start(16)
    await workload.acknowledges(200)
    await cluster.kill(leader.id)
    await workload.acknowledges(200)
    const successor = await cluster.leader()
    assert.notEqual(successor.id, leader.id)
    cluster.start(leader.id)
    await workload.acknowledges(200)
    await workload.stop()
    for (const { id } of cluster.sidecars) {
      await cluster.caughtUp(id)
      assert.deepEqual(await missingOn(cluster, id, workload.acknowledged, 'local'), [], `on ${id}`)
    }
  })

  it('has every acknowledged command after all three were killed at once', async () => {
    cluster = await ClusterProcesses.start({ size: 3 })
    await cluster.leader()
    const workload = new Workload(cluster, 'w').start(16)
    await workload.acknowledges(300)
    await Promise.all(cluster.sidecars.map(({ id }) => cluster.kill(id)))
    await workload.stop()
    for (const { id } of cluster.sidecars) cluster.start(id)
    const leader = await cluster.leader()
    assert.deepEqual(await missingOn(cluster, leader.id, workload.acknowledged, 'linearizable'), [])
    for (const { id } of cluster.sidecars) {
      await cluster.caughtUp(id)
      assert.deepEqual(await missingOn(cluster, id, workload.acknowledged, 'local'), [], `on ${id}`)
    }
  })

  it('lets a node that was away catch up', async () => {
    cluster = await ClusterProcesses.start({ size: 3 })
    const leader = await cluster.leader()
    const away = cluster.sidecars.find(({ id }) => id !== leader.id)
    assert(away !== undefined)
    await cluster.kill(away.id)
    const workload = new Workload(cluster, 'w').start(16)
    await workload.acknowledges(1000)
    await workload.stop()
    cluster.start(away.id)
    await until(`${away.id} to serve`, 10_000, () => cluster.status(away.id))
    await cluster.caughtUp(away.id)
    assert.deepEqual(await missingOn(cluster, away.id, workload.acknowledged, 'local'), [])
  })

  it('takes over the lock of a killed process at once, without waiting for it to grow stale', async () => {
    cluster = await ClusterProcesses.start({ size: 1 })
    await cluster.leader()
    await cluster.kill('n1')
    const { log } = cluster.start('n1')
    // The library that keeps the lock would wait ten seconds.
    await until('n1 to serve again', 5_000, () => cluster.status('n1'))
    assert.equal(log.join('').includes('lock'), false, log.join(''))
  })

  it('neither acknowledges a write nor answers a read on a leader that was paused while another was elected', async () => {
    cluster = await ClusterProcesses.start({ size: 3 })
    const paused = await cluster.leader()
    const workload = new Workload(cluster, 'w')
    assert.notEqual(await workload.write(paused.id), null)
    cluster.signal(paused.id, 'SIGSTOP')
    // What arrives during the pause is the first that the old leader sees when it wakes up.
    const stale = fetch(`${paused.apiUrl}/v1/kv/w/0`, { signal: AbortSignal.timeout(15_000) })
    const others = cluster.sidecars.filter(({ id }) => id !== paused.id)
    const successor = await until('another leader', 20_000, async () => {
      const states = await Promise.all(others.map(({ id }) => cluster.status(id)))
      return others.find((_, i) => states[i]?.role === 'leader' && states[i]?.holdsQuorum) ?? null
    })
    const body = JSON.stringify({ op: 'set', key: 'w/0', value: 'new' })
    const headers = { 'content-type': 'application/json' }
    const written = await fetch(`${successor.apiUrl}/v1/commands`, { method: 'POST', headers, body })
    assert.equal(written.status, 200)
    cluster.signal(paused.id, 'SIGCONT')
    const answer = await stale
    const read = (await answer.json()) as { value?: unknown }
    // Either it refuses, or it answers with what was written meanwhile: never with the past.
    if (answer.status === 200) assert.equal(read.value, 'new')
    else assert.equal(answer.status, 503)
    await cluster.caughtUp(paused.id)
    assert.equal((await cluster.status(paused.id))?.role, 'follower')
  })

  it('hands leadership over when the leader is stopped in order, without an error for the clients of the others', async () => {
    cluster = await ClusterProcesses.start({ size: 3 })
    const leader = await cluster.leader()
    const workload = new Workload(cluster, 'w')
    assert.notEqual(await workload.write(leader.id), null)
    assert.equal(await cluster.kill(leader.id, 'SIGTERM'), 0)
    for (const { id } of cluster.sidecars) if (id !== leader.id) assert.notEqual(await workload.write(id), null)
    assert.deepEqual([...workload.failures], [])
  })
})
