// What goes into the core and what comes out of it: `step` takes an Input, `takeWork` returns Work.
// The core never does any of this work itself.

import type { IndexedConfiguration } from './configuration.ts'
import type { Entry, EntryId, EntryKind, NodeId } from './entry.ts'
import type { Message, Received } from './messages.ts'
import type { SnapshotMetadata } from './snapshot.ts'

export type Input =
  /** `neededFrom`: an entry that must stay in the log whatever a snapshot holds, with all that follow; absent: as before. */
  | { readonly type: 'tick'; readonly neededFrom?: number }
  | { readonly type: 'receive'; readonly message: Received }
  /** Appends them all, in order, or refuses them all; `proposals` of the work says which. */
  | {
      readonly type: 'propose'
      readonly proposals: readonly Proposal[]
      readonly unixMs: number
      /** The follower that passed them on and waits to hear of their commit; absent when they are this node's own. */
      readonly forwardedBy?: NodeId
    }
  /** Tells followers that have nothing under way how far is committed: due soon after each commit, unless something else told them. */
  | { readonly type: 'announceCommit' }
  /** The save of this number, and so every earlier one, is durable. */
  | { readonly type: 'saved'; readonly id: number }
  /** Answers a `load`: entries in order from `from`; empty when they are gone. */
  | { readonly type: 'loaded'; readonly to: NodeId; readonly from: number; readonly entries: readonly Entry[] }
  /** A number that no process of this node ever used before: answers come late, even to a process that is gone. */
  | { readonly type: 'readIndex'; readonly readId: number }
  /** A hint from the transport, never a proof: the connection to this peer was closed or refused. */
  | { readonly type: 'peerDown'; readonly id: NodeId }
  | { readonly type: 'peerUp'; readonly id: NodeId }
  /** Hands leadership to the named voter, or to the one whose log is longest. */
  | { readonly type: 'transferLeadership'; readonly to: NodeId | null }
  /**
   * A snapshot of this node's own state machine is durable; what lies far enough behind it may leave the log. It may hold entries that are not
   * durable here yet, but none of a term that is not: a crash would leave a term that is older than the log.
   */
  | {
      readonly type: 'snapshotTaken'
      readonly snapshot: SnapshotMetadata
      /** As at a tick; absent: none. */
      readonly neededFrom?: number
    }
  /** The snapshot that was to be sent to this follower could not be: find out anew what it needs. */
  | { readonly type: 'snapshotFailed'; readonly to: NodeId }
  /** `isStalled`: a save has been under way for too long. `isFull`: the room that is kept for an emergency is in use, or gone. */
  | {
      readonly type: 'storage'
      readonly isStalled: boolean
      readonly isFull: boolean
      /** As in `snapshotTaken`; absent: what was said last still holds. */
      readonly neededFrom?: number
    }

export interface Proposal {
  readonly kind: EntryKind
  readonly origin: number
  readonly sequence: number
  readonly key: string | null
  readonly traceparent: string | null
  readonly payload: Uint8Array
}

/** §5.2: what must survive a crash besides the log. */
export interface HardState {
  readonly currentTerm: number
  readonly votedFor: NodeId | null
}

/** To be made durable in the order of the numbers: hard state first, then the snapshot, then entries. */
export interface Save {
  /** Counts up from 1, without gaps. */
  readonly id: number
  readonly hardState: HardState | null
  /** The snapshot that was received from the leader becomes this node's own, and the log begins anew behind it: all that it held is gone. */
  readonly snapshot: SnapshotMetadata | null
  /** Contiguous. When the first one's index is not past the log's end, everything from it on is replaced. */
  readonly entries: readonly Entry[]
}

export interface ProposalOutcome {
  readonly origin: number
  readonly sequence: number
  /** Where it was appended; or why it was not (then it never entered the log). */
  readonly accepted: EntryId | null
  readonly refused: 'not-leader' | 'transferring' | 'tail-full' | 'storage-full' | null
}

export interface ReadOutcome {
  readonly readId: number
  /** Once this index is applied, a local read is linearizable. Null: no answer can be had now, ask again. */
  readonly index: number | null
}

/** Entries that left memory, wanted for a follower that lags: read from storage, answered by `loaded`. */
export interface Load {
  readonly to: NodeId
  readonly from: number
  readonly through: number
  readonly maxBytes: number
}

/**
 * A follower needs what the log no longer holds: this snapshot, which is durable here, is to be sent to it, by this node as the leader of its
 * current term, until the follower's progress is no longer in state `snapshot`: whatever was lost on the way is for the node to repeat.
 */
export interface SnapshotToSend {
  readonly to: NodeId
  readonly lastIncluded: EntryId
}

export interface Work {
  /** May go at once: they rest on nothing that is not durable yet. */
  readonly send: readonly Message[]
  readonly save: Save | null
  /** Promises (votes, acknowledgements): they may leave only after the save numbered `promisesAfter` is durable. */
  readonly promises: readonly Message[]
  readonly promisesAfter: number
  /** Everything up to here is committed. */
  readonly commitIndex: number
  readonly proposals: readonly ProposalOutcome[]
  readonly reads: readonly ReadOutcome[]
  readonly loads: readonly Load[]
  readonly snapshots: readonly SnapshotToSend[]
  /** Entries through this one have left the log for good, and storage may give up their room; null: none since the last time. */
  readonly compactThrough: EntryId | null
  /** Set when the configuration in force changed. */
  readonly configuration: IndexedConfiguration | null
}

export type RoleName = 'follower' | 'precandidate' | 'candidate' | 'leader'

/** What the log and metafile held when the node started. */
export interface Recovered {
  readonly hardState: HardState
  /** The newest snapshot; null without one. */
  readonly snapshot: SnapshotMetadata | null
  /** The entry before the first one that the log holds, at or before the snapshot's last one; 0/0 for a whole log. */
  readonly base: EntryId
  /** Terms of the log after `base`, as runs in rising order of `from`: all entries from `from` to the next run have `term`. */
  readonly termRuns: readonly { readonly from: number; readonly term: number }[]
  readonly lastIndex: number
  /** Cluster time of the last entry, 0 without one. */
  readonly lastTimestampMs: number
  /** The founding (or the snapshot's) configuration first, then those that follow it in the log, in order. */
  readonly configurations: readonly IndexedConfiguration[]
}
