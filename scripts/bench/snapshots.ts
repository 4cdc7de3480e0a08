// A large state: taking a snapshot of it under load, restoring it at a start, and bringing it to a follower that has nothing, while the cluster
// works on.

import { ClusterProcesses, type SidecarProcess, until } from '../../test/cluster/processes.ts'
import { writeLog } from './data-directory.ts'
import { ready, seconds } from './log.ts'
import { peakMiB, residentMiB } from './resident.ts'

const payloadBytes = 1024
const program = ['dist/main.js']

export async function measureSnapshots(megabytes: number): Promise<void> {
  const entries = Math.round((megabytes * 1024 * 1024) / payloadBytes)
  const env = () => ({
    LOG_LEVEL: 'info',
    SNAPSHOT_THRESHOLD: '100000000',
    MAX_LOG_ENTRIES: '1000',
    SNAPSHOT_SEND_RATE: '1GiB',
  })
  const cluster = await ClusterProcesses.prepare({ size: 3, program, env })
  try {
    for (const id of ['n1', 'n2']) {
      await writeLog({
        directory: cluster.get(id).dataDir,
        cluster: 'test',
        nodeId: id,
        members: cluster.sidecars.map(({ id: nodeId, peerAddress }) => ({ id: nodeId, peerAddress, role: 'voter' })),
        entries,
        payloadBytes,
        keys: entries,
        snapshotAt: entries,
        compactThrough: entries - 1000,
      })
    }
    const startedMs = performance.now()
    for (const id of ['n1', 'n2']) cluster.start(id)
    const leader = await cluster.leader(60_000)
    await until(
      'both to be ready',
      240_000,
      async () => (await ready(cluster.get('n1').apiUrl)) && (await ready(cluster.get('n2').apiUrl)),
    )
    console.log(
      `Restore of a state of ${megabytes} MiB (${entries} keys) at a start, two nodes at once: ready after ${seconds(performance.now() - startedMs)}; ${memory(leader)}`,
    )
    await taking(leader, megabytes)
    await installing(cluster, leader)
  } finally {
    await cluster.close()
  }
}

async function taking(leader: SidecarProcess, megabytes: number): Promise<void> {
  const load = new Load(leader.apiUrl)
  const before = residentMiB(leader.child?.pid)
  const startedMs = performance.now()
  const response = await fetch(`${leader.apiUrl}/v1/snapshot`, { method: 'POST' })
  if (response.status !== 200) throw new Error(`The snapshot answered ${response.status}: ${await response.text()}`)
  const tookMs = performance.now() - startedMs
  const latencies = await load.stop()
  console.log(
    `Snapshot of ${megabytes} MiB under 8 clients: ${seconds(tookMs)}, ${Math.round((megabytes / tookMs) * 1000)} MiB/s; resident ${before} MiB before, ${memory(leader)} after; commits meanwhile ${describe(latencies)}`,
  )
}

async function installing(cluster: ClusterProcesses, leader: SidecarProcess): Promise<void> {
  const termBefore = (await cluster.status(leader.id))?.term
  const load = new Load(leader.apiUrl)
  cluster.start('n3')
  await until('n3 to serve', 30_000, () => cluster.status('n3'))
  const startedMs = performance.now()
  const goal = (await cluster.status(leader.id))?.commitIndex ?? 0
  await until('n3 to have got the snapshot', 240_000, async () => {
    const status = await cluster.status('n3')
    return status !== null && status.lastIndex >= goal ? true : null
  })
  const installedMs = performance.now() - startedMs
  await until('n3 to have restored it', 240_000, async () => {
    const status = await cluster.status('n3')
    return status !== null && status.appliedIndex >= goal ? true : null
  })
  const restoredMs = performance.now() - startedMs
  const latencies = await load.stop()
  const termAfter = (await cluster.status(leader.id))?.term
  console.log(
    `InstallSnapshot to an empty follower under 8 clients: installed after ${seconds(installedMs)}, restored after ${seconds(restoredMs)}; follower ${memory(cluster.get('n3'))}; commits meanwhile ${describe(latencies)}; term ${termBefore} before, ${termAfter} after`,
  )
}

/** Eight clients that write small values, one after the other each, and remember how long each took. */
class Load {
  readonly #latenciesMs: number[] = []
  #isOver = false
  readonly #running: Promise<unknown>

  constructor(apiUrl: string) {
    this.#running = Promise.all(Array.from({ length: 8 }, (_, at) => this.#client(apiUrl, at)))
  }

  async stop(): Promise<number[]> {
    this.#isOver = true
    await this.#running
    return this.#latenciesMs.sort((a, b) => a - b)
  }

  async #client(apiUrl: string, number: number): Promise<void> {
    for (let i = 0; !this.#isOver; i++) {
      const body = JSON.stringify({ op: 'set', key: `load/${number}/${i % 100}`, value: i })
      const headers = { 'content-type': 'application/json' }
      const startedMs = performance.now()
      const response = await fetch(`${apiUrl}/v1/commands`, { method: 'POST', headers, body })
      if (response.status !== 200) throw new Error(`A write was answered ${response.status}: ${await response.text()}`)
      await response.arrayBuffer()
      this.#latenciesMs.push(performance.now() - startedMs)
    }
  }
}

function describe(latencies: readonly number[]): string {
  const at = (share: number) =>
    (latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0).toFixed(1)
  return `${latencies.length}, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`
}

function memory({ child }: SidecarProcess): string {
  return `${residentMiB(child?.pid)} MiB resident, ${peakMiB(child?.pid)} at most`
}
