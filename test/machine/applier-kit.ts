// An applier in a test's hands: a machine that answers by script, a cursor in memory, and everything that is told of them.

import type { FatalError } from '../../src/errors.ts'
import { createApplier, type DeliveringApplier } from '../../src/machine/applier.ts'
import type { CursorStore } from '../../src/machine/cursor.ts'
import type { Health, HealthGate } from '../../src/machine/health.ts'
import type { ApplyOutcome, RestoreOutcome, Snapshot, StateMachine } from '../../src/machine/state-machine.ts'
import type { ApplierEvents } from '../../src/node/ports.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { collect, FakeClock, FakeLog, jsonEntry } from './fixtures.ts'

export type Reply = (after: number, commands: readonly Entry[]) => ApplyOutcome

export const take: Reply = (_after, commands) => ({
  type: 'applied',
  results: commands.map(({ index }) => `r${index}`),
})
export const down: ApplyOutcome = { type: 'retry', afterMs: null, reason: 'down' }

/** Answers by script, then takes everything; asynchronous unless told otherwise. */
export class ScriptedMachine implements StateMachine {
  readonly size = null
  movesByItself = true
  readonly script: (Reply | ApplyOutcome)[] = []
  readonly calls: string[] = []
  synchronous = false
  knownPosition: number | null | Error = 0
  inFlight = 0
  mostInFlight = 0
  /** While set, answers wait for `release`: those to batches, and to the snapshot hooks. */
  holds = false
  holdsSnapshots = false
  /** By which `snapshot` goes first: a position that it says to be at, or what it throws. */
  readonly snapshotScript: (number | null | Error)[] = []
  readonly restoreScript: (RestoreOutcome | Error)[] = []
  /** The bodies that it took. */
  readonly restored: string[] = []
  /** Pictures that nobody read. */
  givenUp = 0
  #lastApplied = 0
  readonly #held: (() => void)[] = []

  async position(): Promise<number | null> {
    this.calls.push('position')
    if (this.knownPosition instanceof Error) throw this.knownPosition
    return this.knownPosition
  }

  apply(after: number, commands: readonly Entry[]): ApplyOutcome | Promise<ApplyOutcome> {
    this.calls.push(`${after}: ${commands.map(({ index }) => index).join(' ')}`)
    const reply = this.script.shift() ?? take
    const outcome = typeof reply === 'function' ? reply(after, commands) : reply
    if (outcome.type === 'applied') this.#moveTo(commands.at(-1)?.index ?? 0)
    return this.synchronous ? outcome : this.#answer(outcome)
  }

  async #answer(outcome: ApplyOutcome): Promise<ApplyOutcome> {
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight)
    if (this.holds) await new Promise<void>((resolve) => this.#held.push(resolve))
    this.inFlight--
    return outcome
  }

  release(): void {
    this.#held.shift()?.()
  }

  takeCalls(): string[] {
    return this.calls.splice(0)
  }

  async snapshot(): Promise<Snapshot | null> {
    this.calls.push('snapshot')
    const told = this.snapshotScript.shift()
    if (this.holdsSnapshots) await new Promise<void>((resolve) => this.#held.push(resolve))
    if (told === null) return null
    if (told instanceof Error) throw told
    const position = told ?? this.#lastApplied
    return { position, body: this.#picture(position) }
  }

  async restore({ position, body }: Snapshot): Promise<RestoreOutcome> {
    this.calls.push(`restore ${position}`)
    if (this.holdsSnapshots) await new Promise<void>((resolve) => this.#held.push(resolve))
    const outcome = this.restoreScript.shift() ?? { type: 'restored' }
    if (outcome instanceof Error) throw outcome
    if (outcome.type !== 'restored') return outcome
    this.restored.push((await collect(body)).toString())
    this.#moveTo(position)
    return outcome
  }

  #moveTo(position: number): void {
    this.#lastApplied = position
    if (this.knownPosition !== null) this.knownPosition = position
  }

  #picture(position: number): AsyncIterableIterator<Uint8Array> {
    const chunks = [Buffer.from('state at '), Buffer.from(`${position}`)]
    return {
      next: async () => {
        const value = chunks.shift()
        return value === undefined ? { done: true, value } : { done: false, value }
      },
      return: async () => {
        this.givenUp++
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  async close(): Promise<void> {}
}

export class MemoryCursor implements CursorStore {
  saved: number
  readonly saves: number[] = []
  fails = false

  constructor(saved = 0) {
    this.saved = saved
  }

  load(): number {
    return this.saved
  }

  async save(position: number): Promise<void> {
    this.saves.push(position)
    if (this.fails) throw new Error('disk on fire')
    this.saved = position
  }
}

export interface Setup {
  readonly machine?: ScriptedMachine
  readonly cursor?: CursorStore
  readonly log?: FakeLog
  readonly random?: () => number
  readonly maxBatchCommands?: number
  readonly maxBatchBytes?: number
  readonly gate?: HealthGate
}

/** Says by hand whether the application is well. */
export class FakeGate implements HealthGate {
  health: Health = { type: 'unknown', sentence: 'not asked yet' }
  doubts = 0
  #changed: () => void = () => {}

  watch(changed: () => void): void {
    this.#changed = changed
  }

  become(type: Health['type'], sentence = ''): void {
    this.health = type === 'healthy' ? { type } : { type, sentence }
    this.#changed()
  }

  doubt(): void {
    this.doubts++
    this.become('unknown', 'asked again')
  }

  async close(): Promise<void> {}
}

export function setUp({
  machine = new ScriptedMachine(),
  log = new FakeLog(),
  random = () => 1,
  ...limits
}: Setup = {}) {
  const clock = new FakeClock()
  const events: string[] = []
  const alarms: string[] = []
  const fatal: FatalError[] = []
  /** How far the machine was each time that it was found again. */
  const recoveries: number[] = []
  const applier: DeliveringApplier = createApplier({
    machine,
    clock,
    random,
    ...limits,
    observer: {
      obstructed: (kind, sentence) => alarms.push(`${kind}: ${sentence}`),
      resumed: () => alarms.push('resumed'),
      restoring: (sentence) => alarms.push(sentence),
    },
    onRecovered: () => recoveries.push(applier.appliedIndex),
    onFatal: (error) => fatal.push(error),
  })
  const start = () =>
    applier.start(log, {
      applied: (index, entries, results) =>
        events.push(`${index} [${entries.map((e) => e.index).join(' ')}] ${JSON.stringify(results)}`),
      rewound: (index) => events.push(`rewound ${index}`),
      restored: (index) => events.push(`restored ${index}`),
    })
  return { machine, log, clock, events, alarms, fatal, recoveries, applier, start }
}

export const noEvents: ApplierEvents = { applied() {}, rewound() {}, restored() {} }

export function noFatal(error: FatalError): void {
  throw error
}

export const command = (index: number): Entry => jsonEntry(index, index)
export const commands = (from: number, through: number): Entry[] =>
  Array.from({ length: through - from + 1 }, (_, i) => command(from + i))
