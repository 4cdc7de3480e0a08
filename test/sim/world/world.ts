// Virtual time: one queue of events, one at a time, each followed by every promise reaction that it made ready. Nothing else makes anything
// happen, so a seed is a history.

import { drain } from './drain.ts'
import { EventQueue } from './event-queue.ts'
import { Random } from './random.ts'
import { Trace } from './trace.ts'

/** On whose behalf an event runs: a process that can be paused, and that runs nothing any more once it is dead. */
export class Owner {
  readonly name: string
  readonly number: number
  isAlive = true
  isPaused = false
  readonly parked: ScheduledEvent[] = []
  readonly #mourners = new Set<() => void>()

  constructor(name: string, number: number) {
    this.name = name
    this.number = number
  }

  die(): void {
    if (!this.isAlive) return
    this.isAlive = false
    for (const mourner of this.#mourners) mourner()
    this.#mourners.clear()
  }

  /** Runs once it is dead; the returned function takes that back. */
  whenDead(run: () => void): () => void {
    if (this.isAlive) this.#mourners.add(run)
    else run()
    return () => this.#mourners.delete(run)
  }
}

export interface ScheduledEvent {
  atMs: number
  sequence: number
  readonly owner: Owner
  readonly run: () => void
  isCancelled: boolean
}

export interface Violation {
  readonly invariant: string
  readonly message: string
  readonly atMs: number
  readonly event: number
}

export class World {
  readonly seed: number
  readonly trace: Trace
  /** The world itself: never dies. */
  readonly nature = new Owner('', 0)
  nowMs = 0
  events = 0
  violation: Violation | null = null
  readonly #queue = new EventQueue<ScheduledEvent>()
  #soon: ScheduledEvent[] = []
  #soonHead = 0
  #sequence = 0

  constructor(seed: number, listener: ((line: string) => void) | null) {
    this.seed = seed
    this.trace = new Trace(listener)
  }

  random(purpose: string): Random {
    return new Random(this.seed, purpose)
  }

  after(owner: Owner, delayMs: number, run: () => void): ScheduledEvent {
    return this.at(owner, this.nowMs + delayMs, run)
  }

  at(owner: Owner, atMs: number, run: () => void): ScheduledEvent {
    const event = { atMs, sequence: ++this.#sequence, owner, run, isCancelled: false }
    this.#queue.push(event)
    return event
  }

  /** Once the event under way, and what else was called soon before this, is over; at the same moment. */
  soon(owner: Owner, run: () => void): void {
    this.#soon.push({ atMs: this.nowMs, sequence: ++this.#sequence, owner, run, isCancelled: false })
  }

  pause(owner: Owner): void {
    owner.isPaused = true
  }

  /** Everything that was due meanwhile happens now, in its order. */
  resume(owner: Owner): void {
    owner.isPaused = false
    for (const event of owner.parked) {
      event.atMs = this.nowMs
      event.sequence = ++this.#sequence
      this.#queue.push(event)
    }
    owner.parked.length = 0
  }

  /** Only the first violation counts: the rest may follow from it. */
  violated(invariant: string, message: string): void {
    if (this.violation !== null) return
    this.violation = { invariant, message, atMs: this.nowMs, event: this.events }
    this.tell('', `VIOLATED ${invariant}: ${message}`)
  }

  tell(who: string, what: string): void {
    if (this.trace.isTold) this.trace.tell(this.nowMs, who, what)
  }

  /** Runs until that time, or until `isOver` or a violation. Must be called from a macrotask. */
  run(untilMs: number, isOver: () => boolean): void {
    while (this.violation === null) {
      const event = this.#next(untilMs)
      if (event === null) {
        this.nowMs = untilMs
        return
      }
      if (event.isCancelled || !event.owner.isAlive) continue
      if (event.owner.isPaused) {
        event.owner.parked.push(event)
        continue
      }
      this.events++
      this.trace.mix((this.nowMs * 1000) | 0)
      this.trace.mix(event.owner.number)
      try {
        event.run()
      } catch (error) {
        this.violated(
          'nothing throws',
          `${event.owner.name} threw ${error instanceof Error ? error.stack : String(error)}`,
        )
      }
      drain()
      if (isOver()) return
    }
  }

  #next(untilMs: number): ScheduledEvent | null {
    if (this.#soonHead < this.#soon.length) {
      const event = this.#soon[this.#soonHead++] as ScheduledEvent
      if (this.#soonHead === this.#soon.length) {
        this.#soon = []
        this.#soonHead = 0
      }
      return event
    }
    const first = this.#queue.peek()
    if (first === undefined || first.atMs > untilMs) return null
    this.#queue.pop()
    this.nowMs = first.atMs
    return first
  }
}
