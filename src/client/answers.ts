// The answers that the client hands out, and those shapes of them that are its own.

import type {
  CommandResponse,
  CommittedResponse,
  LeaderResponse,
  SnapshotResponse,
  StatusResponse,
} from '../api/schemas.ts'

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

export type Leader = Omit<LeaderResponse, 'fencingToken'>

export type Member = StatusResponse['members'][number]

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

interface ConfiguredMember {
  readonly id: string
  readonly peerAddress: string
  readonly role: 'voter' | 'learner'
}

export type ClusterEvent =
  | { readonly type: 'leader'; readonly data: { readonly leader: Leader | null; readonly term: number } }
  /** `index`: where the change stands in the log; null: it is how things stand. */
  | {
      readonly type: 'membership'
      readonly data: { readonly index: number | null; readonly members: readonly ConfiguredMember[] }
    }
  /** The newest one of this node; `installedFrom`: the leader that sent it, null for one that was taken here. */
  | {
      readonly type: 'snapshot'
      readonly data: { readonly snapshot: SnapshotResponse | null; readonly installedFrom: string | null }
    }
  | { readonly type: 'health'; readonly data: { readonly ready: boolean; readonly checks: StatusResponse['checks'] } }
