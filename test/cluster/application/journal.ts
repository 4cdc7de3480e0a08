// The state of the application with the position that it goes with, in one file: a line for each batch, which is there whole or not at all. So
// each command has its effect exactly once, whenever the process is killed. It looks for no repeats by itself: a command that came twice would show.

import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'

/** What a command that was proposed by `writes.ts` or by a test looks like. */
export interface Write {
  readonly key: string
  readonly value: unknown
  /** Only to be large: it is digested, not kept. */
  readonly padding?: string
}

/** As it is delivered. */
export interface Delivered {
  readonly index: number
  readonly term: number
  readonly timestamp: string
  /** Idempotency key. */
  readonly key?: string
  readonly command: Write
}

/** What a command left behind. `count` and `digest` depend on every effect before it, and on their order. */
export interface Effect {
  readonly index: number
  readonly term: number
  readonly timestamp: string
  readonly idempotencyKey: string | null
  readonly write: Omit<Write, 'padding'>
  readonly count: number
  readonly digest: string
}

/** What the proposer of a command is told. */
export type WriteResult = Pick<Effect, 'count' | 'digest'>

/** One line of the file. */
interface Batch {
  readonly after: number
  readonly position: number
  /** How often another state was put in place of this one. */
  readonly restores: number
  readonly effects: readonly Effect[]
}

export class Journal {
  readonly #path: string
  #file: number
  #effects: Effect[] = []
  #position = 0
  #restores = 0

  constructor(path: string) {
    this.#path = path
    const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
    // Without its end a line was never answered for.
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    for (const batch of batchesIn(whole)) this.#take(batch)
    this.#file = openSync(path, 'a')
    ftruncateSync(this.#file, Buffer.byteLength(whole))
    syncDirectory(path)
  }

  get position(): number {
    return this.#position
  }

  get restores(): number {
    return this.#restores
  }

  get effects(): readonly Effect[] {
    return this.#effects
  }

  /** The batch begins where the state ends; durable on return. */
  apply(commands: readonly Delivered[]): readonly WriteResult[] {
    const effects: Effect[] = []
    let last = this.#effects.at(-1)
    for (const delivered of commands) {
      last = effectOf(delivered, last)
      effects.push(last)
    }
    const position = last?.index ?? this.#position
    const batch: Batch = { after: this.#position, position, restores: this.#restores, effects }
    writeWhole(this.#file, `${JSON.stringify(batch)}\n`)
    fdatasyncSync(this.#file)
    this.#take(batch)
    return effects.map(({ count, digest }) => ({ count, digest }))
  }

  /** Takes other effects in place of these, as of this position; durable on return. */
  restore(effects: readonly Effect[], position: number): void {
    const batch: Batch = { after: 0, position, restores: this.#restores + 1, effects }
    const temporary = `${this.#path}.new`
    const file = openSync(temporary, 'w')
    writeFileSync(file, `${JSON.stringify(batch)}\n`)
    fsyncSync(file)
    closeSync(file)
    renameSync(temporary, this.#path)
    syncDirectory(this.#path)
    closeSync(this.#file)
    this.#file = openSync(this.#path, 'a')
    this.#effects = []
    this.#take(batch)
  }

  #take({ position, restores, effects }: Batch): void {
    for (const effect of effects) this.#effects.push(effect)
    this.#restores = restores
    this.#position = position
  }
}

/** The indexes of the last `count` batches of a file, whose process need not run. */
export function lastBatches(path: string, count: number): { readonly from: number; readonly through: number } {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
  const batches = batchesIn(text.slice(0, text.lastIndexOf('\n') + 1)).slice(-count)
  return { from: (batches[0]?.after ?? 0) + 1, through: batches.at(-1)?.position ?? 0 }
}

function batchesIn(text: string): Batch[] {
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Batch]))
}

function effectOf({ index, term, timestamp, key, command }: Delivered, previous: Effect | undefined): Effect {
  const hash = createHash('sha256').update(previous?.digest ?? '')
  const digest = hash.update(JSON.stringify([index, term, timestamp, key ?? null, command])).digest('base64url')
  const count = (previous?.count ?? 0) + 1
  const write = { key: command.key, value: command.value }
  return { index, term, timestamp, idempotencyKey: key ?? null, write, count, digest: digest.slice(0, 16) }
}

function writeWhole(file: number, text: string): void {
  const bytes = Buffer.from(text)
  for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written)
}

function syncDirectory(path: string): void {
  const directory = openSync(dirname(path), 'r')
  fsyncSync(directory)
  closeSync(directory)
}
