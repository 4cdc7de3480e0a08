// Every code that a problem may carry, with its status and a sentence for the document.

import { proposalRows, readRows, snapshotRows, transferRows } from '../problem.ts'

type RowCode = keyof typeof proposalRows | keyof typeof readRows | keyof typeof snapshotRows | keyof typeof transferRows

type OtherCode = keyof typeof otherStatuses

/** Of refusals before anything was proposed, and of errors that have no table. */
const otherStatuses = {
  'invalid-command': 400,
  'invalid-parameter': 400,
  unauthorized: 401,
  'forbidden-host': 403,
  'not-found': 404,
  'key-not-found': 404,
  'not-poison': 409,
  compacted: 410,
  'condition-failed': 412,
  'batch-too-large': 413,
  'unsupported-media-type': 415,
  'too-many-streams': 429,
  'internal-error': 500,
} as const

export type Code = RowCode | OtherCode

export const sentences: Readonly<Record<Code, string>> = {
  'apply-pending': 'It is committed, and the application has not taken it in time',
  'batch-too-large': 'More lines or bytes than one batch may have; nothing was proposed',
  'command-skipped': 'The application refused it for good, and the cluster left it out',
  'command-too-large': 'Larger than MAX_COMMAND_BYTES',
  'commit-timeout': 'It was not committed in time, and may yet be',
  compacted: 'The log does not reach back so far: go on from `firstIndex`, or from a snapshot',
  'condition-failed': 'Nothing was changed: the key stands at `modifiedIndex`',
  'forbidden-host': 'The Host or Origin is not of this machine',
  'idempotency-key-reused': 'Another command was proposed under this key',
  'index-not-reached': 'The index of raft-min-index was not applied here in time',
  'internal-error': 'A condition that the node does not know',
  'invalid-command': 'What came is no command',
  'invalid-parameter': 'A parameter, header or path that is not valid or not offered here',
  'key-not-found': 'There is no such key',
  'leadership-lost': 'The leader stepped down on the way: the command may yet commit',
  'no-leader': 'No leader is known, or it is not confirmed by a quorum',
  'not-a-member': 'The cluster goes on without this node',
  'not-found': 'There is nothing of that name',
  'not-leader': 'Another node leads: ask it',
  'not-poison': 'Delivery does not stop before that command',
  'read-timeout': 'No quorum confirmed the read in time',
  'result-unknown': 'It was applied, and its result is kept nowhere any more',
  'shutting-down': 'The node is stopping',
  'snapshot-failed': 'The state machine could not give a snapshot now',
  'snapshot-unsupported': 'The state machine offers no snapshots',
  'storage-full': 'The disk is full',
  'too-many-proposals': 'Over MAX_PENDING_PROPOSALS or MAX_PENDING_BYTES',
  'too-many-streams': 'Too many streams and waiting reads at once',
  'transfer-failed': 'It did not take over in time, and leadership stays where it is found',
  unauthorized: 'API_TOKEN is set, and was not sent',
  'unknown-member': 'It is no voter of the cluster',
  'unsupported-media-type': 'Another content-type than those of the request body, or one that is encoded',
}

const rows: Readonly<Record<string, { readonly status: number }>> = {
  ...proposalRows,
  ...readRows,
  ...snapshotRows,
  ...transferRows,
}
const others: Readonly<Record<string, number>> = otherStatuses

export function statusOf(code: Code): number {
  return others[code] ?? (rows[code]?.status as number)
}

export function sentenceOf(code: Code): string {
  return `${sentences[code]}.`
}
