// What nodes say to each other. Names and fields are the Raft paper's where it has them.

import type { Entry, EntryId, NodeId } from './entry.ts'
import type { SnapshotMetadata } from './snapshot.ts'

interface Envelope {
  readonly from: NodeId
  readonly to: NodeId
  /** The sender's currentTerm; in a pre-vote and in a granted answer to it, the term that the election would have. */
  readonly term: number
}

export interface RequestPreVote extends Envelope {
  readonly type: 'RequestPreVote'
  readonly lastEntry: EntryId
}

export interface RequestPreVoteResponse extends Envelope {
  readonly type: 'RequestPreVoteResponse'
  readonly voteGranted: boolean
}

export interface RequestVote extends Envelope {
  readonly type: 'RequestVote'
  readonly lastEntry: EntryId
  /** The leader asked for this election (TimeoutNow), so voters do not hold on to it. */
  readonly leadershipTransfer: boolean
}

export interface RequestVoteResponse extends Envelope {
  readonly type: 'RequestVoteResponse'
  readonly voteGranted: boolean
}

export interface AppendEntries extends Envelope {
  readonly type: 'AppendEntries'
  readonly prev: EntryId
  /** Empty in a heartbeat or a probe. */
  readonly entries: readonly Entry[]
  readonly leaderCommit: number
  /** Counts the leader's rounds of confirmation; the answer repeats it (reads, lease). */
  readonly round: number
}

export type AppendEntriesResponse = Envelope & {
  readonly type: 'AppendEntriesResponse'
  readonly round: number
  /**
   * For so many whole milliseconds, by the follower's clock and from the moment at which the request reached it, it helps nobody else to become
   * leader. 0: it promises nothing. (lease.ts)
   */
  readonly leaseMs: number
  /** The follower's disk has no room to spare: it is no good heir of leadership. */
  readonly isStorageFull: boolean
} & (
    | {
        readonly success: true
        /** The follower's log is durable and equal to the leader's up to here. */
        readonly matchIndex: number
      }
    | {
        readonly success: false
        /** `prev.index` of the refused request. */
        readonly rejectedIndex: number
        /** Where the follower's log may agree: one round trip a term, not one an entry. */
        readonly hint: EntryId
      }
  )

/**
 * §7. The follower's node makes it when the whole snapshot of that leader has come, in chunks that the core never sees, and has been verified.
 * It is answered as an AppendEntries through the snapshot's last entry is.
 */
export interface InstallSnapshot extends Envelope {
  readonly type: 'InstallSnapshot'
  readonly snapshot: SnapshotMetadata
}

/** §3.10 of Ongaro's thesis: start an election now, the leader hands over. */
export interface TimeoutNow extends Envelope {
  readonly type: 'TimeoutNow'
}

/** A follower asks the leader for an index that is safe to read at (§6.4 of Ongaro's thesis). */
export interface ReadIndexRequest extends Envelope {
  readonly type: 'ReadIndexRequest'
  readonly readId: number
}

export interface ReadIndexResponse extends Envelope {
  readonly type: 'ReadIndexResponse'
  readonly readId: number
  /** Null: this node is not the leader, or cannot serve reads now. */
  readonly index: number | null
}

export type Message =
  | RequestPreVote
  | RequestPreVoteResponse
  | RequestVote
  | RequestVoteResponse
  | AppendEntries
  | AppendEntriesResponse
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexResponse

/** What the core is given: what came from others, and what this node made of what came. */
export type Received = Message | InstallSnapshot
