// A long log: how fast it is written, read at a start, and brought to a follower that has nothing of it.

import { closeSync, fdatasync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { systemClock } from '../../src/node/system-clock.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { openStorage } from '../../src/storage/storage.ts'
import { ClusterProcesses, until } from '../../test/cluster/processes.ts'
import { command, writeLog } from './data-directory.ts'
import { peakMiB, residentMiB } from './resident.ts'

const payloadBytes = 128
const keys = 10_000
const program = ['dist/main.js']

export async function measureLog(entries: number): Promise<void> {
  checksumCost()
  await appendRate()
  await startOf(entries)
  await catchUpOf(entries)
}

function checksumCost(): void {
  const { record } = command(1, payloadBytes, keys)
  const rounds = 2_000_000
  for (let i = 0; i < rounds / 10; i++) crc32(record)
  const startedMs = performance.now()
  for (let i = 0; i < rounds; i++) crc32(record)
  const nanoseconds = ((performance.now() - startedMs) / rounds) * 1e6
  console.log(`Checksum of a record of ${record.length} bytes: ${nanoseconds.toFixed(0)} ns`)
}

/** Groups of 64 entries, one after the other: through the storage, and as bare writes of as many bytes to a file of zeros. Turn by turn. */
async function appendRate(): Promise<void> {
  const cluster = await ClusterProcesses.prepare({ size: 1 })
  try {
    const storage = await openStorage({
      disk: nodeDisk,
      directory: join(cluster.directory, 'append'),
      identity: { cluster: 'bench', nodeId: 'n1', foundingConfiguration: { members: [] }, newIncarnation: '01' },
      newRunId: 'bench',
      after: systemClock.after,
      reserveBytes: 0,
    })
    const bare = openSync(join(cluster.directory, 'bare'), 'w')
    const bareBytes = 256 * 1024 * 1024
    for (let at = 0; at < bareBytes; at += 1024 * 1024) writeSync(bare, Buffer.alloc(1024 * 1024), 0, 1024 * 1024, at)
    await synced(bare)
    const group = 64
    const groups = 1000
    const rates: { readonly ours: number; readonly bare: number }[] = []
    let index = 0
    let position = 0
    await storage.save({ id: 1, hardState: { currentTerm: 1, votedFor: null }, snapshot: null, entries: [] })
    let id = 1
    for (let round = 0; round < 7; round++) {
      const lists = Array.from({ length: groups }, () =>
        Array.from({ length: group }, () => command(++index, payloadBytes, keys)),
      )
      const startedMs = performance.now()
      for (const list of lists) await storage.save({ id: ++id, hardState: null, snapshot: null, entries: list })
      const middleMs = performance.now()
      for (const list of lists) {
        const bytes = Buffer.concat(list.map(({ record }) => record))
        writeSync(bare, bytes, 0, bytes.length, position)
        position += bytes.length
        await synced(bare)
      }
      const endMs = performance.now()
      rates.push({ ours: groups / (middleMs - startedMs), bare: groups / (endMs - middleMs) })
    }
    closeSync(bare)
    await storage.close()
    const sorted = rates.slice(1).sort((a, b) => a.ours / a.bare - b.ours / b.bare)
    const { ours, bare: floor } = sorted[Math.floor(sorted.length / 2)] as (typeof rates)[number]
    console.log(
      `Appends in groups of ${group}: ${Math.round(ours * 1000)} groups/s, ${Math.round(ours * 1000 * group)} entries/s; bare write + fdatasync of the same bytes ${Math.round(floor * 1000)}/s; ratio ${(ours / floor).toFixed(2)} (median of ${sorted.length} rounds)`,
    )
  } finally {
    await cluster.close()
  }
}

function synced(file: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(file, (error) => (error === null ? resolve() : reject(error)))
  })
}

async function startOf(entries: number): Promise<void> {
  for (const snapshotAt of [entries - 4000, undefined]) {
    const cluster = await ClusterProcesses.prepare({ size: 1, program, env: () => longLog })
    try {
      await prepare(cluster, 'n1', entries, snapshotAt)
      const startedMs = performance.now()
      cluster.start('n1')
      const { child } = cluster.get('n1')
      await until('n1 to be ready', 120_000, () => ready(cluster.get('n1').apiUrl))
      const tookMs = performance.now() - startedMs
      const memory = `${residentMiB(child?.pid)} MiB resident, ${peakMiB(child?.pid)} at most`
      const what = snapshotAt === undefined ? 'no snapshot: all of it applied' : `and a snapshot through ${snapshotAt}`
      console.log(
        `Start with a log of ${entries} entries of ${payloadBytes} bytes (${what}): ready after ${seconds(tookMs)}, ${memory}`,
      )
    } finally {
      await cluster.close()
    }
  }
}

async function catchUpOf(entries: number): Promise<void> {
  const cluster = await ClusterProcesses.prepare({ size: 3, program, env: () => longLog })
  try {
    for (const id of ['n1', 'n2']) {
      await prepare(cluster, id, entries, entries - 4000)
      cluster.start(id)
    }
    const leader = await cluster.leader()
    await until('the leader to be ready', 120_000, () => ready(leader.apiUrl))
    const startedMs = performance.now()
    cluster.start('n3')
    await until('n3 to serve', 20_000, () => cluster.status('n3'))
    const servesMs = performance.now()
    const held = await until('n3 to hold the whole log', 120_000, async () => {
      const status = await cluster.status('n3')
      return status !== null && status.lastIndex > entries ? status : null
    })
    const tookMs = performance.now() - servesMs
    await until('n3 to have applied it', 120_000, async () => {
      const status = await cluster.status('n3')
      return status !== null && status.appliedIndex >= entries ? true : null
    })
    const appliedMs = performance.now() - servesMs
    console.log(
      `Catch-up of a follower ${held.lastIndex} entries behind, by the log: ${seconds(tookMs)}, ${Math.round((held.lastIndex / tookMs) * 1000)} entries/s (applied after ${seconds(appliedMs)}; its start took ${seconds(servesMs - startedMs)})`,
    )
  } finally {
    await cluster.close()
  }
}

/** So that the log stays whole. */
const longLog = { LOG_LEVEL: 'warn', MAX_LOG_ENTRIES: '100000000', SNAPSHOT_THRESHOLD: '100000000' }

async function prepare(cluster: ClusterProcesses, id: string, entries: number, snapshotAt?: number): Promise<void> {
  await writeLog({
    directory: cluster.get(id).dataDir,
    cluster: 'test',
    nodeId: id,
    members: cluster.sidecars.map(({ id: nodeId, peerAddress }) => ({ id: nodeId, peerAddress, role: 'voter' })),
    entries,
    payloadBytes,
    keys,
    ...(snapshotAt === undefined ? {} : { snapshotAt }),
  })
}

export async function ready(apiUrl: string): Promise<true | null> {
  const response = await fetch(`${apiUrl}/readyz`, { signal: AbortSignal.timeout(2000) }).catch(() => null)
  return response?.status === 200 ? true : null
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`
}
