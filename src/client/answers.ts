// The answers that the client hands out, and those shapes of them that are its own.

import type {
  CommandResponse,
  CommittedResponse,
  Events,
  MemberResponse,
  StatusResponse,
  TransferResponse,
} from '../api/schemas.ts'

export type Committed = CommittedResponse

export type Applied<Result = unknown> = CommandResponse & { readonly result: Result }

export type Status = StatusResponse

export type Leader = TransferResponse['leader']

export type Member = MemberResponse

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

export type ClusterEvent = {
  readonly [Type in keyof Events]: { readonly type: Type; readonly data: Events[Type] }
}[keyof Events]
