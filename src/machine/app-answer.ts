// What the answers of an application mean: the table of the hooks, as a pure function. Only an answer that fits in every
// part counts as taken; whatever is in doubt leaves the batch undelivered.

import type { Entry } from '../raft/entry.ts'
import type { ApplyOutcome, RestoreOutcome } from './state-machine.ts'

export interface AppAnswer {
  readonly status: number
  readonly retryAfter: string | null
  /** Null: longer than may be read. */
  readonly body: string | null
}

/** A day off is nothing to ask for by `Retry-After`: an application that is well again is found after an hour at the latest. */
export const maxRetryAfterMs = 60 * 60 * 1000

export function judgeApplyAnswer(answer: AppAnswer, commands: readonly Entry[], unixMs: number): ApplyOutcome {
  const { status } = answer
  if (status >= 200 && status < 300) return judgeTaken(answer, commands)
  if (status === 409) return judgeElsewhere(answer)
  if (status === 422) return judgePoison(answer, commands)
  if (isPassing(status)) return retry(answer, unixMs)
  return { type: 'misconfigured', reason: `${told(answer)}, ${remedy(status, 'an apply hook')}` }
}

/** The answer to GET {APP_URL}/position: null when the hook is not offered; throws when no position can be had from it. */
export function judgePositionAnswer(answer: AppAnswer): number | null {
  const { status } = answer
  if (isNotOffered(status)) return null
  const asked = `${told(answer)} when asked for its position`
  if (isPassing(status)) throw new Error(asked)
  if (status < 200 || status >= 300) throw new Error(`${asked}, ${remedy(status, 'a position hook')}`)
  const position = asObject(parse(answer.body))?.position
  if (status === 200 && isIndex(position)) return position
  throw new Error(`${asked}, which does not fit: 200 {"position":N} will do`)
}

/**
 * The answer to POST {APP_URL}/snapshot, in which the state follows: where that stands; null when the hook is not offered; throws when it is no snapshot.
 * `isBounded`: it would be seen if the body broke off.
 */
export function judgeSnapshotAnswer(
  answer: AppAnswer,
  raftPosition: string | readonly string[] | undefined,
  isBounded: boolean,
): number | null {
  const { status } = answer
  if (isNotOffered(status)) return null
  if (isPassing(status)) throw new Error(`${told(answer)} when asked for a snapshot`)
  if (status !== 200) throw new Error(`${told(answer)} when asked for a snapshot, ${remedy(status, 'a snapshot hook')}`)
  const wanted = '200 with the header raft-position: N, the index of the last command in the state, will do'
  if (raftPosition === undefined)
    throw new Error(`${told(answer)} without raft-position when asked for a snapshot: ${wanted}`)
  const position = typeof raftPosition === 'string' && /^\d+$/.test(raftPosition) ? Number(raftPosition) : null
  if (!isIndex(position)) {
    const met = clipped(String(raftPosition))
    throw new Error(`${told(answer)} with raft-position ${met} when asked for a snapshot: ${wanted}`)
  }
  if (isBounded) return position
  const problem =
    'with neither content-length nor chunks, so that a state that breaks off could not be told from a whole one'
  throw new Error(`${told(answer)} when asked for a snapshot, ${problem}`)
}

/** The answer to PUT {APP_URL}/snapshot. `isWhole`: it came after the whole state had been sent. */
export function judgeRestoreAnswer(answer: AppAnswer, isWhole: boolean, unixMs: number): RestoreOutcome {
  const { status } = answer
  if (isNotOffered(status)) return { type: 'not-offered' }
  if (status === 200 || status === 204) {
    if (isWhole) return { type: 'restored' }
    return { type: 'malformed', reason: `${told(answer)} to a snapshot before it had been sent the whole of it` }
  }
  if (isPassing(status)) return retry(answer, unixMs)
  // 202 promises to take it later; 409 and 422 are answers to what it holds, and another snapshot may hold something else.
  if ((status >= 200 && status < 300) || status === 409 || status === 422) {
    return {
      type: 'malformed',
      reason: `${told(answer)} to a snapshot: 204 says that it is restored, and nothing else does`,
    }
  }
  return { type: 'misconfigured', reason: `${told(answer)} to a snapshot, ${remedy(status, 'a snapshot hook')}` }
}

/** What became of news that the application need not answer anything particular to. */
export type NewsOutcome =
  | { readonly type: 'taken' }
  | { readonly type: 'not-offered' }
  | Extract<ApplyOutcome, { readonly type: 'retry' | 'misconfigured' }>

/** The answer to POST {APP_URL}/leadership. */
export function judgeNewsAnswer(answer: AppAnswer, unixMs: number): NewsOutcome {
  const { status } = answer
  if (status >= 200 && status < 300) return { type: 'taken' }
  if (isNotOffered(status)) return { type: 'not-offered' }
  if (isPassing(status)) return retry(answer, unixMs)
  return { type: 'misconfigured', reason: `${told(answer)}, ${remedy(status, 'a leadership hook')}` }
}

/** Milliseconds to wait; null without a usable value. Seconds or an HTTP date. */
export function parseRetryAfter(value: string | null, unixMs: number): number | null {
  if (value === null) return null
  const text = value.trim()
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - unixMs
  return Number.isNaN(waitMs) ? null : Math.min(Math.max(waitMs, 0), maxRetryAfterMs)
}

function judgeTaken(answer: AppAnswer, commands: readonly Entry[]): ApplyOutcome {
  const { status, body } = answer
  // 202 and its like promise to take the commands later, which is not to have taken them.
  if (body === '' && (status === 200 || status === 204)) return { type: 'applied', results: commands.map(() => null) }
  const results = asObject(parse(body))?.results
  if (!Array.isArray(results)) {
    return malformed(answer, `200 {"results":[…]} with one result a command, 204, or 200 with an empty body will do`)
  }
  if (results.length !== commands.length) {
    return malformed(answer, `it holds ${results.length} results for ${commands.length} commands`)
  }
  return { type: 'applied', results }
}

function judgeElsewhere(answer: AppAnswer): ApplyOutcome {
  const position = asObject(parse(answer.body))?.position
  if (isIndex(position)) return { type: 'elsewhere', position }
  return malformed(answer, '409 says where the application is: {"position":N} will do')
}

function judgePoison(answer: AppAnswer, commands: readonly Entry[]): ApplyOutcome {
  const refusal = asObject(parse(answer.body))
  const index = refusal?.index
  const reason = refusal?.reason
  if (!commands.some((command) => command.index === index)) {
    return malformed(answer, '422 names a command of the batch: {"index":N,"reason":"…"} will do')
  }
  if (reason !== undefined && typeof reason !== 'string') return malformed(answer, 'its reason is not a string')
  return { type: 'poison', index: index as number, reason: reason === undefined ? 'no reason given' : clipped(reason) }
}

/** What every hook but `apply` may answer. */
function isNotOffered(status: number): boolean {
  return status === 404 || status === 405 || status === 501
}

/** The application did not get through with it, rather than refuse it: 408 and 425 say so among the 4xx. */
function isPassing(status: number): boolean {
  return status >= 500 || status === 429 || status === 408 || status === 425
}

function retry(answer: AppAnswer, unixMs: number): Extract<ApplyOutcome, { readonly type: 'retry' }> {
  return { type: 'retry', afterMs: parseRetryAfter(answer.retryAfter, unixMs), reason: told(answer) }
}

function remedy(status: number, wanted: string): string {
  if (status >= 300 && status < 400) return 'and redirects are not followed: let APP_URL name the application itself'
  if (status === 401 || status === 403) return 'which is no access: let it accept what this node sends'
  if (status === 404 || status === 405 || status === 410)
    return `so it is not ${wanted} that is there: check the path of APP_URL`
  if (status === 413) return 'so it is too large for it: raise its limit, or for a batch lower APPLY_BATCH_BYTES'
  return 'which is no answer of the contract: check APP_URL, and the application'
}

function malformed(answer: AppAnswer, why: string): ApplyOutcome {
  return { type: 'malformed', reason: `${told(answer)}, which does not fit: ${why}` }
}

function told({ status, body }: AppAnswer): string {
  if (body === null) return `The application answered ${status} with a body longer than may be read`
  return `The application answered ${status}${body === '' ? '' : ` ${clipped(body)}`}`
}

/** Fit for a log line: one line, bounded. */
function clipped(text: string): string {
  const limit = 200
  return JSON.stringify(text.length > limit ? `${text.slice(0, limit)}…` : text)
}

function parse(body: string | null): unknown {
  if (body === null) return undefined
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
}

function isIndex(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
