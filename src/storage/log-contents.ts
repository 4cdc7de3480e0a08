// What the log holds, gathered batch by batch at the start: later batches supersede the tail of earlier ones, and with it
// its terms and configurations. Never an object an entry: a million entries take a fraction of a second.

import assert from 'node:assert/strict'
import type { IndexedConfiguration } from '../raft/configuration.ts'
import { decodeConfiguration } from '../raft/configuration.ts'
import type { EntryId } from '../raft/entry.ts'
import { EntryIndex } from './entry-index.ts'
import {
  decodeRecordAt,
  isConfigurationRecordAt,
  recordIndexAt,
  recordSizeAt,
  recordTermAt,
  recordTimestampMsAt,
} from './record.ts'
import type { BatchHeader, Position } from './segment.ts'
import { beginningOf } from './segment.ts'

export interface TermRun {
  readonly from: number
  readonly term: number
}

export class LogContents {
  readonly index: EntryIndex
  termRuns: TermRun[] = []
  configurations: IndexedConfiguration[] = []
  lastTimestampMs = 0
  #base: EntryId | null
  /**
   * The log says itself where it begins. Else its first segments are gone, and the first entry that is left, whose term can be read, serves
   * as the base; batches that replace it, too, were written before those segments went.
   */
  #isBaseStated: boolean
  #baseSegment: number

  /** `firstSegment` is the first one that is left. */
  constructor(firstSegment: number) {
    const isWhole = firstSegment === 1
    this.#base = isWhole ? { term: 0, index: 0 } : null
    this.#isBaseStated = isWhole
    this.#baseSegment = firstSegment
    this.index = new EntryIndex(0)
  }

  /** The entry before the first one; null: nothing was left that says which. */
  get base(): EntryId | null {
    return this.#base
  }

  /** The segment that says so; what is in those before it is not needed. */
  get baseSegment(): number {
    return this.#baseSegment
  }

  get lastIndex(): number {
    return this.index.lastIndex
  }

  get lastTerm(): number {
    return this.termRuns.at(-1)?.term ?? this.#base?.term ?? 0
  }

  /** Null before the base and past the end. */
  termAt(index: number): number | null {
    if (this.#base === null || index < this.#base.index || index > this.lastIndex) return null
    return this.termRuns.findLast((run) => run.from <= index)?.term ?? this.#base.term
  }

  /** Throws when the records are not what a log could hold; `position` is where the content begins. */
  add(header: BatchHeader, content: Buffer, position: Position): void {
    const beginning = beginningOf(header, content)
    if (beginning !== null) {
      this.#beginAfter(beginning, position.segment)
      this.#isBaseStated = true
      return
    }
    if (header.records > 0) {
      recordSizeAt(content, 0)
      if (recordIndexAt(content, 0) !== header.firstIndex)
        throw new Error('A batch begins with another entry than it says.')
      this.#supersede(header.firstIndex, position.segment)
    }
    let offset = 0
    for (let count = 0; count < header.records; count++) {
      this.#addRecord(content, offset, position)
      offset += recordSizeAt(content, offset)
    }
    if (content.length - offset >= 8) throw new Error(`${content.length - offset} bytes follow the last record.`)
  }

  #addRecord(content: Buffer, offset: number, position: Position): void {
    recordSizeAt(content, offset)
    const index = recordIndexAt(content, offset)
    const term = recordTermAt(content, offset)
    if (this.#base === null) {
      this.#beginAfter({ index, term }, position.segment)
      this.lastTimestampMs = recordTimestampMsAt(content, offset)
      return
    }
    if (index !== this.lastIndex + 1) throw new Error(`Entry ${index} follows entry ${this.lastIndex}.`)
    if (term < this.lastTerm) throw new Error(`Entry ${index} of term ${term} follows one of term ${this.lastTerm}.`)
    if (this.termRuns.length === 0 || term > this.lastTerm) this.termRuns.push({ from: index, term })
    if (isConfigurationRecordAt(content, offset)) {
      const configuration = decodeConfiguration(decodeRecordAt(content, offset).payload)
      this.configurations.push({ index, configuration })
    }
    this.lastTimestampMs = recordTimestampMsAt(content, offset)
    this.index.append(position.segment, position.offset + offset)
  }

  #supersede(first: number, segment: number): void {
    if (!this.#isBaseStated && (this.#base === null || first <= this.#base.index)) {
      this.#beginAfter(null, segment)
      return
    }
    assert(this.#base !== null)
    if (first <= this.#base.index || first > this.lastIndex + 1) {
      throw new Error(`A batch begins with entry ${first}, the log holds ${this.#base.index + 1} to ${this.lastIndex}.`)
    }
    this.index.truncate(first)
    while ((this.termRuns.at(-1)?.from ?? 0) >= first) this.termRuns.pop()
    while ((this.configurations.at(-1)?.index ?? 0) >= first) this.configurations.pop()
  }

  /** Null: after the first entry that comes. */
  #beginAfter(base: EntryId | null, segment: number): void {
    this.#base = base
    this.#baseSegment = segment
    this.index.reset(base?.index ?? 0)
    this.termRuns = []
    this.configurations = []
    this.lastTimestampMs = 0
  }
}
