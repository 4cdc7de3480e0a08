// Real processes on real disks that run full, answer with errors, hang, rot and lose their power: the cluster goes on where a majority can, says what
// is wrong, and has everything that it acknowledged, once.

import assert from 'node:assert/strict'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, it, type TestContext } from 'node:test'
import { exitCodes } from '../../src/errors.ts'
import { segmentName } from '../../src/storage/segment.ts'
import { LoopDisk, whyNoLoopDisk } from '../storage/loop-device.ts'
import { ClusterProcesses, type SidecarProcess, type Status, until } from './processes.ts'
import { SlowSync, whyNoSlowSync } from './slow-sync.ts'
import { type Acknowledged, missingOn, Workload } from './workload.ts'

const skip = whyNoLoopDisk()
const rounds = Number(process.env.FAULT_ROUNDS ?? 3)
const storageFull = '507 storage-full not_applied'
const small = {
  SEGMENT_BYTES: '64KiB',
  MAX_COMMAND_BYTES: '4KiB',
  DISK_RESERVE_BYTES: '1MiB',
  SNAPSHOT_THRESHOLD: '200',
  MAX_LOG_ENTRIES: '100',
}

let cluster: ClusterProcesses
let disks: ReadonlyMap<string, LoopDisk> = new Map()

afterEach(async () => {
  // Who waits for a frozen disk cannot be killed.
  for (const disk of disks.values()) await disk.thaw()
  disks = new Map()
  await cluster.close()
})

/** Three nodes, each with a disk of its own. */
async function startOnDisks(t: TestContext): Promise<void> {
  const ids = ['n1', 'n2', 'n3']
  const made = await Promise.all(ids.map(() => LoopDisk.make(t, 64)))
  disks = new Map(ids.map((id, at) => [id, made[at] as LoopDisk]))
  cluster = await ClusterProcesses.start({
    size: ids.length,
    env: (id) => ({ ...small, DATA_DIR: join(diskOf(id).path, 'data') }),
  })
}

function diskOf(id: string): LoopDisk {
  const disk = disks.get(id)
  assert(disk !== undefined)
  return disk
}

function others(...ids: readonly string[]): readonly SidecarProcess[] {
  return cluster.sidecars.filter(({ id }) => !ids.includes(id))
}

async function statusThat(what: string, id: string, holds: (status: Status) => boolean): Promise<void> {
  await until(`${id} ${what}`, 30_000, async () => {
    const status = await cluster.status(id)
    return status !== null && holds(status) ? true : null
  })
}

function ledByAnotherThan(id: string): Promise<SidecarProcess> {
  return until(`another leader than ${id}`, 30_000, async () => {
    const states = await Promise.all(others(id).map((other) => cluster.status(other.id)))
    return others(id).find((_, at) => states[at]?.role === 'leader' && states[at].holdsQuorum) ?? null
  })
}

function ended(id: string): Promise<number | null> {
  const { child } = cluster.get(id)
  assert(child !== null)
  return until(`${id} to end by itself`, 30_000, async () => {
    return child.exitCode === null && child.signalCode === null ? null : child.exitCode
  })
}

async function storageCheck({ apiUrl }: SidecarProcess): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(`${apiUrl}/readyz/storage`)
  return { status: response.status, text: await response.text() }
}

async function metric({ apiUrl }: SidecarProcess, name: string): Promise<number> {
  const response = await fetch(`${apiUrl}/metrics`)
  const line = (await response.text()).split('\n').find((each) => each.startsWith(`raft_sidecar_${name} `))
  return Number(line?.split(' ')[1] ?? Number.NaN)
}

/** Each of these was written once, and every node has it. */
async function assertKept(acknowledged: readonly Acknowledged[]): Promise<void> {
  assert(acknowledged.length > 0)
  assert.equal(new Set(acknowledged.map(({ index }) => index)).size, acknowledged.length)
  for (const { id } of cluster.sidecars) {
    await cluster.caughtUp(id)
    assert.deepEqual(await missingOn(cluster, id, acknowledged, 'local'), [], `on ${id}`)
  }
}

describe('a cluster whose leader has a full disk', { skip }, () => {
  it('is led by a voter with room, without an error for anybody; freed, the node leads again', async (t) => {
    await startOnDisks(t)
    const full = await cluster.leader()
    const { child } = full
    const workload = new Workload(cluster, 'w').start(8)
    await workload.acknowledges(100)
    await diskOf(full.id).fill()
    await ledByAnotherThan(full.id)
    await statusThat('says that its disk is full', full.id, ({ isStorageFull }) => isStorageFull)
    const { status, text } = await storageCheck(full)
    assert.equal(status, 503)
    assert.match(text, /the disk is full: free some space/)
    assert.equal(await metric(full, 'storage_full'), 1)
    for (const { id } of cluster.sidecars) {
      const through = new Workload(cluster, `through-${id}`).start(2, [id])
      await through.acknowledges(50)
      await through.stop()
      assert.deepEqual([...through.failures], [])
      workload.acknowledged.push(...through.acknowledged)
    }
    assert.equal((await cluster.status(full.id))?.isStorageFull, true)
    await diskOf(full.id).empty()
    await statusThat('has room again', full.id, ({ isStorageFull }) => !isStorageFull)
    assert.deepEqual([(await storageCheck(full)).status, await metric(full, 'storage_full')], [200, 0])
    await workload.acknowledges(50)
    await workload.stop()
    assert.deepEqual([...workload.failures], [])

    // The third one is behind, so leadership can go nowhere else, nor come back.
    const leader = await cluster.leader()
    const third = others(full.id, leader.id)[0] as SidecarProcess
    if (leader.id !== full.id) {
      await cluster.kill(third.id)
      for (let i = 0; i < 10; i++) await workload.write(leader.id)
      assert.equal(await cluster.kill(leader.id, 'SIGTERM'), 0)
      cluster.start(third.id)
    }
    assert.equal((await cluster.leader()).id, full.id)
    assert.equal(full.child, child)
    assert.notEqual(await workload.write(full.id), null)
    if (leader.id !== full.id) cluster.start(leader.id)
    await assertKept(workload.acknowledged)
  })
})

describe('a cluster with a disk that has not a byte left', { skip }, () => {
  it('goes on without that node, which waits, and is brought up by a snapshot when there is room', async (t) => {
    await startOnDisks(t)
    const full = await cluster.leader()
    const { child } = full
    const workload = new Workload(cluster, 'w').start(
      8,
      others(full.id).map(({ id }) => id),
    )
    await workload.acknowledges(100)
    // What is given up for the log to go on, others take.
    await until(`writes of ${full.id} to wait for room`, 30_000, async () => {
      await diskOf(full.id).fill()
      const status = await cluster.status(full.id)
      return status?.isStorageFull && status.isStorageStalled ? true : null
    })
    await ledByAnotherThan(full.id)
    await workload.acknowledges(500)
    const { text } = await storageCheck(full)
    assert.match(text, /the disk is full: free some space/)
    await diskOf(full.id).empty()
    await statusThat(
      'has room again',
      full.id,
      ({ isStorageFull, isStorageStalled }) => !isStorageFull && !isStorageStalled,
    )
    await workload.stop()
    assert.equal(full.child, child)
    await assertKept(workload.acknowledged)
    assert.match(full.log.join(''), /Installed the snapshot of/)
  })
})

describe('a cluster whose disks are all full', { skip }, () => {
  it('takes no proposals and says so, answers reads, and goes on by itself when there is room', async (t) => {
    await startOnDisks(t)
    await cluster.leader()
    const children = cluster.sidecars.map(({ child }) => child)
    const workload = new Workload(cluster, 'w').start(8)
    await workload.acknowledges(100)
    await Promise.all([...disks.values()].map((disk) => disk.fill()))
    for (const { id } of cluster.sidecars) {
      await statusThat('says that its disk is full', id, ({ isStorageFull }) => isStorageFull)
      const refused = new Workload(cluster, `refused-${id}`)
      await until(`${id} to refuse a proposal`, 30_000, async () => {
        await refused.write(id)
        return refused.failures.has(storageFull) ? true : null
      })
      workload.acknowledged.push(...refused.acknowledged)
    }
    for (const { id } of cluster.sidecars)
      assert.deepEqual(await missingOn(cluster, id, workload.acknowledged.slice(0, 20), 'linearizable'), [], `on ${id}`)
    await Promise.all([...disks.values()].map((disk) => disk.empty()))
    await workload.acknowledges(100)
    await workload.stop()
    assert(workload.failures.has(storageFull))
    for (const failure of workload.failures.keys()) assert.match(failure, / not_applied$/)
    for (const { id } of cluster.sidecars) await statusThat('has room again', id, ({ isStorageFull }) => !isStorageFull)
    assert.deepEqual(
      cluster.sidecars.map(({ child }) => child),
      children,
    )
    await assertKept(workload.acknowledged)
  })
})

describe('a cluster whose leader has a failing disk', { skip }, () => {
  it('goes on without the leader, which ends itself at the first error and is back with all when the disk is', async (t) => {
    await startOnDisks(t)
    const failing = await cluster.leader()
    const workload = new Workload(cluster, 'w').start(8)
    await workload.acknowledges(100)
    const end = ended(failing.id)
    await diskOf(failing.id).shutDown()
    assert.equal(await end, exitCodes.ioError)
    assert.match(failing.log.join(''), /EIO.*The process must stop/)
    await workload.acknowledges(100)
    await workload.stop()
    for (const { id } of others(failing.id)) {
      await cluster.caughtUp(id)
      assert.deepEqual(await missingOn(cluster, id, workload.acknowledged, 'local'), [], `on ${id}`)
    }
    await diskOf(failing.id).remount()
    cluster.start(failing.id)
    await assertKept(workload.acknowledged)
  })

  it('is led by another while the disk hangs and the process with it; afterwards the old leader follows', async (t) => {
    await startOnDisks(t)
    const hung = await cluster.leader()
    const { child } = hung
    const workload = new Workload(cluster, 'w').start(
      8,
      others(hung.id).map(({ id }) => id),
    )
    await workload.acknowledges(100)
    await diskOf(hung.id).freeze()
    await ledByAnotherThan(hung.id)
    await workload.acknowledges(100)
    await diskOf(hung.id).thaw()
    await statusThat('follows', hung.id, ({ role, leader }) => role === 'follower' && leader !== null)
    await workload.acknowledges(100)
    await workload.stop()
    assert.equal(hung.child, child)
    await assertKept(workload.acknowledged)
  })
})

describe('a cluster whose leader has a disk that hangs', () => {
  it('is handed over by the leader, which says what is wrong', { skip: whyNoSlowSync() }, async () => {
    cluster = await ClusterProcesses.start({ size: 3 })
    const hung = await cluster.leader()
    const { child } = hung
    const workload = new Workload(cluster, 'w').start(
      8,
      others(hung.id).map(({ id }) => id),
    )
    await workload.acknowledges(100)
    // None returns before the end of it.
    const slow = await SlowSync.of(child?.pid ?? 0, 600_000)
    try {
      const successor = await ledByAnotherThan(hung.id)
      assert.match(successor.log.join(''), new RegExp(`${hung.id} handed leadership over`))
      await statusThat('says that its disk hangs', hung.id, ({ isStorageStalled }) => isStorageStalled)
      const { status, text } = await storageCheck(hung)
      assert.equal(status, 503)
      assert.match(text, /the disk does not answer/)
      assert.equal(await metric(hung, 'storage_stalled'), 1)
      await workload.acknowledges(100)
      assert.equal((await cluster.status(hung.id))?.role, 'follower')
    } finally {
      await slow.end()
    }
    await statusThat('finds that its disk answers', hung.id, ({ isStorageStalled }) => !isStorageStalled)
    await workload.acknowledges(100)
    await workload.stop()
    assert.equal(hung.child, child)
    await assertKept(workload.acknowledged)
  })
})

describe('a cluster whose leader has a rotten disk', () => {
  it('goes on without the leader, which stops rather than send what it reads, and says where it is and what to do', async () => {
    cluster = await ClusterProcesses.start({
      size: 3,
      env: () => ({ SEGMENT_BYTES: '64KiB', MAX_COMMAND_BYTES: '4KiB' }),
    })
    const away = others((await cluster.leader()).id)[0] as SidecarProcess
    await cluster.kill(away.id)
    const workload = new Workload(cluster, 'w').start(8)
    await workload.acknowledges(1000)
    await workload.stop()
    // From now on the other two have the log on their disks only.
    for (const { id } of others(away.id)) await cluster.kill(id)
    for (const { id } of others(away.id)) cluster.start(id)
    const rotten = await cluster.leader()
    await cluster.caughtUp(rotten.id)
    const path = join(rotten.dataDir, segmentName(1))
    const at = (await readFile(path)).indexOf('"w/10"')
    await flip(path, at + 2)
    const end = ended(rotten.id)
    cluster.start(away.id)
    assert.equal(await end, exitCodes.dataError)
    const [, file, offset] =
      /Cannot use (\S+): damaged at offset (\d+)\..*move the whole data directory away/.exec(rotten.log.join('')) ?? []
    assert.equal(file, path)
    assert(Number(offset) < at && at - Number(offset) < 200, `the record at ${offset} does not hold offset ${at}`)
    const leader = await ledByAnotherThan(rotten.id)
    assert.notEqual(await workload.write(leader.id), null)
    for (const { id } of others(rotten.id)) {
      await cluster.caughtUp(id)
      assert.deepEqual(await missingOn(cluster, id, workload.acknowledged, 'local'), [], `on ${id}`)
    }
    cluster.start(rotten.id)
    assert.equal(await ended(rotten.id), exitCodes.dataError)
  })
})

describe('a cluster that loses its power', { skip }, () => {
  it(`has everything that it acknowledged, ${rounds} times amid snapshots, compaction and new segments`, async (t) => {
    await startOnDisks(t)
    const workload = new Workload(cluster, 'w').start(16)
    for (let round = 0; round < rounds; round++) {
      await workload.acknowledges(500)
      await Promise.all([...disks.values()].map((disk) => disk.shutDown()))
      await Promise.all(cluster.sidecars.map(({ id }) => cluster.kill(id)))
      await Promise.all([...disks.values()].map((disk) => disk.remount()))
      for (const { id } of cluster.sidecars) cluster.start(id)
    }
    await workload.acknowledges(100)
    await workload.stop()
    await assertKept(workload.acknowledged)
  })
})

async function flip(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await file.read(byte, 0, 1, offset)
    byte.writeUInt8(byte.readUInt8() ^ 1)
    await file.write(byte, 0, 1, offset)
  } finally {
    await file.close()
  }
}
