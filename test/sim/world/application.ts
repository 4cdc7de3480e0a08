// An application behind its hooks, in a process of its own: it takes batches late, loses answers, is down for a while, and after a restart may have
// forgotten everything or stand at an older state. It gives and takes its state in parts, and may break off at any of them. Some commands it
// refuses for good, or until it is mended. It checks that commands come to it in order and that none is left out that the cluster has not agreed
// to skip.

import type { ApplyOutcome, RestoreOutcome, Snapshot, StateMachine } from '../../../src/machine/state-machine.ts'
import type { Entry } from '../../../src/raft/entry.ts'
import type { Ledger } from '../invariants/ledger.ts'
import { ReferenceMachine } from '../invariants/reference-machine.ts'
import { decodeState, encodeState, type State } from '../invariants/state-text.ts'
import type { AppProfile } from '../profile.ts'
import type { Random } from './random.ts'
import type { Owner, World } from './world.ts'

/** Commands with this in their text are refused, by every application. */
export const poisonMark = 'poison!'

/** The body of a snapshot comes in so many bytes at a time. */
const partBytes = 700

/** Where an application said that it was, and when it did. */
export interface Told {
  readonly position: number
  readonly atMs: number
}

interface SkipLedger {
  isSkipped(index: number): boolean
}

export class Application {
  readonly #world: World
  readonly #random: Random
  readonly #ledger: Ledger
  readonly #profile: AppProfile
  readonly #name: string
  #machine = new ReferenceMachine()
  #position = 0
  #older: State = { machine: new ReferenceMachine(), position: 0 }
  /** Counts its processes. */
  #starts = 0
  #told: Told = { position: 0, atMs: 0 }
  /** What it holds of what it had refused before it was mended, and who gave it that. */
  readonly #taken = new Map<number, Owner>()
  /** The same, whether it still holds it or not. */
  readonly #given = new Map<number, Owner>()
  isDown = false
  /** It refuses nothing. */
  isMended = false
  delayMs = 0.2
  /** Of each request: an answer that is lost, or no use. */
  failureChance = 0

  constructor(world: World, random: Random, ledger: Ledger, profile: AppProfile, name: string) {
    this.#world = world
    this.#random = random
    this.#ledger = ledger
    this.#profile = profile
    this.#name = name
  }

  get position(): number {
    return this.#position
  }

  /** What the node can know of it: it may have been restarted since. */
  get told(): Told {
    return this.#told
  }

  /** It was given what the cluster has agreed to leave out. */
  get isAstray(): boolean {
    return [...this.#taken.keys()].some((index) => (this.#ledger.committed(index)?.skippedAt ?? null) !== null)
  }

  /** Whether this process gave it anything that its ledger leaves out. */
  wasGivenLeftOut(by: Owner, ledger: SkipLedger): boolean {
    return [...this.#given].some(([index, owner]) => owner === by && ledger.isSkipped(index))
  }

  /** The same, and it still holds that. */
  holdsLeftOut(by: Owner, ledger: SkipLedger): boolean {
    return [...this.#taken].some(([index, owner]) => owner === by && ledger.isSkipped(index))
  }

  get hasTakenRefused(): boolean {
    return this.#taken.size > 0
  }

  /** As people do with one whose state is another than that of the others. */
  reset(): void {
    this.#starts++
    this.#empty()
    this.#world.tell(this.#name, 'app   is RESET')
  }

  #empty(): void {
    this.#machine = new ReferenceMachine()
    this.#position = 0
    this.#taken.clear()
  }

  get hidesPosition(): boolean {
    return this.#profile.hidesPosition
  }

  valueOf(key: string): string | null {
    return this.#machine.items.get(key)?.valueJson ?? null
  }

  itemsOf(): ReferenceMachine {
    return this.#machine
  }

  restart(): void {
    this.#starts++
    // One that neither remembers nor says where it stands could never be served rightly.
    if (this.#profile.memory === 'durable' || this.#profile.hidesPosition) return
    if (this.#profile.memory === 'none') this.#empty()
    else {
      this.#machine = this.#older.machine.copy()
      this.#position = this.#older.position
    }
    this.#world.tell(this.#name, `app   restarts at ${this.#position}`)
  }

  heal(): void {
    this.isDown = false
    this.isMended = false
    this.delayMs = 0.2
    this.failureChance = 0
  }

  /** As one process of the node reaches it. */
  machineFor(owner: Owner): StateMachine {
    return {
      position: () => this.#ask(owner),
      apply: (after, commands) => this.#request(owner, after, commands),
      snapshot: () => this.#picture(owner),
      restore: (snapshot) => this.#restore(owner, snapshot),
      movesByItself: true,
      size: null,
      close: async () => {},
    }
  }

  #picture(owner: Owner): Promise<Snapshot | null> {
    return new Promise((resolve, reject) => {
      this.#world.after(owner, this.#latencyMs(), () => {
        if (this.isDown || this.#random.chance(this.failureChance)) reject(new Error('connection refused'))
        else if (!this.#profile.offersSnapshots) resolve(null)
        else {
          const text = encodeState({ machine: this.#machine, position: this.#position })
          resolve({ position: this.#position, body: this.#parts(owner, Buffer.from(text)) })
        }
      })
    })
  }

  async *#parts(owner: Owner, text: Buffer): AsyncGenerator<Uint8Array> {
    const starts = this.#starts
    for (let from = 0; from < text.length; from += partBytes) {
      await this.#pause(owner)
      if (this.isDown || this.#starts !== starts || this.#random.chance(this.failureChance * 0.3))
        throw new Error('the connection was closed')
      yield text.subarray(from, from + partBytes)
    }
  }

  async #restore(owner: Owner, { position, body }: Snapshot): Promise<RestoreOutcome> {
    if (!this.#profile.offersSnapshots) return { type: 'not-offered' }
    const starts = this.#starts
    const broken: RestoreOutcome = { type: 'retry', afterMs: null, reason: 'the application is down' }
    const parts: Uint8Array[] = []
    for await (const part of body) {
      parts.push(Buffer.from(part))
      await this.#pause(owner)
      if (this.isDown || this.#starts !== starts || this.#random.chance(this.failureChance * 0.3)) return broken
    }
    const bytes = Buffer.concat(parts)
    this.#ledger.restored(this.#name, position, bytes)
    const state = decodeState(bytes.toString())
    if (state !== null) {
      this.#machine = state.machine
      this.#position = state.position
      this.#told = { position, atMs: this.#world.nowMs }
      this.#world.tell(this.#name, `app   is restored to ${position}`)
    }
    await this.#pause(owner)
    return this.#random.chance(this.failureChance) ? broken : { type: 'restored' }
  }

  #pause(owner: Owner): Promise<void> {
    return new Promise((resolve) => {
      this.#world.after(owner, this.#latencyMs(), resolve)
    })
  }

  #ask(owner: Owner): Promise<number | null> {
    return new Promise((resolve, reject) => {
      this.#world.after(owner, this.#latencyMs(), () => {
        if (this.isDown || this.#random.chance(this.failureChance)) reject(new Error('connection refused'))
        else {
          this.#told = { position: this.#position, atMs: this.#world.nowMs }
          resolve(this.#profile.hidesPosition ? null : this.#position)
        }
      })
    })
  }

  #request(owner: Owner, after: number, commands: readonly Entry[]): Promise<ApplyOutcome> {
    return new Promise((resolve) => {
      // What is on its way arrives, whatever becomes of the node that sent it.
      this.#world.after(this.#world.nature, this.#latencyMs(), () => {
        const outcome = this.#take(owner, after, commands)
        const told = { position: this.#position, atMs: this.#world.nowMs }
        this.#world.after(owner, this.#latencyMs(), () => {
          if (outcome.type === 'applied' || outcome.type === 'elsewhere') this.#told = told
          resolve(outcome)
        })
      })
    })
  }

  #latencyMs(): number {
    return this.delayMs * (0.5 + this.#random.exponential(0.5))
  }

  #take(owner: Owner, after: number, commands: readonly Entry[]): ApplyOutcome {
    const unavailable: ApplyOutcome = { type: 'retry', afterMs: null, reason: 'the application is down' }
    if (this.isDown) return unavailable
    const failure = this.#random.chance(this.failureChance) ? this.#random.pick(['before', 'after', 'malformed']) : null
    if (failure === 'before') return unavailable
    if (failure === 'malformed') return { type: 'malformed', reason: 'not the answer that was expected' }
    if (!this.#profile.hidesPosition && after !== this.#position) return { type: 'elsewhere', position: this.#position }
    // Also one that it was past already, where it does not say so.
    const poison = commands.find(({ payload }) => isPoison(payload))
    // Who gave it what it had refused before must be there to answer for it.
    if (poison !== undefined && !(this.isMended && owner.isAlive))
      return { type: 'poison', index: poison.index, reason: 'it is not to be had' }
    const results = commands.map((command) => this.#apply(owner, command))
    return failure === 'after' ? unavailable : { type: 'applied', results }
  }

  #apply(owner: Owner, command: Entry): unknown {
    const committed = this.#ledger.committed(command.index)
    if (committed === null || committed.entry.term !== command.term) {
      this.#world.violated(
        'state machine safety',
        `${this.#name} gets entry ${command.index} of term ${command.term}, which is not committed`,
      )
      return null
    }
    if (command.index > this.#position) {
      const previous = this.#ledger.lastTaken(command.index - 1)
      if (isPoison(command.payload)) {
        this.#taken.set(command.index, owner)
        this.#given.set(command.index, owner)
      } else if (committed.skippedAt !== null)
        this.#world.violated('what is skipped is left out', `${this.#name} gets ${command.index}`)
      if (previous !== this.#position && !this.isAstray) {
        const gap = `${this.#name} is at ${this.#position} and gets command ${command.index}, which follows ${previous}`
        this.#world.violated('commands are delivered in order', gap)
      }
      if (this.#random.chance(0.05)) this.#older = { machine: this.#machine.copy(), position: this.#position }
      const result = this.#machine.apply(command.kind, command.payload, command.index)
      this.#position = command.index
      return result
    }
    if (!this.#profile.hidesPosition) {
      this.#world.violated(
        'commands are applied once',
        `${this.#name} is at ${this.#position} and gets command ${command.index} again`,
      )
    }
    return resultOf(committed.result)
  }
}

function isPoison(payload: Uint8Array): boolean {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).includes(poisonMark)
}

/** A repeated command gets its first answer. */
function resultOf(meaning: string | null): unknown {
  const [ok, code, existed, createdIndex, modifiedIndex] = (meaning ?? '').split('/').map((text) => {
    if (text === 'undefined') return undefined
    return text === 'true' || text === 'false' ? text === 'true' : Number.isNaN(Number(text)) ? text : Number(text)
  })
  return { ok, code, existed, createdIndex, modifiedIndex }
}
