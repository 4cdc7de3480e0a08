// What a call of the client fails with, whatever went wrong.

import type { Outcome } from '../api/schemas.ts'

interface Details {
  readonly code: string
  readonly outcome: Outcome | null
  readonly status: number
  readonly committed?: { readonly index: number; readonly term: number } | null
  readonly retryAfterMs?: number | null
  readonly cause?: unknown
}

export class SidecarError extends Error {
  /**
   * The sidecar's stable code (`no-leader`, `commit-timeout`, …), or the client's own: `unreachable`, `no-answer`, `malformed-answer`,
   * `client-closed`.
   */
  readonly code: string
  /** What became of a command, over all attempts; null where nothing was proposed. */
  readonly outcome: Outcome | null
  /** HTTP status; 0 when there was no answer. */
  readonly status: number
  /** Where the command stands in the log, for the outcome `committed`. */
  readonly committed: { readonly index: number; readonly term: number } | null
  readonly retryAfterMs: number | null

  constructor(message: string, details: Details) {
    super(message, { cause: details.cause })
    this.name = 'SidecarError'
    this.code = details.code
    this.outcome = details.outcome
    this.status = details.status
    this.committed = details.committed ?? null
    this.retryAfterMs = details.retryAfterMs ?? null
  }
}

/** The log no longer holds what was asked for: begin with a snapshot, or after `firstIndex - 1` and without what came before. */
export class CompactedError extends SidecarError {
  /** The first entry that this node still holds. */
  readonly firstIndex: number

  constructor(message: string, firstIndex: number, details: Details) {
    super(message, details)
    this.name = 'CompactedError'
    this.firstIndex = firstIndex
  }
}

/** `ifMatch` or `ifNoneMatch` did not hold when the command's turn came: it changed nothing. */
export class ConditionFailedError extends SidecarError {
  /** What the key's version was then; 0: there was no such key. Null: the sidecar did not say. */
  readonly modifiedIndex: number | null

  constructor(message: string, modifiedIndex: number | null, details: Details) {
    super(message, details)
    this.name = 'ConditionFailedError'
    this.modifiedIndex = modifiedIndex
  }
}

/** An error about the same command as an earlier one: a later attempt that was refused says nothing of what the earlier one did. */
export function afterEarlier(earlier: SidecarError | null, later: SidecarError): SidecarError {
  // An answer to the command itself, which the key made the sidecar find.
  if (earlier === null || later.outcome === 'committed' || later instanceof ConditionFailedError) return later
  if (earlier.outcome !== 'unknown' && earlier.outcome !== 'committed') return later
  const { code, status, retryAfterMs } = later
  const { outcome, committed } = earlier
  return new SidecarError(later.message, {
    code,
    status,
    retryAfterMs,
    outcome,
    committed,
    cause: later.cause ?? later,
  })
}
