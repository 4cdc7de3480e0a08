// Every entry that was ever seen, by term and index: two logs that hold an entry of one term and index hold the same one, behind the same
// predecessor, and so agree on all that comes before (log matching, §5.3). Cluster time is compared along the way.

import type { Entry, EntryId } from '../../../src/raft/entry.ts'

interface Seen {
  readonly entry: Entry
  readonly prevTerm: number
}

export class EntryRegistry {
  readonly #seen = new Map<number, Seen>()

  get(id: EntryId): Entry | undefined {
    return this.#seen.get(keyOf(id))?.entry
  }

  /** The problem with an entry behind this predecessor, or null. */
  see(entry: Entry, prevTerm: number): string | null {
    const key = keyOf(entry)
    const seen = this.#seen.get(key)
    const name = `entry ${entry.index} of term ${entry.term}`
    if (seen !== undefined) {
      if (seen.prevTerm !== prevTerm)
        return `${name} follows one of term ${prevTerm} here and of ${seen.prevTerm} elsewhere`
      if (seen.entry.record === entry.record) return null
      return Buffer.compare(seen.entry.record, entry.record) === 0 ? null : `${name} has two contents`
    }
    this.#seen.set(key, { entry, prevTerm })
    const previous = this.get({ term: prevTerm, index: entry.index - 1 })
    if (previous !== undefined && previous.timestampMs > entry.timestampMs) {
      return `${name} is of cluster time ${entry.timestampMs}, before its predecessor's ${previous.timestampMs}`
    }
    return null
  }
}

function keyOf({ term, index }: EntryId): number {
  return term * 0x100_0000 + index
}
