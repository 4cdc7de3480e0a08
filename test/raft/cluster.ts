// Several Raft nodes, the messages between them in the test's hand (deliver, drop, duplicate, reorder, partition), their disks, and one
// clock that moves only when told, at a rate of its own on each node if so wanted. Every step of every node is held against the invariants.

import assert from 'node:assert/strict'
import type { NodeId } from '../../src/raft/entry.ts'
import type { Received } from '../../src/raft/messages.ts'
import type { SnapshotMetadata } from '../../src/raft/snapshot.ts'
import type { RaftOptions } from '../../src/raft/state.ts'
import { proposal } from './entries.ts'
import { Invariants } from './invariants.ts'
import { Random } from './random.ts'
import { type TestClock, TestNode, type Transfer, testTimings } from './test-node.ts'

export interface ClusterSetup {
  readonly voters: number
  readonly learners?: number
  readonly seed?: number
  readonly options?: Partial<RaftOptions>
  /** Of single nodes, on top of those of all. */
  readonly optionsOf?: Readonly<Record<NodeId, Partial<RaftOptions>>>
  /** How fast the clock of a node runs; as the cluster's unless it is given. */
  readonly clockRates?: Readonly<Record<NodeId, number>>
  /** What a node starts with. */
  readonly snapshots?: Readonly<Record<NodeId, SnapshotMetadata>>
  /** The terms of the entries that a node starts with, behind its snapshot. */
  readonly logs?: Readonly<Record<NodeId, readonly number[]>>
  /** Terms of the entries that were committed before it begins; snapshots stand for no more. */
  readonly committed?: readonly number[]
  /** The current term that a node starts with, when it is past its log. */
  readonly currentTerms?: Readonly<Record<NodeId, number>>
}

/** More deliveries than this without time passing are nodes that answer each other for ever. */
const maxDeliveries = 20_000

export class Cluster {
  readonly clock = { nowMs: 0 }
  readonly nodes = new Map<NodeId, TestNode>()
  readonly voters: readonly NodeId[]
  readonly invariants: Invariants
  /** Sent and not yet delivered, oldest first. */
  network: Received[] = []
  /** A snapshot that is under way arrives when a test says so, and not by itself when the network settles. */
  holdSnapshots = false
  readonly #cut = new Set<string>()
  /** When each transfer of a snapshot last reached its end. */
  readonly #arrivals = new WeakMap<Transfer, number>()
  #lastReadId = 0
  #lastSequence = 0

  constructor(setup: ClusterSetup) {
    const { voters, learners = 0, seed = 1, options = {} } = setup
    const ids = Array.from({ length: voters + learners }, (_, i) => `n${i + 1}`)
    this.voters = ids.slice(0, voters)
    this.invariants = new Invariants(this.nodes, this.voters, setup.committed)
    const random = new Random(seed).next
    for (const id of ids) {
      const log = setup.logs?.[id] ?? []
      const snapshot = setup.snapshots?.[id]
      const node = new TestNode({
        id,
        voters: this.voters,
        learners: ids.slice(voters),
        log,
        ...(snapshot === undefined ? {} : { snapshot }),
        currentTerm: setup.currentTerms?.[id] ?? log.at(-1) ?? snapshot?.lastIncluded.term ?? 0,
        options: { ...options, ...setup.optionsOf?.[id] },
        random,
        clock: setup.clockRates === undefined ? this.clock : new DriftingClock(this.clock, setup.clockRates[id] ?? 1),
        watcher: this.invariants,
      })
      this.nodes.set(id, node)
    }
  }

  node(id: NodeId): TestNode {
    const node = this.nodes.get(id)
    assert(node !== undefined, `There is no ${id}`)
    return node
  }

  /** The leader of the highest term among those alive. */
  leader(): TestNode | null {
    const leaders = [...this.nodes.values()].filter((node) => node.alive && node.role === 'leader')
    return leaders.sort((a, b) => b.raft.currentTerm - a.raft.currentTerm)[0] ?? null
  }

  advance(ms: number): void {
    this.clock.nowMs += ms
  }

  tick(...ids: readonly NodeId[]): void {
    for (const id of ids) if (this.node(id).alive) this.node(id).tick()
    this.collect()
  }

  tickAll(): void {
    this.tick(...this.nodes.keys())
  }

  propose(id: NodeId, commands = 1, forwardedBy?: NodeId): void {
    const proposals = Array.from({ length: commands }, () => proposal(++this.#lastSequence))
    this.node(id).step({
      type: 'propose',
      proposals,
      unixMs: this.clock.nowMs,
      ...(forwardedBy === undefined ? {} : { forwardedBy }),
    })
    this.collect()
  }

  /** Returns the number of the read. */
  read(id: NodeId): number {
    const readId = ++this.#lastReadId
    this.invariants.readBegins(readId)
    this.node(id).step({ type: 'readIndex', readId })
    this.collect()
    return readId
  }

  /** Takes what the nodes sent into the network. */
  collect(): void {
    for (const node of this.nodes.values()) this.network.push(...node.takeSent())
  }

  /** A message over a cut link, or to a node that is down, is lost. */
  deliver(message: Received, drain = true): void {
    const to = this.node(message.to)
    if (!to.alive || this.#cut.has(link(message.from, message.to))) return
    to.step({ type: 'receive', message }, drain)
    this.collect()
  }

  /** Takes the first message that fits out of the network. */
  take<T extends Received['type']>(type: T, from: NodeId, to: NodeId): Extract<Received, { readonly type: T }> {
    const at = this.network.findIndex((message) => message.type === type && message.from === from && message.to === to)
    const [message] = at < 0 ? [] : this.network.splice(at, 1)
    assert(message !== undefined, `No ${type} from ${from} to ${to} is under way`)
    return message as Extract<Received, { readonly type: T }>
  }

  /** Delivers everything in order, and what comes of it, until the network is silent. */
  settle(): void {
    this.collect()
    let deliveries = 0
    for (;;) {
      const message = this.network.shift()
      if (message !== undefined) this.deliver(message)
      else if (!this.#completeLoad() && !this.#arrive() && !this.#announceCommit()) return
      this.collect()
      deliveries++
      assert(deliveries < maxDeliveries, `No silence after ${maxDeliveries} deliveries: ${JSON.stringify(message)}`)
    }
  }

  #completeLoad(): boolean {
    return [...this.nodes.values()].some((node) => node.alive && node.completeLoad())
  }

  /** As the nodes do for as long as the leader waits for it: an arrival that was lost, or did not help, is repeated a heartbeat later. */
  #arrive(): boolean {
    if (this.holdSnapshots) return false
    for (const node of this.nodes.values()) {
      for (const [to, transfer] of node.transfers) {
        const lastMs = this.#arrivals.get(transfer) ?? Number.NEGATIVE_INFINITY
        const isDue = this.clock.nowMs - lastMs >= testTimings.heartbeatIntervalMs
        if (!isDue || !node.alive || !node.isSendingSnapshot(to)) continue
        this.#arrivals.set(transfer, this.clock.nowMs)
        this.arrive(node.id, to)
        return true
      }
    }
    return false
  }

  /** The follower's node has all of the snapshot that is being sent to it. */
  arrive(from: NodeId, to: NodeId): void {
    const message = this.node(from).arrivalAt(to)
    assert(message !== null, `${from} sends no snapshot to ${to}`)
    this.network.push(message)
  }

  /** As the loop of a node does a moment after a commit; true when there was something to tell. */
  #announceCommit(): boolean {
    for (const node of this.nodes.values()) if (node.alive) node.step({ type: 'announceCommit' })
    this.collect()
    return this.network.length > 0
  }

  /** Lets time pass in small steps, everybody ticking, everything delivered. */
  run(ms: number): void {
    for (let passed = 0; passed < ms; passed += 50) {
      this.advance(50)
      this.tickAll()
      this.settle()
    }
  }

  /** Makes this node the leader: everybody has waited long enough to have lost the old one, and this one moves first. */
  elect(id: NodeId): void {
    this.advance(testTimings.electionTimeoutMaxMs)
    for (const node of this.nodes.values()) if (node.alive && node.role === 'leader') this.tick(node.id)
    this.advance(testTimings.electionTimeoutMaxMs)
    this.tick(id)
    this.settle()
    assert.equal(this.node(id).role, 'leader', `${id} did not win: ${this.node(id).raft.roleReason}`)
  }

  /** Everybody hears what is committed. */
  heartbeat(): void {
    this.advance(testTimings.heartbeatIntervalMs)
    const leader = this.leader()
    if (leader !== null) this.tick(leader.id)
    this.settle()
  }

  cut(from: NodeId, to: NodeId): void {
    this.#cut.add(link(from, to))
  }

  isolate(...ids: readonly NodeId[]): void {
    for (const id of ids) {
      for (const other of this.nodes.keys()) {
        if (ids.includes(other)) continue
        this.cut(id, other)
        this.cut(other, id)
      }
    }
  }

  heal(): void {
    this.#cut.clear()
  }

  crash(id: NodeId, torn = 0): void {
    this.node(id).crash(torn)
  }

  restart(id: NodeId, changed: Partial<RaftOptions> = {}): void {
    this.node(id).restart(changed)
  }
}

/** Shows the time of the cluster at a rate of its own. */
class DriftingClock {
  readonly #true: TestClock
  readonly #rate: number

  constructor(trueClock: TestClock, rate: number) {
    this.#true = trueClock
    this.#rate = rate
  }

  get nowMs(): number {
    return this.#true.nowMs * this.#rate
  }
}

function link(from: NodeId, to: NodeId): string {
  return `${from}>${to}`
}
