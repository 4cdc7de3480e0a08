// The Raft log as the core sees it: the term of every entry, the newest entries themselves, and how much of it is durable.
// Entries that are durable may leave memory; those that are not never do.

import { assert } from './assert.ts'
import { decodeConfiguration, type IndexedConfiguration } from './configuration.ts'
import type { Entry, EntryId } from './entry.ts'
import type { SnapshotMetadata } from './snapshot.ts'
import { TermRuns } from './term-runs.ts'
import type { Recovered } from './work.ts'

export class RaftLog {
  readonly #terms: TermRuns
  readonly #maxCachedBytes: number
  /** Entries from `#cacheFrom` to the end of the log. */
  #cache: Entry[] = []
  #cacheFrom: number
  #cachedBytes = 0
  #durableIndex: number
  /** The first index that no save holds yet. */
  #unsavedFrom: number
  /** What was durable before entries of it were replaced, and the save that carries that (null: none yet), until it is durable, too. */
  #replaced: { readonly heldIndex: number; readonly saveId: number | null } | null = null
  /** The log was reset, and no save says so yet. */
  #isResetUnsaved = false
  /** Saves under way, oldest first, and the last index that each still vouches for. */
  #inFlight: { readonly id: number; through: number }[] = []
  #lastTimestampMs: number
  #configurations: IndexedConfiguration[]

  constructor(recovered: Recovered, maxCachedBytes: number) {
    this.#terms = new TermRuns(recovered.base, recovered.termRuns, recovered.lastIndex)
    this.#maxCachedBytes = maxCachedBytes
    this.#cacheFrom = recovered.lastIndex + 1
    this.#durableIndex = recovered.lastIndex
    this.#unsavedFrom = recovered.lastIndex + 1
    this.#lastTimestampMs = Math.max(recovered.lastTimestampMs, recovered.snapshot?.timestampMs ?? 0)
    this.#configurations = [...recovered.configurations]
    assert(this.#configurations.length > 0, 'A log needs the configuration that it begins with')
  }

  get base(): EntryId {
    return this.#terms.base
  }

  get lastIndex(): number {
    return this.#terms.lastIndex
  }

  get lastEntry(): EntryId {
    return { term: this.#terms.lastTerm, index: this.#terms.lastIndex }
  }

  /** Everything through here survives a crash. */
  get durableIndex(): number {
    return this.#durableIndex
  }

  /** What a restart now would find in the term that is durable now, if not more: what was replaced is there until what replaces it is durable. */
  get heldIndex(): number {
    return Math.max(this.#durableIndex, this.#replaced?.heldIndex ?? 0)
  }

  /** Cluster time of the last entry. */
  get lastTimestampMs(): number {
    return this.#lastTimestampMs
  }

  /** The configuration in force: the last one in the log, committed or not. */
  get configuration(): IndexedConfiguration {
    const last = this.#configurations.at(-1)
    assert(last !== undefined, 'The log lost its configuration')
    return last
  }

  /** The one that was in force when this entry was the last one; the oldest known for what lies behind the base. */
  configurationAt(index: number): IndexedConfiguration {
    return (
      this.#configurations.findLast((one) => one.index <= index) ?? (this.#configurations[0] as IndexedConfiguration)
    )
  }

  /** The first entry that is in memory. */
  get cachedFrom(): number {
    return this.#cacheFrom
  }

  /** Null before the base and past the end. */
  termAt(index: number): number | null {
    return this.#terms.termAt(index)
  }

  matches(id: EntryId): boolean {
    return this.#terms.termAt(id.index) === id.term
  }

  /** See TermRuns. */
  lastAtMost(index: number, term: number): EntryId | null {
    return this.#terms.lastAtMost(index, term)
  }

  /** Contiguous entries of rising terms. When they begin at or before the last index, everything from there on is replaced. */
  append(entries: readonly Entry[]): void {
    const first = entries[0]
    if (first === undefined) return
    assert(first.index <= this.lastIndex + 1, () => `Entry ${first.index} would leave a gap after ${this.lastIndex}`)
    if (first.index <= this.lastIndex) this.#truncateFrom(first.index)
    for (const entry of entries) {
      assert(entry.index === this.lastIndex + 1, () => `Entry ${entry.index} does not follow ${this.lastIndex}`)
      this.#terms.append(entry.term, entry.index)
      this.#cache.push(entry)
      this.#cachedBytes += entry.record.length
      this.#lastTimestampMs = entry.timestampMs
      if (entry.kind === 'configuration') {
        this.#configurations.push({ index: entry.index, configuration: decodeConfiguration(entry.payload) })
      }
    }
  }

  /** Forgets the entries through this one, which become a snapshot's alone. */
  compactTo(index: number): void {
    this.#terms.compactTo(index)
    const inForce = this.configurationAt(index)
    this.#configurations = this.#configurations.filter((one) => one === inForce || one.index > index)
  }

  /** §7: a snapshot stands for everything through its last entry, and nothing else is left. `commitIndex`: what was committed until now. */
  reset(snapshot: SnapshotMetadata, commitIndex: number): void {
    const { lastIncluded, timestampMs, configuration } = snapshot
    assert(
      lastIncluded.index > commitIndex,
      () => `A snapshot through ${lastIncluded.index} would replace a log that is committed through ${commitIndex}`,
    )
    this.#terms.reset(lastIncluded)
    this.#cache = []
    this.#cachedBytes = 0
    this.#cacheFrom = lastIncluded.index + 1
    // Until the snapshot is on disk, a crash brings back the old log: of that, only what is committed is also in the new one.
    this.#replaced = { heldIndex: this.heldIndex, saveId: null }
    this.#durableIndex = Math.min(this.#durableIndex, commitIndex)
    for (const save of this.#inFlight) save.through = Math.min(save.through, commitIndex)
    this.#unsavedFrom = lastIncluded.index + 1
    this.#isResetUnsaved = true
    this.#lastTimestampMs = timestampMs
    this.#configurations = [configuration]
  }

  /** What no save holds yet; from now on the save of this number vouches for it. */
  takeUnsaved(saveId: number): readonly Entry[] {
    if (this.#unsavedFrom > this.lastIndex && !this.#isResetUnsaved) return []
    this.#isResetUnsaved = false
    const entries = this.#cache.slice(this.#unsavedFrom - this.#cacheFrom)
    this.#unsavedFrom = this.lastIndex + 1
    if (this.#replaced?.saveId === null) this.#replaced = { ...this.#replaced, saveId }
    this.#inFlight.push({ id: saveId, through: this.lastIndex })
    return entries
  }

  /** The save of this number, and every earlier one, is on disk. Uncommitted entries stay in memory: who proposed them waits for them. */
  saved(saveId: number, commitIndex: number): void {
    let oldest = this.#inFlight[0]
    while (oldest !== undefined && oldest.id <= saveId) {
      this.#durableIndex = Math.max(this.#durableIndex, oldest.through)
      this.#inFlight.shift()
      oldest = this.#inFlight[0]
    }
    const replacedBy = this.#replaced?.saveId ?? null
    if (replacedBy !== null && replacedBy <= saveId) this.#replaced = null
    this.#evict(Math.min(this.#durableIndex, commitIndex))
  }

  /** Entries in order from `from`, at least one, up to `maxBytes` and through `through`; null when they have left memory. */
  slice(from: number, through: number, maxBytes: number): readonly Entry[] | null {
    if (from < this.#cacheFrom) return null
    const start = from - this.#cacheFrom
    let end = start
    let bytes = 0
    const limit = Math.min(through - this.#cacheFrom + 1, this.#cache.length)
    while (end < limit) {
      bytes += this.#cache[end]?.record.length ?? 0
      if (bytes > maxBytes && end > start) break
      end++
    }
    return this.#cache.slice(start, end)
  }

  #truncateFrom(index: number): void {
    this.#terms.truncateFrom(index)
    if (index <= this.#cacheFrom) {
      this.#cache = []
      this.#cacheFrom = index
      this.#cachedBytes = 0
    } else {
      for (const entry of this.#cache.splice(index - this.#cacheFrom)) this.#cachedBytes -= entry.record.length
    }
    this.#replaced = { heldIndex: this.heldIndex, saveId: null }
    this.#durableIndex = Math.min(this.#durableIndex, index - 1)
    this.#unsavedFrom = Math.min(this.#unsavedFrom, index)
    // A save that was under way holds the replaced entries, or older ones of equal term and index that a later save
    // overwrites again: it vouches for what lies before them and no more, whatever the log holds by the time it ends.
    for (const save of this.#inFlight) save.through = Math.min(save.through, index - 1)
    while (this.configuration.index >= index) this.#configurations.pop()
  }

  #evict(through: number): void {
    if (this.#cachedBytes <= this.#maxCachedBytes) return
    // Down to three quarters at once, so that the array is not cut again for each entry.
    const target = this.#maxCachedBytes * 0.75
    let drop = 0
    while (drop < this.#cache.length && this.#cachedBytes > target && this.#cacheFrom + drop <= through) {
      this.#cachedBytes -= this.#cache[drop]?.record.length ?? 0
      drop++
    }
    this.#cache.splice(0, drop)
    this.#cacheFrom += drop
  }
}
