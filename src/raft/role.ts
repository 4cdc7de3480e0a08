// What only one role needs lives in that role, and there is one way from role to role.

import { assert } from './assert.ts'
import type { NodeId } from './entry.ts'
import type { Lease } from './lease.ts'
import type { RequestPreVote } from './messages.ts'
import type { Progress } from './progress.ts'
import type { RoleName } from './work.ts'

export interface Follower {
  readonly name: 'follower'
  leader: NodeId | null
  /** When the leader was last heard; -Infinity when it is lost (its connection closed, or none was ever heard). */
  lastLeaderContactMs: number
  electionDeadlineMs: number
  /** Pre-votes that were refused because of a promise: they are answered again when it is over. */
  askedMeanwhile: Map<NodeId, RequestPreVote>
}

export interface Precandidate {
  readonly name: 'precandidate'
  readonly votes: Map<NodeId, boolean>
  electionDeadlineMs: number
}

export interface Candidate {
  readonly name: 'candidate'
  readonly votes: Map<NodeId, boolean>
  electionDeadlineMs: number
}

export interface Leader {
  readonly name: 'leader'
  /** Of every other member. */
  readonly progress: Map<NodeId, Progress>
  /** Index of the no-op that opened the term: reads wait until it is committed (§6.4 of Ongaro's thesis). */
  readonly noopIndex: number
  heartbeatDueMs: number
  /** The latest round of confirmation that was sent. */
  round: number
  /** Rounds sent and not yet confirmed, oldest first. */
  rounds: Round[]
  /** When the youngest round that a quorum has answered was sent. */
  quorumConfirmedMs: number
  readonly lease: Lease
  reads: PendingRead[]
  transfer: Transfer | null
  /** Appended in this term and not committed yet, oldest first, so that the tail stays bounded. */
  uncommitted: { readonly lastIndex: number; readonly bytes: number }[]
  uncommittedBytes: number
}

/** A heartbeat to every member whose answers confirm that this node still led when it was sent. */
export interface Round {
  readonly round: number
  readonly startedMs: number
}

export interface PendingRead {
  readonly readId: number
  readonly from: NodeId
  /** Where to read, and the round that must be confirmed; null until the leader has committed in its own term. */
  ready: { readonly index: number; readonly round: number } | null
}

export interface Transfer {
  readonly to: NodeId
  readonly deadlineMs: number
  timeoutNowSent: boolean
}

export type Role = Follower | Precandidate | Candidate | Leader

const legal: Record<RoleName, readonly RoleName[]> = {
  follower: ['follower', 'precandidate', 'candidate'],
  precandidate: ['follower', 'precandidate', 'candidate'],
  candidate: ['follower', 'precandidate', 'leader'],
  leader: ['follower'],
}

export function assertLegalTransition(from: RoleName, to: RoleName): void {
  assert(legal[from].includes(to), () => `A ${from} cannot become a ${to}`)
}
