// How many bytes of requests are in memory before the node has taken them, over all connections: bodies that are arriving, and commands that
// wait for `raft-min-index`. Who would exceed it is refused, so that many slow uploads cannot fill the memory.

import { Refusal } from './problem.ts'

/** What a chunk costs beside its bytes: one that arrives byte by byte must not count for less than it takes. */
const chunkOverheadBytes = 256

export class BodyBudget {
  readonly maxBytes: number
  #usedBytes = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  open(): BodyLease {
    return new BodyLease((bytes) => this.#take(bytes))
  }

  #take(bytes: number): boolean {
    if (bytes > 0 && this.#usedBytes + bytes > this.maxBytes) return false
    this.#usedBytes += bytes
    return true
  }
}

/** What one request holds. It must be closed. */
export class BodyLease {
  readonly #take: (bytes: number) => boolean
  #bytes = 0
  #isClosed = false

  constructor(take: (bytes: number) => boolean) {
    this.#take = take
  }

  /** Throws Refusal when there is no room; what was held already stays held until the close. */
  add(bytes: number): void {
    if (this.#isClosed) return
    const taken = bytes + chunkOverheadBytes
    if (!this.#take(taken)) {
      throw new Refusal(
        429,
        'too-many-proposals',
        'Too many commands are arriving at once, more than MAX_PENDING_BYTES: send it again in a moment.',
        1,
      )
    }
    this.#bytes += taken
  }

  close(): void {
    if (!this.#isClosed) this.#take(-this.#bytes)
    this.#isClosed = true
  }
}
