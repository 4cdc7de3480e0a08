// The answers that the client hands out, and those shapes of them that are its own.

import type { CommandResponse, CommittedResponse, StatusResponse } from '../api/schemas.ts'

/** It was proposed before under the same key: this is the place, and the result, of that one. */
interface Repeated {
  readonly duplicate?: boolean
}

export type Committed = CommittedResponse & Repeated

export type Applied<Result = unknown> = CommandResponse & Repeated & { readonly result: Result }

export type Status = StatusResponse & {
  /** The command that the application of this node refuses for good; null: none. `skip` proposes to leave it out. */
  readonly poison?: { readonly index: number; readonly reason: string } | null
}

export interface Member {
  readonly id: string
  readonly peerAddress: string
  readonly role: 'voter' | 'learner'
  readonly self: boolean
  readonly leader: boolean
  readonly reachable: boolean
  readonly refusal: string | null
  /** As the leader sees it; null elsewhere. */
  readonly matchIndex: number | null
  readonly lag: number | null
}

/** A committed command, as it stands in the log. */
export interface LoggedCommand {
  readonly index: number
  readonly term: number
  /** Cluster time: the same on every node, never going back. */
  readonly timestamp: string
  readonly key: string | null
  readonly traceparent: string | null
  /** The JSON value that was proposed; a Buffer when it was bytes. */
  readonly command: unknown
  /** The cluster has agreed to leave it out: no application got it. */
  readonly skipped: boolean
}

export interface ClusterEvent {
  /** `leader`, `membership`, `snapshot`, `health`; a later version may know more. */
  readonly type: string
  readonly data: unknown
}
