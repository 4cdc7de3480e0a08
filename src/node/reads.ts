// Linearizable reads: one question to the quorum at a time, everything that arrives meanwhile shares the next one; then wait until this
// node has applied up to the answer. Under a lease there is no question, only the wait.

import { ReadError } from '../errors.ts'

interface Waiter {
  readonly deadlineMs: number
  readonly resolve: (index: number) => void
  readonly reject: (error: ReadError) => void
}

interface AnswerWaiter extends Waiter {
  /** Counts those that arrived. */
  readonly arrival: number
}

interface AppliedWaiter extends Waiter {
  readonly index: number
  readonly code: 'read-timeout' | 'index-not-reached'
}

interface Question {
  readonly readId: number
  readonly askedMs: number
  /** Its answer is one for everybody who had arrived by then: through this one. */
  readonly through: number
}

export class Reads {
  readonly #maxWaiting: number
  readonly #repeatAfterMs: number
  /** For an answer, in the order in which they arrived. */
  #waiting: AnswerWaiter[] = []
  /**
   * Those that may still be answered, oldest first. One that was put again is among them, for as long as anybody waits for it: where a round trip
   * always takes longer than the patience for it, no other answer would ever come.
   */
  #asked: Question[] = []
  /** The youngest one is given its time before the next one is put. */
  #isPatient = false
  /** Waiting for an index to be applied. */
  #applying: AppliedWaiter[] = []
  #lastReadId: number
  #lastArrival = 0

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
      this.#lastArrival += 1
      this.#waiting.push({ deadlineMs: nowMs + timeoutMs, arrival: this.#lastArrival, resolve, reject })
    })
  }

  /** The same, where the index is known already. */
  barrierAt(index: number, appliedIndex: number, nowMs: number, timeoutMs: number): Promise<number> {
    return this.#wait('read-timeout', index, appliedIndex, nowMs + timeoutMs)
  }

  waitApplied(index: number, appliedIndex: number, nowMs: number, timeoutMs: number): Promise<number> {
    return this.#wait('index-not-reached', index, appliedIndex, nowMs + timeoutMs)
  }

  /** The number of a question to be put to the core now; null when none is due. */
  takeQuestion(nowMs: number): number | null {
    if (this.#isPatient || this.#waiting.length === 0) return null
    this.#lastReadId += 1
    this.#asked.push({ readId: this.#lastReadId, askedMs: nowMs, through: this.#lastArrival })
    this.#isPatient = true
    return this.#lastReadId
  }

  /** `index` null: nobody could answer now; the question is put again a little later, or as soon as another leader is known. */
  answered(readId: number, index: number | null, appliedIndex: number): void {
    const question = this.#asked.find((asked) => asked.readId === readId)
    if (question === undefined || index === null) return
    const { through } = question
    const waiting = this.#waiting
    this.#waiting = waiting.filter(({ arrival }) => arrival > through)
    for (const waiter of waiting) {
      if (waiter.arrival > through) continue
      if (appliedIndex >= index) waiter.resolve(index)
      else this.#applying.push({ ...waiter, index, code: 'read-timeout' })
    }
    this.#forgetIdle()
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
    this.#isPatient = false
  }

  /** Repeats a question that got no answer, and answers those whose time is over. */
  tick(nowMs: number, leaderKnown: boolean, appliedIndex: number): void {
    const youngest = this.#asked.at(-1)
    if (youngest !== undefined && nowMs - youngest.askedMs >= this.#repeatAfterMs) this.repeat()
    const unanswered = leaderKnown
      ? () => new ReadError('read-timeout', 'Cannot read: no quorum confirmed the leader in time')
      : () => new ReadError('no-leader', 'Cannot read: no leader is known to this node')
    this.#waiting = keepUnexpired(this.#waiting, nowMs, unanswered)
    this.#forgetIdle()
    this.#applying = keepUnexpired(
      this.#applying,
      nowMs,
      ({ code, index }) =>
        new ReadError(code, `Cannot read at index ${index}: this node has applied only ${appliedIndex}`),
    )
  }

  abandon(): void {
    const stopping = () => new ReadError('shutting-down', 'Cannot read: this node is shutting down')
    for (const waiter of [...this.#waiting, ...this.#applying]) waiter.reject(stopping())
    this.#waiting = []
    this.#applying = []
    this.#forgetIdle()
  }

  #wait(code: AppliedWaiter['code'], index: number, appliedIndex: number, deadlineMs: number): Promise<number> {
    if (appliedIndex >= index) return Promise.resolve(index)
    if (this.#isFull()) return Promise.reject(this.#full())
    return new Promise((resolve, reject) => {
      this.#applying.push({ index, code, deadlineMs, resolve, reject })
    })
  }

  /** Questions that nobody waits for any more, because they were answered or given up. */
  #forgetIdle(): void {
    const first = this.#waiting[0]?.arrival ?? Number.POSITIVE_INFINITY
    const youngest = this.#asked.at(-1)
    this.#asked = this.#asked.filter(({ through }) => through >= first)
    if (this.#asked.at(-1) !== youngest) this.#isPatient = false
  }

  #isFull(): boolean {
    return this.#waiting.length + this.#applying.length >= this.#maxWaiting
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
