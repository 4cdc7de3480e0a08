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
  {
    timeout: Timeout,
    wait: Type.Optional(
      Type.Union([Type.Literal('applied'), Type.Literal('committed')], {
        description: 'applied, the default: answer with the result; committed: answer 202 as soon as it is committed',
      }),
    ),
  },
  closed,
)
export type CommandQuery = Static<typeof CommandQuery>

export const ReadQuery = Type.Object(
  {
    after: Type.Optional(
      Type.String({ description: 'The index of the last command that is known already; 0 by default' }),
    ),
    limit: Type.Optional(Type.String({ description: 'At most so many commands, 1 to 1000; 100 by default' })),
    wait: Type.Optional(
      Type.String({ description: '0ms to 60s: how long to wait for a command when there is none yet' }),
    ),
    timeout: Timeout,
  },
  closed,
)
export type ReadQuery = Static<typeof ReadQuery>

export const BarrierQuery = Type.Object(
  {
    timeout: Timeout,
    mode: Type.Optional(
      Type.Union([Type.Literal('read-index'), Type.Literal('lease')], {
        description: 'read-index, the default; lease: without a round trip, only under LEASE_READS=true',
      }),
    ),
  },
  closed,
)
export type BarrierQuery = Static<typeof BarrierQuery>

export const KvReadQuery = Type.Object(
  {
    timeout: Timeout,
    consistency: Type.Optional(
      Type.Union([Type.Literal('linearizable'), Type.Literal('local')], {
        description: 'linearizable, the default; local: what this node holds, which may be of the past',
      }),
    ),
  },
  closed,
)
export type KvReadQuery = Static<typeof KvReadQuery>

export const KvListQuery = Type.Object(
  {
    ...KvReadQuery.properties,
    prefix: Type.Optional(Type.String({ description: 'Only keys that begin so; all of them by default' })),
    limit: Type.Optional(Type.String({ description: 'At most so many items, 1 to 1000; 100 by default' })),
    after: Type.Optional(Type.String({ description: 'Only keys behind this one: `next` of the page before' })),
  },
  closed,
)
export type KvListQuery = Static<typeof KvListQuery>

export const ReadyQuery = Type.Object(
  { verbose: Type.Optional(Type.String({ description: 'Without a value: a line a check, also when all is well' })) },
  closed,
)
export type ReadyQuery = Static<typeof ReadyQuery>

/** Proposed before under the same Idempotency-Key: place and result are those of the first. */
const Duplicate = Type.Optional(Type.Literal(true))

const Place = {
  index: Type.Integer(),
  term: Type.Integer(),
  timestamp: Type.String({ format: 'date-time', description: "The leader's clock, never going back along the log" }),
}

/** 202, for `wait=committed`. */
export const CommittedResponse = Type.Object({ ...Place, duplicate: Duplicate })
export type CommittedResponse = Static<typeof CommittedResponse>

/** `result` is what the state machine answered. */
export const CommandResponse = Type.Object({ ...Place, result: Type.Unknown(), duplicate: Duplicate })
export type CommandResponse = Static<typeof CommandResponse>

/** Of one line of a batch. */
export const BatchFailure = Type.Object({
  code: Type.String(),
  outcome: Type.Union([Type.Literal('not_applied'), Type.Literal('unknown'), Type.Literal('committed')]),
  detail: Type.String(),
  index: Type.Optional(Type.Integer()),
  term: Type.Optional(Type.Integer()),
})
export type BatchFailure = Static<typeof BatchFailure>

/** In the order of the lines. */
export const BatchResponse = Type.Object({ results: Type.Array(Type.Union([CommandResponse, BatchFailure])) })
export type BatchResponse = Static<typeof BatchResponse>

/** 202, for `wait=committed`. */
export const BatchCommittedResponse = Type.Object({
  results: Type.Array(Type.Union([CommittedResponse, BatchFailure])),
})
export type BatchCommittedResponse = Static<typeof BatchCommittedResponse>

/** A command as the log holds it, with `command` or `bytes`. Also the `data` of an event `command`. */
export const LoggedCommand = Type.Object({
  ...Place,
  key: Type.Optional(Type.String({ description: 'The Idempotency-Key, if one was given' })),
  traceparent: Type.Optional(Type.String()),
  command: Type.Optional(Type.Unknown({ description: 'A command that came as JSON' })),
  bytes: Type.Optional(Type.String({ description: 'A command that came as opaque bytes, in base64' })),
  skipped: Type.Optional(Type.Literal(true, { description: 'The cluster left it out: no application got it' })),
})
export type LoggedCommand = Static<typeof LoggedCommand>

export const ReadResponse = Type.Object({
  commands: Type.Array(LoggedCommand),
  through: Type.Integer({ description: 'Everything through this index was looked at: give it as `after` to go on' }),
})
export type ReadResponse = Static<typeof ReadResponse>

/** Where the entry stands that leaves the command out. */
export const SkipResponse = Type.Object({ ...Place, duplicate: Duplicate })
export type SkipResponse = Static<typeof SkipResponse>

export const BarrierResponse = Type.Object({ index: Type.Integer() })
export type BarrierResponse = Static<typeof BarrierResponse>

export const KvItem = Type.Object({
  key: Type.String(),
  value: Type.Unknown(),
  createdIndex: Type.Integer(),
  modifiedIndex: Type.Integer(),
})
export type KvItem = Static<typeof KvItem>

export const KvListResponse = Type.Object({
  items: Type.Array(KvItem),
  more: Type.Boolean(),
  /** To give as `after`; null when there is no more. */
  next: Type.Union([Type.String(), Type.Null()]),
})
export type KvListResponse = Static<typeof KvListResponse>

const Leader = {
  id: Type.String(),
  term: Type.Integer(),
  self: Type.Boolean(),
  appUrl: Type.Union([Type.String(), Type.Null()]),
}

export const LeaderResponse = Type.Object({ ...Leader, fencingToken: Type.Integer() })
export type LeaderResponse = Static<typeof LeaderResponse>

const LeaderOrNone = Type.Union([Type.Object(Leader), Type.Null()])

/** Without `to`, the voter whose log is longest takes over. */
export const TransferRequest = Type.Object({ to: Type.Optional(Type.String()) }, closed)
export type TransferRequest = Static<typeof TransferRequest>

export const TransferResponse = Type.Object({ leader: Type.Object(Leader) })
export type TransferResponse = Static<typeof TransferResponse>

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

const SnapshotOrNone = Type.Union([SnapshotResponse, Type.Null()])

export const MemberResponse = Type.Object({
  id: Type.String(),
  peerAddress: Type.String(),
  role: MemberRole,
  self: Type.Boolean(),
  leader: Type.Boolean(),
  reachable: Type.Boolean(),
  /** Why it and this node do not speak to each other. */
  refusal: Sentence,
  /** As the leader sees it; null elsewhere. */
  matchIndex: Type.Union([Type.Integer(), Type.Null()]),
  lag: Type.Union([Type.Integer(), Type.Null()]),
})
export type MemberResponse = Static<typeof MemberResponse>

export const MembersResponse = Type.Object({ members: Type.Array(MemberResponse) })
export type MembersResponse = Static<typeof MembersResponse>

const ConfiguredMembers = Type.Array(Type.Object({ id: Type.String(), peerAddress: Type.String(), role: MemberRole }))
const Checks = Type.Array(Type.Object({ name: Type.String(), ok: Type.Boolean(), why: Sentence }))

export const StatusResponse = Type.Object({
  cluster: Type.String(),
  version: Type.String(),
  id: Type.String(),
  role: Role,
  term: Type.Integer(),
  leader: LeaderOrNone,
  holdsQuorum: Type.Boolean(),
  commitIndex: Type.Integer(),
  appliedIndex: Type.Integer(),
  lastIndex: Type.Integer(),
  durableIndex: Type.Integer(),
  firstIndex: Type.Integer(),
  members: Type.Array(MemberResponse),
  configuration: Type.Object({ members: ConfiguredMembers }),
  pendingProposals: Type.Integer(),
  snapshot: SnapshotOrNone,
  compactionBlocked: Sentence,
  isStorageStalled: Type.Boolean(),
  isStorageFull: Type.Boolean(),
  applierBlocked: Sentence,
  observerBlocked: Sentence,
  /** The command that delivery stops before, because an application refuses it for good. */
  poison: Type.Union([Type.Object({ index: Type.Integer(), reason: Type.String() }), Type.Null()]),
  uptimeMs: Type.Number(),
  checks: Checks,
  /** What is wrong, the worst thing first, or that all is well: one sentence for a person. */
  diagnosis: Type.String(),
})
export type StatusResponse = Static<typeof StatusResponse>

/** The `data` of GET /v1/events, by the name of the event. Each comes once at the beginning, as things stand, and then at each change. */
export const LeaderEvent = Type.Object({ leader: LeaderOrNone, term: Type.Integer() })
export type LeaderEvent = Static<typeof LeaderEvent>

/** `index`: where the change stands in the log; null in the first one. */
export const MembershipEvent = Type.Object({
  index: Type.Union([Type.Integer(), Type.Null()]),
  members: ConfiguredMembers,
})
export type MembershipEvent = Static<typeof MembershipEvent>

/** The newest one here; `installedFrom`: the leader that sent it, null for one that was taken here. */
export const SnapshotEvent = Type.Object({
  snapshot: SnapshotOrNone,
  installedFrom: Type.Union([Type.String(), Type.Null()]),
})
export type SnapshotEvent = Static<typeof SnapshotEvent>

/** The checks of /readyz. */
export const HealthEvent = Type.Object({ ready: Type.Boolean(), checks: Checks })
export type HealthEvent = Static<typeof HealthEvent>

export interface Events {
  readonly leader: LeaderEvent
  readonly membership: MembershipEvent
  readonly snapshot: SnapshotEvent
  readonly health: HealthEvent
}

/** RFC 9457, with a stable `code`, and for proposals an `outcome`. */
export const ProblemResponse = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  code: Type.String(),
  outcome: Type.Optional(Type.Union([Type.Literal('not_applied'), Type.Literal('unknown'), Type.Literal('committed')])),
  index: Type.Optional(Type.Integer({ description: 'Where the command stands in the log, for the outcome committed' })),
  term: Type.Optional(Type.Integer()),
  firstIndex: Type.Optional(Type.Integer({ description: 'With compacted: the first entry that the log still holds' })),
  modifiedIndex: Type.Optional(
    Type.Integer({ description: 'With condition-failed: where the key was modified last; 0: it does not exist' }),
  ),
})
export type ProblemResponse = Static<typeof ProblemResponse>

export type Outcome = NonNullable<ProblemResponse['outcome']>
