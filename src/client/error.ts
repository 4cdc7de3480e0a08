// What a call of the client fails with, whatever went wrong.

import type { Outcome } from '../api/schemas.ts'

export class RaftSidecarError extends Error {
  /** The sidecar's stable code (`no-leader`, `commit-timeout`, …), or the client's own: `unreachable`, `no-answer`, `malformed-answer`. */
  readonly code: string
  /** What became of a command; null where nothing was proposed. */
  readonly outcome: Outcome | null
  /** HTTP status; 0 when there was no answer. */
  readonly status: number
  /** Where the command stands in the log, for the outcome `committed`. */
  readonly committed: { readonly index: number; readonly term: number } | null
  readonly retryAfterMs: number | null

  constructor(
    message: string,
    details: {
      readonly code: string
      readonly outcome: Outcome | null
      readonly status: number
      readonly committed?: { readonly index: number; readonly term: number } | null
      readonly retryAfterMs?: number | null
      readonly cause?: unknown
    },
  ) {
    super(message, { cause: details.cause })
    this.name = 'RaftSidecarError'
    this.code = details.code
    this.outcome = details.outcome
    this.status = details.status
    this.committed = details.committed ?? null
    this.retryAfterMs = details.retryAfterMs ?? null
  }
}
