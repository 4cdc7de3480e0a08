// Real processes whose logs do not grow for ever: who was away for too long gets a snapshot, backups found new clusters, and a member that lost
// its memory is found out.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { cp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { KeyedApplication } from './keyed-application.ts'
import { ClusterProcesses, type SidecarProcess, until } from './processes.ts'
import { missingOn, Workload } from './workload.ts'

const run = promisify(execFile)
const often = { SNAPSHOT_THRESHOLD: '50', MAX_LOG_ENTRIES: '20' }

let cluster: ClusterProcesses
const applications: KeyedApplication[] = []

afterEach(async () => {
  await cluster.close()
  for (const application of applications.splice(0)) await application.close()
})

interface FullStatus {
  readonly term: number
  readonly commitIndex: number
  readonly appliedIndex: number
  readonly firstIndex: number
  readonly lastIndex: number
  readonly snapshot: { readonly index: number } | null
  readonly compactionBlocked: string | null
  readonly members: readonly { readonly id: string; readonly refusal: string | null; readonly reachable: boolean }[]
}

async function status({ apiUrl }: SidecarProcess): Promise<FullStatus> {
  const response = await fetch(`${apiUrl}/v1/status`)
  return (await response.json()) as FullStatus
}

async function writes(count: number, name: string): Promise<Workload> {
  const workload = new Workload(cluster, name).start(8)
  await workload.acknowledges(count)
  await workload.stop()
  return workload
}

async function aFollower(): Promise<SidecarProcess> {
  const leader = await cluster.leader()
  const follower = cluster.sidecars.find(({ id }) => id !== leader.id)
  assert(follower !== undefined)
  return follower
}

describe('a cluster that takes snapshots often', () => {
  it('brings a follower that was away for longer than the log reaches back up by a snapshot, with no election', async () => {
    cluster = await ClusterProcesses.start({ size: 3, env: () => often })
    const away = await aFollower()
    const early = await writes(30, 'early')
    await cluster.kill(away.id)
    const meanwhile = await writes(400, 'meanwhile')
    const leader = await cluster.leader()
    // A snapshot may be due and wait for its turn.
    const before = await until('the log to be compacted', 10_000, async () => {
      const now = await status(leader)
      return now.lastIndex - now.firstIndex < 100 ? now : null
    })
    cluster.start(away.id)
    await until(`${away.id} to serve`, 10_000, () => cluster.status(away.id))
    const after = await writes(100, 'after')
    await cluster.caughtUp(away.id)
    for (const { acknowledged } of [early, meanwhile, after])
      assert.deepEqual(await missingOn(cluster, away.id, acknowledged, 'local'), [])
    assert.match(away.log.join(''), /Installed the snapshot of/)
    assert.equal((await status(leader)).term, before.term)
  })

  it('loses nothing when all are killed at once, again and again, amid snapshots and compaction', async () => {
    cluster = await ClusterProcesses.start({
      size: 3,
      env: () => ({ ...often, SEGMENT_BYTES: '64KiB', MAX_COMMAND_BYTES: '4KiB' }),
    })
    const workload = new Workload(cluster, 'w').start(16)
    for (let round = 0; round < 4; round++) {
      await workload.acknowledges(150)
      await Promise.all(cluster.sidecars.map(({ id }) => cluster.kill(id)))
      for (const { id } of cluster.sidecars) cluster.start(id)
    }
    await workload.acknowledges(150)
    await workload.stop()
    for (const { id } of cluster.sidecars) {
      await cluster.caughtUp(id)
      assert.deepEqual(await missingOn(cluster, id, workload.acknowledged, 'local'), [], `on ${id}`)
      const { snapshot, firstIndex } = await status(cluster.get(id))
      assert(snapshot !== null && snapshot.index >= firstIndex - 1)
    }
  })

  it('rebuilds an application that keeps its state in memory, here and on a node that was away', async () => {
    for (let n = 0; n < 3; n++) applications.push(await KeyedApplication.start(true))
    const env = (_: string, at: number) => ({ ...often, STATE_MACHINE: 'app', APP_URL: applications[at]?.url ?? '' })
    cluster = await ClusterProcesses.start({ size: 3, env })
    await cluster.leader()
    await writes(30, 'w')
    const away = await aFollower()
    const at = cluster.sidecars.indexOf(away)
    await cluster.kill(away.id)
    const { acknowledged } = await writes(300, 'x')
    // The application beside it was restarted, too, and is empty.
    await applications[at]?.close()
    const fresh = await KeyedApplication.start(true)
    applications[at] = fresh
    Object.assign(away.env, { APP_URL: fresh.url })
    cluster.start(away.id)
    await until(`${away.id} to serve`, 10_000, () => cluster.status(away.id))
    await cluster.caughtUp(away.id)
    const leader = await cluster.leader()
    const reference = applications[cluster.sidecars.indexOf(leader)]
    assert(reference !== undefined)
    await cluster.caughtUp(leader.id)
    assert.deepEqual([...fresh.state].sort(), [...reference.state].sort())
    for (const { key, value } of acknowledged) assert.equal(fresh.state.get(key), value)
    assert(fresh.restores > 0)
  })

  it('never compacts past an application without the hook, and says so', async () => {
    for (let n = 0; n < 1; n++) applications.push(await KeyedApplication.start(false))
    const env = () => ({ ...often, STATE_MACHINE: 'app', APP_URL: applications[0]?.url ?? '' })
    cluster = await ClusterProcesses.start({ size: 1, env })
    const leader = await cluster.leader()
    await writes(300, 'w')
    const { firstIndex, compactionBlocked } = await status(leader)
    assert.equal(firstIndex, 1)
    assert.match(compactionBlocked ?? '', /offers no snapshots/)
  })
})

describe('a backup', () => {
  it('from any node founds a new cluster with the same state, which the nodes of the old one cannot join', async () => {
    cluster = await ClusterProcesses.start({ size: 3, env: () => often })
    const follower = await aFollower()
    const { acknowledged } = await writes(200, 'w')
    await cluster.caughtUp(follower.id)
    const file = join(cluster.directory, 'backup')
    await command(follower.env, 'snapshot', file, '--api', follower.apiUrl)
    const old = await ClusterProcesses.prepare({ size: 1 })
    try {
      // The new cluster has the names and the addresses of the old one.
      for (const { id, dataDir, env } of cluster.sidecars) {
        await cluster.kill(id, 'SIGTERM')
        await rename(dataDir, join(old.directory, id))
        await command(env, 'restore', file)
      }
      await assert.rejects(command(cluster.get('n1').env, 'restore', file), /already|not empty|holds/i)
      for (const { id } of cluster.sidecars) cluster.start(id)
      const leader = await cluster.leader()
      assert.deepEqual(await missingOn(cluster, leader.id, acknowledged, 'linearizable'), [])
      const more = await writes(100, 'more')
      assert.deepEqual(await missingOn(cluster, leader.id, more.acknowledged, 'linearizable'), [])
      // A node of the old cluster comes back in the place of one of the new.
      const stray = await aFollower()
      await cluster.kill(stray.id)
      await rm(stray.dataDir, { recursive: true })
      await cp(join(old.directory, stray.id), stray.dataDir, { recursive: true })
      cluster.start(stray.id)
      await until(`${stray.id} to be refused`, 10_000, async () => {
        const { members } = await status(await cluster.leader())
        return members.find(({ id }) => id === stray.id)?.refusal ?? null
      })
    } finally {
      await old.close()
    }
  })
})

describe('a member that lost its memory', () => {
  it('stops when it comes back with an empty data directory, and is taken again when it has its own back', async () => {
    cluster = await ClusterProcesses.start({ size: 3 })
    const forgetful = await aFollower()
    await writes(50, 'w')
    await cluster.caughtUp(forgetful.id)
    await cluster.kill(forgetful.id)
    const aside = join(cluster.directory, 'aside')
    await rename(forgetful.dataDir, aside)
    await disowned(forgetful, /shows another data directory \([0-9a-f]{16}\) than the one that/)
    await writes(50, 'x')
    await rm(forgetful.dataDir, { recursive: true })
    await rename(aside, forgetful.dataDir)
    await isWholeAgain(forgetful)
  })

  it('stops when it comes back with an older copy of its data directory, however often that is started', async () => {
    cluster = await ClusterProcesses.start({ size: 3 })
    const forgetful = await aFollower()
    await writes(50, 'w')
    await cluster.kill(forgetful.id, 'SIGTERM')
    const [own, older] = [forgetful.dataDir, join(cluster.directory, 'older')]
    await cp(own, older, { recursive: true })
    cluster.start(forgetful.id)
    await isWholeAgain(forgetful)
    // Nobody but the leader hears what it acknowledges, and it acknowledges nothing now.
    await cluster.kill(forgetful.id, 'SIGTERM')
    const aside = join(cluster.directory, 'aside')
    await rename(own, aside)
    await rename(older, own)
    await disowned(forgetful, /shows run \d+ of (its|a) data directory/)
    const { acknowledged } = await writes(50, 'x')
    assert.deepEqual(await missingOn(cluster, (await cluster.leader()).id, acknowledged, 'linearizable'), [])
    await rm(own, { recursive: true })
    await rename(aside, own)
    await isWholeAgain(forgetful)
    assert.deepEqual(await missingOn(cluster, forgetful.id, acknowledged, 'local'), [])
  })
})

/** It stops at each start, and says why and what to do; whoever it met says so in its status, until both others have met it. */
async function disowned(forgetful: SidecarProcess, reason: RegExp): Promise<void> {
  const others = cluster.sidecars.filter(({ id }) => id !== forgetful.id)
  for (let starts = 1; ; starts++) {
    forgetful.log = []
    const { child } = cluster.start(forgetful.id)
    assert(child !== null)
    const [exitCode] = await once(child, 'close', { signal: AbortSignal.timeout(30_000) })
    const log = forgetful.log.join('')
    assert.equal(exitCode, 65, log)
    assert.match(log, /n\d refuses this node\. /)
    assert.match(log, reason)
    assert.match(
      log,
      /Put back the data directory that it used last, or remove n\d from the cluster and add it under a new id\./,
    )
    const refusals = await Promise.all(others.map((other) => refusalBy(other, forgetful)))
    const said = refusals.filter((refusal) => refusal !== null)
    for (const refusal of said) assert.match(refusal, reason)
    assert(said.length > 0, 'one of them met it')
    if (starts >= 3 && said.length === others.length) return
    assert(starts < 20, 'it never met both of the others')
  }
}

async function refusalBy(other: SidecarProcess, { id: wanted }: SidecarProcess): Promise<string | null> {
  const { members } = await status(other)
  return members.find(({ id }) => id === wanted)?.refusal ?? null
}

/** It serves, has what is committed, and nobody refuses it any more. */
async function isWholeAgain(member: SidecarProcess): Promise<void> {
  if (member.child === null) cluster.start(member.id)
  await until(`${member.id} to serve`, 20_000, () => cluster.status(member.id))
  await cluster.caughtUp(member.id)
  for (const other of cluster.sidecars) {
    await until(`${other.id} to take ${member.id}`, 20_000, async () =>
      (await refusalBy(other, member)) === null ? true : null,
    )
  }
}

async function command(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<void> {
  await run(process.execPath, ['--import', 'tsx', 'src/main.ts', ...args], { env })
}
