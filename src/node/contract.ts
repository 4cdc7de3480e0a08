// What the rest of the house may ask of a node: api/ is written against this, and tests put a fake behind it.

import type { ProposalError, ProposalErrorCode } from '../errors.ts'
import type { Configuration } from '../raft/configuration.ts'
import type { CommandKind, NodeId } from '../raft/entry.ts'
import type { RoleName } from '../raft/work.ts'

export interface NewCommand {
  /** `json`: any JSON text, kept byte for byte. `bytes`: opaque. */
  readonly kind: CommandKind
  readonly payload: Uint8Array
  /** Idempotency key, 1 to 255 visible ASCII characters: of all proposals under one key, a single one enters the log. */
  readonly key?: string | null
  /** Trace context of the proposer, as in the W3C's header of that name. */
  readonly traceparent?: string | null
}

export interface CommittedCommand {
  readonly index: number
  readonly term: number
  /** Cluster time in Unix milliseconds. */
  readonly timestampMs: number
  /** It was proposed before under the same key: this is the place, and the result, of that one. */
  readonly duplicate: boolean
}

export interface AppliedCommand extends CommittedCommand {
  /** What the state machine answered, a JSON value. */
  readonly result: unknown
}

/** A command as it stands in the log. */
export interface LoggedCommand {
  readonly index: number
  readonly term: number
  readonly timestampMs: number
  readonly kind: CommandKind
  readonly payload: Uint8Array
  readonly key: string | null
  readonly traceparent: string | null
  /** The cluster has agreed to leave it out: no application got it. */
  readonly skipped: boolean
}

export interface CommittedRead {
  /** In order; indexes rise but may skip, since the log holds more than commands. */
  readonly commands: readonly LoggedCommand[]
  /** Everything through this index was looked at: go on after it. */
  readonly through: number
}

/** `lease`: without a round trip while this node leads within its lease, as `read-index` otherwise. */
export type ReadMode = 'read-index' | 'lease'

/** What `subscribe` tells of; never one a command. */
export type NodeChange =
  | { readonly type: 'leader'; readonly leader: LeaderView | null; readonly term: number }
  | { readonly type: 'membership'; readonly index: number; readonly configuration: Configuration }
  | { readonly type: 'snapshot'; readonly snapshot: SnapshotView; readonly installedFrom: NodeId | null }
  | { readonly type: 'leadership'; readonly leadership: Leadership }

/**
 * `acquired`: this node leads, and its application holds everything that was committed before it was elected. `lost`: it was `acquired`, and leads no
 * longer. `changed`: another leader is known than before, or none.
 */
export interface Leadership {
  readonly event: 'acquired' | 'lost' | 'changed'
  readonly leader: LeaderView | null
  readonly term: number
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
  /** The command that an application of this node refuses for good; null: none. `raft-sidecar skip` proposes to leave it out. */
  readonly poison: { readonly index: number; readonly reason: string } | null
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
   * Null when a proposal of this size would find room now; else how it is refused, and counted as that. For whoever is about to take much trouble
   * over one: an overloaded node has no time to read and check what it must refuse.
   */
  admit(sizeBytes: number): ProposalError | null
  /**
   * Commits a command, from any node, and resolves when this node's state machine has applied it.
   * Rejects with ProposalError. A change of leader on the way is ridden out when it is certain that the command was not committed.
   */
  propose(command: NewCommand, timeoutMs: number): Promise<AppliedCommand>
  /**
   * All of them together, to be answered in order: one append and one round of replication, not a transaction. Rejects with ProposalError when there
   * is no room for all of them, and none is proposed then. With `wait` committed, `result` is null.
   */
  proposeBatch(
    commands: readonly NewCommand[],
    wait: 'applied' | 'committed',
    timeoutMs: number,
  ): Promise<readonly (AppliedCommand | ProposalError)[]>
  /** The same, but resolves as soon as it is committed. */
  proposeCommitted(command: NewCommand, timeoutMs: number): Promise<CommittedCommand>
  /**
   * Proposes that every node leaves the command at this index out, and resolves when that is committed. Rejects with SkipError, or with
   * ProposalError.
   */
  skip(index: number, timeoutMs: number): Promise<CommittedCommand>
  /** Committed commands after this index, as far as this node knows them; at least one, if there is one. Rejects with CompactedError. */
  readCommitted(after: number, limit: number, maxBytes: number): Promise<CommittedRead>
  /** Resolves once more than this index is committed here, or when the time is over: with the commit index. Rejects with ReadError `shutting-down`. */
  waitCommitted(after: number, timeoutMs: number): Promise<number>
  /** Hands leadership to this voter, or to the one whose log is longest; resolves with the new leader. Rejects with TransferError. */
  transferLeadership(to: NodeId | null, timeoutMs: number): Promise<LeaderView>
  /** Calls back at each change from now on, in order, within the loop: it must return soon and not throw. Returns how to end it. */
  subscribe(changed: (change: NodeChange) => void): () => void
  /** Resolves, with the index, once this node has applied everything that was committed anywhere at the time of the call. Rejects with ReadError. */
  readBarrier(timeoutMs: number, mode?: ReadMode): Promise<number>
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
