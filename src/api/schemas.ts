// Every shape that crosses the API, once: Fastify validates requests by these, the client takes its types from
// them. A query takes no property that is not named here, so that nothing is ever silently ignored.

import { type Static, Type } from 'typebox'

const closed = { additionalProperties: false } as const

const Timeout = Type.Optional(Type.String({ description: '100ms to 60s; 5s by default' }))

export const NoQuery = Type.Object({}, closed)

/** For what only `raft-min-index` may hold up. */
export const WaitQuery = Type.Object({ timeout: Timeout }, closed)
export type WaitQuery = Static<typeof WaitQuery>

export const CommandQuery = Type.Object(
  { timeout: Timeout, wait: Type.Optional(Type.Union([Type.Literal('applied'), Type.Literal('committed')])) },
  closed,
)
export type CommandQuery = Static<typeof CommandQuery>

export const BarrierQuery = Type.Object({ timeout: Timeout, mode: Type.Optional(Type.Literal('read-index')) }, closed)
export type BarrierQuery = Static<typeof BarrierQuery>

export const KvReadQuery = Type.Object(
  {
    timeout: Timeout,
    consistency: Type.Optional(Type.Union([Type.Literal('linearizable'), Type.Literal('local')])),
  },
  closed,
)
export type KvReadQuery = Static<typeof KvReadQuery>

export const ReadyQuery = Type.Object({ verbose: Type.Optional(Type.String()) }, closed)
export type ReadyQuery = Static<typeof ReadyQuery>

export const CommittedResponse = Type.Object({
  index: Type.Integer(),
  term: Type.Integer(),
  timestamp: Type.String({ format: 'date-time' }),
})
/** 202, for `wait=committed`. */
export type CommittedResponse = Static<typeof CommittedResponse>

export const CommandResponse = Type.Object({ ...CommittedResponse.properties, result: Type.Unknown() })
export type CommandResponse = Static<typeof CommandResponse>

export const BarrierResponse = Type.Object({ index: Type.Integer() })
export type BarrierResponse = Static<typeof BarrierResponse>

export const KvItem = Type.Object({
  key: Type.String(),
  value: Type.Unknown(),
  createdIndex: Type.Integer(),
  modifiedIndex: Type.Integer(),
})
export type KvItem = Static<typeof KvItem>

const Leader = {
  id: Type.String(),
  term: Type.Integer(),
  self: Type.Boolean(),
  appUrl: Type.Union([Type.String(), Type.Null()]),
}

export const LeaderResponse = Type.Object({ ...Leader, fencingToken: Type.Integer() })
export type LeaderResponse = Static<typeof LeaderResponse>

const Role = Type.Union([
  Type.Literal('follower'),
  Type.Literal('precandidate'),
  Type.Literal('candidate'),
  Type.Literal('leader'),
  Type.Literal('learner'),
])
const MemberRole = Type.Union([Type.Literal('voter'), Type.Literal('learner')])
const Sentence = Type.Union([Type.String(), Type.Null()])

export const HealthResponse = Type.Object({ ok: Type.Boolean(), role: Role, term: Type.Integer() })
export type HealthResponse = Static<typeof HealthResponse>

/** Of a snapshot that is durable on the node. */
export const SnapshotResponse = Type.Object({
  index: Type.Integer(),
  term: Type.Integer(),
  sizeBytes: Type.Integer(),
})
export type SnapshotResponse = Static<typeof SnapshotResponse>

export const StatusResponse = Type.Object({
  cluster: Type.String(),
  version: Type.String(),
  id: Type.String(),
  role: Role,
  term: Type.Integer(),
  leader: Type.Union([Type.Object(Leader), Type.Null()]),
  holdsQuorum: Type.Boolean(),
  commitIndex: Type.Integer(),
  appliedIndex: Type.Integer(),
  lastIndex: Type.Integer(),
  durableIndex: Type.Integer(),
  firstIndex: Type.Integer(),
  members: Type.Array(
    Type.Object({
      id: Type.String(),
      peerAddress: Type.String(),
      role: MemberRole,
      self: Type.Boolean(),
      leader: Type.Boolean(),
      reachable: Type.Boolean(),
      refusal: Sentence,
      matchIndex: Type.Union([Type.Integer(), Type.Null()]),
      lag: Type.Union([Type.Integer(), Type.Null()]),
    }),
  ),
  configuration: Type.Object({
    members: Type.Array(Type.Object({ id: Type.String(), peerAddress: Type.String(), role: MemberRole })),
  }),
  pendingProposals: Type.Integer(),
  snapshot: Type.Union([SnapshotResponse, Type.Null()]),
  compactionBlocked: Sentence,
  isStorageStalled: Type.Boolean(),
  isStorageFull: Type.Boolean(),
  applierBlocked: Sentence,
  observerBlocked: Sentence,
  uptimeMs: Type.Number(),
  checks: Type.Array(Type.Object({ name: Type.String(), ok: Type.Boolean(), why: Sentence })),
})
export type StatusResponse = Static<typeof StatusResponse>

/** RFC 9457, with a stable `code`, and for proposals an `outcome`. */
export const ProblemResponse = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  code: Type.String(),
  outcome: Type.Optional(Type.Union([Type.Literal('not_applied'), Type.Literal('unknown'), Type.Literal('committed')])),
  index: Type.Optional(Type.Integer()),
  term: Type.Optional(Type.Integer()),
})
export type ProblemResponse = Static<typeof ProblemResponse>

export type Outcome = NonNullable<ProblemResponse['outcome']>
