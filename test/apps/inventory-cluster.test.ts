// Three real sidecars beside three inventories in Python: what its users were told is done is done once, on all three, whoever was killed meanwhile.

import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../../scripts/demo/ports.ts'
import { ClusterProcesses, until } from '../cluster/processes.ts'
import { Inventory, whyNoPython } from './inventory-process.ts'
import { temporaryDirectory } from './temporary-directory.ts'

const secret = `whsec_${Buffer.from('of the inventory cluster').toString('base64')}`

async function startAll(t: TestContext) {
  const ports = await freePorts(3)
  const cluster = await ClusterProcesses.start({
    size: 3,
    env: (_id, at) => ({
      STATE_MACHINE: 'app',
      APP_URL: `http://127.0.0.1:${ports[at]}/raft`,
      APP_SECRET: secret,
      SNAPSHOT_THRESHOLD: '20',
      MAX_LOG_ENTRIES: '20',
    }),
  })
  t.after(() => cluster.close())
  const directories = await Promise.all(ports.map(() => temporaryDirectory(t)))
  const open = (at: number) => {
    const { apiUrl } = cluster.sidecars[at] as { apiUrl: string }
    return Inventory.start(t, {
      directory: directories[at] as string,
      port: ports[at] as number,
      sidecarUrl: apiUrl,
      secrets: secret,
    })
  }
  const inventories = await Promise.all(ports.map((_, at) => open(at)))
  return { cluster, inventories, open, directories }
}

/** Sent to one instance after the other, under one key, until it is done. */
async function insist(inventories: readonly Inventory[], turn: number, quantity: number): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const inventory = inventories[(turn + attempt) % inventories.length] as Inventory
    const answer = await inventory.move('bolt', 'receive', quantity, `move-${turn}`).catch(() => null)
    if (answer?.status === 200) return
    await sleep(20)
  }
}

async function stockOn(inventory: Inventory): Promise<unknown> {
  return await until('an answer behind the barrier', 30_000, async () => {
    const { status, body } = await inventory.get('/articles/bolt').catch(() => ({ status: 0, body: null }))
    return status === 200 ? (body as { readonly stock: number }).stock : null
  })
}

describe('three inventories beside three sidecars', { skip: whyNoPython(), timeout: 180_000 }, () => {
  it('have done once what was acknowledged, though an inventory and the leader were killed', async (t) => {
    const { cluster, inventories, open } = await startAll(t)
    const leader = await cluster.leader()
    const moves = Array.from({ length: 120 }, (_, at) => at + 1)
    let next = 0
    let done = 0
    const work = Promise.all(
      Array.from({ length: 6 }, async () => {
        for (let turn = next++; turn < moves.length; turn = next++) {
          await insist(inventories, turn, moves[turn] as number)
          done++
        }
      }),
    )
    await until('a third of the moves', 60_000, async () => (done >= 40 ? true : null))
    const at = cluster.sidecars.findIndex(({ id }) => id !== leader.id)
    await (inventories[at] as Inventory).stop('SIGKILL')
    inventories[at] = await open(at)
    await until('two thirds of the moves', 60_000, async () => (done >= 80 ? true : null))
    await cluster.kill(leader.id)
    cluster.start(leader.id)
    await work
    const expected = moves.reduce((sum, quantity) => sum + quantity, 0)
    assert.deepEqual(await Promise.all(inventories.map(stockOn)), [expected, expected, expected])
  })

  it('bring one that lost its database back, and tell the one beside the leader that it leads', async (t) => {
    const { cluster, inventories, directories, open } = await startAll(t)
    await cluster.leader()
    for (let turn = 0; turn < 60; turn++) await insist(inventories, turn, 1)
    const leader = await cluster.leader()
    const at = cluster.sidecars.findIndex(({ id }) => id !== leader.id)
    await (inventories[at] as Inventory).stop('SIGKILL')
    directories[at] = await temporaryDirectory(t)
    inventories[at] = await open(at)
    // Nothing was delivered since: the read itself finds out that the state is gone, and waits until it is there again.
    assert.equal(await stockOn(inventories[at] as Inventory), 60)
    const beside = inventories[cluster.sidecars.indexOf(leader)] as Inventory
    const news = await until('the news of leadership', 20_000, async () => {
      const { body } = await beside.get('/leadership')
      return (body as { readonly event: string }).event === 'acquired' ? body : null
    })
    const { leader: id, term, fencingToken } = news as Record<string, unknown>
    assert.deepEqual([id, fencingToken], [leader.id, term])
  })
})
