// THE loop: inputs → step → (send ∥ save) → apply. Every input of a turn of the event loop is taken in first, then the core is asked once what
// is to be done. Promises leave only after the save that they rest on; any failure of the disk, or of an invariant, ends the node.

import { exitCodes, FatalError, ProposalError, SnapshotError, TransferError } from '../errors.ts'
import { assert } from '../raft/assert.ts'
import { isMember } from '../raft/configuration.ts'
import type { Entry, NodeId } from '../raft/entry.ts'
import type { Message } from '../raft/messages.ts'
import { Raft } from '../raft/raft.ts'
import type { SnapshotMetadata } from '../raft/snapshot.ts'
import type { Input, Save, Work } from '../raft/work.ts'
import { Acquaintances } from './acquaintances.ts'
import { CommittedLog } from './committed-log.ts'
import { confirmRead } from './confirmed-read.ts'
import type {
  AppliedCommand,
  Backup,
  CommittedCommand,
  CommittedRead,
  LeaderView,
  NewCommand,
  Node,
  NodeChange,
  NodeStatus,
  ProposalCounters,
  ReadMode,
  SnapshotView,
} from './contract.ts'
import { Forwarding } from './forwarding.ts'
import { HandOver } from './hand-over.ts'
import { Installation } from './installation.ts'
import { handLeadershipOver } from './leadership-transfer.ts'
import type { Ledger } from './ledger.ts'
import { encodeLedger } from './ledger-codec.ts'
import { LedgerKeeper } from './ledger-keeper.ts'
import { News } from './news.ts'
import type { NodeOptions } from './node-options.ts'
import { Poisoned } from './poisoned.ts'
import type { Applier, CommittedEntries, KeptResult, PeerMessage, Standing, StoredSnapshot } from './ports.ts'
import { type NewProposal, Proposals } from './proposals.ts'
import { Reads } from './reads.ts'
import { Saves } from './saves.ts'
import type { Skip } from './skip.ts'
import { chunkBytes } from './snapshot-sender.ts'
import { SnapshotTaker } from './snapshot-taker.ts'
import { openBackup, Snapshots, viewOf } from './snapshots.ts'
import { describeStatus } from './status.ts'
import { UnknownResults } from './unknown-results.ts'

/** After a commit, followers that nothing else told of it by then are told. */
const announceAfterMs = 10

/** From 1 to 2^48 - 1. */
function random48(random: () => number): number {
  return 1 + Math.floor(random() * (2 ** 48 - 1))
}

export type { NodeOptions } from './node-options.ts'

export class RaftNode implements Node {
  readonly #options: NodeOptions
  readonly #raft: Raft
  readonly #proposals: Proposals
  readonly #reads: Reads
  readonly #handOver: HandOver
  readonly #acquaintances: Acquaintances
  readonly #saves: Saves
  readonly #snapshotTaker: SnapshotTaker
  readonly #snapshots: Snapshots
  readonly #tickIntervalMs: number
  readonly #startedMs: number
  #state: 'new' | 'running' | 'stopping' | 'stopped' = 'new'
  #turnScheduled = false
  #tickDue = false
  #cancelTimer: () => void = () => {}
  #cancelAnnouncement: (() => void) | null = null
  #inputs: Input[] = []
  #stop: Promise<void> | null = null
  #commitIndex: number
  readonly #installation = new Installation()
  readonly #keeper: LedgerKeeper
  readonly #committedLog: CommittedLog
  readonly #unknownResults: UnknownResults
  readonly #news: News
  readonly #poisoned: Poisoned
  #storage = { isStalled: false, isFull: false }

  constructor(options: NodeOptions) {
    const { clock, random, raft, limits } = options
    this.#options = options
    this.#startedMs = clock.monotonicMs()
    // Ten ticks a heartbeat: fine enough for every timeout, and nothing for an idle process.
    this.#tickIntervalMs = Math.min(Math.max(raft.heartbeatIntervalMs / 10, 2), 30)
    const origin = random48(random)
    const ledger = () => this.#keeper.ledger
    this.#proposals = new Proposals({
      origin,
      limits: { ...limits, leaderPatienceMs: raft.electionTimeoutMaxMs },
      ledger,
      appliedIndex: () => this.appliedIndex,
      leavesOut: options.leavesOut,
    })
    this.#reads = new Reads({
      firstReadId: random48(random),
      maxWaiting: limits.maxPendingProposals,
      repeatAfterMs: raft.heartbeatIntervalMs,
    })
    const { id, storage, encodeEntry, transport, observer, applier, watcher, snapshots, results } = options
    this.#poisoned = new Poisoned({ id, application: watcher ?? applier, leavesOut: options.leavesOut })
    const onFailure = (error: unknown) => this.#fail(error)
    this.#keeper = new LedgerKeeper({
      limits: options.ledger,
      storage,
      clock,
      read: (from, through, maxBytes) => this.#read(from, through, maxBytes),
      kept: results?.load() ?? [],
      onKnown: (known) => results?.append(known),
      onProgress: (skips) => this.#guard(() => this.#ledgerProgressed(skips)),
      onFailure,
    })
    this.#unknownResults = new UnknownResults({ id, transport, repeatAfterMs: raft.heartbeatIntervalMs })
    const forwarding = new Forwarding({
      id,
      transport,
      maxMessageBytes: raft.maxMessageBytes,
      maxWaitingBytes: raft.maxUncommittedBytes,
    })
    this.#raft = new Raft({ ...raft, id, recovered: storage.recovered, encodeEntry, random }, this.#startedMs)
    this.#committedLog = new CommittedLog({
      entries: this.#entries(async () => null, true),
      committedIndex: () => this.#keeper.ledger.throughIndex,
      maxWaiting: limits.maxPendingProposals,
    })
    this.#news = new News({
      raft: this.#raft,
      observer,
      application: watcher ?? applier,
      leader: () => this.leader(),
      onLeader: () => {
        this.#reads.repeat()
        this.#scheduleTurn()
      },
    })
    this.#acquaintances = new Acquaintances({ id, store: options.acquaintances, after: clock.after, onFailure })
    this.#handOver = new HandOver({
      origin,
      raft: this.#raft,
      proposals: this.#proposals,
      forwarding,
      ledger,
      transport,
      clock,
      maxBatches: raft.maxInFlightMessages,
    })
    const onSaved = (save: Save) => this.#saved(save)
    this.#saves = new Saves({ storage, transport, clock, observer, onSaved, onFailure })
    this.#snapshotTaker = new SnapshotTaker({
      storage,
      applier,
      clock,
      observer,
      threshold: snapshots.threshold,
      describe: (index) => this.#describe(index),
      ledgerAt: (index) => encodeLedger(this.#keeper.ledger.picture(index), () => this.#keeper.giveWay()),
      onTaken: (snapshot, file) => {
        results?.forget(snapshot.lastIncluded.index)
        this.#news.changed({ type: 'snapshot', snapshot: viewOf(file), installedFrom: null })
        this.#enqueue({ type: 'snapshotTaken', snapshot, neededFrom: this.#neededFrom() })
      },
      onFailure,
    })
    this.#snapshots = new Snapshots({
      id,
      raft: this.#raft,
      storage,
      transport,
      clock,
      observer,
      bytesPerSecond: snapshots.bytesPerSecond,
      chunkBytes: snapshots.chunkBytes ?? chunkBytes,
      repeatAfterMs: raft.electionTimeoutMinMs,
      patienceMs: 10 * raft.electionTimeoutMaxMs,
      onReceived: (received) => {
        this.#installation.arrived(received)
        const { from, term, header } = received
        this.#enqueue({ type: 'receive', message: { type: 'InstallSnapshot', from, to: id, term, snapshot: header } })
      },
      onUnsendable: (to) => this.#enqueue({ type: 'snapshotFailed', to }),
      onFailure,
    })
    this.#commitIndex = this.#raft.commitIndex
  }

  get id(): NodeId {
    return this.#options.id
  }

  get appliedIndex(): number {
    return this.#options.applier.appliedIndex
  }

  get currentTerm(): number {
    return this.#raft.currentTerm
  }

  get commitIndex(): number {
    return this.#raft.commitIndex
  }

  /** To be looked at only; another one takes its place when a snapshot is installed. */
  get ledger(): Ledger {
    return this.#keeper.ledger
  }

  async start(): Promise<void> {
    const { storage, transport, applier, watcher, observer } = this.#options
    const { index, configuration } = this.#raft.log.configuration
    observer.event({ type: 'configuration', index, configuration })
    transport.setMembers(configuration.members)
    if (storage.newestSnapshot !== null) {
      try {
        await this.#keeper.load()
      } catch (error) {
        this.#fail(error)
      }
      if (this.#state !== 'new') return
    }
    applier.start(
      this.#entries(() => this.#openInstalled(), this.#options.leavesOut),
      {
        applied: (appliedIndex, commands, results) => this.#applied(appliedIndex, commands, results),
        rewound: () => this.#applicationMoved(applier),
        restored: (appliedIndex) => this.#restored(appliedIndex),
      },
    )
    // The snapshot is of another state machine's state: an application that only watches cannot be brought up by it.
    watcher?.start(
      this.#entries(async () => null, true),
      {
        applied: (_appliedIndex, entries) => this.#delivered(watcher, entries),
        rewound: () => this.#applicationMoved(watcher),
        restored: () => {},
      },
    )
    if (this.#commitIndex > 0) {
      applier.commit(this.#commitIndex)
      watcher?.commit(this.#commitIndex)
    }
    await transport.start({
      standing: () => this.#standing(),
      greeted: (id, standing) => this.#acquaintances.greeted(id, standing),
      disowned: (by, standing, sentence) => this.#disowned(by, standing, sentence),
      received: (message) => this.#guard(() => this.#received(message)),
      peerUp: (id) => this.#guard(() => this.#peer(id, true)),
      peerDown: (id) => this.#guard(() => this.#peer(id, false)),
    })
    // It may have been stopped, or have failed, meanwhile.
    if (this.#state !== 'new') return
    this.#state = 'running'
    this.#scheduleTick()
    this.#scheduleTurn()
  }

  /** Hands leadership over, lets what is under way come to its end, and closes everything. `graceMs` bounds the waiting. */
  stop(graceMs: number): Promise<void> {
    this.#stop ??= this.#stopOnce(graceMs)
    return this.#stop
  }

  async #stopOnce(graceMs: number): Promise<void> {
    if (this.#state === 'running') {
      this.#state = 'stopping'
      this.#proposals.refuseQueued()
      this.#enqueue({ type: 'transferLeadership', to: null })
      await this.#settled(graceMs)
    }
    if (this.#state === 'stopped') return
    this.#halt()
    await Promise.allSettled([this.#options.applier.close(), this.#options.watcher?.close()])
    await Promise.allSettled([
      this.#options.transport.close(),
      this.#acquaintances.close(),
      this.#options.results?.close(),
    ])
    await Promise.allSettled([this.#options.storage.close()])
  }

  admit(sizeBytes: number): ProposalError | null {
    return this.#proposals.admit(sizeBytes)
  }

  propose(command: NewCommand, timeoutMs: number): Promise<AppliedCommand> {
    return this.#propose(toProposal(command), 'applied', timeoutMs)
  }

  proposeCommitted(command: NewCommand, timeoutMs: number): Promise<CommittedCommand> {
    return this.#propose(toProposal(command), 'committed', timeoutMs)
  }

  async proposeBatch(
    commands: readonly NewCommand[],
    wait: 'applied' | 'committed',
    timeoutMs: number,
  ): Promise<readonly (AppliedCommand | ProposalError)[]> {
    const bytes = commands.reduce((sum, { payload }) => sum + payload.length, 0)
    const full = this.#proposals.fullness(commands.length, bytes)
    if (full !== null) await this.#proposals.refuse('too-many-proposals', full)
    const answers = commands.map((command) =>
      this.#propose(toProposal(command), wait, timeoutMs).catch(asProposalError),
    )
    return await Promise.all(answers)
  }

  async skip(index: number, timeoutMs: number): Promise<CommittedCommand> {
    const payload = this.#poisoned.skipOf(index, this.#keeper.ledger.isSkipped(index))
    return await this.#propose({ kind: 'skip', key: null, traceparent: null, payload }, 'committed', timeoutMs)
  }

  async readCommitted(after: number, limit: number, maxBytes: number): Promise<CommittedRead> {
    return await this.#committedLog.read(after, limit, maxBytes)
  }

  async waitCommitted(after: number, timeoutMs: number): Promise<number> {
    const wait = this.#committedLog.wait(after, this.#options.clock.monotonicMs(), timeoutMs)
    if (this.#state === 'stopped') this.#committedLog.abandon()
    return await wait
  }

  subscribe(changed: (change: NodeChange) => void): () => void {
    return this.#news.subscribe(changed)
  }

  async transferLeadership(to: NodeId | null, timeoutMs: number): Promise<LeaderView> {
    if (this.#state !== 'running')
      throw new TransferError('shutting-down', `Cannot hand leadership over: ${this.id} is stopping`)
    return await handLeadershipOver(to, timeoutMs, {
      node: this,
      members: this.#raft.log.configuration.configuration.members,
      clock: this.#options.clock,
      begin: () => this.#enqueue({ type: 'transferLeadership', to }),
    })
  }

  async takeSnapshot(): Promise<SnapshotView> {
    if (this.#state !== 'running')
      throw new SnapshotError('shutting-down', 'Cannot take a snapshot: this node is shutting down')
    return viewOf(await this.#snapshotTaker.take())
  }

  async openBackup(): Promise<Backup> {
    await this.takeSnapshot()
    return await openBackup(this.#options.storage, (error) => this.#fail(error))
  }

  readBarrier(timeoutMs: number, mode: ReadMode = 'read-index'): Promise<number> {
    const nowMs = this.#options.clock.monotonicMs()
    const leased = mode === 'lease' ? this.leaseReadIndex() : null
    const reading =
      leased === null
        ? this.#reads.barrier(nowMs, timeoutMs)
        : this.#reads.barrierAt(leased, this.appliedIndex, nowMs, timeoutMs)
    if (this.#state === 'stopped') this.#reads.abandon()
    else if (leased === null) this.#scheduleTurn()
    const { applier, clock } = this.#options
    return confirmRead(reading, { applier, reads: this.#reads, clock, deadlineMs: nowMs + timeoutMs })
  }

  async waitApplied(index: number, timeoutMs: number): Promise<void> {
    const wait = this.#reads.waitApplied(index, this.appliedIndex, this.#options.clock.monotonicMs(), timeoutMs)
    if (this.#state === 'stopped') this.#reads.abandon()
    await wait
  }

  leader(): LeaderView | null {
    const id = this.#raft.leader
    if (id === null) return null
    const self = id === this.id
    const appUrl = self
      ? this.#options.appUrl
      : (this.#options.transport.peers().find((peer) => peer.id === id)?.appUrl ?? null)
    return { id, term: this.#raft.currentTerm, self, appUrl }
  }

  /** What a read by lease is of, now; null: this node holds none. */
  leaseReadIndex(): number | null {
    // By the clock as it is after the question came: as of an older time, a lease proves nothing of this one.
    return this.#state === 'stopped' ? null : this.#raft.leaseReadIndex(this.#options.clock.monotonicMs())
  }

  holdsQuorum(): boolean {
    return this.#state !== 'stopped' && this.#raft.holdsQuorum(this.#options.clock.monotonicMs())
  }

  status(): NodeStatus {
    const { transport, applier, watcher, clock, storage } = this.#options
    return describeStatus({
      raft: this.#raft,
      peers: transport.peers(),
      leader: this.leader(),
      holdsQuorum: this.holdsQuorum(),
      appliedIndex: applier.appliedIndex,
      applierBlocked: applier.blocked,
      snapshot: storage.newestSnapshot === null ? null : viewOf(storage.newestSnapshot),
      compactionBlocked: this.#compactionBlocked(),
      isStorageStalled: this.#storage.isStalled,
      isStorageFull: this.#storage.isFull,
      observerBlocked: watcher?.blocked ?? null,
      poison: this.#application.poison,
      pendingProposals: this.#proposals.size,
      uptimeMs: clock.monotonicMs() - this.#startedMs,
    })
  }

  counters(): ProposalCounters {
    return this.#proposals.counters()
  }

  #propose(command: NewProposal, wait: 'applied' | 'committed', timeoutMs: number): Promise<AppliedCommand> {
    if (this.#state !== 'running') {
      return this.#proposals.refuse(
        'shutting-down',
        `Cannot propose: this node is ${this.#state === 'new' ? 'starting' : 'shutting down'}`,
      )
    }
    if (!isMember(this.#raft.log.configuration.configuration, this.id)) {
      return this.#proposals.refuse('not-a-member', `Cannot propose: ${this.id} is not a member of the cluster`)
    }
    const answer = this.#proposals.add(command, wait, this.#options.clock.monotonicMs(), timeoutMs)
    this.#scheduleTurn()
    return answer
  }

  #received(message: PeerMessage): void {
    if (this.#state === 'stopped') return
    switch (message.type) {
      case 'ForwardedProposals':
        this.#handOver.received(message)
        break
      case 'ForwardRefused':
        this.#handOver.refused(message, this.#options.clock.monotonicMs())
        break
      case 'ForwardRepeated':
        this.#handOver.repeated(message, this.#options.clock.monotonicMs())
        break
      case 'ResultsRequest':
        this.#unknownResults.answer(message, (index) => this.#answerAt(index))
        return
      case 'ResultsResponse':
        this.#learn(message.results)
        return
      case 'SnapshotOffer':
      case 'SnapshotChunk':
      case 'SnapshotAck':
        this.#snapshots.received(message)
        return
      default:
        this.#remember(message)
        this.#inputs.push({ type: 'receive', message })
    }
    this.#scheduleTurn()
  }

  /** What the sender can never take back, of the messages that leave it only when that is durable: see Acquaintances. */
  #remember(message: Message): void {
    const { role, currentTerm, commitIndex } = this.#raft
    if (message.type === 'AppendEntriesResponse') {
      const isToThisLeader = role.name === 'leader' && message.term === currentTerm
      const index = message.success && isToThisLeader ? message.matchIndex : 0
      this.#acquaintances.acknowledged(message.from, message.term, index, commitIndex)
    } else if (message.type === 'RequestVoteResponse' && message.voteGranted) {
      this.#acquaintances.acknowledged(message.from, message.term, 0, commitIndex)
    }
  }

  #standing(): Standing {
    const { incarnation, run } = this.#options
    const { durableTerm, log } = this.#raft
    return { incarnation, run, currentTerm: durableTerm, lastIndex: log.heldIndex }
  }

  /** Any doubt stops this node. There is none about one that has itself forgotten: what it remembers is of another past than this cluster's. */
  #disowned(by: NodeId, standing: Standing, sentence: string): void {
    if (this.#acquaintances.judge(by, standing) !== null) return
    const end = `If it is ${by} that does not belong here, stop that one and start ${this.id} again.`
    this.#fail(new FatalError(exitCodes.dataError, `${by} refuses this node. ${sentence} ${end}`))
  }

  #peer(id: NodeId, connected: boolean): void {
    if (this.#state === 'stopped') return
    this.#options.observer.event({ type: 'peer', id, connected })
    this.#enqueue({ type: connected ? 'peerUp' : 'peerDown', id })
    if (connected) this.#snapshots.peerUp(id)
  }

  #enqueue(input: Input): void {
    this.#inputs.push(input)
    this.#scheduleTurn()
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled || this.#state === 'new' || this.#state === 'stopped') return
    this.#turnScheduled = true
    this.#options.clock.defer(() => {
      this.#turnScheduled = false
      if (this.#state !== 'stopped') this.#guard(() => this.#turn())
    })
  }

  #scheduleTick(): void {
    this.#cancelTimer = this.#options.clock.after(this.#tickIntervalMs, () => {
      this.#tickDue = true
      // Deferred like all input, so that messages which arrived before a pause of this process are seen before its timeouts.
      this.#scheduleTurn()
      this.#scheduleTick()
    })
  }

  /** One turn: everything that came in, then everything that is to be done about it. */
  #turn(): void {
    const nowMs = this.#options.clock.monotonicMs()
    const savedId = this.#saves.takeSaved()
    if (savedId !== null) this.#raft.step(nowMs, { type: 'saved', id: savedId })
    const inputs = this.#inputs
    this.#inputs = []
    for (const input of inputs) this.#raft.step(nowMs, input)
    if (this.#tickDue) {
      this.#tickDue = false
      this.#handOver.tick()
      this.#watchStorage(nowMs)
      this.#raft.step(nowMs, { type: 'tick', neededFrom: this.#neededFrom() })
      this.#snapshotTaker.tick()
      this.#proposals.expire(nowMs)
      this.#committedLog.wake(nowMs)
      this.#unknownResults.ask(this.#proposals.unanswered, this.#raft.currentTerm, nowMs)
      this.#reads.tick(nowMs, this.#raft.leader !== null, this.appliedIndex)
    }
    this.#handOver.run(nowMs)
    const readId = this.#reads.takeQuestion(nowMs)
    if (readId !== null) this.#raft.step(nowMs, { type: 'readIndex', readId })
    this.#perform(this.#raft.takeWork(), nowMs)
    this.#snapshots.reconcile()
    this.#news.reportRole()
  }

  #perform(work: Work, nowMs: number): void {
    const { transport } = this.#options
    for (const message of work.send) transport.send(message)
    if (work.save !== null) this.#save(work.save, nowMs)
    if (this.#installation.giveUp()) this.#snapshots.settled()
    if (work.promises.length > 0) this.#saves.promise(work.promisesAfter, work.promises)
    if (work.compactThrough !== null) {
      this.#options.storage.compact(work.compactThrough)
      this.#options.observer.event({ type: 'compacted', firstIndex: work.compactThrough.index + 1 })
    }
    for (const snapshot of work.snapshots) this.#snapshots.send(snapshot)
    if (work.proposals.length > 0) this.#handOver.answer(work.proposals, nowMs)
    if (work.configuration !== null) {
      transport.setMembers(work.configuration.configuration.members)
      this.#options.observer.event({ type: 'configuration', ...work.configuration })
      this.#news.changed({ type: 'membership', ...work.configuration })
    }
    for (const load of work.loads) {
      const through = Math.min(load.through, this.#raft.log.durableIndex)
      this.#options.storage.read(load.from, through, load.maxBytes).then(
        (entries) => this.#enqueue({ type: 'loaded', to: load.to, from: load.from, entries }),
        (error) => this.#fail(error),
      )
    }
    if (work.commitIndex > this.#commitIndex) this.#committed(work.commitIndex, nowMs)
    for (const { readId, index } of work.reads) this.#reads.answered(readId, index, this.appliedIndex)
  }

  #save(save: Save, nowMs: number): void {
    this.#saves.begin(save, nowMs)
    if (save.snapshot !== null) this.#skipTo(save.snapshot, nowMs)
  }

  #saved(save: Save): void {
    if (save.snapshot !== null) {
      const { from, file } = this.#installation.end()
      this.#snapshots.settled()
      this.#options.observer.event({ type: 'snapshotInstalled', from, file })
      this.#news.changed({ type: 'snapshot', snapshot: viewOf(file), installedFrom: from })
    }
    this.#scheduleTurn()
  }

  /** The snapshot stands for everything through its last entry, and what this node had not seen committed of that it never will. */
  #skipTo({ lastIncluded: { index, term } }: SnapshotMetadata, nowMs: number): void {
    const { applier, watcher } = this.#options
    this.#installation.begin()
    this.#proposals.skipped(term, nowMs)
    this.#commitIndex = index
    this.#keeper.install(index, this.#installation.durable)
    applier.commit(index)
    watcher?.commit(index)
  }

  #committed(commitIndex: number, nowMs: number): void {
    const from = this.#commitIndex + 1
    this.#commitIndex = commitIndex
    // Every entry that came while this process runs is seen here before it may leave memory: none that answers a proposal is missed.
    const entries =
      this.#raft.cachedEntries(from, commitIndex, Number.POSITIVE_INFINITY) ?? this.#cachedTail(from, commitIndex)
    const { count, oldestArrivalMs } = this.#proposals.committed(entries, nowMs)
    if (count > 0)
      this.#options.observer.event({ type: 'committed', proposals: count, latencyMs: nowMs - oldestArrivalMs })
    this.#announceSoon()
    this.#keeper.committed(commitIndex, entries)
    this.#handOver.committed(entries)
    if (this.#handOver.isWaiting) this.#scheduleTurn()
  }

  /** What is left out is known further than before: so far commands may be delivered, and are shown to clients. */
  #ledgerProgressed(skips: readonly Skip[]): void {
    const { applier, watcher, clock } = this.#options
    const nowMs = clock.monotonicMs()
    const { throughIndex } = this.#keeper.ledger
    for (const skip of skips) this.#poisoned.check(skip)
    if (this.#options.leavesOut) this.#proposals.leftOut(skips)
    applier.commit(throughIndex)
    watcher?.commit(throughIndex)
    this.#proposals.ledgerChanged(nowMs)
    this.#committedLog.wake(nowMs)
    if (this.#handOver.isWaiting) this.#scheduleTurn()
  }

  #answerAt(index: number): string | null {
    const answer = this.#keeper.ledger.at(index)?.answer
    return answer?.type === 'known' ? answer.json : null
  }

  /** What other nodes tell of answers that are not known here. */
  #learn(results: readonly KeptResult[]): void {
    const learnt = results.filter((result) => this.#keeper.ledger.learn(result))
    if (learnt.length === 0) return
    this.#options.results?.append(learnt)
    this.#proposals.ledgerChanged(this.#options.clock.monotonicMs())
  }

  #announceSoon(): void {
    if (this.#cancelAnnouncement !== null || this.#raft.role.name !== 'leader') return
    this.#cancelAnnouncement = this.#options.clock.after(announceAfterMs, () => {
      this.#cancelAnnouncement = null
      this.#enqueue({ type: 'announceCommit' })
    })
  }

  /** At a start, what is committed reaches back to entries that the disk held before: older than any proposal that waits here. */
  #cachedTail(from: number, commitIndex: number): readonly Entry[] {
    const { lastIndex } = this.#options.storage.recovered
    assert(from <= lastIndex, () => `Entry ${from} left memory before it was known to be committed`)
    return this.#raft.cachedEntries(this.#raft.log.cachedFrom, commitIndex, Number.POSITIVE_INFINITY) ?? []
  }

  #entries(openSnapshot: CommittedEntries['openSnapshot'], leavesOut: boolean): CommittedEntries {
    const { log } = this.#raft
    return {
      read: (from, through, maxBytes) => this.#read(from, through, maxBytes),
      get firstIndex() {
        return log.base.index + 1
      },
      openSnapshot,
      isSkipped: (index) => leavesOut && this.#keeper.ledger.isSkipped(index),
    }
  }

  #read(from: number, through: number, maxBytes: number): Promise<readonly Entry[]> | readonly Entry[] {
    return this.#raft.cachedEntries(from, through, maxBytes) ?? this.#options.storage.read(from, through, maxBytes)
  }

  /** For the state machine: not before the one that the log begins behind is this node's own, which by then may be another one than at first. */
  async #openInstalled(): Promise<StoredSnapshot | null> {
    let durable: Promise<void>
    do {
      durable = this.#installation.durable
      await this.#installation.durable
      await this.#keeper.loaded
    } while (durable !== this.#installation.durable)
    return this.#state === 'stopped' ? null : await this.#options.storage.openSnapshot()
  }

  #applied(appliedIndex: number, entries: readonly Entry[], results: readonly unknown[] | null): void {
    this.#guard(() => this.#takeAnswers(appliedIndex, entries, results))
  }

  #takeAnswers(appliedIndex: number, entries: readonly Entry[], results: readonly unknown[] | null): void {
    const { applier, clock, observer } = this.#options
    // First, since nobody is told what an application answered that has gone its own way. Further than it was delivered to: it got there by other
    // hands.
    if (results === null && entries.at(-1)?.index !== appliedIndex) this.#applicationMoved(applier)
    else this.#delivered(applier, entries)
    const nowMs = clock.monotonicMs()
    if (results === null) {
      this.#proposals.answersLost(appliedIndex, 'the acknowledgement of the state machine was lost')
      this.#proposals.ledgerChanged(nowMs)
    } else {
      const kept = this.#keeper.ledger.answered(entries, results)
      if (kept.length > 0) this.#options.results?.append(kept)
      this.#proposals.applied(entries, results, nowMs)
    }
    this.#reads.applied(appliedIndex)
    if (entries.length > 0) observer.event({ type: 'applied', commands: entries.length })
  }

  #restored(appliedIndex: number): void {
    this.#proposals.answersLost(appliedIndex, 'the state machine was restored from a snapshot')
    this.#reads.applied(appliedIndex)
    this.#applicationMoved(this.#options.applier)
  }

  /** The one that is told of leadership, and may refuse commands. */
  get #application(): Applier {
    return this.#options.watcher ?? this.#options.applier
  }

  #delivered(applier: Applier, entries: readonly Entry[]): void {
    if (applier !== this.#application) return
    this.#poisoned.delivered(entries, this.#keeper.ledger)
    this.#news.reportLeadership()
  }

  /** It was put into another state than this process has delivered. */
  #applicationMoved(applier: Applier): void {
    if (applier !== this.#application) return
    this.#poisoned.moved()
    this.#news.reportLeadership()
  }

  /** What the log says of the last entry of a snapshot. */
  #describe(index: number): SnapshotMetadata {
    const { log, durableTerm } = this.#raft
    const term = log.termAt(index)
    const refused = (why: string) =>
      new SnapshotError('snapshot-failed', `Cannot use a snapshot through ${index}: ${why}`)
    if (term === null) throw refused('one of the leader has taken its place')
    // A crash now would leave a snapshot of a term that this node never heard of.
    if (term > durableTerm) throw refused(`its term ${term} is not on the disk yet`)
    // Cluster time at the end of the log: what comes behind the snapshot does not go back behind it either way.
    return {
      lastIncluded: { index, term },
      timestampMs: log.lastTimestampMs,
      configuration: log.configurationAt(index),
    }
  }

  /** The first entry that an application which only watches has not taken: no snapshot could make up for it. */
  #neededFrom(): number {
    const { watcher } = this.#options
    return watcher === null ? Number.POSITIVE_INFINITY : watcher.appliedIndex + 1
  }

  #compactionBlocked(): string | null {
    const { storage, raft } = this.#options
    const { base, lastIndex } = this.#raft.log
    if (this.#snapshotTaker.isUnsupported) {
      return `The application offers no snapshots: the log is kept whole, ${lastIndex - base.index} entries by now`
    }
    const keptBehind = this.#storage.isFull ? 0 : raft.maxLogEntries
    const keptFrom = (storage.newestSnapshot?.lastIncluded.index ?? 0) - keptBehind
    if (this.#neededFrom() >= keptFrom) return null
    return `The application that observes has taken nothing since ${this.#neededFrom() - 1}: the log is kept from there on for it`
  }

  #watchStorage(nowMs: number): void {
    const { storage, raft, observer } = this.#options
    const isStalled = this.#saves.oldestMs(nowMs) >= raft.electionTimeoutMinMs / 2
    const { isFull } = storage
    const before = this.#storage
    if (before.isStalled === isStalled && before.isFull === isFull) return
    this.#storage = { isStalled, isFull }
    observer.event({ type: 'storage', isStalled, isFull })
    this.#raft.step(nowMs, { type: 'storage', isStalled, isFull, neededFrom: this.#neededFrom() })
    if (isFull && !before.isFull) this.#snapshotTaker.hurry()
  }

  /** Resolves when this node has handed over (or has no quorum to hand over to) and every client has its answer, or when the time is over. */
  async #settled(graceMs: number): Promise<void> {
    const { clock } = this.#options
    const deadlineMs = clock.monotonicMs() + graceMs
    while (clock.monotonicMs() < deadlineMs && this.#state === 'stopping') {
      const alone = this.#raft.log.configuration.configuration.members.length === 1
      // Until another has taken over, its application is not told that it lost leadership.
      const leads = !alone && this.#raft.reachesQuorum(clock.monotonicMs())
      if (!leads && this.#proposals.size === 0) return
      await new Promise<void>((resolve) => clock.after(this.#tickIntervalMs, resolve))
    }
  }

  #halt(): void {
    this.#state = 'stopped'
    this.#cancelTimer()
    this.#cancelAnnouncement?.()
    this.#saves.stop()
    this.#snapshotTaker.stop()
    this.#snapshots.stop()
    this.#installation.stop()
    this.#keeper.stop()
    this.#proposals.abandon()
    this.#reads.abandon()
    this.#committedLog.abandon()
  }

  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** A failed disk or a broken invariant: nothing that this process would still say could be trusted. */
  #fail(error: unknown): void {
    if (this.#state === 'stopped') return
    this.#halt()
    const fatal =
      error instanceof FatalError
        ? error
        : new FatalError(
            exitCodes.software,
            `A broken invariant stops this node: ${error instanceof Error ? error.message : String(error)}`,
            {
              cause: error,
            },
          )
    this.#options.onFatal(fatal)
  }
}

function toProposal({ kind, payload, key = null, traceparent = null }: NewCommand): NewProposal {
  return { kind, payload, key, traceparent }
}

function asProposalError(error: unknown): ProposalError {
  if (error instanceof ProposalError) return error
  throw error
}
