// Feeds one state machine with committed entries: strictly in order, one batch in flight, for ever. It keeps at most that one batch in memory,
// however slow the machine is, and leaves out nothing: only an acknowledgement, or the machine's own position, moves it on.

import type { Applier, ApplierEvents, Clock, CommittedEntries } from '../node/ports.ts'
import type { Entry } from '../raft/entry.ts'
import { type Batch, type BatchLimits, sliceOf, toBatch } from './batch.ts'
import { CursorSaver, type CursorStore } from './cursor.ts'
import { type ApplierObserver, firstBackoffMs, Obstacle, type ObstacleKind, slowRetryMs } from './obstacle.ts'
import { Progress } from './progress.ts'
import type { ApplyOutcome, StateMachine } from './state-machine.ts'

export interface ApplierOptions {
  readonly machine: StateMachine
  /** For a machine that does not know its position; without one, such a machine gets everything from the first command at each start. */
  readonly cursor?: CursorStore
  readonly clock: Pick<Clock, 'after' | 'defer'>
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly maxBatchCommands?: number
  readonly maxBatchBytes?: number
  readonly observer?: ApplierObserver
}

export function createApplier(options: ApplierOptions): Applier {
  return new Delivery(options)
}

const closeTimeoutMs = 2000

/**
 * idle: nothing left to deliver, or about to go on. busy: reading, or a batch in flight. asking: for the position. deferred: to the next turn.
 * waiting: for a retry. ahead: for the commit index to reach the machine's position.
 */
type Phase = 'new' | 'idle' | 'busy' | 'asking' | 'deferred' | 'waiting' | 'ahead' | 'closed'

class Delivery implements Applier {
  readonly #machine: StateMachine
  readonly #clock: Pick<Clock, 'after' | 'defer'>
  readonly #limits: BatchLimits
  readonly #obstacle: Obstacle
  readonly #cursor: CursorSaver | null
  #progress: Progress
  #entries: CommittedEntries = { read: () => [] }
  #phase: Phase = 'new'
  #commitIndex = 0
  #aheadOf = 0
  /** In flight, or to be sent again as it is. */
  #batch: Batch | null = null
  #poison: { readonly index: number; readonly reason: string } | null = null
  #synchronous = true
  /** Answers in a row that the machine is elsewhere. */
  #moves = 0
  #inFlight: Promise<void> | null = null
  #closing: Promise<void> | null = null

  constructor({ machine, cursor, clock, random, maxBatchCommands, maxBatchBytes, observer }: ApplierOptions) {
    this.#machine = machine
    this.#clock = clock
    this.#limits = { commands: maxBatchCommands ?? 1000, bytes: maxBatchBytes ?? 1024 * 1024 }
    this.#obstacle = new Obstacle(clock, random, observer ?? null)
    this.#cursor =
      cursor === undefined
        ? null
        : new CursorSaver(cursor, clock, (error) => observer?.obstructed('cursor', unsavedSentence(error)))
    this.#progress = new Progress(this.#cursor, { applied() {}, rewound() {} })
  }

  get appliedIndex(): number {
    return this.#progress.appliedIndex
  }

  get blocked(): string | null {
    return this.#obstacle.sentence
  }

  start(entries: CommittedEntries, events: ApplierEvents): void {
    assert(this.#phase === 'new', 'The applier is started twice')
    this.#entries = entries
    this.#progress = new Progress(this.#cursor, events)
    this.#ask()
  }

  commit(index: number): void {
    if (index <= this.#commitIndex) return
    this.#commitIndex = index
    if (this.#phase === 'ahead' && index >= this.#aheadOf) {
      this.#obstacle.stopTimer()
      this.#ask()
    } else {
      this.#pump()
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#obstacle.stopTimer()
    // The answer to a batch in flight still counts, if it comes soon.
    if (this.#inFlight !== null) await this.#atMost(this.#inFlight)
    this.#phase = 'closed'
    if (this.#cursor !== null) await this.#atMost(this.#cursor.flush())
  }

  async #atMost(wait: Promise<void>): Promise<void> {
    let cancel = () => {}
    const timeout = new Promise<void>((resolve) => {
      cancel = this.#clock.after(closeTimeoutMs, resolve)
    })
    await Promise.race([wait, timeout])
    cancel()
  }

  // Where to go on

  #ask(): void {
    this.#phase = 'asking'
    this.#machine.position().then(
      (position) => {
        if (this.#closing === null) this.#resumeAt(this.#progress.locate(position))
      },
      (error: unknown) => {
        if (this.#closing !== null) return
        this.#meet(
          'unavailable',
          `Cannot learn where the state machine is: ${messageOf(error)}`,
          this.#obstacle.backoffMs(),
        )
      },
    )
  }

  #resumeAt(position: number): void {
    if (!this.#adopt(position)) return
    this.#phase = 'idle'
    if (this.appliedIndex >= this.#commitIndex) this.#obstacle.overcome()
    this.#pump()
  }

  /** False: the machine is ahead of what is known to be committed, and is fed nothing until that is made clear. */
  #adopt(position: number): boolean {
    if (position > this.#commitIndex) {
      this.#batch = null
      this.#aheadOf = position
      this.#meet(
        'ahead',
        `The state machine is at ${position}, and the log is known to be committed through ${this.#commitIndex} only: delivery waits until ` +
          'it is committed that far; if it never is, the state belongs to another log and is to be reset',
        slowRetryMs,
      )
      this.#phase = 'ahead'
      return false
    }
    if (this.#progress.adopt(position, this.#batch?.commands ?? [])) {
      this.#batch = null
      this.#poison = null
    }
    return true
  }

  // Delivery

  #pump(): void {
    if (this.#phase !== 'idle' || this.#closing !== null || this.appliedIndex >= this.#commitIndex) return
    if (this.#batch !== null) {
      this.#deliver(this.#batch)
    } else if (this.#poison !== null && this.appliedIndex === this.#poison.index - 1) {
      this.#stopAtPoison(this.#poison.index, this.#poison.reason)
    } else {
      this.#read()
    }
  }

  #read(): void {
    this.#phase = 'busy'
    const limits = this.#synchronous ? sliceOf(this.#limits) : this.#limits
    const from = this.appliedIndex + 1
    // What stands before a poisonous command goes alone: the application refused the batch as a whole.
    const barrier = this.#poison === null ? this.#commitIndex : this.#poison.index - 1
    const through = Math.min(this.#commitIndex, this.appliedIndex + limits.commands, barrier)
    const read = this.#entries.read(from, through, limits.bytes)
    if (!(read instanceof Promise)) {
      this.#take(read, from, through)
      return
    }
    read.then(
      (entries) => {
        if (this.#closing === null) this.#take(entries, from, through)
      },
      (error: unknown) => {
        if (this.#closing !== null) return
        this.#meet('unreadable', `Cannot read the log from ${from} on: ${messageOf(error)}`, this.#obstacle.backoffMs())
      },
    )
  }

  #take(entries: readonly Entry[], from: number, through: number): void {
    if (entries.length === 0) {
      const sentence = `The state machine needs the entries from ${from} on, and the log no longer holds them: bring it to a later state`
      this.#meet('unreadable', sentence, slowRetryMs)
      return
    }
    const batch = toBatch(this.#progress.after, entries, from, through)
    if (batch.commands.length === 0) {
      this.#progress.advance(batch.lastIndex, batch.after, [], [])
      this.#goOn(true)
      return
    }
    this.#batch = batch
    this.#deliver(batch)
  }

  #deliver(batch: Batch): void {
    this.#phase = 'busy'
    const outcome = this.#machine.apply(batch.after, batch.commands)
    this.#synchronous = !(outcome instanceof Promise)
    if (!(outcome instanceof Promise)) {
      this.#judge(outcome, batch)
      return
    }
    this.#inFlight = outcome.then((settled) => {
      this.#inFlight = null
      if (this.#phase !== 'closed') this.#judge(settled, batch)
    })
  }

  #judge(outcome: ApplyOutcome, batch: Batch): void {
    if (outcome.type === 'applied') {
      this.#acknowledge(batch, outcome.results)
      return
    }
    if (this.#closing !== null) return
    switch (outcome.type) {
      case 'elsewhere':
        this.#move(outcome.position, batch)
        break
      case 'retry': {
        // Not even a machine that wishes for it gets the same batch in a tight loop.
        const wishMs = outcome.afterMs === null ? null : Math.max(outcome.afterMs, firstBackoffMs)
        this.#meet('unavailable', outcome.reason, wishMs ?? this.#obstacle.backoffMs())
        break
      }
      case 'malformed':
        this.#meet('malformed', outcome.reason, this.#obstacle.backoffMs())
        break
      case 'poison':
        this.#isolate(outcome.index, outcome.reason, batch)
        break
      case 'misconfigured':
        this.#meet('misconfigured', outcome.reason, slowRetryMs)
        break
      default:
        outcome satisfies never
    }
  }

  #acknowledge({ commands, lastIndex }: Batch, results: readonly unknown[]): void {
    assert(
      results.length === commands.length,
      `The state machine gave ${results.length} results for ${commands.length} commands`,
    )
    this.#batch = null
    this.#moves = 0
    this.#obstacle.overcome()
    this.#progress.advance(lastIndex, (commands.at(-1) as Entry).index, commands, results)
    this.#goOn(this.#synchronous)
  }

  #move(position: number, batch: Batch): void {
    this.#moves++
    if (position === batch.after) {
      const sentence = `The state machine answered that it is at ${position}, which is where the batch goes on`
      this.#meet('malformed', sentence, this.#obstacle.backoffMs())
      return
    }
    if (!this.#adopt(position)) return
    if (this.#moves > 1) {
      const sentence = `The state machine answered ${this.#moves} times in a row that it is elsewhere, now at ${position}`
      this.#meet('malformed', sentence, this.#obstacle.backoffMs())
      return
    }
    if (this.appliedIndex >= this.#commitIndex) this.#obstacle.overcome()
    this.#goOn(this.#synchronous)
  }

  #isolate(index: number, reason: string, batch: Batch): void {
    assert(
      batch.commands.some((command) => command.index === index),
      `The state machine refused command ${index}, which is not in its batch`,
    )
    this.#batch = null
    this.#poison = { index, reason }
    this.#goOn(this.#synchronous)
  }

  #stopAtPoison(index: number, reason: string): void {
    // Whether it still is poison, the next try will tell.
    this.#poison = null
    const sentence = `The application refuses the command at ${index} for good: ${reason}; delivery stops before it until the application takes it`
    this.#meet('poison', sentence, slowRetryMs)
  }

  /** Goes on with what is left; in the next turn when the loop was held. */
  #goOn(held: boolean): void {
    this.#phase = 'idle'
    if (!held || this.appliedIndex >= this.#commitIndex) {
      this.#pump()
      return
    }
    this.#phase = 'deferred'
    this.#clock.defer(() => {
      if (this.#phase !== 'deferred') return
      this.#phase = 'idle'
      this.#pump()
    })
  }

  #meet(kind: ObstacleKind, sentence: string, retryAfterMs: number): void {
    this.#phase = 'waiting'
    this.#obstacle.meet(kind, sentence, retryAfterMs, () => this.#ask())
  }
}

function unsavedSentence(error: unknown): string {
  return `Cannot save how far the application is: ${messageOf(error)}; it is tried again, and after a restart commands may come twice`
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}
