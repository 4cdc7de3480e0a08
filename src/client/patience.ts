// How long a call goes on, and how long it waits between two attempts: exponential with full jitter, so that clients that failed
// together do not come back together.

import { setTimeout as delay } from 'node:timers/promises'
import type { SidecarError } from './error.ts'

const baseMs = 50
const capMs = 2_000
/** The sidecar rides out most of what passes; what it cannot, a new attempt finds out after so long. */
const longestAttemptMs = 10_000
/** The sidecar takes no less. */
const shortestAttemptMs = 100

export interface Bounds {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Uniform in [0, 1). */
  readonly random?: () => number
}

export class Patience {
  readonly #bounds: Bounds
  readonly #deadlineMs: number
  #failures = 0

  constructor(bounds: Bounds) {
    this.#bounds = bounds
    this.#deadlineMs = performance.now() + bounds.timeoutMs
  }

  /** For the next attempt. */
  get attemptMs(): number {
    const { timeoutMs } = this.#bounds
    const leftMs = this.#failures === 0 ? timeoutMs : Math.round(this.#deadlineMs - performance.now())
    return Math.min(Math.max(leftMs, shortestAttemptMs), longestAttemptMs)
  }

  /** After a failure: true once it is time for another attempt, false when there will be none. Rejects with the signal's reason. */
  async again(retryAfterMs: number | null): Promise<boolean> {
    const { signal, random = Math.random } = this.#bounds
    signal?.throwIfAborted()
    const waitMs = backoffMs(this.#failures++, retryAfterMs, random)
    if (performance.now() + waitMs >= this.#deadlineMs) return false
    try {
      await delay(waitMs, undefined, signal === undefined ? {} : { signal })
    } catch {
      signal?.throwIfAborted()
    }
    return true
  }

  /** It works again. */
  reset(): void {
    this.#failures = 0
  }
}

/** What was asked for by Retry-After comes first, and the jitter behind it. `failures` before this one. */
export function backoffMs(failures: number, retryAfterMs: number | null, random: () => number): number {
  return (retryAfterMs ?? 0) + random() * Math.min(capMs, baseMs * 2 ** failures)
}

const passing: ReadonlySet<string> = new Set([
  'unreachable',
  'no-answer',
  'no-leader',
  'shutting-down',
  'too-many-proposals',
  'commit-timeout',
  'leadership-lost',
  'apply-pending',
  'read-timeout',
  'index-not-reached',
])

/** Whether the same request may fare better later. What it proposes has to carry its key. */
export function mayGetBetter({ code, status, retryAfterMs }: SidecarError): boolean {
  return passing.has(code) || ((status === 429 || status === 503) && retryAfterMs !== null)
}
