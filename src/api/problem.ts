// Errors as an application sees them (RFC 9457): the one table from every condition to its status, code and
// outcome. A detail is always a sentence of ours: no message of an unexpected error and no stack leaves the process.

import { STATUS_CODES } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  CompactedError,
  type Outcome,
  ProposalError,
  type ProposalErrorCode,
  ReadError,
  SkipError,
  SnapshotError,
  TransferError,
} from '../errors.ts'
import type { ProblemResponse } from './schemas.ts'

export interface Problem {
  readonly status: number
  readonly code: string
  readonly detail: string
  /** Only for a request that would have proposed something. */
  readonly outcome: Outcome | null
  readonly retryAfterS: number | null
  readonly extensions: Extensions
}

/** What some codes say beside the sentence. */
export type Extensions = Readonly<Partial<Pick<ProblemResponse, 'index' | 'term' | 'firstIndex' | 'modifiedIndex'>>>

/** Thrown by a route that refuses a request before anything was proposed. */
export class Refusal extends Error {
  readonly status: number
  readonly code: string
  readonly retryAfterS: number | null

  constructor(status: number, code: string, detail: string, retryAfterS: number | null = null) {
    super(detail)
    this.name = 'Refusal'
    this.status = status
    this.code = code
    this.retryAfterS = retryAfterS
  }
}

/** A compare-and-set that changed nothing: its command stands in the log. */
export class ConditionFailed extends Error {
  readonly committed: { readonly index: number; readonly term: number }
  /** Where the key was modified last; 0: it does not exist. */
  readonly modifiedIndex: number

  constructor(detail: string, committed: { readonly index: number; readonly term: number }, modifiedIndex: number) {
    super(detail)
    this.name = 'ConditionFailed'
    this.committed = { index: committed.index, term: committed.term }
    this.modifiedIndex = modifiedIndex
  }
}

export interface Row {
  readonly status: number
  readonly retryAfterS: number | null
}

export const proposalRows: Readonly<Record<ProposalErrorCode, Row>> = {
  'command-too-large': { status: 413, retryAfterS: null },
  'idempotency-key-reused': { status: 422, retryAfterS: null },
  'command-skipped': { status: 422, retryAfterS: null },
  'too-many-proposals': { status: 429, retryAfterS: 1 },
  'no-leader': { status: 503, retryAfterS: 1 },
  'shutting-down': { status: 503, retryAfterS: 5 },
  'not-a-member': { status: 503, retryAfterS: 5 },
  'leadership-lost': { status: 503, retryAfterS: null },
  'commit-timeout': { status: 504, retryAfterS: null },
  'apply-pending': { status: 504, retryAfterS: null },
  'result-unknown': { status: 504, retryAfterS: null },
  'storage-full': { status: 507, retryAfterS: null },
}

export const readRows: Readonly<Record<ReadError['code'], Row>> = {
  'no-leader': { status: 503, retryAfterS: 1 },
  'shutting-down': { status: 503, retryAfterS: 5 },
  'read-timeout': { status: 504, retryAfterS: null },
  'index-not-reached': { status: 412, retryAfterS: null },
}

export const snapshotRows: Readonly<Record<SnapshotError['code'], Row>> = {
  'snapshot-unsupported': { status: 501, retryAfterS: null },
  'snapshot-failed': { status: 503, retryAfterS: 5 },
  'storage-full': { status: 507, retryAfterS: null },
  'shutting-down': { status: 503, retryAfterS: 5 },
}

export const transferRows: Readonly<Record<TransferError['code'], Row>> = {
  'not-leader': { status: 409, retryAfterS: null },
  'unknown-member': { status: 422, retryAfterS: null },
  'transfer-failed': { status: 503, retryAfterS: 5 },
  'shutting-down': { status: 503, retryAfterS: 5 },
}

/** Everything on this API that is not a mere read proposes. */
export function proposes(method: string): boolean {
  return method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS'
}

/** Null: not a condition that we know, so a bug. */
export function problemOf(error: unknown, request: FastifyRequest): Problem | null {
  const none = { outcome: null, extensions: {} }
  if (error instanceof ProposalError) {
    const { code, outcome, message, committed } = error
    const extensions = committed === null ? {} : { index: committed.index, term: committed.term }
    return { ...proposalRows[code], code, detail: message, outcome, extensions }
  }
  if (error instanceof SnapshotError)
    return { ...snapshotRows[error.code], code: error.code, detail: error.message, ...none }
  if (error instanceof TransferError)
    return { ...transferRows[error.code], code: error.code, detail: error.message, ...none }
  if (error instanceof CompactedError) return compactedProblem(error)
  if (error instanceof ConditionFailed) {
    const { message, committed, modifiedIndex } = error
    const extensions = { ...committed, modifiedIndex }
    return {
      status: 412,
      code: 'condition-failed',
      detail: message,
      outcome: 'committed',
      retryAfterS: null,
      extensions,
    }
  }
  const outcome = proposes(request.method) ? 'not_applied' : null
  if (error instanceof SkipError) {
    return { status: 409, code: error.code, detail: error.message, outcome, retryAfterS: null, extensions: {} }
  }
  if (error instanceof ReadError) {
    return { ...readRows[error.code], code: error.code, detail: error.message, outcome, extensions: {} }
  }
  const refusal = error instanceof Refusal ? error : refusalOfFastify(error, request)
  if (refusal === null) return null
  const { status, code, retryAfterS, message } = refusal
  return { status, code, retryAfterS, detail: message, outcome, extensions: {} }
}

export function compactedProblem({ code, message, firstIndex }: CompactedError): Problem {
  return { status: 410, code, detail: message, outcome: null, retryAfterS: null, extensions: { firstIndex } }
}

/** A proposal may have been made before the bug struck. */
export function internalProblem(method: string): Problem {
  return {
    status: 500,
    code: 'internal-error',
    detail: 'The node met a condition that it does not know; its log says more.',
    outcome: proposes(method) ? 'unknown' : null,
    retryAfterS: null,
    extensions: {},
  }
}

export function problemText(problem: Problem): string {
  const { status, code, detail, outcome, extensions } = problem
  const body: ProblemResponse = {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail,
    code,
    ...(outcome === null ? {} : { outcome }),
    ...extensions,
  }
  return JSON.stringify(body)
}

export function sendProblem(reply: FastifyReply, problem: Problem): void {
  if (problem.retryAfterS !== null) reply.header('retry-after', problem.retryAfterS)
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer')
  reply.code(problem.status).header('content-type', 'application/problem+json').send(problemText(problem))
}

/** Hands an error to the one place that answers errors; Fastify would send anything but an Error as a body. */
export function fail(reply: FastifyReply, error: unknown): void {
  reply.send(error instanceof Error ? error : new Error('Something else than an Error was thrown', { cause: error }))
}

interface FrameworkError {
  readonly code: string
  readonly statusCode: number
  readonly validation?: readonly { readonly keyword: string; readonly instancePath: string; readonly params: object }[]
}

function refusalOfFastify(error: unknown, request: FastifyRequest): Refusal | null {
  if (!isFrameworkError(error)) return null
  switch (error.code) {
    case 'FST_ERR_VALIDATION':
      return new Refusal(400, 'invalid-parameter', invalidQuery(error, request))
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new Refusal(400, 'invalid-parameter', 'The path of the URL is too long or not valid percent-encoding.')
  }
  const blamed = error.statusCode >= 400 && error.statusCode < 500
  return blamed ? new Refusal(400, 'invalid-request', 'This is not a request that can be understood.') : null
}

function isFrameworkError(error: unknown): error is FrameworkError {
  return error instanceof Error && 'code' in error && 'statusCode' in error && typeof error.statusCode === 'number'
}

function invalidQuery(error: FrameworkError, request: FastifyRequest): string {
  const first = error.validation?.[0]
  if (first === undefined) return 'A parameter is not valid.'
  if (first.keyword === 'additionalProperties' && 'additionalProperty' in first.params) {
    return `This version does not offer the query parameter \`${String(first.params.additionalProperty)}\` here.`
  }
  const name = first.instancePath.slice(1)
  const value = (request.query as Readonly<Record<string, unknown>>)[name]
  const allowed = (error.validation ?? []).flatMap(({ params }) =>
    'allowedValue' in params ? [String(params.allowedValue)] : [],
  )
  const instead = allowed.length > 0 ? `it takes ${allowed.join(' or ')}` : 'it takes one value'
  return `This version does not offer ${JSON.stringify(value)} for the query parameter \`${name}\`: ${instead}.`
}
