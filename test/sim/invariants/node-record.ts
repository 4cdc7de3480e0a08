// What is known of one member from outside, over all its lives: the log and hard state that its core asked to be saved, and what its disk has
// certainly synced of them. A log is the list of its entries' terms: with the index, a term names an entry. Entries that a snapshot stands for
// stay in the list, for the node still holds what they did.

import type { Entry, EntryId, NodeId } from '../../../src/raft/entry.ts'
import type { HardState, Recovered, Save } from '../../../src/raft/work.ts'

/** Terms by index; index 0 is before the first entry. */
export type Terms = number[]

/** The terms of the committed log through an index. */
export type CommittedTerms = (through: number) => Terms

const nowhere: EntryId = { term: 0, index: 0 }

export class NodeRecord {
  readonly id: NodeId
  issued: Terms = [0]
  durable: Terms = [0]
  issuedHardState: HardState = { currentTerm: 0, votedFor: null }
  durableHardState: HardState = { currentTerm: 0, votedFor: null }
  /** Of one that has forgotten: what it held before, and what others may still rest on, for it is as good as dead. */
  promised: Terms | null = null
  /** The newest snapshot that is durable on its disk, whoever took it. */
  snapshot: EntryId = nowhere
  /** The last entry that its disk was allowed to forget. */
  compactedThrough = 0
  /** Of this life. */
  commitIndex = 0
  lastSaveId = 0
  /** The term that it led when it last spoke as a leader. */
  leads = 0
  readonly #committedTerms: CommittedTerms
  readonly #underWay: Save[] = []

  constructor(id: NodeId, committedTerms: CommittedTerms) {
    this.id = id
    this.#committedTerms = committedTerms
  }

  get lastIndex(): number {
    return this.issued.length - 1
  }

  /** It leads this term as far as it knows, so its log is that of the term's leader; once it is in a later term, others may have replaced its end. */
  isLeading(term: number): boolean {
    return this.leads === term && this.issuedHardState.currentTerm === term
  }

  issue(save: Save): void {
    this.lastSaveId = save.id
    if (save.hardState !== null) this.issuedHardState = save.hardState
    this.issued = this.#after(this.issued, save)
    this.#underWay.push(save)
  }

  /** Returns false when saves end out of order. */
  saved(save: Save): boolean {
    if (this.#underWay.shift() !== save) return false
    if (save.hardState !== null) this.durableHardState = save.hardState
    this.durable = this.#after(this.durable, save)
    if (save.snapshot !== null) {
      this.snapshotIsDurable(save.snapshot.lastIncluded)
      this.compactedThrough = Math.max(this.compactedThrough, save.snapshot.lastIncluded.index)
    }
    return true
  }

  snapshotIsDurable(lastIncluded: EntryId): void {
    if (lastIncluded.index > this.snapshot.index) this.snapshot = lastIncluded
  }

  /** Whether no save after this one touches the entry at this index. */
  isSettledAfter(saveId: number, index: number): boolean {
    return this.#underWay.every(
      (save) =>
        save.id <= saveId || (save.snapshot === null && (save.entries[0]?.index ?? Number.POSITIVE_INFINITY) > index),
    )
  }

  /** What it found on its disk when it came back, as it is, whatever it was before: the disk is not the one that it left. */
  becameAnother(recovered: Recovered): void {
    const found = termsOf(recovered, this.#committedTerms(recovered.base.index))
    this.snapshot = recovered.snapshot?.lastIncluded ?? nowhere
    this.compactedThrough = recovered.base.index
    this.#begin(recovered, found)
  }

  /** The problem with what a new life found on the disk, or null. */
  restarted(recovered: Recovered): string | null {
    const hardStates = [this.durableHardState, ...this.#underWay.map((save) => save.hardState)]
    const { currentTerm, votedFor } = recovered.hardState
    const isKnown = hardStates.some((known) => known?.currentTerm === currentTerm && known.votedFor === votedFor)
    if (!isKnown) {
      const { durableHardState: mine } = this
      return `it found term ${currentTerm} with a vote for ${votedFor}; term ${mine.currentTerm} with a vote for ${mine.votedFor} was durable`
    }
    const snapshot = recovered.snapshot?.lastIncluded ?? nowhere
    if (snapshot.index < this.snapshot.index) {
      return `it found a snapshot through ${snapshot.index}; one through ${this.snapshot.index} was durable`
    }
    const { base } = recovered
    if (base.index > snapshot.index)
      return `it found a log behind ${base.index} and a snapshot through ${snapshot.index}`
    const behindSnapshot = this.#committedTerms(snapshot.index)
    if (behindSnapshot.length <= snapshot.index || behindSnapshot[snapshot.index] !== snapshot.term)
      return `it found a snapshot through ${snapshot.index}/t${snapshot.term}, which is not committed`
    const found = termsOf(recovered, behindSnapshot)
    let expected = [...this.durable]
    for (let at = 0; ; at++) {
      // A snapshot may be ahead of the log that it was taken from, or that it is about to replace.
      if (expected[snapshot.index] !== snapshot.term) expected = [...behindSnapshot]
      if (isEqualFrom(base.index, found, expected)) break
      const next = this.#underWay[at]
      if (next === undefined) {
        return `it found entries through ${describeEnd(found)}, behind ${base.index}; those through ${describeEnd(this.durable)} were durable`
      }
      expected = this.#after(expected, next)
    }
    // Of a log that began anew nothing is left to be compacted.
    const isNew = base.index === snapshot.index
    if (base.index > this.compactedThrough && !isNew) {
      return `it found a log behind ${base.index}; entries through ${this.compactedThrough} were given up`
    }
    this.snapshot = snapshot
    this.compactedThrough = Math.max(this.compactedThrough, base.index)
    this.#begin(recovered, expected)
    return null
  }

  #begin(recovered: Recovered, terms: Terms): void {
    this.issued = terms
    this.durable = [...terms]
    this.issuedHardState = recovered.hardState
    this.durableHardState = recovered.hardState
    this.commitIndex = this.snapshot.index
    this.lastSaveId = 0
    this.leads = 0
    this.#underWay.length = 0
  }

  /** The log as it is after a save. */
  #after(terms: Terms, { snapshot, entries }: Save): Terms {
    const result = snapshot === null ? terms : this.#committedTerms(snapshot.lastIncluded.index)
    put(result, entries)
    return result
  }
}

function put(terms: Terms, entries: readonly Entry[]): void {
  const first = entries[0]
  if (first === undefined) return
  terms.length = Math.min(terms.length, first.index)
  for (const entry of entries) terms.push(entry.term)
}

/** `before`: the terms through the log's base at least. */
function termsOf(recovered: Recovered, before: Terms): Terms {
  const terms: Terms = new Array<number>(recovered.lastIndex + 1).fill(0)
  const { base } = recovered
  for (let index = 0; index < base.index; index++) terms[index] = before[index] ?? 0
  terms[base.index] = base.term
  recovered.termRuns.forEach((run, at) => {
    terms.fill(run.term, run.from, recovered.termRuns[at + 1]?.from ?? recovered.lastIndex + 1)
  })
  return terms
}

function isEqualFrom(from: number, a: Terms, b: Terms): boolean {
  if (a.length !== b.length) return false
  for (let index = from; index < a.length; index++) if (a[index] !== b[index]) return false
  return true
}

function describeEnd(terms: Terms): string {
  return `${terms.length - 1}/t${terms.at(-1)}`
}
