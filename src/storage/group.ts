// What is made durable together: saves that arrived while a write was in flight, merged into one. Later saves supersede
// the tail of earlier ones here already, as they would have on disk, so that the entries are always contiguous.

import assert from 'node:assert/strict'
import type { Entry } from '../raft/entry.ts'
import type { HardState, Save } from '../raft/work.ts'

export class Group {
  readonly entries: Entry[] = []
  hardState: HardState | null = null
  readonly #settled: { resolve(): void; reject(error: Error): void }[] = []

  /** Index of the first entry, or Infinity: from here on, what is on disk will be replaced. */
  get firstIndex(): number {
    return this.entries[0]?.index ?? Number.POSITIVE_INFINITY
  }

  get isEmpty(): boolean {
    return this.#settled.length === 0
  }

  add(save: Save): Promise<void> {
    if (save.hardState) this.hardState = save.hardState
    const first = save.entries[0]
    if (first !== undefined) {
      const replaced = this.entries.length - (first.index - this.firstIndex)
      if (replaced > 0) this.entries.length = Math.max(this.entries.length - replaced, 0)
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
