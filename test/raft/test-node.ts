// One Raft with its fake disk, driven by hand: it does the work that the core hands out as the loop of a node would, sends nothing
// by itself, and keeps promises back until what they rest on is durable. A snapshot that a follower needs is under way until the test
// says that it has come, or could not be sent.

import type { IndexedConfiguration } from '../../src/raft/configuration.ts'
import type { EntryId, NodeId } from '../../src/raft/entry.ts'
import type { InstallSnapshot, Message, Received } from '../../src/raft/messages.ts'
import { Raft } from '../../src/raft/raft.ts'
import type { SnapshotMetadata } from '../../src/raft/snapshot.ts'
import type { RaftOptions } from '../../src/raft/state.ts'
import type { Input, Load, ProposalOutcome, ReadOutcome } from '../../src/raft/work.ts'
import { encodeEntry, founding, logOf, proposal } from './entries.ts'
import { FakeDisk } from './fake-disk.ts'
import { Random } from './random.ts'

export interface TestClock {
  nowMs: number
}

/** Told of everything that a node does, so that invariants can be checked on the spot. */
export interface Watcher {
  stepped(node: TestNode): void
  leaving(node: TestNode, message: Message): void
  readAnswered(node: TestNode, outcome: ReadOutcome): void
  restarted(node: TestNode): void
  /** A save, or a snapshot, became durable, or entries were given up. */
  diskChanged(node: TestNode): void
}

export interface TestNodeSetup {
  readonly id?: NodeId
  readonly voters?: readonly NodeId[]
  readonly learners?: readonly NodeId[]
  /** The term of every entry on the disk at the start, behind the snapshot. */
  readonly log?: readonly number[]
  readonly snapshot?: SnapshotMetadata
  readonly currentTerm?: number
  readonly votedFor?: NodeId | null
  readonly options?: Partial<RaftOptions>
  readonly random?: () => number
  readonly clock?: TestClock
  readonly watcher?: Watcher
}

/** A snapshot that the node sends to a follower. */
export interface Transfer {
  readonly to: NodeId
  /** In which it began. */
  readonly term: number
  readonly snapshot: SnapshotMetadata
}

export const testTimings = { electionTimeoutMinMs: 1000, electionTimeoutMaxMs: 2000, heartbeatIntervalMs: 300 }

export class TestNode {
  readonly id: NodeId
  readonly clock: TestClock
  readonly disk: FakeDisk
  raft: Raft
  alive = true
  /** Saves then wait for `completeSave`. */
  holdSaves = false
  /** What left the node, oldest first. */
  sent: Message[] = []
  reads: ReadOutcome[] = []
  proposals: ProposalOutcome[] = []
  loads: Load[] = []
  /** The newest one for each follower. */
  readonly transfers = new Map<NodeId, Transfer>()
  /** How far the log was ever given up. */
  compactedThrough: EntryId | null = null
  /** A picture of the state was taken, and is being written. */
  snapshotting: SnapshotMetadata | null = null
  configurations: IndexedConfiguration[] = []
  readonly #setup: TestNodeSetup
  /** Changed by a restart. */
  #options: Partial<RaftOptions>
  #promises: { readonly after: number; readonly message: Message }[] = []
  #savedId = 0

  constructor(setup: TestNodeSetup = {}) {
    const { id = 'n1', voters = ['n1', 'n2', 'n3'], learners = [], log = [] } = setup
    this.id = id
    this.#setup = setup
    this.#options = setup.options ?? {}
    this.clock = setup.clock ?? { nowMs: 0 }
    const { snapshot = null } = setup
    const { term, index } = snapshot?.lastIncluded ?? { term: 0, index: 0 }
    const hardState = { currentTerm: setup.currentTerm ?? log.at(-1) ?? term, votedFor: setup.votedFor ?? null }
    this.disk = new FakeDisk(hardState, logOf(log, index + 1), founding(voters, learners), snapshot)
    this.raft = this.#start()
  }

  #start(): Raft {
    const options: RaftOptions = {
      id: this.id,
      recovered: this.disk.recovered(),
      encodeEntry,
      random: this.#setup.random ?? new Random(1).next,
      ...testTimings,
      leaseReads: false,
      maxClockDriftPpm: 500,
      // The tests begin in the middle of things: only those of leases wait.
      waitsAfterRestart: false,
      maxInFlightMessages: 4,
      maxMessageBytes: 64 * 1024,
      maxUncommittedBytes: 1024 * 1024,
      maxLogEntries: 1000,
      maxCachedBytes: 1024 * 1024,
      ...this.#options,
    }
    return new Raft(options, this.clock.nowMs)
  }

  /** Several inputs may be taken in before the work is asked for: `drain` false. */
  step(input: Input, drain = true): void {
    this.raft.step(this.clock.nowMs, input)
    this.#setup.watcher?.stepped(this)
    if (drain) this.drain()
  }

  receive(...messages: readonly Received[]): void {
    for (const message of messages) this.step({ type: 'receive', message })
  }

  tick(afterMs = 0): void {
    if (afterMs !== 0) this.clock.nowMs += afterMs
    this.step({ type: 'tick' })
  }

  /** Proposes commands of these sizes in one input. */
  propose(...payloadBytes: readonly number[]): readonly ProposalOutcome[] {
    const proposals = payloadBytes.map((bytes, i) => proposal(i + 1, bytes))
    const before = this.proposals.length
    this.step({ type: 'propose', proposals, unixMs: 0 })
    return this.proposals.slice(before)
  }

  drain(): void {
    const work = this.raft.takeWork()
    this.#setup.watcher?.stepped(this)
    if (work.save !== null) this.disk.pending.push(work.save)
    if (work.compactThrough !== null) this.#compact(work.compactThrough)
    for (const message of work.send) this.#leave(message)
    for (const message of work.promises) this.#promises.push({ after: work.promisesAfter, message })
    for (const outcome of work.reads) this.#setup.watcher?.readAnswered(this, outcome)
    this.reads.push(...work.reads)
    this.proposals.push(...work.proposals)
    this.loads.push(...work.loads)
    for (const { to, lastIncluded } of work.snapshots) this.#beginTransfer(to, lastIncluded)
    if (work.configuration !== null) this.configurations.push(work.configuration)
    this.#releasePromises()
    if (!this.holdSaves) this.completeSaves()
  }

  /** False when nothing was under way. `report` false: the node hears of it with a later save only. */
  completeSave(report = true): boolean {
    const id = this.disk.completeOldest()
    if (id === null) return false
    this.#setup.watcher?.diskChanged(this)
    if (!report && this.disk.pending.length > 0) return true
    this.#savedId = id
    this.#releasePromises()
    this.step({ type: 'saved', id })
    return true
  }

  completeSaves(): void {
    while (this.completeSave()) {}
  }

  /** Answers the oldest load from the disk. */
  completeLoad(): boolean {
    const load = this.loads.shift()
    if (load === undefined) return false
    const entries = this.disk.read(load.from, load.through, load.maxBytes)
    this.step({ type: 'loaded', to: load.to, from: load.from, entries })
    return true
  }

  /**
   * A picture of what is applied by now: everything that is committed, or less. Not yet of a term that is not durable: a crash would leave a
   * snapshot that is ahead of the term.
   */
  beginSnapshot(index = this.raft.commitIndex): void {
    const { log } = this.raft
    const term = log.termAt(index)
    if (term === null) throw new Error(`The log of ${this.id} does not hold ${index}`)
    if (term > this.raft.durableTerm) return
    this.snapshotting = {
      lastIncluded: { term, index },
      timestampMs: this.#timestampAt(index),
      configuration: log.configurationAt(index),
    }
  }

  /** It is durable. */
  completeSnapshot({
    drain = true,
    neededFrom,
  }: {
    readonly drain?: boolean
    readonly neededFrom?: number
  } = {}): void {
    const snapshot = this.snapshotting
    if (snapshot === null) return
    this.snapshotting = null
    this.disk.takeSnapshot(snapshot)
    this.#setup.watcher?.diskChanged(this)
    this.step({ type: 'snapshotTaken', snapshot, ...(neededFrom === undefined ? {} : { neededFrom }) }, drain)
  }

  takeSnapshot(): void {
    this.beginSnapshot()
    this.completeSnapshot()
  }

  /** The follower's node has all of the snapshot. It may hear so more than once, and long after this node was deposed. */
  arrivalAt(to: NodeId): InstallSnapshot | null {
    const transfer = this.transfers.get(to)
    if (transfer === undefined) return null
    return { type: 'InstallSnapshot', from: this.id, to, term: transfer.term, snapshot: transfer.snapshot }
  }

  /** Whether the core still waits for that snapshot to arrive. */
  isSendingSnapshot(to: NodeId): boolean {
    const { role } = this.raft
    return role.name === 'leader' && role.progress.get(to)?.state === 'snapshot'
  }

  failSnapshot(to: NodeId): void {
    this.transfers.delete(to)
    this.step({ type: 'snapshotFailed', to })
  }

  storage(isStalled: boolean, isFull: boolean): void {
    this.step({ type: 'storage', isStalled, isFull })
  }

  crash(torn = 0): void {
    this.disk.crash(torn)
    this.alive = false
    this.sent = []
    this.reads = []
    this.proposals = []
    this.loads = []
    this.transfers.clear()
    this.snapshotting = null
    this.#promises = []
    this.#savedId = 0
  }

  restart(changed: Partial<RaftOptions> = {}): void {
    this.#options = { ...this.#options, ...changed }
    this.raft = this.#start()
    this.alive = true
    this.#setup.watcher?.restarted(this)
  }

  /** What left since the last call. */
  takeSent(): Message[] {
    return this.sent.splice(0)
  }

  takeSentOf<T extends Message['type']>(type: T): Extract<Message, { readonly type: T }>[] {
    return this.takeSent().filter((message): message is Extract<Message, { readonly type: T }> => message.type === type)
  }

  get role(): string {
    return this.raft.role.name
  }

  /** The term of every entry in the log, behind its base. */
  get terms(): number[] {
    const terms: number[] = []
    for (let index = this.raft.log.base.index + 1; index <= this.raft.log.lastIndex; index++)
      terms.push(this.raft.log.termAt(index) ?? -1)
    return terms
  }

  #beginTransfer(to: NodeId, { term, index }: EntryId): void {
    const snapshot = this.disk.snapshots.find(
      ({ lastIncluded }) => lastIncluded.term === term && lastIncluded.index === index,
    )
    if (snapshot === undefined)
      throw new Error(`${this.id} is to send a snapshot through ${term}/${index}, and has none`)
    this.transfers.set(to, { to, term: this.raft.currentTerm, snapshot })
  }

  #compact(through: EntryId): void {
    this.compactedThrough = through
    this.disk.compact(through)
    this.#setup.watcher?.diskChanged(this)
  }

  #timestampAt(index: number): number {
    const [entry] = this.raft.cachedEntries(index, index, 1) ?? this.disk.read(index, index, 1)
    return entry?.timestampMs ?? this.disk.snapshot?.timestampMs ?? 0
  }

  #releasePromises(): void {
    while (this.#promises[0] !== undefined && this.#promises[0].after <= this.#savedId) {
      const promise = this.#promises.shift()
      if (promise !== undefined) this.#leave(promise.message)
    }
  }

  #leave(message: Message): void {
    this.#setup.watcher?.leaving(this, message)
    this.sent.push(message)
  }
}
