// What is known of one member from outside, over all its lives: the log and hard state that its core asked to be saved, and what its disk has
// certainly synced of them. A log is the list of its entries' terms: with the index, a term names an entry.

import type { Entry, NodeId } from '../../../src/raft/entry.ts'
import type { HardState, Recovered, Save } from '../../../src/raft/work.ts'

/** Terms by index; index 0 is before the first entry. */
export type Terms = number[]

export class NodeRecord {
  readonly id: NodeId
  issued: Terms = [0]
  durable: Terms = [0]
  issuedHardState: HardState = { currentTerm: 0, votedFor: null }
  durableHardState: HardState = { currentTerm: 0, votedFor: null }
  /** Of this life. */
  commitIndex = 0
  lastSaveId = 0
  /** The term that it led when it last spoke as a leader. */
  leads = 0
  readonly #underWay: Save[] = []

  constructor(id: NodeId) {
    this.id = id
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
    put(this.issued, save.entries)
    this.#underWay.push(save)
  }

  /** Returns false when saves end out of order. */
  saved(save: Save): boolean {
    if (this.#underWay.shift() !== save) return false
    if (save.hardState !== null) this.durableHardState = save.hardState
    put(this.durable, save.entries)
    return true
  }

  /** Whether no save after this one touches the entry at this index. */
  isSettledAfter(saveId: number, index: number): boolean {
    return this.#underWay.every(
      (save) => save.id <= saveId || (save.entries[0]?.index ?? Number.POSITIVE_INFINITY) > index,
    )
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
    const found = termsOf(recovered)
    const expected = [...this.durable]
    for (let at = 0; !isEqual(found, expected); at++) {
      const next = this.#underWay[at]
      if (next === undefined) {
        return `it found entries through ${describeEnd(found)}; those through ${describeEnd(this.durable)} were durable`
      }
      put(expected, next.entries)
    }
    this.issued = found
    this.durable = [...found]
    this.issuedHardState = recovered.hardState
    this.durableHardState = recovered.hardState
    this.commitIndex = recovered.base.index
    this.lastSaveId = 0
    this.leads = 0
    this.#underWay.length = 0
    return null
  }
}

function put(terms: Terms, entries: readonly Entry[]): void {
  const first = entries[0]
  if (first === undefined) return
  terms.length = Math.min(terms.length, first.index)
  for (const entry of entries) terms.push(entry.term)
}

function termsOf(recovered: Recovered): Terms {
  const terms: Terms = new Array<number>(recovered.lastIndex + 1).fill(0)
  recovered.termRuns.forEach((run, at) => {
    terms.fill(run.term, run.from, recovered.termRuns[at + 1]?.from ?? recovered.lastIndex + 1)
  })
  return terms
}

function isEqual(a: Terms, b: Terms): boolean {
  return a.length === b.length && a.every((term, index) => term === b[index])
}

function describeEnd(terms: Terms): string {
  return `${terms.length - 1}/t${terms.at(-1)}`
}
