// What the log holds, gathered batch by batch at the start: later batches supersede the tail of earlier ones, and with it
// its terms and configurations. Never an object an entry: a million entries take a fraction of a second.

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

export interface TermRun {
  readonly from: number
  readonly term: number
}

export class LogContents {
  readonly base: EntryId
  readonly index: EntryIndex
  readonly termRuns: TermRun[] = []
  readonly configurations: IndexedConfiguration[] = []
  lastTimestampMs = 0

  constructor(base: EntryId) {
    this.base = base
    this.index = new EntryIndex(base.index)
  }

  get lastIndex(): number {
    return this.index.lastIndex
  }

  get lastTerm(): number {
    return this.termRuns.at(-1)?.term ?? this.base.term
  }

  /** Throws when the records are not what a log could hold; `position` is where the content begins. */
  add(header: BatchHeader, content: Buffer, position: Position): void {
    if (header.records > 0) this.#supersede(header.firstIndex)
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

  #supersede(first: number): void {
    if (first <= this.base.index || first > this.lastIndex + 1) {
      throw new Error(`A batch begins with entry ${first}, the log holds ${this.base.index + 1} to ${this.lastIndex}.`)
    }
    this.index.truncate(first)
    while ((this.termRuns.at(-1)?.from ?? 0) >= first) this.termRuns.pop()
    while ((this.configurations.at(-1)?.index ?? 0) >= first) this.configurations.pop()
  }
}
