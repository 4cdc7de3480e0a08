// One effect and one answer for each idempotency key, whatever becomes of the processes that knew of it.

import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'
import { type Client, createClient } from '../../src/client/client.ts'
import { HookedCluster } from './hooked-cluster.ts'
import { ClusterProcesses, until } from './processes.ts'
import { KeyedProposals } from './repeats.ts'

/** So that a node which is away for a moment needs a snapshot. */
const often = { SNAPSHOT_THRESHOLD: '20', MAX_LOG_ENTRIES: '5' }

const closing: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

describe('a command with an idempotency key', () => {
  it('has one effect on applications that keep their state, and its first answer from every node', async () => {
    const cluster = await HookedCluster.start({ env: () => often })
    closing.push(() => cluster.close())
    const clients = cluster.nodes.map(({ client }) => client)
    const proposals = new KeyedProposals((number) => ({ number }))
    await proposals.propose(30, clients)

    await cluster.restart(cluster.nodes)
    await proposals.areAnsweredBy(clients)

    const [leader, away, other] = await cluster.ranked()
    await cluster.processes.kill(away.id)
    await proposals.propose(60, [leader.client, other.client])
    await compacts(leader.client, away.application.position)
    cluster.processes.start(away.id)
    await proposals.areAnsweredBy([away.client, ...clients])
    assert.match(away.sidecar.log.join(''), /Installed the snapshot of/)
    assert.ok(away.application.restores > 0)

    // Not all of it may be found in a snapshot.
    const newest = async () => (await away.client.status()).snapshot?.index ?? 0
    do await proposals.propose(3, clients)
    while ((proposals.acknowledged.at(-1)?.answer.index ?? 0) <= (await newest()))
    const { dataDir } = away.sidecar
    // They are written behind the answer: who is killed sooner has to ask the others, too.
    const results = await until('the answers to be kept on the disk', 10_000, async () => {
      const names = (await readdir(dataDir)).filter((name) => name.endsWith('.results'))
      return names.length > 0 ? names : null
    })
    await cluster.processes.kill(away.id)
    for (const name of results) await rm(join(dataDir, name), { force: true })
    cluster.processes.start(away.id)
    await proposals.areAnsweredBy([away.client])

    await cluster.isWhole()
    for (const { application } of cluster.nodes) {
      const keys = application.effects.map(({ key }) => key)
      assert.deepEqual(keys.sort(), proposals.acknowledged.map(({ key }) => key).sort())
    }
  })

  it('has them in the key-value store likewise', async () => {
    const cluster = await ClusterProcesses.start({ size: 3, env: () => often })
    closing.push(() => cluster.close())
    await cluster.leader(60_000)
    const clients = new Map(cluster.sidecars.map(({ id, apiUrl }) => [id, createClient({ url: apiUrl })]))
    closing.push(async () => {
      for (const client of clients.values()) await client.close()
    })
    // Whatever is done twice answers differently: that the key is there already, or that it is gone.
    const proposals = new KeyedProposals((number) => {
      const key = `item-${Math.floor(number / 2)}`
      return number % 2 === 0 ? { op: 'set', key, value: number, ifModifiedIndex: 0 } : { op: 'delete', key: 'none' }
    })
    await proposals.propose(30, [...clients.values()])

    await Promise.all(cluster.sidecars.map(({ id }) => cluster.kill(id)))
    for (const { id } of cluster.sidecars) cluster.start(id)
    await proposals.areAnsweredBy([...clients.values()])

    const leader = await cluster.leader()
    const away = cluster.sidecars.find(({ id }) => id !== leader.id)
    assert(away !== undefined)
    await cluster.kill(away.id)
    const others = [...clients].flatMap(([id, client]) => (id === away.id ? [] : [client]))
    await proposals.propose(60, others)
    for (const client of others) await compacts(client, 40)
    cluster.start(away.id)
    await proposals.areAnsweredBy([...clients.values()])
    assert.match(away.log.join(''), /Installed the snapshot of/)
  })
})

/** The log of this node no longer holds what comes next after this index. */
async function compacts(client: Client, index: number): Promise<void> {
  await until('the log to be compacted', 10_000, async () =>
    (await client.status()).firstIndex > index + 1 ? true : null,
  )
}
