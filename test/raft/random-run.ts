// One seeded run: first anything may go wrong and only safety is asked for, then everything heals and the cluster must elect, commit
// and answer reads. Each seed draws its own mix of faults.

import assert from 'node:assert/strict'
import type { NodeId } from '../../src/raft/entry.ts'
import type { Received } from '../../src/raft/messages.ts'
import type { RaftOptions } from '../../src/raft/state.ts'
import { Cluster } from './cluster.ts'
import { Random } from './random.ts'
import { type TestNode, testTimings } from './test-node.ts'

const maxUnderWay = 60

export interface RunSummary {
  readonly committed: number
  readonly highestTerm: number
  readonly crashes: number
  readonly truncations: number
  readonly compactions: number
  readonly installs: number
  /** How many times it was looked, and a leader held a lease. */
  readonly leases: number
}

type Action = (random: Random, cluster: Cluster) => void

export function randomRun(seed: number, steps: number): RunSummary {
  const random = new Random(seed)
  // Drawn apart: a run without leases is what it was before there were any.
  const leases = drawLeases(new Random(seed + 2_000_003))
  const cluster = new Cluster({
    voters: random.pick([3, 3, 3, 5, 5, 1, 2]),
    learners: random.chance(0.2) ? 1 : 0,
    seed: seed + 1_000_003,
    ...leases,
    // In some runs entries leave memory at once, so that lagging followers are served from disk, or the window is tiny.
    options: {
      maxCachedBytes: random.pick([0, 40, 1_000_000]),
      maxMessageBytes: random.pick([8, 24, 1_000_000]),
      maxInFlightMessages: random.pick([1, 2, 16]),
      maxUncommittedBytes: random.pick([64, 1_000_000]),
      // So few entries stay behind a snapshot that the next follower to lag needs one.
      maxLogEntries: random.pick([0, 0, 1, 5, 1_000_000]),
      ...leases?.options,
    },
  })
  const counts = { crashes: 0 }
  // In some runs no save is ever quick.
  const areDisksSlow = random.chance(0.3)
  for (const node of cluster.nodes.values()) node.holdSaves = areDisksSlow
  const pace = random.pick([
    [1, 10, 50],
    [10, 50, 300],
    [1, 50, 1500],
  ])
  const actions = drawMix(random, counts)
  if (leases !== null) actions.push(...new Array<Action>(2 + random.integer(6)).fill(usurp))
  for (let step = 0; step < steps; step++) {
    if (random.chance(0.2)) cluster.advance(random.pick(pace))
    random.pick(actions)(random, cluster)
    while (cluster.network.length > maxUnderWay) cluster.network.splice(random.integer(cluster.network.length), 1)
  }
  heal(random, cluster)
  const highestTerm = Math.max(...[...cluster.nodes.values()].map((node) => node.raft.currentTerm))
  const { committedIndex, truncations, compactions, installs, leases: held } = cluster.invariants
  return { committed: committedIndex, highestTerm, truncations, compactions, installs, leases: held, ...counts }
}

const nodeIds: readonly NodeId[] = ['n1', 'n2', 'n3', 'n4', 'n5', 'n6']

/** In half of the runs most nodes promise and count, and the clock of each is as far from true as it may be, or somewhere between. */
function drawLeases(random: Random) {
  if (random.chance(0.5)) return null
  const maxClockDriftPpm = random.pick([500, 20_000, 100_000])
  const drift = maxClockDriftPpm / 1_000_000
  const rate = () => 1 + drift * random.pick([-1, 0, 1, 2 * random.next() - 1])
  const options: Partial<RaftOptions> = { waitsAfterRestart: true, maxClockDriftPpm }
  const leaseReads = () => ({ leaseReads: random.chance(0.85) })
  return {
    options,
    optionsOf: Object.fromEntries(nodeIds.map((id) => [id, leaseReads()])),
    clockRates: Object.fromEntries(nodeIds.map((id) => [id, rate()])),
  }
}

/** A list from which each step picks; how often an action stands in it is how likely it is. */
function drawMix(random: Random, counts: { crashes: number }): Action[] {
  const rare: Action[] = [
    duplicate,
    drop,
    cutOneLink,
    isolateOne,
    (_, cluster) => cluster.heal(),
    (_, cluster) => cluster.heal(),
    (r, cluster) => {
      counts.crashes++
      crashOrRestart(r, cluster)
    },
    transfer,
    peerDown,
    peerUp,
    holdSaves,
    timeOut,
    failSnapshot,
    ailingStorage,
  ]
  const mix: Action[] = []
  for (const action of rare) {
    for (let n = random.integer(3); n > 0; n--) mix.push(action)
  }
  for (let n = 0; n < 10; n++) mix.push(tick, tick, ...new Array<Action>(9).fill(deliver), save, save, propose)
  for (let n = random.integer(12); n > 0; n--) mix.push(snapshot, arrive)
  for (let n = random.integer(6); n > 0; n--) mix.push(arrive, arriveUnasked)
  mix.push(
    timeOut,
    burst,
    burst,
    burst,
    burst,
    announceCommit,
    announceCommit,
    read,
    read,
    read,
    load,
    load,
    load,
    load,
  )
  return mix
}

function anyAlive(random: Random, cluster: Cluster): TestNode | null {
  const alive = [...cluster.nodes.values()].filter((node) => node.alive)
  return alive.length === 0 ? null : random.pick(alive)
}

function tick(random: Random, cluster: Cluster): void {
  const node = anyAlive(random, cluster)
  if (node !== null) cluster.tick(node.id)
}

/** Mostly in order, sometimes any message; sometimes with no work taken in between, as when inputs share a turn of the loop. */
function deliver(random: Random, cluster: Cluster): void {
  if (cluster.network.length === 0) return
  const at = random.chance(0.7) ? 0 : random.integer(cluster.network.length)
  const [message] = cluster.network.splice(at, 1)
  if (message !== undefined) cluster.deliver(message, random.chance(0.8))
}

/** A calm moment, so that the next trouble meets a cluster that works. */
function burst(random: Random, cluster: Cluster): void {
  for (let n = 10 + random.integer(30); n > 0; n--) {
    const message = cluster.network.shift()
    if (message !== undefined) cluster.deliver(message)
    else if (random.chance(0.8)) save(random, cluster)
    else arrive(random, cluster)
  }
}

function duplicate(random: Random, cluster: Cluster): void {
  if (cluster.network.length > 0) cluster.network.push(random.pick(cluster.network))
}

function drop(random: Random, cluster: Cluster): void {
  if (cluster.network.length > 0) cluster.network.splice(random.integer(cluster.network.length), 1)
}

function propose(random: Random, cluster: Cluster): void {
  const leaders = [...cluster.nodes.values()].filter((node) => node.alive && node.role === 'leader')
  const node = leaders.length > 0 && random.chance(0.9) ? random.pick(leaders) : anyAlive(random, cluster)
  if (node === null) return
  const forwardedBy = random.chance(0.3) ? random.pick(cluster.voters) : undefined
  cluster.propose(node.id, 1 + random.integer(3), forwardedBy)
}

function announceCommit(_: Random, cluster: Cluster): void {
  cluster.leader()?.step({ type: 'announceCommit' })
  cluster.collect()
}

function read(random: Random, cluster: Cluster): void {
  const node = anyAlive(random, cluster)
  if (node !== null) cluster.read(node.id)
}

function save(random: Random, cluster: Cluster): void {
  const node = anyAlive(random, cluster)
  node?.completeSave(random.chance(0.8))
  cluster.collect()
}

function holdSaves(random: Random, cluster: Cluster): void {
  const node = anyAlive(random, cluster)
  if (node !== null) node.holdSaves = random.chance(0.5)
}

function load(random: Random, cluster: Cluster): void {
  anyAlive(random, cluster)?.completeLoad()
  cluster.collect()
}

/** Begun in one step and durable in another, of what is committed or of what an applier that lags had of it. */
function snapshot(random: Random, cluster: Cluster): void {
  const node = anyAlive(random, cluster)
  if (node === null) return
  if (node.snapshotting !== null) {
    node.completeSnapshot({ drain: random.chance(0.8) })
  } else {
    const { commitIndex, snapshot: newest } = node.raft
    const news = commitIndex - (newest?.lastIncluded.index ?? 0)
    if (news > 0) node.beginSnapshot(random.chance(0.5) ? commitIndex : commitIndex - random.integer(news))
  }
  cluster.collect()
}

/** From a leader to somebody who needs none, as a node is free to send it; its own link may be the faster one. */
function arriveUnasked(random: Random, cluster: Cluster): void {
  const leaders = [...cluster.nodes.values()].filter((node) => node.alive && node.role === 'leader')
  if (leaders.length === 0) return
  const leader = random.pick(leaders)
  const to = random.pick([...cluster.nodes.keys()])
  if (random.chance(0.5)) leader.takeSnapshot()
  const { id: from, raft, disk } = leader
  if (to === from || leader.role !== 'leader' || disk.snapshot === null) return
  const message = { type: 'InstallSnapshot', from, to, term: raft.currentTerm, snapshot: disk.snapshot } as const
  if (random.chance(0.5)) cluster.network.push(message)
  else cluster.deliver(message, random.chance(0.8))
}

/** It arrives, and may do so again; the network delays it, loses it, and lets it come when its sender was deposed long ago. */
function arrive(random: Random, cluster: Cluster): void {
  const node = senderOfSnapshot(random, cluster)
  if (node !== null) cluster.arrive(node.id, random.pick([...node.transfers.keys()]))
}

function failSnapshot(random: Random, cluster: Cluster): void {
  const node = senderOfSnapshot(random, cluster)
  node?.failSnapshot(random.pick([...node.transfers.keys()]))
  cluster.collect()
}

function senderOfSnapshot(random: Random, cluster: Cluster): TestNode | null {
  const senders = [...cluster.nodes.values()].filter((node) => node.alive && node.transfers.size > 0)
  return senders.length === 0 ? null : random.pick(senders)
}

function ailingStorage(random: Random, cluster: Cluster): void {
  anyAlive(random, cluster)?.storage(random.chance(0.3), random.chance(0.4))
  cluster.collect()
}

function transfer(random: Random, cluster: Cluster): void {
  const to = random.chance(0.5) ? null : random.pick(cluster.voters)
  cluster.leader()?.step({ type: 'transferLeadership', to })
  cluster.collect()
}

function peerDown(random: Random, cluster: Cluster): void {
  const node = anyAlive(random, cluster)
  node?.step({ type: 'peerDown', id: random.chance(0.7) ? (node.raft.leader ?? 'n1') : random.pick(cluster.voters) })
  cluster.collect()
}

function peerUp(random: Random, cluster: Cluster): void {
  const node = cluster.leader() ?? anyAlive(random, cluster)
  node?.step({ type: 'peerUp', id: random.pick([...cluster.nodes.keys()]) })
  cluster.collect()
}

function cutOneLink(random: Random, cluster: Cluster): void {
  cluster.cut(random.pick([...cluster.nodes.keys()]), random.pick([...cluster.nodes.keys()]))
}

function isolateOne(random: Random, cluster: Cluster): void {
  cluster.isolate(random.chance(0.5) ? (cluster.leader()?.id ?? 'n1') : random.pick([...cluster.nodes.keys()]))
}

function crashOrRestart(random: Random, cluster: Cluster): void {
  const node = random.pick([...cluster.nodes.values()])
  if (node.alive) cluster.crash(node.id, random.chance(0.3) ? random.next() : 0)
  else cluster.restart(node.id)
}

/** Nobody hears the leader any more, though it may hear the others, and these do all they can to replace it while it may still hold its lease. */
function usurp(random: Random, cluster: Cluster): void {
  burst(random, cluster)
  const old = cluster.leader()
  if (old === null) return
  const others = cluster.voters.filter((id) => id !== old.id)
  cluster.advance(testTimings.heartbeatIntervalMs * 1.2)
  cluster.tick(old.id)
  if (random.chance(0.3)) transfer(random, cluster)
  deliverAll(cluster, ({ from }) => from === old.id)
  if (random.chance(0.5)) deliverAll(cluster, ({ to }) => to === old.id)
  for (const id of others) {
    cluster.cut(old.id, id)
    const node = cluster.node(id)
    if (random.chance(0.3)) {
      cluster.crash(id)
      cluster.restart(id, random.chance(0.3) ? { leaseReads: random.chance(0.5) } : {})
    } else if (node.alive && random.chance(0.8)) node.step({ type: 'peerDown', id: old.id })
  }
  cluster.collect()
  // Answers that were a long time on the way.
  cluster.advance(random.pick([0, random.integer(testTimings.electionTimeoutMinMs)]))
  deliverAll(cluster, ({ to }) => to === old.id)
  for (let n = random.integer(40); n > 0; n--) {
    cluster.advance(random.pick([0, 5, 20, 100]))
    cluster.tick(...others.filter(() => random.chance(0.7)))
    for (let hops = random.integer(6); hops > 0; hops--) {
      deliverAll(cluster, ({ from, to }) => from !== old.id && to !== old.id)
      for (const id of others) if (random.chance(0.8)) cluster.node(id).completeSave()
      cluster.collect()
    }
    const heir = cluster.leader()
    if (heir !== null && heir !== old && random.chance(0.5)) cluster.propose(heir.id)
  }
  if (random.chance(0.7)) cluster.heal()
}

/** What is under way now, and not what comes of it. */
function deliverAll(cluster: Cluster, isMeant: (message: Received) => boolean): void {
  const meant = cluster.network.filter(isMeant)
  cluster.network = cluster.network.filter((message) => !meant.includes(message))
  for (const message of meant) cluster.deliver(message)
}

/** Everybody has lost the leader, and one moves first. */
function timeOut(random: Random, cluster: Cluster): void {
  cluster.advance(2000)
  tick(random, cluster)
  burst(random, cluster)
}

function heal(random: Random, cluster: Cluster): void {
  cluster.heal()
  // With one disk that stays full there is always another node with room to lead.
  const full = cluster.voters.length > 1 && random.chance(0.3) ? random.pick(cluster.voters) : null
  for (const node of cluster.nodes.values()) {
    if (!node.alive) cluster.restart(node.id)
    node.holdSaves = false
    node.drain()
    node.completeSaves()
    node.storage(false, node.id === full)
  }
  const isSettled = () => {
    const leader = cluster.leader()
    if (leader?.role !== 'leader') return false
    const { commitIndex, log } = leader.raft
    return (
      commitIndex === log.lastIndex &&
      [...cluster.nodes.values()].every((node) => node.raft.commitIndex === commitIndex)
    )
  }
  waitFor(cluster, isSettled, 'to elect a leader and agree on everything')
  const leader = cluster.leader()
  assert(leader !== null)
  const before = leader.raft.commitIndex
  const outcomes = leader.proposals.length
  // A transfer that was under way at the end of the faults may still refuse it once.
  waitFor(
    cluster,
    () => {
      const now = cluster.leader()
      if (now !== null && now.raft.commitIndex === before) cluster.propose(now.id)
      return (now?.raft.commitIndex ?? 0) > before
    },
    `to commit after ${outcomes} outcomes`,
  )
  waitFor(cluster, isSettled, 'to tell everybody of the commit')
  for (const node of cluster.nodes.values()) {
    let readId = cluster.read(node.id)
    const answered = () => {
      const outcome = node.reads.find((one) => one.readId === readId)
      // Leadership may still be on its way to a node with room: who hears so asks again.
      if (outcome?.index === null) readId = cluster.read(node.id)
      return outcome !== undefined && outcome.index !== null
    }
    waitFor(cluster, answered, `to answer a read on ${node.id}`)
  }
}

function waitFor(cluster: Cluster, condition: () => boolean, what: string): void {
  for (let waitedMs = 0; waitedMs < 30_000; waitedMs += 50) {
    if (condition()) return
    cluster.run(50)
  }
  const states = [...cluster.nodes.values()].map(
    ({ id, raft }) =>
      `${id}: ${raft.role.name} in ${raft.currentTerm}, commit ${raft.commitIndex} of ${raft.log.lastIndex}`,
  )
  assert.fail(`Healed for 30 s and failed ${what}; ${states.join('; ')}`)
}
