// The log that the application is fed from: what stands at an index never changes, however often and in whatever portions it is delivered.

import type { CommandKind, Entry } from '../../src/raft/entry.ts'
import { encodeEntry } from '../../src/storage/record.ts'

export interface LoggedFields {
  readonly kind: CommandKind
  readonly payload: Uint8Array
  readonly key?: string
  readonly traceparent?: string
}

const term = 7

export class Log {
  /** The application holds everything through here when the run begins. */
  readonly start: number
  /** JSON texts, used in turn; `{n}` in them is the number of the command. */
  readonly #templates: readonly string[]
  readonly #beganMs = Date.now()
  readonly #entries: Entry[] = []
  #count = 0
  #nextIndex: number

  constructor(start: number, templates: readonly string[]) {
    this.start = start
    this.#nextIndex = start + 1
    this.#templates = templates
  }

  /** Of the last command; `start` while there is none. */
  get lastIndex(): number {
    return this.#entries.at(-1)?.index ?? this.start
  }

  /** Commands of the application's own. */
  append(count: number): Entry[] {
    return Array.from({ length: count }, () => this.appendOne(this.#nextCommand()))
  }

  appendOne(fields: LoggedFields): Entry {
    const entry = encodeEntry({
      index: this.#nextIndex++,
      term,
      timestampMs: this.#beganMs + this.#count++,
      origin: 0,
      sequence: 0,
      kind: fields.kind,
      payload: fields.payload,
      key: fields.key ?? null,
      traceparent: fields.traceparent ?? null,
    })
    this.#entries.push(entry)
    return entry
  }

  /** The next command with what a proposer may send along. */
  appendAttributed(key: string, traceparent: string): Entry {
    return this.appendOne({ ...this.#nextCommand(), key, traceparent })
  }

  /** Leaves indexes out, as entries do that are no commands. */
  leaveOut(count: number): void {
    this.#nextIndex += count
  }

  /** The cluster leaves the last command out: it is delivered to nobody. */
  withdrawLast(): void {
    this.#entries.pop()
  }

  /** The index of the command that was delivered before this one. */
  before(entry: Entry): number {
    const at = this.#entries.indexOf(entry)
    if (at < 0) throw new Error(`Command ${entry.index} is not in the log`)
    return this.#entries[at - 1]?.index ?? this.start
  }

  behind(index: number): Entry[] {
    return this.#entries.filter((entry) => entry.index > index)
  }

  #nextCommand(): LoggedFields {
    const template = this.#templates[this.#count % this.#templates.length] ?? 'null'
    return { kind: 'json', payload: Buffer.from(template.replaceAll('{n}', String(this.#count + 1))) }
  }
}
