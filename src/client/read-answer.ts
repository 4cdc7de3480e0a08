// From what came over HTTP, or did not come, to a value or a SidecarError.

import type { Outcome, ProblemResponse } from '../api/schemas.ts'
import { CompactedError, ConditionFailedError, SidecarError } from './error.ts'
import type { Answer } from './transport.ts'

/** `proposes`: the request would have proposed something, so that what became of it may be in doubt. */
export function resultOf(answer: Answer, proposes: boolean): unknown {
  if (answer.status >= 300) throw errorOf(answer, proposes)
  return parse(answer, proposes)
}

export function errorOf(answer: Answer, proposes: boolean): SidecarError {
  const { status, retryAfter } = answer
  const problem = (parse(answer, proposes) ?? {}) as Partial<ProblemResponse>
  const message = problem.detail ?? `The sidecar answered with ${status}`
  const doubt: Outcome | null = proposes ? 'unknown' : null
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter)
  const details = {
    code: problem.code ?? 'malformed-answer',
    outcome: problem.outcome ?? (problem.code === undefined ? doubt : null),
    status: problem.status ?? status,
    committed: placeOf(problem),
    retryAfterMs: Number.isFinite(seconds) ? seconds * 1_000 : null,
  }
  const { firstIndex, modifiedIndex } = problem
  if (details.code === 'compacted' && firstIndex !== undefined) return new CompactedError(message, firstIndex, details)
  if (details.code === 'condition-failed') return new ConditionFailedError(message, modifiedIndex ?? null, details)
  return new SidecarError(message, details)
}

/** A connection that was never made carried no command; one that broke may have. */
export function noAnswer(cause: unknown, proposes: boolean): SidecarError {
  const refused = neverConnected.has(causeCode(cause))
  const outcome: Outcome = refused ? 'not_applied' : 'unknown'
  return new SidecarError(refused ? 'The sidecar is not there' : 'The connection ended before an answer came', {
    code: refused ? 'unreachable' : 'no-answer',
    outcome: proposes ? outcome : null,
    status: 0,
    cause,
  })
}

export function malformed(message: string, status: number, proposes: boolean, cause?: unknown): SidecarError {
  return new SidecarError(message, { code: 'malformed-answer', outcome: proposes ? 'unknown' : null, status, cause })
}

const neverConnected: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** The global fetch wraps the error of the socket. */
function causeCode(error: unknown): unknown {
  if (!(error instanceof Error)) return undefined
  return 'code' in error && typeof error.code === 'string' ? error.code : causeCode(error.cause)
}

/** The request was not one that could be sent: a mistake of the caller, who is to see it as it is. */
export function isBadRequest(cause: unknown): boolean {
  return causeCode(cause) === 'UND_ERR_INVALID_ARG' || (cause instanceof TypeError && cause.cause === undefined)
}

function parse({ status, text }: Answer, proposes: boolean): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw malformed('The sidecar answered with something else than JSON', status, proposes, cause)
  }
}

function placeOf({ index, term }: Partial<ProblemResponse>): SidecarError['committed'] {
  return index === undefined || term === undefined ? null : { index, term }
}
