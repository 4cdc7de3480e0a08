// The Raft algorithm as a function of its inputs: `step` takes one, `takeWork` hands out what is to be done about it. No I/O, no
// clock, no randomness of its own. Promises (votes, acknowledgements) are handed out apart: they may leave only after what they promise is on disk.

import { handleStorage } from './ailing-storage.ts'
import { handleAppendEntries, refuseStaleLeader } from './append-entries.ts'
import { assert } from './assert.ts'
import { compact, handleSnapshotTaken } from './compaction.ts'
import { type IndexedConfiguration, quorum, voterIds } from './configuration.ts'
import {
  countOwnVote,
  handleLeaderLost,
  handleRequestPreVote,
  handleRequestPreVoteResponse,
  handleRequestVote,
  handleRequestVoteResponse,
  handleTimeoutNow,
  hearsLeader,
  tickElection,
} from './election.ts'
import type { Entry, NodeId } from './entry.ts'
import { handleInstallSnapshot } from './install-snapshot.ts'
import { handleAppendEntriesResponse, handleProgress, handlePropose, tickLeader } from './leader.ts'
import { boundFromStart, isBound, leaseReadIndex } from './lease.ts'
import { RaftLog } from './log.ts'
import type { Received } from './messages.ts'
import { handleReadIndex, handleReadIndexRequest, handleReadIndexResponse } from './reads.ts'
import { announceCommit, giveUpSnapshot, handleLoaded, replicateTo } from './replication.ts'
import type { Role } from './role.ts'
import type { SnapshotMetadata } from './snapshot.ts'
import {
  becomeFollower,
  emptyOutbox,
  type RaftOptions,
  type RaftState,
  randomElectionTimeoutMs,
  voters,
} from './state.ts'
import { handleTransferLeadership } from './transfer.ts'
import type { HardState, Input, Save, Work } from './work.ts'

export class Raft {
  readonly #s: RaftState
  #lastSaveId = 0
  #lastSavedId = 0
  /** Hard states under way to the disk, by the save that carries them. */
  #hardStatesInFlight: { readonly id: number; readonly hardState: HardState }[] = []
  #lastIssuedHardState: HardState
  #announcedConfiguration: IndexedConfiguration

  constructor(options: RaftOptions, nowMs: number) {
    const { hardState, base, snapshot } = options.recovered
    const log = new RaftLog(options.recovered, options.maxCachedBytes)
    this.#lastIssuedHardState = hardState
    this.#announcedConfiguration = log.configuration
    this.#s = {
      options,
      log,
      nowMs,
      currentTerm: hardState.currentTerm,
      votedFor: hardState.votedFor,
      durable: hardState,
      // What is in a snapshot is committed.
      commitIndex: snapshot?.lastIncluded.index ?? 0,
      boundUntilMs: boundFromStart(options, log.configuration, nowMs),
      snapshot,
      neededFrom: Number.POSITIVE_INFINITY,
      storage: { stalledSinceMs: null, isFull: false },
      // §5.2: every node starts as a follower.
      role: {
        name: 'follower',
        leader: null,
        lastLeaderContactMs: Number.NEGATIVE_INFINITY,
        // The only voter has nobody to wait for.
        electionDeadlineMs: isOnlyVoter(log, options.id) ? nowMs : nowMs + randomElectionTimeoutMs(options),
        askedMeanwhile: new Map(),
      },
      roleReason: 'the node started',
      outbox: emptyOutbox(),
    }
    const { currentTerm } = this.#s
    assert(
      log.lastEntry.term <= currentTerm,
      () => `The log holds term ${log.lastEntry.term}, past the current term ${currentTerm}`,
    )
    const { commitIndex } = this.#s
    assert(
      base.index <= commitIndex && (snapshot === null || log.matches(snapshot.lastIncluded)),
      () =>
        `The snapshot reaches to ${commitIndex}, the log from ${base.index} to ${log.lastIndex}, with ${log.termAt(commitIndex)} there`,
    )
  }

  step(nowMs: number, input: Input): void {
    const s = this.#s
    assert(nowMs >= s.nowMs, () => `Time went back from ${s.nowMs} to ${nowMs}`)
    s.nowMs = nowMs
    switch (input.type) {
      case 'tick':
        s.neededFrom = input.neededFrom ?? s.neededFrom
        if (s.role.name === 'leader') tickLeader(s, s.role)
        else tickElection(s, s.role)
        // What kept entries in the log may be gone: a save that was under way, a follower that was being sent a snapshot, the leadership.
        compact(s)
        return
      case 'receive':
        this.#receive(input.message)
        return
      case 'propose':
        handlePropose(s, input.proposals, input.unixMs, input.forwardedBy)
        return
      case 'announceCommit':
        if (s.role.name === 'leader') announceCommit(s, s.role, 'all')
        return
      case 'saved':
        this.#saved(input.id)
        return
      case 'loaded':
        if (s.role.name === 'leader') handleLoaded(s, s.role, input.to, input.from, input.entries)
        return
      case 'readIndex':
        handleReadIndex(s, input.readId)
        return
      case 'peerDown':
        this.#peerDown(input.id)
        return
      case 'peerUp':
        this.#peerUp(input.id)
        return
      case 'transferLeadership':
        if (s.role.name === 'leader') handleTransferLeadership(s, s.role, input.to)
        return
      case 'snapshotTaken':
        handleSnapshotTaken(s, input.snapshot, input.neededFrom)
        return
      case 'snapshotFailed': {
        const progress = s.role.name === 'leader' ? s.role.progress.get(input.to) : undefined
        if (progress !== undefined) giveUpSnapshot(progress)
        return
      }
      case 'storage':
        handleStorage(s, input.isStalled, input.isFull, input.neededFrom)
        return
      default:
        input satisfies never
    }
  }

  /** Everything that the inputs since the last call ask for. The caller does all of it. */
  takeWork(): Work {
    const s = this.#s
    if (s.role.name === 'leader') announceCommit(s, s.role, 'waiting')
    const save = this.#takeSave()
    const { send, promises, proposals, reads, loads, snapshots, compactThrough } = s.outbox
    Object.assign(s.outbox, emptyOutbox())
    const configuration = s.log.configuration
    const isNewConfiguration = configuration !== this.#announcedConfiguration
    this.#announcedConfiguration = configuration
    return {
      send,
      save,
      promises,
      // With nothing to save now, a promise may still rest on a save that is under way.
      promisesAfter: this.#lastSaveId,
      commitIndex: s.commitIndex,
      proposals,
      reads,
      loads,
      snapshots,
      compactThrough,
      configuration: isNewConfiguration ? configuration : null,
    }
  }

  #takeSave(): Save | null {
    const s = this.#s
    const id = this.#lastSaveId + 1
    const entries = s.log.takeUnsaved(id)
    const hardState = this.#takeHardState(id)
    const snapshot = s.outbox.install
    if (entries.length === 0 && hardState === null && snapshot === null) return null
    this.#lastSaveId = id
    return { id, hardState, snapshot, entries }
  }

  #takeHardState(saveId: number): HardState | null {
    const { currentTerm, votedFor } = this.#s
    const issued = this.#lastIssuedHardState
    if (issued.currentTerm === currentTerm && issued.votedFor === votedFor) return null
    const hardState = { currentTerm, votedFor }
    this.#lastIssuedHardState = hardState
    this.#hardStatesInFlight.push({ id: saveId, hardState })
    return hardState
  }

  #saved(id: number): void {
    const s = this.#s
    assert(
      id <= this.#lastSaveId && id > this.#lastSavedId,
      () => `Save ${id} ended, between ${this.#lastSavedId} and ${this.#lastSaveId}`,
    )
    this.#lastSavedId = id
    let oldest = this.#hardStatesInFlight[0]
    while (oldest !== undefined && oldest.id <= id) {
      s.durable = oldest.hardState
      this.#hardStatesInFlight.shift()
      oldest = this.#hardStatesInFlight[0]
    }
    s.log.saved(id, s.commitIndex)
    countOwnVote(s)
    if (s.role.name === 'leader') handleProgress(s, s.role)
  }

  #receive(message: Received): void {
    const s = this.#s
    assert(message.to === s.options.id, () => `A message to ${message.to} reached ${s.options.id}`)
    if (!this.#acceptsTerm(message)) return
    switch (message.type) {
      case 'RequestPreVote':
        handleRequestPreVote(s, message)
        return
      case 'RequestPreVoteResponse':
        handleRequestPreVoteResponse(s, message)
        return
      case 'RequestVote':
        handleRequestVote(s, message)
        return
      case 'RequestVoteResponse':
        handleRequestVoteResponse(s, message)
        return
      case 'AppendEntries':
        handleAppendEntries(s, message)
        return
      case 'AppendEntriesResponse':
        if (s.role.name === 'leader') handleAppendEntriesResponse(s, s.role, message)
        return
      case 'InstallSnapshot':
        handleInstallSnapshot(s, message)
        return
      case 'TimeoutNow':
        handleTimeoutNow(s, message)
        return
      case 'ReadIndexRequest':
        handleReadIndexRequest(s, message)
        return
      case 'ReadIndexResponse':
        handleReadIndexResponse(s, message)
        return
      default:
        message satisfies never
    }
  }

  /** The term rule of §5.1, for every message alike; pre-votes, which speak of a term that nobody has yet, are its one exception. */
  #acceptsTerm(message: Received): boolean {
    const s = this.#s
    if (message.type === 'RequestPreVote') return true
    if (message.type === 'RequestPreVoteResponse' && message.voteGranted) return true
    if (message.term > s.currentTerm) {
      // Stickiness: a vote asked for while the leader is heard, or against a promise, is not even a reason to change the term.
      const isUnwanted = message.type === 'RequestVote' && !message.leadershipTransfer
      if (isUnwanted && (hearsLeader(s) || isBound(s))) return false
      const isOfLeader = message.type === 'AppendEntries' || message.type === 'InstallSnapshot'
      const leader = isOfLeader ? message.from : null
      becomeFollower(s, message.term, leader, `${message.from} has the newer term`)
      return true
    }
    if (message.term === s.currentTerm) return true
    if (message.type === 'AppendEntries') refuseStaleLeader(s, message)
    if (message.type === 'RequestVote') handleRequestVote(s, message)
    return false
  }

  #peerDown(id: NodeId): void {
    const { role } = this.#s
    if (role.name === 'follower' && role.leader === id) handleLeaderLost(this.#s, role)
    if (role.name !== 'leader') return
    const progress = role.progress.get(id)
    if (progress !== undefined) progress.lost = true
  }

  #peerUp(id: NodeId): void {
    const s = this.#s
    if (s.role.name !== 'leader') return
    const progress = s.role.progress.get(id)
    if (progress === undefined) return
    // Whatever was under way on the old connection may be lost: find out at once, not at the next heartbeat. A follower that was still being
    // probed is probed where it was: below, its log may be equal to ours for millions of entries.
    // In the same way, where the log begins may be where it stands: what it has not acknowledged yet is no reason to send it a snapshot.
    if (progress.state === 'replicate') progress.becomeProbe(Math.max(progress.matchIndex, s.log.base.index) + 1)
    else if (progress.state === 'probe') progress.becomeProbe(progress.nextIndex)
    replicateTo(s, s.role, id, progress)
  }

  get id(): NodeId {
    return this.#s.options.id
  }

  get currentTerm(): number {
    return this.#s.currentTerm
  }

  /** The term that a crash now would leave. */
  get durableTerm(): number {
    return this.#s.durable.currentTerm
  }

  get votedFor(): NodeId | null {
    return this.#s.votedFor
  }

  get commitIndex(): number {
    return this.#s.commitIndex
  }

  get role(): Readonly<Role> {
    return this.#s.role
  }

  get roleReason(): string {
    return this.#s.roleReason
  }

  /** Whom this node takes for the leader of the current term. */
  get leader(): NodeId | null {
    const { role } = this.#s
    if (role.name === 'leader') return this.id
    return role.name === 'follower' ? role.leader : null
  }

  get snapshot(): SnapshotMetadata | null {
    return this.#s.snapshot
  }

  get log(): Omit<RaftLog, 'append' | 'takeUnsaved' | 'saved' | 'compactTo' | 'reset'> {
    return this.#s.log
  }

  /**
   * This node leads, and what a quorum answered was sent less than an election timeout before `nowMs`. Good for routing, and no proof: a voter
   * that lost its connection to this leader, was restarted, or was asked by it to take over, may have voted for another since.
   */
  holdsQuorum(nowMs: number): boolean {
    const { role } = this.#s
    // Whom it told to take over is voted for even by those who still hear this leader.
    if (role.name === 'leader' && role.transfer?.timeoutNowSent === true) return false
    return this.reachesQuorum(nowMs)
  }

  /** The same, whether or not it has told another to take over: as long as that one has not, this node leads. */
  reachesQuorum(nowMs: number): boolean {
    const { role, options } = this.#s
    if (role.name !== 'leader' || nowMs - role.quorumConfirmedMs >= options.electionTimeoutMinMs) return false
    const ids = voters(this.#s)
    const connected = ids.filter((id) => id === options.id || role.progress.get(id)?.lost === false)
    return connected.length >= quorum(ids.length)
  }

  /**
   * Where a read that began by `nowMs` is linearizable, without a round trip; null: this node leads not, or holds no lease. `nowMs` must be read from
   * the clock after the read was asked for: what this process has not noticed meanwhile is no harm, what the clock does not show is.
   */
  leaseReadIndex(nowMs: number): number | null {
    return leaseReadIndex(this.#s, nowMs)
  }

  /** Entries in order from `from`, from memory; null when they have left it. */
  cachedEntries(from: number, through: number, maxBytes: number): readonly Entry[] | null {
    return this.#s.log.slice(from, through, maxBytes)
  }
}

function isOnlyVoter({ configuration: { configuration } }: RaftLog, id: NodeId): boolean {
  const ids = voterIds(configuration)
  return ids.length === 1 && ids[0] === id
}
