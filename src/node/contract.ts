// What the rest of the house may ask of a node: api/ is written against this, and tests put a fake behind it.

import type { ProposalErrorCode } from '../errors.ts'
import type { Configuration } from '../raft/configuration.ts'
import type { NodeId } from '../raft/entry.ts'
import type { RoleName } from '../raft/work.ts'

export interface NewCommand {
  /** `json`: any JSON text, kept byte for byte. `bytes`: opaque. */
  readonly kind: 'json' | 'bytes'
  readonly payload: Uint8Array
}

export interface CommittedCommand {
  readonly index: number
  readonly term: number
  /** Cluster time in Unix milliseconds. */
  readonly timestampMs: number
}

export interface AppliedCommand extends CommittedCommand {
  /** What the state machine answered, a JSON value. */
  readonly result: unknown
}

export interface LeaderView {
  readonly id: NodeId
  readonly term: number
  readonly self: boolean
  readonly appUrl: string | null
}

export interface MemberStatus {
  readonly id: NodeId
  readonly peerAddress: string
  readonly role: 'voter' | 'learner'
  readonly self: boolean
  readonly leader: boolean
  /** A connection is up. */
  readonly reachable: boolean
  /** Why it and this node do not speak to each other, in a sentence; null when they do, or when it is just not reached. */
  readonly refusal: string | null
  /** As the leader sees it; null elsewhere. */
  readonly matchIndex: number | null
  /** Entries behind the leader's log; null on followers. */
  readonly lag: number | null
}

export interface NodeStatus {
  readonly id: NodeId
  readonly role: RoleName | 'learner'
  readonly term: number
  readonly leader: LeaderView | null
  /** This node leads, and a quorum has confirmed it within the last election timeout. */
  readonly holdsQuorum: boolean
  readonly commitIndex: number
  readonly appliedIndex: number
  readonly lastIndex: number
  readonly durableIndex: number
  readonly firstIndex: number
  readonly members: readonly MemberStatus[]
  readonly configuration: Configuration
  readonly pendingProposals: number
  /** The newest snapshot here; null: none yet. */
  readonly snapshot: SnapshotView | null
  /** Why the log is not compacted, in one sentence; null when it is, or when it need not be. */
  readonly compactionBlocked: string | null
  /** A save has been under way for longer than half of an election timeout. */
  readonly isStorageStalled: boolean
  /** The room that is kept for an emergency is in use, or gone: no proposals are taken. */
  readonly isStorageFull: boolean
  /** Why the state machine is not being fed, in one sentence; null when it is. */
  readonly applierBlocked: string | null
  /** The same of the application that only observes (STATE_MACHINE=kv with APP_URL); null without one. */
  readonly observerBlocked: string | null
  readonly uptimeMs: number
}

/** A snapshot that is durable on this node. */
export interface SnapshotView {
  /** The last entry whose effect it holds. */
  readonly index: number
  readonly term: number
  readonly sizeBytes: number
}

/** A snapshot's file, to be read as it is and closed. */
export interface Backup {
  readonly snapshot: SnapshotView
  /** Fills `into` from `position`; fewer bytes only where the file ends. Rejects with FatalError at bit rot or when the disk fails. */
  read(into: Uint8Array, position: number): Promise<number>
  close(): Promise<void>
}

/** Since the start of the process. */
export interface ProposalCounters {
  readonly applied: number
  readonly committed: number
  readonly failed: Readonly<Record<ProposalErrorCode, number>>
}

export interface Node {
  readonly id: NodeId
  /**
   * Commits a command, from any node, and resolves when this node's state machine has applied it.
   * Rejects with ProposalError. A change of leader on the way is ridden out when it is certain that the command was not committed.
   */
  propose(command: NewCommand, timeoutMs: number): Promise<AppliedCommand>
  /** The same, but resolves as soon as it is committed. */
  proposeCommitted(command: NewCommand, timeoutMs: number): Promise<CommittedCommand>
  /** Resolves, with the index, once this node has applied everything that was committed anywhere at the time of the call. Rejects with ReadError. */
  readBarrier(timeoutMs: number): Promise<number>
  /** Resolves once this node has applied the index. Rejects with ReadError `index-not-reached`. */
  waitApplied(index: number, timeoutMs: number): Promise<void>
  leader(): LeaderView | null
  /** True only while this node leads and a quorum has confirmed it within the last election timeout. */
  holdsQuorum(): boolean
  /** Highest index this node's state machine holds. Cheap: every response carries it. */
  readonly appliedIndex: number
  readonly currentTerm: number
  /** Takes a snapshot now; without a new one when the newest is of this very index. Rejects with SnapshotError. */
  takeSnapshot(): Promise<SnapshotView>
  /** Takes one as above, and opens it. Rejects with SnapshotError. */
  openBackup(): Promise<Backup>
  status(): NodeStatus
  counters(): ProposalCounters
}
