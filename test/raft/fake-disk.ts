// A disk whose saves become durable when the test says so, in order. A crash loses those that were not, but may leave a torn one
// behind: its hard state, and some of its entries.

import type { IndexedConfiguration } from '../../src/raft/configuration.ts'
import { decodeConfiguration } from '../../src/raft/configuration.ts'
import type { Entry } from '../../src/raft/entry.ts'
import type { HardState, Recovered, Save } from '../../src/raft/work.ts'

export class FakeDisk {
  hardState: HardState
  entries: readonly Entry[]
  readonly pending: Save[] = []
  readonly #founding: IndexedConfiguration

  constructor(hardState: HardState, entries: readonly Entry[], founding: IndexedConfiguration) {
    this.hardState = hardState
    this.entries = entries
    this.#founding = founding
  }

  get lastIndex(): number {
    return this.entries.length
  }

  termAt(index: number): number {
    return index === 0 ? 0 : (this.entries[index - 1]?.term ?? -1)
  }

  /** Makes the oldest save durable and returns its number; null when none is under way. */
  completeOldest(): number | null {
    const save = this.pending.shift()
    if (save === undefined) return null
    this.#write(save.hardState, save.entries)
    return save.id
  }

  /** `torn`: in [0, 1), how much of the oldest save under way reached the disk. */
  crash(torn: number): void {
    const save = this.pending[0]
    if (save !== undefined && torn > 0) {
      this.#write(save.hardState, save.entries.slice(0, Math.floor(torn * save.entries.length)))
    }
    this.pending.length = 0
  }

  read(from: number, through: number, maxBytes: number): readonly Entry[] {
    const entries: Entry[] = []
    let bytes = 0
    for (const entry of this.entries.slice(from - 1, through)) {
      bytes += entry.record.length
      if (entries.length > 0 && bytes > maxBytes) break
      entries.push(entry)
    }
    return entries
  }

  recovered(): Recovered {
    const termRuns: { from: number; term: number }[] = []
    for (const { term, index } of this.entries) {
      if (termRuns.at(-1)?.term !== term) termRuns.push({ from: index, term })
    }
    const inLog = this.entries
      .filter((entry) => entry.kind === 'configuration')
      .map((entry) => ({ index: entry.index, configuration: decodeConfiguration(entry.payload) }))
    return {
      hardState: this.hardState,
      base: { term: 0, index: 0 },
      termRuns,
      lastIndex: this.lastIndex,
      lastTimestampMs: this.entries.at(-1)?.timestampMs ?? 0,
      configurations: [this.#founding, ...inLog],
    }
  }

  #write(hardState: HardState | null, entries: readonly Entry[]): void {
    if (hardState !== null) this.hardState = hardState
    const first = entries[0]
    if (first === undefined) return
    if (first.index > this.lastIndex + 1) {
      throw new Error(`A save begins at ${first.index}, the disk ends at ${this.lastIndex}`)
    }
    this.entries = [...this.entries.slice(0, first.index - 1), ...entries]
  }
}
