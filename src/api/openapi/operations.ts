// What each route is for, what it takes and answers: `METHOD url`, as Fastify knows it, to its description.

import { Type } from 'typebox'
import { TransferRequest } from '../schemas.ts'
import type { ComponentName, RequestHeader } from './components.ts'
import type { Answer, AnswerContent, Operation } from './operation.ts'
import type { Code } from './problems.ts'

export const tags = [
  { name: 'commands', description: 'Proposing commands, and reading them back in order' },
  { name: 'reads', description: 'What makes a read of the application linearizable' },
  { name: 'kv', description: 'The embedded key-value machine, under STATE_MACHINE=kv' },
  { name: 'leader', description: 'Who leads' },
  { name: 'cluster', description: 'This node, the others, and snapshots' },
  { name: 'health', description: 'For load balancers, supervisors and people; answered without a token' },
] as const

const guarded: readonly Code[] = [
  'invalid-parameter',
  'unauthorized',
  'forbidden-host',
  'shutting-down',
  'internal-error',
]
const versioned: readonly Code[] = [...guarded, 'index-not-reached']
const open: readonly Code[] = ['invalid-parameter', 'forbidden-host', 'shutting-down', 'internal-error']

const proposal: readonly Code[] = [
  ...versioned,
  'invalid-command',
  'command-too-large',
  'idempotency-key-reused',
  'command-skipped',
  'too-many-proposals',
  'no-leader',
  'not-a-member',
  'leadership-lost',
  'commit-timeout',
  'apply-pending',
  'result-unknown',
  'storage-full',
]
const read: readonly Code[] = [...versioned, 'no-leader', 'read-timeout']

const proposalHeaders: readonly RequestHeader[] = ['Idempotency-Key', 'traceparent', 'raft-min-index']
const minIndex: readonly RequestHeader[] = ['raft-min-index']

const AnyJson = Type.Unknown({ description: 'Any JSON value, kept byte for byte' })
const Bytes = Type.Unknown({ description: 'Opaque bytes' })
const Text = Type.String()

const timestamp = '2026-11-23T05:00:00.123Z'
const place = { index: 42, term: 3, timestamp }
const leader = { id: 'n2', term: 3, self: false, appUrl: 'http://10.0.0.2:8080' }
const logged = { ...place, key: 'order-17', command: { op: 'set', key: 'k', value: 1 } }
const item = { key: 'a/k', value: { n: 1 }, createdIndex: 7, modifiedIndex: 42 }
const snapshot = { index: 40, term: 2, sizeBytes: 1234 }
const members = [
  {
    id: 'n1',
    peerAddress: '10.0.0.1:4000',
    role: 'voter',
    self: true,
    leader: true,
    reachable: true,
    refusal: null,
    matchIndex: 42,
    lag: 0,
  },
]
const checks = [{ name: 'leader', ok: true, why: null }]
const configured = [{ id: 'n1', peerAddress: '10.0.0.1:4000', role: 'voter' }]

function json(schema: AnswerContent['schema'], example: unknown): NonNullable<Answer['content']> {
  return { 'application/json': { schema, example } }
}

/** `data`: by the name of the event. */
function events(data: Readonly<Record<string, ComponentName>>, example: string): NonNullable<Answer['content']> {
  const properties = Object.fromEntries(Object.entries(data).map(([name, schema]) => [name, { $ref: `${schema}#` }]))
  const contentSchema = { type: 'object', description: 'The `data` of each event, by its name', properties }
  const schema = { type: 'string', contentMediaType: 'text/event-stream', contentSchema }
  return { 'text/event-stream': { schema, example } }
}

function text(example: string): NonNullable<Answer['content']> {
  return { 'text/plain': { schema: Text, example } }
}

const applied: Answer = {
  description: 'Committed, and applied by the state machine of this node',
  content: json('Command', { ...place, result: { ok: true } }),
}
const committed: Answer = {
  description: 'Committed, for `wait=committed`',
  content: json('Committed', place),
}
const key = {
  key: { description: 'May hold slashes, plain or as %2F; at most 1,024 bytes as UTF-8', example: 'a/k' },
}

function health(role: string, summary: string): Operation {
  const answer = (ok: boolean, description: string): Answer => ({
    description,
    content: json('Health', { ok, role: ok ? role : 'candidate', term: 3 }),
  })
  return {
    id: `health${role[0]?.toUpperCase()}${role.slice(1)}`,
    tag: 'health',
    summary,
    security: null,
    answers: { 200: answer(true, 'It is'), 503: answer(false, 'It is not.') },
    problems: open,
  }
}

export const operations: Readonly<Record<string, Operation>> = {
  'POST /v1/commands': {
    id: 'propose',
    tag: 'commands',
    summary: 'Propose one command',
    description:
      'Any node takes it. It is answered when it is committed and applied by this node. `outcome` of a problem says what became of it: `not_applied` may be repeated freely, `unknown` only with the same Idempotency-Key, `committed` will be applied.',
    headers: proposalHeaders,
    body: {
      'application/json': { schema: AnyJson, example: { op: 'set', key: 'k', value: 1 } },
      'application/octet-stream': { schema: Bytes, example: 'AAECAw==' },
    },
    answers: { 200: applied, 202: committed },
    problems: [...proposal, 'unsupported-media-type'],
  },
  'POST /v1/commands/batch': {
    id: 'proposeBatch',
    tag: 'commands',
    summary: 'Propose many commands together',
    description:
      'One append and one round of replication, not a transaction. At most 10,000 lines and 16 MiB, or MAX_PENDING_BYTES if that is less. A line that is no command, named in `detail`, lets none be proposed. With an Idempotency-Key K of at most 249 characters, line i, counted from 1, has the key K/i.',
    headers: proposalHeaders,
    body: {
      'application/x-ndjson': {
        schema: Type.String({ description: 'One JSON command a line, none empty' }),
        example: '{"op":"set","key":"a","value":1}\n{"op":"delete","key":"b"}\n',
      },
    },
    answers: {
      200: {
        description: 'What became of each line, in their order; also when single ones failed',
        content: json('Batch', {
          results: [
            { ...place, result: { ok: true } },
            { code: 'leadership-lost', outcome: 'unknown', detail: 'The leader stepped down on the way.' },
          ],
        }),
      },
      202: {
        description: 'The same for `wait=committed`, without results',
        content: json('BatchCommitted', { results: [place] }),
      },
    },
    problems: [...proposal, 'batch-too-large', 'unsupported-media-type'],
  },
  'GET /v1/commands': {
    id: 'readCommands',
    tag: 'commands',
    summary: 'Read committed commands in order, or stream them',
    description:
      'A page, at once or as soon as there is a command (`wait`), of at most 1 MiB or one command. With `accept: text/event-stream` a stream without end: `event: command`, `id` is the index, `data` the command in one line; comments, and ids without data, are heartbeats. A stream that the log does not reach back for any more ends with `event: error` and a problem.',
    headers: [...minIndex, 'Last-Event-ID'],
    answers: {
      200: {
        description: 'Commands behind `after`',
        content: {
          ...json('Read', { commands: [logged], through: 42 }),
          ...events(
            { command: 'LoggedCommand', error: 'Problem' },
            `id: 42\nevent: command\ndata: ${JSON.stringify(logged)}\n\n`,
          ),
        },
      },
    },
    problems: [...versioned, 'compacted', 'too-many-streams'],
  },
  'POST /v1/commands/:index/skip': {
    id: 'skipCommand',
    tag: 'commands',
    summary: 'Leave out a command that the application refuses for good',
    description:
      'On every node, or on none. Only for the command that delivery to the application of this node stops before.',
    headers: minIndex,
    params: { index: { description: 'Where the command stands in the log', example: '41' } },
    answers: { 200: { description: 'Committed: every node leaves it out', content: json('Skip', place) } },
    problems: [
      ...versioned,
      'not-poison',
      'too-many-proposals',
      'no-leader',
      'not-a-member',
      'leadership-lost',
      'commit-timeout',
      'storage-full',
    ],
  },
  'GET /v1/barrier': {
    id: 'barrier',
    tag: 'reads',
    summary: 'Wait until this node has applied all that was committed anywhere',
    description: 'After it, the application may read its own memory, and the read is linearizable.',
    headers: minIndex,
    answers: { 200: { description: 'This node has applied this index', content: json('Barrier', { index: 42 }) } },
    problems: read,
  },
  'PUT /v1/kv/*': {
    id: 'setKey',
    tag: 'kv',
    summary: 'Set a key',
    description: 'With If-Match or If-None-Match it is a compare-and-set.',
    params: key,
    headers: [...proposalHeaders, 'If-Match', 'If-None-Match'],
    body: { 'application/json': { schema: AnyJson, example: { n: 1 } } },
    answers: { 200: { ...applied, headers: ['ETag'] }, 202: { ...committed, headers: ['ETag'] } },
    problems: [...proposal, 'condition-failed', 'unsupported-media-type'],
  },
  'DELETE /v1/kv/*': {
    id: 'deleteKey',
    tag: 'kv',
    summary: 'Delete a key',
    description: 'Answered with 200 whether or not it was there.',
    params: key,
    headers: [...proposalHeaders, 'If-Match'],
    answers: {
      200: { ...applied, content: json('Command', { ...place, result: { ok: true, existed: true } }) },
      202: committed,
    },
    problems: [...proposal, 'condition-failed'],
  },
  'GET /v1/kv/*': {
    id: 'getKey',
    tag: 'kv',
    summary: 'Read a key',
    params: key,
    headers: [...minIndex, 'If-None-Match'],
    answers: {
      200: { description: 'The item', headers: ['ETag'], content: json('KvItem', item) },
      304: { description: 'The version of If-None-Match is the present one', headers: ['ETag'] },
    },
    problems: [...read, 'key-not-found'],
  },
  'GET /v1/kv': {
    id: 'listKeys',
    tag: 'kv',
    summary: 'List keys in order',
    description: 'A page ends early when its items are large: go on after `next` while there is `more`.',
    headers: minIndex,
    answers: {
      200: { description: 'A page', content: json('KvList', { items: [item], more: true, next: 'a/k' }) },
    },
    problems: read,
  },
  'GET /v1/leader': {
    id: 'leader',
    tag: 'leader',
    summary: 'Who leads',
    headers: minIndex,
    answers: {
      200: {
        description: 'The leader, with the fencing token to show to what must obey only the newest one',
        content: json('Leader', { ...leader, fencingToken: 3 }),
      },
    },
    problems: [...versioned, 'no-leader'],
  },
  'POST /v1/leader/transfer': {
    id: 'transferLeadership',
    tag: 'leader',
    summary: 'Hand leadership over',
    description: 'To the voter that `to` names, or to the one whose log is longest. The leader must be asked.',
    headers: minIndex,
    body: { 'application/json': { schema: TransferRequest, example: { to: 'n2' } } },
    isBodyByChoice: true,
    answers: { 200: { description: 'The new leader', content: json('Transfer', { leader }) } },
    problems: [
      ...versioned,
      'not-leader',
      'unknown-member',
      'transfer-failed',
      'unsupported-media-type',
      'too-many-proposals',
    ],
  },
  'GET /v1/events': {
    id: 'events',
    tag: 'cluster',
    summary: 'What changes in this node, as a stream',
    description:
      'Events `leader`, `membership`, `snapshot` and `health`: the present state of each first, then every change. A client that does not read is cut off.',
    headers: minIndex,
    answers: {
      200: {
        description: 'A stream without end',
        content: events(
          { leader: 'LeaderEvent', membership: 'MembershipEvent', snapshot: 'SnapshotEvent', health: 'HealthEvent' },
          `event: leader\ndata: ${JSON.stringify({ leader, term: 3 })}\n\n`,
        ),
      },
    },
    problems: [...versioned, 'too-many-streams'],
  },
  'GET /v1/status': {
    id: 'status',
    tag: 'cluster',
    summary: 'Everything that this node knows of itself',
    headers: minIndex,
    answers: {
      200: {
        description: 'The status, with one sentence on what is wrong',
        content: json('Status', {
          cluster: 'orders',
          version: '1.0.0',
          id: 'n1',
          role: 'leader',
          term: 3,
          leader: { ...leader, id: 'n1', self: true },
          holdsQuorum: true,
          commitIndex: 42,
          appliedIndex: 42,
          lastIndex: 42,
          durableIndex: 42,
          firstIndex: 1,
          members,
          configuration: { members: configured },
          pendingProposals: 0,
          snapshot,
          compactionBlocked: null,
          isStorageStalled: false,
          isStorageFull: false,
          applierBlocked: null,
          observerBlocked: null,
          poison: null,
          uptimeMs: 60_000,
          checks,
          diagnosis: 'All is well: the only member leads.',
        }),
      },
    },
    problems: versioned,
  },
  'GET /v1/members': {
    id: 'members',
    tag: 'cluster',
    summary: 'Every member',
    description: '`matchIndex` and `lag` are known to the leader only.',
    headers: minIndex,
    answers: { 200: { description: 'The members, as this node sees them', content: json('Members', { members }) } },
    problems: versioned,
  },
  'POST /v1/snapshot': {
    id: 'takeSnapshot',
    tag: 'cluster',
    summary: 'Take a snapshot on this node',
    headers: minIndex,
    answers: { 200: { description: 'The newest snapshot, which is durable', content: json('Snapshot', snapshot) } },
    problems: [...versioned, 'snapshot-unsupported', 'snapshot-failed', 'storage-full'],
  },
  'GET /v1/snapshot': {
    id: 'downloadSnapshot',
    tag: 'cluster',
    summary: 'Download a consistent backup',
    headers: minIndex,
    answers: {
      200: {
        description: 'The file of a snapshot that is taken for it',
        headers: ['raft-snapshot-index', 'raft-snapshot-term'],
        content: { 'application/octet-stream': { schema: Bytes } },
      },
    },
    problems: [...versioned, 'snapshot-unsupported', 'snapshot-failed', 'storage-full'],
  },
  'GET /metrics': {
    id: 'metrics',
    tag: 'cluster',
    summary: 'Measurements for Prometheus',
    answers: { 200: { description: 'In the text format of Prometheus', content: text('raft_sidecar_term 3\n') } },
    problems: guarded.filter((code) => code !== 'invalid-parameter'),
  },
  'GET /health/leader': health('leader', 'Whether this node leads, and a quorum has confirmed it lately'),
  'GET /health/follower': health('follower', 'Whether this node follows a leader'),
  'GET /health/learner': health('learner', 'Whether this node learns from a leader'),
  'GET /livez': {
    id: 'livez',
    tag: 'health',
    summary: 'Whether the process lives',
    security: null,
    answers: { 200: { description: 'It does', content: text('ok\n') } },
    problems: open,
  },
  'GET /readyz': {
    id: 'readyz',
    tag: 'health',
    summary: 'Whether this node is fit to serve',
    security: null,
    answers: {
      200: { description: 'Every check is ok', content: text('ok\n') },
      503: {
        description: 'Some check failed.',
        content: text('[-]leader failed: no leader is known in term 3\nnot ready\n'),
      },
    },
    problems: open,
  },
  'GET /readyz/:check': {
    id: 'readyzCheck',
    tag: 'health',
    summary: 'One of the checks',
    security: null,
    params: { check: { description: 'The name of the check', example: 'leader' } },
    answers: {
      200: { description: 'It is ok', content: text('[+]leader ok\n') },
      503: { description: 'It failed.', content: text('[-]leader failed: why\n') },
    },
    problems: [...open, 'not-found'],
  },
  'GET /': {
    id: 'statusPage',
    tag: 'health',
    summary: 'A status page for a browser',
    security: null,
    answers: {
      200: { description: 'One page without anything from elsewhere', content: { 'text/html': { schema: Text } } },
    },
    problems: open,
  },
  'GET /openapi.json': {
    id: 'openapi',
    tag: 'health',
    summary: 'This document',
    security: null,
    answers: {
      200: {
        description: 'OpenAPI 3.1',
        content: { 'application/json': { schema: Type.Object({}, { additionalProperties: true }) } },
      },
    },
    problems: open,
  },
}
