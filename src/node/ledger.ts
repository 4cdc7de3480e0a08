// What a node keeps of the log beside its entries: which idempotency keys it holds and where, what those commands answered, and which commands are
// left out. But for the answers it is a function of the committed log: the newest keys of the last day, by cluster time, and no more than so many.
// They stand in the order of the log, so that what expires is always the oldest.

import { hash } from 'node:crypto'
import { assert } from '../raft/assert.ts'
import { type CommandKind, type Entry, type EntryId, isCommand } from '../raft/entry.ts'
import type { KeptResult } from './ports.ts'
import { decodeSkip, type Skip } from './skip.ts'

/** `too-long`: it was more than is kept. `unknown`: this node did not see it, or gave it up for newer ones. */
export type Answer =
  | { readonly type: 'known'; readonly json: string }
  | { readonly type: 'too-long' }
  | { readonly type: 'unknown' }

export interface KeyedCommand {
  readonly key: string
  readonly id: EntryId
  readonly timestampMs: number
  /** Of kind and payload. */
  readonly digest: string
  readonly answer: Answer
}

export interface LedgerLimits {
  readonly maxKeys: number
  /** Of all answers together; the oldest go first. */
  readonly maxAnswerBytes: number
}

/** What a ledger holds, for a snapshot; what is given out does not change any more. */
export interface LedgerPicture {
  readonly index: number
  readonly keys: readonly KeyedCommand[]
  readonly skips: readonly Skip[]
}

export const keyLifetimeMs = 24 * 60 * 60 * 1000
export const maxResultBytes = 4096
/** Applications that refuse commands are mended sooner than that. */
const maxSkips = 10_000
/** What an answer takes besides its text. */
const answerOverheadBytes = 64

const unknown: Answer = { type: 'unknown' }
const tooLong: Answer = { type: 'too-long' }

interface Kept {
  readonly key: string
  readonly id: EntryId
  readonly timestampMs: number
  readonly digest: string
  answer: Answer
}

/** Tells one command from another. */
export function digestOf(kind: CommandKind, payload: Uint8Array): string {
  // 132 bits of it: nobody finds two commands of one digest, and a quarter of a million of them take less room.
  return `${kind === 'json' ? 'j' : 'b'}${hash('sha256', payload, 'base64').slice(0, 22)}`
}

export class Ledger {
  readonly #limits: LedgerLimits
  readonly #byKey = new Map<string, Kept>()
  /** In the order of the log; those before `#oldest` are gone. */
  #queue: Kept[] = []
  #oldest = 0
  /** Where in the queue the answers begin that are not given up. */
  #oldestAnswer = 0
  #answerBytes = 0
  readonly #skips = new Map<number, Skip>()
  #throughIndex: number

  /** Empty, of a log of which nothing is seen yet; or what a snapshot holds. */
  constructor(limits: LedgerLimits, picture: LedgerPicture = { index: 0, keys: [], skips: [] }) {
    this.#limits = limits
    this.#throughIndex = picture.index
    for (const { key, id, timestampMs, digest, answer } of picture.keys) {
      this.#keep({ key, id, timestampMs, digest, answer: unknown })
      this.#setAnswer(this.#queue.at(-1) as Kept, answer)
    }
    for (const skip of picture.skips) this.#skips.set(skip.index, skip)
  }

  /** Every committed entry through this one has been seen. */
  get throughIndex(): number {
    return this.#throughIndex
  }

  get size(): number {
    return this.#byKey.size
  }

  /** The next entries of the log, committed. Returns what they leave out. */
  committed(entries: readonly Entry[]): readonly Skip[] {
    const skips: Skip[] = []
    for (const entry of entries) {
      assert(entry.index === this.#throughIndex + 1, () => `Entry ${entry.index} follows ${this.#throughIndex}`)
      this.#throughIndex = entry.index
      if (entry.kind === 'skip') {
        const skip = this.#skip(entry)
        if (skip !== null) skips.push(skip)
      } else if (isCommand(entry)) {
        const { key } = entry
        if (key !== null) this.#add(key, entry)
      }
    }
    const last = entries.at(-1)
    if (last !== undefined) this.#expire(last.timestampMs)
    return skips
  }

  /** Where this key stands in the committed log; null: it may be used. */
  find(key: string): KeyedCommand | null {
    return this.#byKey.get(key) ?? null
  }

  isSkipped(index: number): boolean {
    return this.#skips.size > 0 && this.#skips.has(index)
  }

  skipOf(index: number): Skip | null {
    return this.#skips.get(index) ?? null
  }

  /** The state machine has taken these commands. Returns the answers that are kept. */
  answered(entries: readonly Entry[], results: readonly unknown[]): readonly KeptResult[] {
    const kept: KeptResult[] = []
    for (const [i, entry] of entries.entries()) {
      const { key } = entry
      const command = key === null ? undefined : this.#byKey.get(key)
      if (command === undefined || command.id.index !== entry.index) continue
      const json = JSON.stringify(results[i] ?? null)
      const isTooLong = Buffer.byteLength(json) > maxResultBytes
      this.#setAnswer(command, isTooLong ? tooLong : { type: 'known', json })
      if (!isTooLong) kept.push({ index: entry.index, resultJson: json })
    }
    return kept
  }

  /** What the command at this place answered, as told by another node or kept over a restart. False: it was known, or is of no use. */
  learn({ index, resultJson }: KeptResult): boolean {
    const command = this.at(index)
    if (command === null || command.answer.type !== 'unknown') return false
    this.#setAnswer(command as Kept, { type: 'known', json: resultJson })
    return true
  }

  /** The command with a key at this place. */
  at(index: number): KeyedCommand | null {
    let low = this.#oldest
    let high = this.#queue.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#queue[middle] as Kept).id.index < index) low = middle + 1
      else high = middle
    }
    const found = this.#queue[low]
    return found?.id.index === index ? found : null
  }

  /** What belongs into a snapshot of this index, which must not be past what has been seen. */
  picture(index: number): LedgerPicture {
    assert(index <= this.#throughIndex, () => `The ledger has seen ${this.#throughIndex}, and is asked for ${index}`)
    const keys: KeyedCommand[] = []
    for (let i = this.#oldest; i < this.#queue.length; i++) {
      const command = this.#queue[i] as Kept
      if (command.id.index > index) break
      // A later answer replaces the object, so that this one stays as it is.
      keys.push({ ...command })
    }
    return { index, keys, skips: [...this.#skips.values()].filter((skip) => skip.at.index <= index) }
  }

  #add(key: string, entry: Entry): void {
    const { term, index, timestampMs } = entry
    const found = this.#byKey.get(key)
    // The leader appends no key that its log holds: one that is here was given up there, by a smaller limit.
    if (found !== undefined) this.#byKey.delete(key)
    const digest = digestOf(entry.kind === 'json' ? 'json' : 'bytes', entry.payload)
    this.#keep({ key, id: { term, index }, timestampMs, digest, answer: unknown })
  }

  #keep(command: Kept): void {
    this.#byKey.set(command.key, command)
    this.#queue.push(command)
  }

  #expire(nowMs: number): void {
    const { maxKeys } = this.#limits
    for (;;) {
      const oldest = this.#queue[this.#oldest]
      if (oldest === undefined) break
      const isOver = this.#queue.length - this.#oldest > maxKeys || oldest.timestampMs + keyLifetimeMs <= nowMs
      if (!isOver) break
      this.#giveUpAnswer(oldest)
      this.#oldest++
      if (this.#byKey.get(oldest.key) === oldest) this.#byKey.delete(oldest.key)
    }
    this.#oldestAnswer = Math.max(this.#oldestAnswer, this.#oldest)
    // Seldom enough that a key costs the same on average.
    if (this.#oldest > 1024 && this.#oldest * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#oldest)
      this.#oldestAnswer -= this.#oldest
      this.#oldest = 0
    }
  }

  #setAnswer(command: Kept, answer: Answer): void {
    this.#giveUpAnswer(command)
    command.answer = answer
    if (answer.type !== 'known') return
    this.#answerBytes += answer.json.length + answerOverheadBytes
    while (this.#answerBytes > this.#limits.maxAnswerBytes && this.#oldestAnswer < this.#queue.length) {
      this.#giveUpAnswer(this.#queue[this.#oldestAnswer] as Kept)
      this.#oldestAnswer++
    }
  }

  #giveUpAnswer(command: Kept): void {
    if (command.answer.type === 'known') this.#answerBytes -= command.answer.json.length + answerOverheadBytes
    command.answer = unknown
  }

  #skip(entry: Entry): Skip | null {
    const skip = decodeSkip(entry)
    if (skip === null || this.#skips.has(skip.index)) return null
    this.#skips.set(skip.index, skip)
    for (const index of this.#skips.keys()) {
      if (this.#skips.size <= maxSkips) break
      this.#skips.delete(index)
    }
    return skip
  }
}
