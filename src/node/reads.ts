// Linearizable reads: one question to the quorum at a time, everything that arrives meanwhile shares the next one; then wait until this
// node has applied up to the answer.

import { ReadError } from '../errors.ts'

interface Waiter {
  readonly deadlineMs: number
  readonly resolve: (index: number) => void
  readonly reject: (error: ReadError) => void
}

interface AppliedWaiter extends Waiter {
  readonly index: number
  readonly code: 'read-timeout' | 'index-not-reached'
}

export class Reads {
  readonly #maxWaiting: number
  readonly #repeatAfterMs: number
  /** Not asked for yet. */
  #waiting: Waiter[] = []
  #asked: { readonly readId: number; readonly askedMs: number; readonly waiters: Waiter[] } | null = null
  /** Waiting for an index to be applied. */
  #applying: AppliedWaiter[] = []
  #lastReadId: number

  /**
   * `firstReadId` is random, since an answer to the process that ran here before may still be under way. `repeatAfterMs`: a question that got no
   * answer for so long is asked again, since messages may be lost.
   */
  constructor(options: { readonly firstReadId: number; readonly maxWaiting: number; readonly repeatAfterMs: number }) {
    this.#lastReadId = options.firstReadId
    this.#maxWaiting = options.maxWaiting
    this.#repeatAfterMs = options.repeatAfterMs
  }

  /** Resolves with the index that the read is linearizable at, once it is applied. */
  barrier(nowMs: number, timeoutMs: number): Promise<number> {
    if (this.#isFull()) return Promise.reject(this.#full())
    return new Promise((resolve, reject) => {
      this.#waiting.push({ deadlineMs: nowMs + timeoutMs, resolve, reject })
    })
  }

  waitApplied(index: number, appliedIndex: number, nowMs: number, timeoutMs: number): Promise<number> {
    if (appliedIndex >= index) return Promise.resolve(index)
    if (this.#isFull()) return Promise.reject(this.#full())
    return new Promise((resolve, reject) => {
      this.#applying.push({ index, code: 'index-not-reached', deadlineMs: nowMs + timeoutMs, resolve, reject })
    })
  }

  /** The number of a question to be put to the core now; null when none is due. */
  takeQuestion(nowMs: number): number | null {
    if (this.#asked !== null || this.#waiting.length === 0) return null
    this.#lastReadId += 1
    this.#asked = { readId: this.#lastReadId, askedMs: nowMs, waiters: this.#waiting }
    this.#waiting = []
    return this.#lastReadId
  }

  /** `index` null: nobody could answer now; the question is put again a little later, or as soon as another leader is known. */
  answered(readId: number, index: number | null, appliedIndex: number): void {
    const asked = this.#asked
    if (asked === null || asked.readId !== readId || index === null) return
    this.#asked = null
    for (const waiter of asked.waiters) {
      if (appliedIndex >= index) waiter.resolve(index)
      else this.#applying.push({ ...waiter, index, code: 'read-timeout' })
    }
  }

  applied(appliedIndex: number): void {
    if (this.#applying.length === 0) return
    const waiting: AppliedWaiter[] = []
    for (const waiter of this.#applying) {
      if (appliedIndex >= waiter.index) waiter.resolve(waiter.index)
      else waiting.push(waiter)
    }
    this.#applying = waiting
  }

  /** Another leader may be known now: the question under way is put to it, without waiting for its time to be over. */
  repeat(): void {
    if (this.#asked === null) return
    this.#waiting = [...this.#asked.waiters, ...this.#waiting]
    this.#asked = null
  }

  /** Repeats a question that got no answer, and answers those whose time is over. */
  tick(nowMs: number, leaderKnown: boolean, appliedIndex: number): void {
    const asked = this.#asked
    if (asked !== null && nowMs - asked.askedMs >= this.#repeatAfterMs) this.repeat()
    const unanswered = leaderKnown
      ? () => new ReadError('read-timeout', 'Cannot read: no quorum confirmed the leader in time')
      : () => new ReadError('no-leader', 'Cannot read: no leader is known to this node')
    this.#waiting = keepUnexpired(this.#waiting, nowMs, unanswered)
    if (this.#asked !== null)
      this.#asked = { ...this.#asked, waiters: keepUnexpired(this.#asked.waiters, nowMs, unanswered) }
    this.#applying = keepUnexpired(
      this.#applying,
      nowMs,
      ({ code, index }) =>
        new ReadError(code, `Cannot read at index ${index}: this node has applied only ${appliedIndex}`),
    )
  }

  abandon(): void {
    const stopping = () => new ReadError('shutting-down', 'Cannot read: this node is shutting down')
    for (const waiter of [...this.#waiting, ...(this.#asked?.waiters ?? []), ...this.#applying])
      waiter.reject(stopping())
    this.#waiting = []
    this.#asked = null
    this.#applying = []
  }

  #isFull(): boolean {
    return this.#waiting.length + this.#applying.length + (this.#asked?.waiters.length ?? 0) >= this.#maxWaiting
  }

  #full(): ReadError {
    return new ReadError('read-timeout', `Cannot take another read: ${this.#maxWaiting} wait for their answer already`)
  }
}

function keepUnexpired<W extends Waiter>(waiters: W[], nowMs: number, errorOf: (waiter: W) => ReadError): W[] {
  if (waiters.every((waiter) => nowMs < waiter.deadlineMs)) return waiters
  return waiters.filter((waiter) => {
    if (nowMs < waiter.deadlineMs) return true
    waiter.reject(errorOf(waiter))
    return false
  })
}
