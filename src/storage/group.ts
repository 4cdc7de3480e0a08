// What is made durable together: saves that arrived while a write was in flight, merged into one. Later saves supersede
// the tail of earlier ones here already, as they would have on disk, so that the entries are always contiguous.

import assert from 'node:assert/strict'
import type { Entry } from '../raft/entry.ts'
import type { SnapshotMetadata } from '../raft/snapshot.ts'
import type { HardState, Save } from '../raft/work.ts'

export class Group {
  readonly entries: Entry[] = []
  hardState: HardState | null = null
  /** The log begins anew behind it, with these entries. */
  snapshot: SnapshotMetadata | null = null
  readonly #settled: { resolve(): void; reject(error: Error): void }[] = []

  /** From this index on, what is on disk will be replaced; Infinity: nothing will be. */
  get replacesFrom(): number {
    if (this.snapshot !== null) return 0
    return this.entries[0]?.index ?? Number.POSITIVE_INFINITY
  }

  get isEmpty(): boolean {
    return this.#settled.length === 0
  }

  add(save: Save): Promise<void> {
    if (save.hardState) this.hardState = save.hardState
    if (save.snapshot) {
      this.snapshot = save.snapshot
      this.entries.length = 0
    }
    const first = save.entries[0]
    if (first !== undefined) {
      const kept = first.index - (this.entries[0] ?? first).index
      if (kept < this.entries.length) this.entries.length = Math.max(kept, 0)
      for (const entry of save.entries) {
        const last = this.entries.at(-1)
        assert(last === undefined || entry.index === last.index + 1, `entry ${entry.index} follows ${last?.index}`)
        this.entries.push(entry)
      }
    }
    return new Promise((resolve, reject) => {
      this.#settled.push({ resolve, reject })
    })
  }

  /** In the order of the saves. */
  resolve(): void {
    for (const save of this.#settled) save.resolve()
  }

  reject(error: Error): void {
    for (const save of this.#settled) save.reject(error)
  }
}
