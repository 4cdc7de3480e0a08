// A disk whose saves become durable when the test says so, in order. A crash loses those that were not, but may leave a torn one
// behind: its hard state, then its snapshot with the old log still there, then the log begun anew with some of its entries.

import type { IndexedConfiguration } from '../../src/raft/configuration.ts'
import { decodeConfiguration } from '../../src/raft/configuration.ts'
import type { Entry, EntryId } from '../../src/raft/entry.ts'
import type { SnapshotMetadata } from '../../src/raft/snapshot.ts'
import type { HardState, Recovered, Save } from '../../src/raft/work.ts'

const beginning: EntryId = { term: 0, index: 0 }

export class FakeDisk {
  hardState: HardState
  /** Those behind the base. */
  entries: readonly Entry[]
  readonly pending: Save[] = []
  /** Newest first; the one before it is kept. */
  snapshots: readonly SnapshotMetadata[]
  #base: EntryId
  readonly #founding: IndexedConfiguration

  constructor(
    hardState: HardState,
    entries: readonly Entry[],
    founding: IndexedConfiguration,
    snapshot: SnapshotMetadata | null = null,
  ) {
    this.hardState = hardState
    this.entries = entries
    this.#founding = founding
    this.snapshots = snapshot === null ? [] : [snapshot]
    this.#base = snapshot?.lastIncluded ?? beginning
  }

  get snapshot(): SnapshotMetadata | null {
    return this.snapshots[0] ?? null
  }

  get base(): EntryId {
    return this.#base
  }

  get lastIndex(): number {
    return this.#base.index + this.entries.length
  }

  /** Null for what the log does not hold. */
  termAt(index: number): number | null {
    if (index === this.#base.index) return this.#base.term
    return this.entries[index - this.#base.index - 1]?.term ?? null
  }

  /** That entry would survive a crash right now, as such or in a snapshot: what is in one is committed. */
  holds({ term, index }: EntryId): boolean {
    return this.termAt(index) === term || index <= (this.snapshot?.lastIncluded.index ?? 0)
  }

  /** Makes the oldest save durable and returns its number; null when none is under way. */
  completeOldest(): number | null {
    const save = this.pending.shift()
    if (save === undefined) return null
    if (save.hardState !== null) this.hardState = save.hardState
    if (save.snapshot !== null) {
      this.takeSnapshot(save.snapshot)
      this.#beginAnew(save.snapshot.lastIncluded)
    }
    this.#append(save.entries)
    return save.id
  }

  /** `torn`: in [0, 1), how much of the oldest save under way reached the disk. */
  crash(torn: number): void {
    const save = this.pending[0]
    if (save !== undefined && torn > 0) this.#tear(save, torn)
    this.pending.length = 0
  }

  /** Whole or not at all. One that is older than the newest one changes nothing. */
  takeSnapshot(snapshot: SnapshotMetadata): void {
    const [newest] = this.snapshots
    if (newest !== undefined && newest.lastIncluded.index >= snapshot.lastIncluded.index) return
    this.snapshots = [snapshot, ...this.snapshots.slice(0, 1)]
  }

  compact(through: EntryId): void {
    if (through.index <= this.#base.index) return
    const { index } = through
    if (index > (this.snapshot?.lastIncluded.index ?? 0)) throw new Error(`Compacted to ${index}, past the snapshot`)
    if (this.termAt(index) !== through.term) throw new Error(`Compacted to ${through.term}/${index}, which is not here`)
    this.entries = this.entries.slice(index - this.#base.index)
    this.#base = through
  }

  read(from: number, through: number, maxBytes: number): readonly Entry[] {
    const entries: Entry[] = []
    let bytes = 0
    const first = from - this.#base.index - 1
    if (first < 0) return []
    for (const entry of this.entries.slice(first, through - this.#base.index)) {
      bytes += entry.record.length
      if (entries.length > 0 && bytes > maxBytes) break
      entries.push(entry)
    }
    return entries
  }

  /** What a node finds when it starts: a log that has the snapshot's last entry is kept, any other one begins anew behind it. */
  recovered(): Recovered {
    const { snapshot } = this
    const isInLog = snapshot === null || this.termAt(snapshot.lastIncluded.index) === snapshot.lastIncluded.term
    if (!isInLog) this.#beginAnew(snapshot.lastIncluded)
    const termRuns: { from: number; term: number }[] = []
    for (const { term, index } of this.entries) {
      if (termRuns.at(-1)?.term !== term) termRuns.push({ from: index, term })
    }
    const first = snapshot?.configuration ?? this.#founding
    const inLog = this.entries
      .filter((entry) => entry.kind === 'configuration' && entry.index > first.index)
      .map((entry) => ({ index: entry.index, configuration: decodeConfiguration(entry.payload) }))
    return {
      hardState: this.hardState,
      snapshot,
      base: this.#base,
      termRuns,
      lastIndex: this.lastIndex,
      lastTimestampMs: this.entries.at(-1)?.timestampMs ?? 0,
      configurations: [first, ...inLog],
    }
  }

  #tear(save: Save, torn: number): void {
    if (save.hardState !== null) this.hardState = save.hardState
    const { snapshot, entries } = save
    if (snapshot === null) {
      this.#append(entries.slice(0, Math.floor(torn * entries.length)))
      return
    }
    // Nothing but the hard state; the snapshot; the log begun anew; then entry by entry.
    const done = Math.floor(torn * (entries.length + 3))
    if (done >= 1) this.takeSnapshot(snapshot)
    if (done >= 2) this.#beginAnew(snapshot.lastIncluded)
    if (done >= 3) this.#append(entries.slice(0, done - 2))
  }

  #beginAnew(base: EntryId): void {
    this.#base = base
    this.entries = []
  }

  #append(entries: readonly Entry[]): void {
    const first = entries[0]
    if (first === undefined) return
    if (first.index > this.lastIndex + 1 || first.index <= this.#base.index) {
      throw new Error(`A save begins at ${first.index}, the disk holds ${this.#base.index} to ${this.lastIndex}`)
    }
    this.entries = [...this.entries.slice(0, first.index - this.#base.index - 1), ...entries]
  }
}
