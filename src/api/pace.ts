// How much of what arrives is taken up in one turn of the event loop. A flood of commands would make turns so long that heartbeats leave late and
// the disk's answers are heard late, and a node would lose its leadership over work that it mostly has to refuse.

/** About 10 ms of reading and checking. */
const bytesPerTurn = 2 * 1024 * 1024
/** What a request costs beside its body, in bytes that take as long: so that 256 small ones make a turn. */
const requestBytes = 8 * 1024
/** Each of them holds what came with its head, up to 64 KiB. */
const maxWaiting = 1_000

interface Waiting {
  readonly bytes: number
  readonly begin: () => void
}

export class Pace {
  #spentBytes = 0
  #isScheduled = false
  readonly #waiting: Waiting[] = []

  /** Calls `begin`, which must not throw, now or in one of the next turns, in order. False: too many wait already, and it will not be called. */
  take(bodyBytes: number, begin: () => void): boolean {
    const bytes = requestBytes + bodyBytes
    if (this.#waiting.length === 0 && this.#spentBytes < bytesPerTurn) {
      this.#begin(bytes, begin)
      return true
    }
    if (this.#waiting.length >= maxWaiting) return false
    this.#waiting.push({ bytes, begin })
    return true
  }

  #begin(bytes: number, begin: () => void): void {
    this.#spentBytes += bytes
    if (!this.#isScheduled) {
      this.#isScheduled = true
      setImmediate(() => this.#turn())
    }
    begin()
  }

  #turn(): void {
    this.#isScheduled = false
    this.#spentBytes = 0
    while (this.#spentBytes < bytesPerTurn) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#begin(next.bytes, next.begin)
    }
  }
}
