// The term of every index, kept as runs: a log of millions of entries has a handful of terms, so this stays small when
// the entries themselves have left memory.

import { assert } from './assert.ts'
import type { EntryId } from './entry.ts'

export interface TermRun {
  /** First index of the run, which reaches to the next run or to the end of the log. */
  readonly from: number
  readonly term: number
}

export class TermRuns {
  #base: EntryId
  readonly #runs: TermRun[]
  #lastIndex: number

  /** `base` is the entry before the first one held; runs rise in `from` and in `term`. */
  constructor(base: EntryId, runs: readonly TermRun[], lastIndex: number) {
    assert(lastIndex >= base.index, `Log ends at ${lastIndex}, before its base ${base.index}`)
    this.#base = base
    this.#runs = []
    this.#lastIndex = base.index
    for (const run of runs) this.append(run.term, run.from)
    this.#lastIndex = lastIndex
  }

  get base(): EntryId {
    return this.#base
  }

  get lastIndex(): number {
    return this.#lastIndex
  }

  get lastTerm(): number {
    return this.#runs.at(-1)?.term ?? this.#base.term
  }

  /** Null outside the log. */
  termAt(index: number): number | null {
    if (index === this.#base.index) return this.#base.term
    if (index < this.#base.index || index > this.#lastIndex) return null
    return this.#runAt(index).term
  }

  append(term: number, index: number): void {
    assert(term >= this.lastTerm, () => `Entry ${index} of term ${term} would follow one of term ${this.lastTerm}`)
    assert(
      index > this.#lastIndex,
      () => `Entry ${index} would be appended at or before the last index ${this.#lastIndex}`,
    )
    if (this.#runs.length === 0 || term > this.lastTerm) this.#runs.push({ from: index, term })
    this.#lastIndex = index
  }

  /** Drops everything from this index on. */
  truncateFrom(index: number): void {
    assert(index > this.#base.index, `Cannot truncate from ${index}: the log begins after ${this.#base.index}`)
    while (this.#runs.length > 0 && (this.#runs.at(-1)?.from ?? 0) >= index) this.#runs.pop()
    this.#lastIndex = Math.min(this.#lastIndex, index - 1)
  }

  /** Forgets everything before this index, which becomes the base. */
  compactTo(index: number): void {
    const term = this.termAt(index)
    assert(term !== null, () => `Cannot compact to ${index}: the log holds ${this.#base.index} to ${this.#lastIndex}`)
    this.#base = { index, term }
    while ((this.#runs[1]?.from ?? Number.POSITIVE_INFINITY) <= index + 1) this.#runs.shift()
    if (index === this.#lastIndex) this.#runs.length = 0
  }

  /** Begins anew behind this entry: nothing else is held. */
  reset(base: EntryId): void {
    this.#base = base
    this.#runs.length = 0
    this.#lastIndex = base.index
  }

  /** The last entry at or before `index` whose term is at most `term`: where a diverging log may agree again. Null: it lies before the base. */
  lastAtMost(index: number, term: number): EntryId | null {
    if (index < this.#base.index) return null
    let at = Math.min(index, this.#lastIndex)
    while (at > this.#base.index) {
      const run = this.#runAt(at)
      if (run.term <= term) return { index: at, term: run.term }
      at = run.from - 1
    }
    return this.#base.term <= term ? this.#base : null
  }

  #runAt(index: number): TermRun {
    for (let i = this.#runs.length - 1; i >= 0; i--) {
      const run = this.#runs[i]
      if (run !== undefined && run.from <= index) return run
    }
    throw new Error(`No term is known for index ${index}`)
  }
}
