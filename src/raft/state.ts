// The state of one node as the paper's Figure 2 lists it, and the outbox that collects what is to be done.

import { isVoter, voterIds } from './configuration.ts'
import type { EncodeEntry, EntryId, NodeId } from './entry.ts'
import type { RaftLog } from './log.ts'
import type { Message } from './messages.ts'
import { assertLegalTransition, type Leader, type Role } from './role.ts'
import type { SnapshotMetadata } from './snapshot.ts'
import type { HardState, Load, ProposalOutcome, ReadOutcome, Recovered, SnapshotToSend } from './work.ts'

export interface RaftOptions {
  readonly id: NodeId
  readonly recovered: Recovered
  readonly encodeEntry: EncodeEntry
  /** In [0, 1). */
  readonly random: () => number
  readonly electionTimeoutMinMs: number
  readonly electionTimeoutMaxMs: number
  readonly heartbeatIntervalMs: number
  /** Reads by lease: this node promises, and counts what it is promised (lease.ts). */
  readonly leaseReads: boolean
  /** By how many millionths the clock of any node may run faster or slower than true time. */
  readonly maxClockDriftPpm: number
  /** After a restart, the node keeps to what it may have promised before. False only where nobody counts leases. */
  readonly waitsAfterRestart: boolean
  /** AppendEntries with entries under way to one follower. */
  readonly maxInFlightMessages: number
  readonly maxMessageBytes: number
  /** The leader refuses proposals while this much is appended and not committed. */
  readonly maxUncommittedBytes: number
  /** Entries that stay in the log behind a snapshot, for followers that lag. */
  readonly maxLogEntries: number
  /** Entries kept in memory; what is not durable yet is kept beyond it. */
  readonly maxCachedBytes: number
}

export interface RaftState {
  readonly options: RaftOptions
  readonly log: RaftLog
  /** The time of the input being handled. */
  nowMs: number
  currentTerm: number
  votedFor: NodeId | null
  /** What of the two above is on disk. */
  durable: HardState
  commitIndex: number
  /** Until then, this node helps nobody to become leader (lease.ts). */
  boundUntilMs: number
  /** The newest one of this node, taken or received; of a received one, its save may be under way. */
  snapshot: SnapshotMetadata | null
  /** Entries from here on stay in the log whatever a snapshot holds. */
  neededFrom: number
  /** `stalledSinceMs`: when it was first said that a save takes too long; null: none does. */
  storage: { readonly stalledSinceMs: number | null; readonly isFull: boolean }
  role: Role
  /** Why the node has the role that it has, for people. */
  roleReason: string
  readonly outbox: Outbox
}

/** See Work for the meaning of each. */
export interface Outbox {
  send: Message[]
  promises: Message[]
  proposals: ProposalOutcome[]
  reads: ReadOutcome[]
  loads: Load[]
  snapshots: SnapshotToSend[]
  compactThrough: EntryId | null
  /** For the next save. */
  install: SnapshotMetadata | null
}

export function emptyOutbox(): Outbox {
  return {
    send: [],
    promises: [],
    proposals: [],
    reads: [],
    loads: [],
    snapshots: [],
    compactThrough: null,
    install: null,
  }
}

export function becomeRole(s: RaftState, role: Role, reason: string): void {
  assertLegalTransition(s.role.name, role.name)
  if (s.role.name === 'leader') {
    abandonReads(s, s.role)
    // Whoever looks at the work now takes them for this term's.
    s.outbox.snapshots = []
  }
  s.role = role
  s.roleReason = reason
}

/** Steps down, or follows another leader, adopting the term when it is newer. */
export function becomeFollower(s: RaftState, term: number, leader: NodeId | null, reason: string): void {
  if (term > s.currentTerm) {
    s.currentTerm = term
    s.votedFor = null
  }
  becomeRole(
    s,
    {
      name: 'follower',
      leader,
      lastLeaderContactMs: leader === null ? Number.NEGATIVE_INFINITY : s.nowMs,
      electionDeadlineMs: s.nowMs + randomElectionTimeoutMs(s.options),
      askedMeanwhile: new Map(),
    },
    reason,
  )
}

/** §5.2: drawn anew for every election, so that split votes are rare. */
export function randomElectionTimeoutMs(options: RaftOptions): number {
  const { electionTimeoutMinMs, electionTimeoutMaxMs, random } = options
  return electionTimeoutMinMs + random() * (electionTimeoutMaxMs - electionTimeoutMinMs)
}

export function isSelfVoter(s: RaftState): boolean {
  return isVoter(s.log.configuration.configuration, s.options.id)
}

export function voters(s: RaftState): NodeId[] {
  return voterIds(s.log.configuration.configuration)
}

/** The hard state on disk is the one that we act by: an answer given now cannot be forgotten by a crash. */
export function isHardStateDurable(s: RaftState): boolean {
  return s.durable.currentTerm === s.currentTerm && s.durable.votedFor === s.votedFor
}

/** A deposed leader answers no read: who asked may ask again elsewhere. */
function abandonReads(s: RaftState, leader: Leader): void {
  for (const read of leader.reads) {
    if (read.from === s.options.id) {
      s.outbox.reads.push({ readId: read.readId, index: null })
    } else {
      s.outbox.send.push({
        type: 'ReadIndexResponse',
        from: s.options.id,
        to: read.from,
        term: s.currentTerm,
        readId: read.readId,
        index: null,
      })
    }
  }
  leader.reads = []
}
