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

/** What a ledger holds, for a snapshot; it does not change any more. */
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
/** Taken in at a time: less than 5 ms of the loop. */
export const keysAtOnce = 4000

const unknown: Answer = { type: 'unknown' }
const tooLong: Answer = { type: 'too-long' }

/** Tells one command from another. */
export function digestOf(kind: CommandKind, payload: Uint8Array): string {
  // 132 bits of it: nobody finds two commands of one digest, and a quarter of a million of them take less room.
  return `${kind === 'json' ? 'j' : 'b'}${hash('sha256', payload, 'base64').slice(0, 22)}`
}

export class Ledger {
  readonly #limits: LedgerLimits
  /** Where it stands. */
  readonly #byKey = new Map<string, number>()
  /** In the order of the log; those before `#oldest` are gone. What changes is replaced, so that a picture takes no copies. */
  #queue: KeyedCommand[] = []
  #oldest = 0
  /** Where in the queue an answer is looked for that is to be given up: once around, and again from the oldest. */
  #nextGivenUp = 0
  #answerBytes = 0
  readonly #skips = new Map<number, Skip>()
  #throughIndex = 0

  /** Empty, of a log of which nothing is seen yet. */
  constructor(limits: LedgerLimits) {
    this.#limits = limits
  }

  /** What a snapshot holds. Gives the loop back now and then. */
  static async of(picture: LedgerPicture, limits: LedgerLimits, giveWay: () => Promise<void>): Promise<Ledger> {
    const ledger = new Ledger(limits)
    ledger.#throughIndex = picture.index
    for (const [i, command] of picture.keys.entries()) {
      if (i > 0 && i % keysAtOnce === 0) await giveWay()
      ledger.#keep({ ...command, answer: unknown })
      ledger.#setAnswer(ledger.#queue.length - 1, command.answer)
    }
    for (const skip of picture.skips) ledger.#skips.set(skip.index, skip)
    return ledger
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
    const index = this.#byKey.get(key)
    return index === undefined ? null : this.at(index)
  }

  get hasSkips(): boolean {
    return this.#skips.size > 0
  }

  isSkipped(index: number): boolean {
    return this.hasSkips && this.#skips.has(index)
  }

  skipOf(index: number): Skip | null {
    return this.#skips.get(index) ?? null
  }

  /** The state machine has taken these commands. Returns the answers that are kept: of several to one command, the first, as its client was told it. */
  answered(entries: readonly Entry[], results: readonly unknown[]): readonly KeptResult[] {
    const kept: KeptResult[] = []
    for (let i = 0; i < entries.length; i++) {
      const { key, index } = entries[i] as Entry
      if (key === null || this.#byKey.get(key) !== index) continue
      const position = this.#positionOf(index)
      if (this.#queue[position]?.answer.type !== 'unknown') continue
      const json = JSON.stringify(results[i] ?? null)
      const isTooLong = Buffer.byteLength(json) > maxResultBytes
      this.#setAnswer(position, isTooLong ? tooLong : { type: 'known', json })
      if (!isTooLong) kept.push({ index, resultJson: json })
    }
    return kept
  }

  /** What the command at this place answered, as told by another node or kept over a restart. False: it was known, or is of no use. */
  learn({ index, resultJson }: KeptResult): boolean {
    const position = this.#positionOf(index)
    const command = this.#queue[position]
    if (command?.id.index !== index || command.answer.type !== 'unknown') return false
    this.#setAnswer(position, { type: 'known', json: resultJson })
    return true
  }

  /** The command with a key at this place. */
  at(index: number): KeyedCommand | null {
    const found = this.#queue[this.#positionOf(index)]
    return found?.id.index === index ? found : null
  }

  /** What belongs into a snapshot of this index, which must not be past what has been seen. */
  picture(index: number): LedgerPicture {
    assert(index <= this.#throughIndex, () => `The ledger has seen ${this.#throughIndex}, and is asked for ${index}`)
    const keys = this.#queue.slice(this.#oldest, this.#positionOf(index + 1))
    return { index, keys, skips: [...this.#skips.values()].filter((skip) => skip.at.index <= index) }
  }

  #add(key: string, entry: Entry): void {
    const { term, index, timestampMs } = entry
    const digest = digestOf(entry.kind === 'json' ? 'json' : 'bytes', entry.payload)
    // The leader appends no key that its log holds: one that is here already was given up there, by a smaller limit.
    this.#keep({ key, id: { term, index }, timestampMs, digest, answer: unknown })
  }

  #keep(command: KeyedCommand): void {
    this.#byKey.set(command.key, command.id.index)
    this.#queue.push(command)
  }

  /** Of the first one in the queue that stands there or behind it. */
  #positionOf(index: number): number {
    let low = this.#oldest
    let high = this.#queue.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#queue[middle] as KeyedCommand).id.index < index) low = middle + 1
      else high = middle
    }
    return low
  }

  #expire(nowMs: number): void {
    const { maxKeys } = this.#limits
    for (;;) {
      const oldest = this.#queue[this.#oldest]
      if (oldest === undefined) break
      const isOver = this.#queue.length - this.#oldest > maxKeys || oldest.timestampMs + keyLifetimeMs <= nowMs
      if (!isOver) break
      this.#giveUpAnswer(this.#oldest)
      this.#oldest++
      if (this.#byKey.get(oldest.key) === oldest.id.index) this.#byKey.delete(oldest.key)
    }
    // Seldom enough that a key costs the same on average.
    if (this.#oldest > 1024 && this.#oldest * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#oldest)
      this.#nextGivenUp = Math.max(this.#nextGivenUp - this.#oldest, 0)
      this.#oldest = 0
    }
  }

  /** Of one that has none. */
  #setAnswer(position: number, answer: Answer): void {
    this.#replaceAnswer(position, answer)
    if (answer.type !== 'known') return
    this.#answerBytes += bytesOf(answer)
    const { maxAnswerBytes } = this.#limits
    for (let looked = this.#oldest; this.#answerBytes > maxAnswerBytes && looked < this.#queue.length; looked++) {
      const isWithin = this.#nextGivenUp >= this.#oldest && this.#nextGivenUp < this.#queue.length
      const next = isWithin ? this.#nextGivenUp : this.#oldest
      this.#nextGivenUp = next + 1
      // Somebody may wait for this one, however old its command is.
      if (next !== position) this.#giveUpAnswer(next)
    }
  }

  #giveUpAnswer(position: number): void {
    const { answer } = this.#queue[position] as KeyedCommand
    if (answer.type !== 'known') return
    this.#answerBytes -= bytesOf(answer)
    this.#replaceAnswer(position, unknown)
  }

  #replaceAnswer(position: number, answer: Answer): void {
    const { key, id, timestampMs, digest } = this.#queue[position] as KeyedCommand
    this.#queue[position] = { key, id, timestampMs, digest, answer }
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

function bytesOf(answer: Extract<Answer, { readonly type: 'known' }>): number {
  return answer.json.length + answerOverheadBytes
}
