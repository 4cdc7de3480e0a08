// A snapshot of the leader between its arrival and the moment when it is this node's own on disk, too.

import { assert } from '../raft/assert.ts'
import type { ReceivedSnapshot } from './snapshot-receiver.ts'

export class Installation {
  /** Until the core has said what becomes of it, and then, if it is installed, until that is durable. */
  #received: ReceivedSnapshot | null = null
  #isBegun = false
  #durable: Promise<void> = Promise.resolve()
  #confirm: () => void = () => {}

  arrived(received: ReceivedSnapshot): void {
    this.#received = received
  }

  /** The core has seen what arrived and did not want it; false: there is nothing to be given up. */
  giveUp(): boolean {
    if (this.#received === null || this.#isBegun) return false
    this.#received = null
    return true
  }

  begin(): void {
    assert(this.#received !== null && !this.#isBegun, 'A snapshot is installed that did not arrive')
    this.#isBegun = true
    this.#durable = new Promise((resolve) => {
      this.#confirm = resolve
    })
  }

  /** The save that carries it is durable; returns what was installed. */
  end(): ReceivedSnapshot {
    const received = this.#received
    assert(received !== null && this.#isBegun, 'A snapshot became durable whose installation was not begun')
    this.#received = null
    this.#isBegun = false
    this.#confirm()
    return received
  }

  /** The node does nothing any more: whoever waits for what is under way is let go. */
  stop(): void {
    this.#confirm()
  }

  /** Resolves when no installation is under way: until then storage has an older snapshot than the log begins behind. */
  get durable(): Promise<void> {
    return this.#durable
  }
}
