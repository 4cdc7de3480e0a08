// Feeds one state machine with committed entries: strictly in order, one batch in flight, for ever. It keeps at most that one batch in memory,
// however slow the machine is, and leaves out nothing but what the cluster has agreed to skip: only an acknowledgement, the machine's own position, or
// a snapshot that it took moves it on. One thing at a time is asked of the machine: its position, a batch, a picture of its state, or to take a snapshot.

import { FatalError } from '../errors.ts'
import type { Applier, ApplierEvents, Clock, CommittedEntries, MachineSnapshot } from '../node/ports.ts'
import type { Entry } from '../raft/entry.ts'
import { type Batch, type BatchLimits, sliceOf, toBatch, withoutSkipped } from './batch.ts'
import { Confirmations } from './confirmations.ts'
import { CursorSaver, type CursorStore } from './cursor.ts'
import { messageOf } from './error-message.ts'
import type { HealthGate } from './health.ts'
import { type ApplierObserver, boundedWish, Obstacle, type ObstacleKind, slowRetryMs } from './obstacle.ts'
import { Pictures } from './pictures.ts'
import { Progress } from './progress.ts'
import { type Restoration, restoreNewest } from './restoration.ts'
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
  /** Nothing is asked of the machine while it is not known to be healthy. */
  readonly gate?: HealthGate | null
  /** The machine failed, lost some of its state, or was doubted, and holds all that was committed when it was found again: it may have been restarted. */
  readonly onRecovered?: () => void
  /** The log or a snapshot is damaged: nothing more is delivered, and this process must not serve. */
  readonly onFatal: (error: FatalError) => void
}

export interface DeliveringApplier extends Applier {
  /** Where the machine is, is asked again as soon as nothing is under way; `onRecovered` follows once it holds what it should. */
  doubt(): void
}

export function createApplier(options: ApplierOptions): DeliveringApplier {
  return new Delivery(options)
}

const closeTimeoutMs = 2000

interface Poison {
  readonly index: number
  readonly reason: string
}

/**
 * idle: nothing left to deliver, or about to go on. busy: reading, or a batch in flight. asking: for the position. deferred: to the next turn.
 * waiting: for a retry. gated: for the application to say that it is healthy. ahead: for the commit index to reach the machine's position.
 * picturing: until it gave the picture of its state. restoring: looking for a snapshot to restore, or restoring it.
 */
type Phase =
  | 'new'
  | 'idle'
  | 'busy'
  | 'asking'
  | 'deferred'
  | 'waiting'
  | 'gated'
  | 'ahead'
  | 'picturing'
  | 'restoring'
  | 'closed'

class Delivery implements DeliveringApplier {
  readonly #machine: StateMachine
  readonly #clock: Pick<Clock, 'after' | 'defer'>
  readonly #limits: BatchLimits
  readonly #obstacle: Obstacle
  readonly #observer: ApplierObserver | null
  readonly #onFatal: (error: FatalError) => void
  readonly #cursor: CursorSaver | null
  readonly #pictures: Pictures
  readonly #confirmations = new Confirmations()
  readonly #gate: HealthGate | null
  readonly #onRecovered: () => void
  readonly #isSkipped = (index: number): boolean => this.#entries.isSkipped(index)
  #progress: Progress
  #entries: CommittedEntries = {
    read: () => [],
    firstIndex: 1,
    openSnapshot: async () => null,
    isSkipped: () => false,
  }
  #phase: Phase = 'new'
  #commitIndex = 0
  #aheadOf = 0
  /** In flight, or to be sent again as it is. */
  #batch: Batch | null = null
  /** Delivery is to stop before it at the next chance. */
  #poison: Poison | null = null
  /** Delivery stopped before it. */
  #refused: Poison | null = null
  #synchronous = true
  /** Answers in a row that the machine is elsewhere. */
  #moves = 0
  /** The machine holds nothing: if there is a snapshot, restoring it beats replaying what it holds. */
  #beginsAnew = false
  /** The sentence on the restore under way. */
  #restoring: string | null = null
  /** A picture was begun between two tries of what failed. */
  #interruptsWaiting = false
  /** The time of the next try came meanwhile. */
  #retryIsDue = false
  /** Where the log began when an obstacle was met. */
  #firstIndexMet = 1
  /** Since it last answered where it is. */
  #hasFailed = false
  /** Where it is, is to be asked before anything else. */
  #isDoubted = false
  /** What the machine holds once it has made up for what it may have lost; null: nothing. */
  #recoversAt: number | null = null
  #inFlight: Promise<void> | null = null
  #closing: Promise<void> | null = null

  constructor(options: ApplierOptions) {
    const { machine, cursor, clock, random, maxBatchCommands, maxBatchBytes, observer, gate, onFatal } = options
    this.#machine = machine
    this.#gate = gate ?? null
    this.#onRecovered = options.onRecovered ?? (() => {})
    this.#clock = clock
    this.#limits = { commands: maxBatchCommands ?? 1000, bytes: maxBatchBytes ?? 1024 * 1024 }
    this.#observer = observer ?? null
    this.#onFatal = onFatal
    this.#obstacle = new Obstacle(clock, random, this.#observer)
    this.#pictures = new Pictures(machine, (isElsewhere) => this.#pictured(isElsewhere))
    this.#cursor =
      cursor === undefined
        ? null
        : new CursorSaver(cursor, clock, (error) => observer?.obstructed('cursor', unsavedSentence(error)))
    this.#progress = new Progress(this.#cursor, { applied() {}, rewound() {}, restored() {} })
  }

  get appliedIndex(): number {
    return this.#progress.appliedIndex
  }

  get blocked(): string | null {
    const unasked = this.#phase === 'gated' && this.#gate?.health.type === 'unknown' ? this.#gate.health.sentence : null
    return this.#restoring ?? this.#obstacle.sentence ?? unasked
  }

  get poison(): Poison | null {
    const refused = this.#refused
    return refused === null || refused.index <= this.appliedIndex || this.#isSkipped(refused.index) ? null : refused
  }

  start(entries: CommittedEntries, events: ApplierEvents): void {
    assert(this.#phase === 'new', 'The applier is started twice')
    this.#entries = entries
    this.#progress = new Progress(this.#cursor, events)
    this.#gate?.watch(() => this.#gateChanged())
    this.#ask()
  }

  commit(index: number): void {
    if (index <= this.#commitIndex) return
    this.#commitIndex = index
    if ((this.#phase === 'ahead' && index >= this.#aheadOf) || (this.#phase === 'waiting' && this.#findWayOut())) {
      this.#obstacle.stopTimer()
      this.#ask()
    } else {
      this.#pump()
    }
  }

  doubt(): void {
    this.#isDoubted = true
    this.#hasFailed = true
    this.#pump()
  }

  confirm(): Promise<void> | null {
    if (!this.#machine.movesByItself || !this.#progress.isTold) return null
    const confirmation = this.#confirmations.wish()
    if (this.#closing === null && this.#phase !== 'closed') this.#pump()
    else this.#confirmations.abandon('this node is closing')
    return confirmation
  }

  snapshot(): Promise<MachineSnapshot | null> {
    const picture = this.#pictures.wish()
    this.#servePictures()
    return picture
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#obstacle.stopTimer()
    this.#pictures.refuse('this node is closing')
    this.#confirmations.abandon('this node is closing')
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
    if (this.#isGated()) return
    this.#isDoubted = false
    this.#phase = 'asking'
    this.#confirmations.asked()
    this.#machine.position().then(
      (position) => {
        if (this.#closing === null) this.#resumeAt(this.#progress.locate(position))
      },
      (error: unknown) => {
        if (this.#closing !== null) return
        this.#confirmations.failed()
        this.#meet(
          'unavailable',
          `Cannot learn where the state machine is: ${messageOf(error)}`,
          this.#obstacle.backoffMs(),
        )
      },
    )
  }

  #resumeAt(position: number): void {
    if (!this.#adopt(position)) {
      this.#confirmations.failed()
      return
    }
    this.#confirmations.confirmed()
    if (this.#hasFailed) {
      this.#hasFailed = false
      this.#recoversAt = this.#commitIndex
    }
    this.#phase = 'idle'
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
        'ahead',
      )
      return false
    }
    if (position < this.#progress.after) this.#recoversAt = this.#commitIndex
    if (this.#progress.adopt(position, this.#batch?.commands ?? [])) this.#forget()
    this.#beginsAnew = this.appliedIndex === 0
    return true
  }

  /** What was to be sent next, before the machine turned out to be elsewhere. */
  #forget(): void {
    this.#batch = null
    this.#poison = null
    this.#refused = null
  }

  // Health

  /** True: the application is not known to be healthy, and is asked for nothing until it is. */
  #isGated(): boolean {
    const health = this.#gate?.health
    if (health === undefined || health.type === 'healthy') return false
    this.#phase = 'gated'
    if (health.type === 'unhealthy') {
      this.#hasFailed = true
      this.#obstacle.meetUntimed('unhealthy', health.sentence)
    }
    this.#servePictures()
    return true
  }

  /** What is in flight comes to its end first. */
  #gateChanged(): void {
    if (this.#closing !== null) return
    if (this.#phase === 'gated') this.#ask()
    else this.#pump()
  }

  // Delivery

  #pump(): void {
    if (this.#phase !== 'idle' || this.#closing !== null || this.#isGated()) return
    if (this.#isDoubted) {
      this.#ask()
      return
    }
    if (this.#recoversAt !== null && this.appliedIndex >= this.#recoversAt) {
      this.#recoversAt = null
      this.#onRecovered()
    }
    if (this.#poison !== null && this.#isSkipped(this.#poison.index)) this.#poison = null
    if (this.#beginsAnew || this.#isOutOfReach) {
      this.#restore()
    } else if (this.#pictures.isWanted) {
      this.#servePictures()
    } else if (this.appliedIndex >= this.#commitIndex) {
      this.#obstacle.overcome()
      if (this.#confirmations.isWanted) this.#ask()
    } else if (this.#batch !== null) {
      this.#offer(withoutSkipped(this.#batch, this.#isSkipped))
    } else if (this.#poison !== null && this.appliedIndex === this.#poison.index - 1) {
      this.#stopAtPoison(this.#poison)
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
        if (error instanceof FatalError) {
          this.#fail(error)
          return
        }
        this.#meet('unreadable', `Cannot read the log from ${from} on: ${messageOf(error)}`, this.#obstacle.backoffMs())
      },
    )
  }

  #take(entries: readonly Entry[], from: number, through: number): void {
    if (entries.length === 0) {
      if (this.#isOutOfReach) {
        this.#goOn(false)
        return
      }
      const sentence = `The state machine needs the entries from ${from} on, and the log does not hold them`
      this.#meet('unreadable', sentence, this.#obstacle.backoffMs())
      return
    }
    this.#offer(toBatch(this.#progress.after, entries, from, through, this.#isSkipped))
  }

  /** One without commands needs no request. */
  #offer(batch: Batch): void {
    if (batch.commands.length === 0) {
      this.#batch = null
      this.#progress.advance(batch.lastIndex, batch.after, [], [])
      this.#goOn(true)
      return
    }
    this.#batch = batch
    this.#deliver(batch)
  }

  #deliver(batch: Batch): void {
    this.#phase = 'busy'
    this.#confirmations.asked()
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
    this.#confirmations.failed()
    if (this.#closing !== null) return
    switch (outcome.type) {
      case 'elsewhere':
        this.#move(outcome.position, batch)
        break
      case 'retry':
        this.#meet('unavailable', outcome.reason, boundedWish(outcome.afterMs) ?? this.#obstacle.backoffMs())
        break
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
    this.#confirmations.confirmed()
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

  #stopAtPoison(poison: Poison): void {
    const { index, reason } = poison
    // Whether it still is poison, the next try will tell.
    this.#poison = null
    this.#refused = poison
    const sentence =
      `The application refuses the command at ${index} for good: ${reason}; delivery stops before it until the application takes it, ` +
      `or until \`raft-sidecar skip ${index}\` leaves it out on every node`
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

  #meet(kind: ObstacleKind, sentence: string, retryAfterMs: number, phase: 'waiting' | 'ahead' = 'waiting'): void {
    this.#phase = phase
    this.#firstIndexMet = this.#entries.firstIndex
    if (kind === 'unavailable' || kind === 'malformed' || kind === 'misconfigured') {
      this.#hasFailed = true
      this.#gate?.doubt()
    }
    this.#obstacle.meet(kind, sentence, retryAfterMs, () => {
      if (this.#phase === 'picturing') this.#retryIsDue = true
      else this.#ask()
    })
    this.#servePictures()
  }

  #fail(error: FatalError): void {
    this.#phase = 'closed'
    this.#obstacle.stopTimer()
    this.#pictures.refuse(error.message)
    this.#onFatal(error)
  }

  // Restoring from a snapshot

  /** The log begins behind the next entry that the machine needs. */
  get #isOutOfReach(): boolean {
    return this.appliedIndex + 1 < this.#entries.firstIndex
  }

  /** A snapshot, or the agreement to skip the command that is refused, came after the obstacle was met: each way is tried once. */
  #findWayOut(): boolean {
    if (this.#isOutOfReach && this.#entries.firstIndex > this.#firstIndexMet) return true
    if (this.#refused === null || !this.#isSkipped(this.#refused.index)) return false
    this.#refused = null
    return true
  }

  #restore(): void {
    this.#phase = 'restoring'
    const restoration = restoreNewest({
      machine: this.#machine,
      entries: this.#entries,
      appliedIndex: this.appliedIndex,
      after: this.#progress.after,
      begun: (sentence) => {
        this.#restoring = sentence
        this.#observer?.restoring(sentence)
        this.#servePictures()
      },
      isOver: () => this.#closing !== null,
    })
    this.#inFlight = restoration.then((outcome) => {
      this.#inFlight = null
      this.#restoring = null
      if (this.#phase !== 'closed') this.#settle(outcome)
    })
  }

  #settle(outcome: Restoration): void {
    switch (outcome.type) {
      case 'restored':
        this.#leap(outcome.appliedIndex)
        this.#progress.restore(outcome.appliedIndex, outcome.position)
        break
      case 'held':
        this.#leap(outcome.appliedIndex)
        if (outcome.appliedIndex > this.appliedIndex) {
          this.#progress.advance(outcome.appliedIndex, this.#progress.after, [], [])
        }
        break
      case 'replay':
        break
      case 'obstacle':
        if (this.#closing !== null) return
        this.#meet(outcome.kind, outcome.sentence, outcome.retryAfterMs ?? this.#obstacle.backoffMs())
        return
      case 'fatal':
        this.#fail(outcome.error)
        return
      default:
        outcome satisfies never
    }
    this.#beginsAnew = false
    this.#goOn(false)
  }

  /** Over everything that the snapshot holds; what it holds is committed, whether the commit index is known here already or not. */
  #leap(appliedIndex: number): void {
    this.#forget()
    this.#commitIndex = Math.max(this.#commitIndex, appliedIndex)
  }

  // Pictures of the state

  /** Takes the picture that was wished for when the machine is still, refuses it where there is none to be had, or lets it wait. */
  #servePictures(): void {
    if (!this.#pictures.isWanted) return
    if (this.#closing !== null) {
      this.#pictures.refuse('this node is closing')
      return
    }
    switch (this.#phase) {
      case 'idle':
      case 'deferred':
      case 'waiting':
        if (this.#isOutOfReach) this.#pictures.refuse(this.blocked ?? 'it is behind what the log still holds')
        else this.#takePicture()
        break
      case 'ahead':
        this.#pictures.refuse(this.blocked ?? '')
        break
      case 'gated':
        // One that has not said how it is will have done so soon.
        if (this.#gate?.health.type === 'unhealthy') this.#pictures.refuse(this.blocked ?? '')
        break
      case 'restoring':
        if (this.#restoring !== null) this.#pictures.refuse(this.#restoring)
        break
      case 'new':
        this.#pictures.refuse('this node is starting')
        break
      case 'closed':
        this.#pictures.refuse('nothing more is delivered')
        break
      case 'busy':
      case 'asking':
      case 'picturing':
        // An answer is under way, and leads here again.
        break
      default:
        this.#phase satisfies never
    }
  }

  #takePicture(): void {
    this.#interruptsWaiting = this.#phase === 'waiting'
    this.#phase = 'picturing'
    this.#pictures.take(this.#progress)
  }

  #pictured(isElsewhere: boolean): void {
    if (this.#phase !== 'picturing' || this.#closing !== null) return
    const isDue = this.#retryIsDue
    this.#retryIsDue = false
    if (isElsewhere || isDue || (this.#interruptsWaiting && this.#findWayOut())) {
      this.#obstacle.stopTimer()
      this.#ask()
    } else if (this.#interruptsWaiting) {
      this.#phase = 'waiting'
    } else {
      this.#phase = 'idle'
      this.#pump()
    }
  }
}

function unsavedSentence(error: unknown): string {
  return `Cannot save how far the application is: ${messageOf(error)}; it is tried again, and after a restart commands may come twice`
}

function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}
