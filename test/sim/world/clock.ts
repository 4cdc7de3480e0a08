// The clocks of one machine, which outlive its processes: a monotonic one that may run fast or slow, and a wall clock that may jump.

import type { Clock } from '../../../src/node/ports.ts'
import type { Random } from './random.ts'
import type { Owner, World } from './world.ts'

const epochMs = 1_700_000_000_000

export class MachineClock {
  readonly #world: World
  readonly #random: Random
  /** Own milliseconds to one of the world. */
  rate = 1
  wallOffsetMs = 0
  /** A busy event loop: turns and timers come this much late at most. */
  latenessMs = 0

  constructor(world: World, random: Random) {
    this.#world = world
    this.#random = random
  }

  jump(byMs: number): void {
    this.wallOffsetMs += byMs
  }

  of(owner: Owner): Clock {
    return {
      monotonicMs: () => this.#world.nowMs * this.rate,
      unixMs: () => Math.floor(epochMs + this.#world.nowMs * this.rate + this.wallOffsetMs),
      defer: (run) => {
        if (this.latenessMs > 0) this.#world.after(owner, this.#lateness(), run)
        else this.#world.soon(owner, run)
      },
      after: (delayMs, run) => {
        const event = this.#world.after(owner, delayMs / this.rate + this.#lateness(), run)
        return () => {
          event.isCancelled = true
        }
      },
    }
  }

  #lateness(): number {
    return this.latenessMs > 0 && this.#random.chance(0.3) ? this.#random.exponential(this.latenessMs) : 0
  }
}
