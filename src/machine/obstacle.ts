// Why delivery does not go on, and when it is tried again. One obstacle at a time, one timer.

import type { Clock } from '../node/ports.ts'

/** `ahead` is usual for a moment after a start: it is not known yet what is committed. `cursor` alone does not stop delivery. */
export type ObstacleKind =
  | 'unavailable'
  | 'unhealthy'
  | 'malformed'
  | 'poison'
  | 'misconfigured'
  | 'ahead'
  | 'unreadable'
  | 'cursor'

export interface ApplierObserver {
  /** Called when the sentence changes, not at each repetition. */
  obstructed(kind: ObstacleKind, sentence: string): void
  /** Delivery goes on. */
  resumed(): void
  /** Delivery waits for a restore, at each try of it. */
  restoring(sentence: string): void
}

/** Between tries of what may heal by itself: doubling from the first to the last. */
const firstBackoffMs = 100
const maxBackoffMs = 30_000
/** For what needs a person: asked again now and then, in case that person has come. */
export const slowRetryMs = 30_000

/** A machine's own wish for a time, if it has one; not even by that does it get the same thing in a tight loop. */
export function boundedWish(afterMs: number | null): number | null {
  return afterMs === null ? null : Math.max(afterMs, firstBackoffMs)
}

export class Obstacle {
  readonly #clock: Pick<Clock, 'after'>
  readonly #random: () => number
  readonly #observer: ApplierObserver | null
  #sentence: string | null = null
  #failures = 0
  #cancelTimer: (() => void) | null = null

  constructor(clock: Pick<Clock, 'after'>, random: () => number, observer: ApplierObserver | null) {
    this.#clock = clock
    this.#random = random
    this.#observer = observer
  }

  get sentence(): string | null {
    return this.#sentence
  }

  meet(kind: ObstacleKind, sentence: string, retryAfterMs: number, retry: () => void): void {
    this.stopTimer()
    this.#cancelTimer = this.#clock.after(retryAfterMs, () => {
      this.#cancelTimer = null
      retry()
    })
    this.#tell(kind, sentence)
  }

  /** One that somebody else watches, and that no time is set for. */
  meetUntimed(kind: ObstacleKind, sentence: string): void {
    this.stopTimer()
    this.#tell(kind, sentence)
  }

  overcome(): void {
    this.#failures = 0
    if (this.#sentence === null) return
    this.#sentence = null
    this.#observer?.resumed()
  }

  /** The next wait, with full jitter, so that many sidecars do not come back to a shared service in step. */
  backoffMs(): number {
    const ceilingMs = Math.min(maxBackoffMs, firstBackoffMs * 2 ** this.#failures)
    if (ceilingMs < maxBackoffMs) this.#failures++
    return this.#random() * ceilingMs
  }

  stopTimer(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = null
  }

  #tell(kind: ObstacleKind, sentence: string): void {
    if (sentence === this.#sentence) return
    this.#sentence = sentence
    this.#observer?.obstructed(kind, sentence)
  }
}
