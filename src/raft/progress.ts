// What the leader knows of one follower, and how much it may send: `probe` looks for the point where the logs agree,
// one message at a time; `replicate` streams under a window; `snapshot` waits for a snapshot to arrive, and sends only heartbeats.

import { assert } from './assert.ts'

interface InFlight {
  readonly lastIndex: number
  readonly bytes: number
}

export class Progress {
  /** The follower's log is durable and equal to ours up to here. */
  matchIndex = 0
  /** The next entry to send. */
  nextIndex: number
  state: 'probe' | 'replicate' | 'snapshot' = 'probe'
  /** The highest round of ours that it answered. */
  answeredRound = 0
  /** By our clock, and with its drift taken off: until then it helps nobody else to become leader. */
  promisedUntilMs = Number.NEGATIVE_INFINITY
  /** When it last answered at all. */
  lastContactMs: number
  /** Its connection was closed, and nothing was heard since. */
  lost = false
  /** The commit index that it was last told. */
  sentCommitIndex = 0
  /** It passed on a proposal, appended at this index, and waits to hear of its commit. */
  awaitsCommitOf = 0
  /** It said that its disk has room to spare; not so until it says so. */
  hasRoom = false
  /** Entries for it are being read from storage. */
  loading = false
  #probing = false
  #inFlight: InFlight[] = []
  #inFlightBytes = 0
  readonly #maxMessages: number
  readonly #maxBytes: number

  constructor(nextIndex: number, nowMs: number, window: { readonly maxMessages: number; readonly maxBytes: number }) {
    this.nextIndex = nextIndex
    this.lastContactMs = nowMs
    this.#maxMessages = window.maxMessages
    this.#maxBytes = window.maxBytes
  }

  /** Nothing more may be sent until an answer, a heartbeat or a load comes. */
  get paused(): boolean {
    if (this.loading) return true
    if (this.state === 'probe') return this.#probing
    if (this.state === 'snapshot') return true
    return this.#inFlight.length >= this.#maxMessages || this.#inFlightBytes >= this.#maxBytes
  }

  get idle(): boolean {
    return this.#inFlight.length === 0
  }

  becomeProbe(nextIndex: number): void {
    assert(
      nextIndex > this.matchIndex,
      () => `Cannot probe from ${nextIndex}: the follower matches through ${this.matchIndex}`,
    )
    this.state = 'probe'
    this.nextIndex = nextIndex
    this.#probing = false
    this.#inFlight = []
    this.#inFlightBytes = 0
  }

  becomeReplicate(): void {
    this.state = 'replicate'
    this.nextIndex = this.matchIndex + 1
    this.#inFlight = []
    this.#inFlightBytes = 0
  }

  /** It needs the snapshot through this index; heartbeats ask meanwhile whether it has it. */
  becomeSnapshot(index: number): void {
    assert(
      index > this.matchIndex,
      () => `A snapshot through ${index} is nothing for a follower that matches through ${this.matchIndex}`,
    )
    this.state = 'snapshot'
    this.nextIndex = index + 1
    this.#probing = false
    this.#inFlight = []
    this.#inFlightBytes = 0
  }

  probeSent(): void {
    this.#probing = true
  }

  entriesSent(lastIndex: number, bytes: number): void {
    assert(this.state === 'replicate', 'Entries are sent to a follower only where the logs are known to agree')
    this.nextIndex = lastIndex + 1
    this.#inFlight.push({ lastIndex, bytes })
    this.#inFlightBytes += bytes
  }

  /** The follower holds everything through this index; true when that is news. */
  matched(index: number): boolean {
    let oldest = this.#inFlight[0]
    while (oldest !== undefined && oldest.lastIndex <= index) {
      this.#inFlightBytes -= oldest.bytes
      this.#inFlight.shift()
      oldest = this.#inFlight[0]
    }
    if (index <= this.matchIndex) return false
    this.matchIndex = index
    this.nextIndex = Math.max(this.nextIndex, index + 1)
    return true
  }

  /** Whether a refusal of `rejectedIndex` speaks of what we last sent, or is an old one that came late. */
  isCurrentRejection(rejectedIndex: number): boolean {
    // It refuses every heartbeat until the snapshot has come.
    if (this.state === 'snapshot' || rejectedIndex <= this.matchIndex) return false
    return this.state === 'replicate' || rejectedIndex === this.nextIndex - 1
  }
}
