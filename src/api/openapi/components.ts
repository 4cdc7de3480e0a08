// The schemas that the document names, and the headers that requests and answers have in common.

import { type TSchema, Type } from 'typebox'
import {
  BarrierResponse,
  BatchCommittedResponse,
  BatchResponse,
  CommandResponse,
  CommittedResponse,
  HealthEvent,
  HealthResponse,
  KvItem,
  KvListResponse,
  LeaderEvent,
  LeaderResponse,
  LoggedCommand,
  MembershipEvent,
  MembersResponse,
  ProblemResponse,
  ReadResponse,
  SkipResponse,
  SnapshotEvent,
  SnapshotResponse,
  StatusResponse,
  TransferResponse,
} from '../schemas.ts'

export const components = {
  Barrier: BarrierResponse,
  Batch: BatchResponse,
  BatchCommitted: BatchCommittedResponse,
  Command: CommandResponse,
  Committed: CommittedResponse,
  Health: HealthResponse,
  HealthEvent,
  KvItem,
  KvList: KvListResponse,
  Leader: LeaderResponse,
  LeaderEvent,
  LoggedCommand,
  Members: MembersResponse,
  MembershipEvent,
  Problem: ProblemResponse,
  Read: ReadResponse,
  Skip: SkipResponse,
  Snapshot: SnapshotResponse,
  SnapshotEvent,
  Status: StatusResponse,
  Transfer: TransferResponse,
} as const satisfies Readonly<Record<string, TSchema>>

export type ComponentName = keyof typeof components

export const requestHeaders = {
  'Idempotency-Key': Type.Optional(
    Type.String({
      description:
        'Exactly once: of all commands under one key, a single one enters the log, and repeats get its place and result. 1 to 255 visible ASCII characters, bare or in double quotes.',
      examples: ['8e03978e-40d5-43dd-bc93-6894a57f9324'],
    }),
  ),
  traceparent: Type.Optional(
    Type.String({
      description: 'Trace context of the W3C; it goes along with the command. One that is not valid is ignored.',
      examples: ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
    }),
  ),
  'raft-min-index': Type.Optional(
    Type.String({
      description: 'Wait until this node has applied this index, the raft-index of an earlier answer of any node',
      examples: ['42'],
    }),
  ),
  'If-Match': Type.Optional(
    Type.String({ description: 'Only while the key stands as modified at this index', examples: ['"42"'] }),
  ),
  'If-None-Match': Type.Optional(
    Type.String({
      description: 'In a write: *, only while the key does not exist. In a read: the ETag that is held already',
      examples: ['*'],
    }),
  ),
  'Last-Event-ID': Type.Optional(
    Type.String({ description: 'Resume a stream after this index; wins over `after`', examples: ['41'] }),
  ),
} as const

export type RequestHeader = keyof typeof requestHeaders

export const answerHeaders = {
  'raft-index': { type: 'string', description: 'What this node has applied, or the index of the command' },
  'raft-term': { type: 'string', description: 'The term of this node, or of the command' },
  'raft-leader': { type: 'string', description: 'The id of the leader, when one is known' },
  ETag: { type: 'string', description: 'The version of the item: the index at which it was modified last, in quotes' },
  'Retry-After': { type: 'string', description: 'Seconds; not with every code' },
  'raft-snapshot-index': { type: 'string', description: 'The last entry whose effect the snapshot holds' },
  'raft-snapshot-term': { type: 'string', description: 'The term of that entry' },
} as const

export type AnswerHeader = keyof typeof answerHeaders
