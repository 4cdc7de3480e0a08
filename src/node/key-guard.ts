// Leader: keeps a second entry of a live key out of its log. The ledger knows the keys of every committed entry, this those that the leader has
// appended since: together they are the whole log, because a leader takes proposals only once the ledger has seen the first entry of its term.

import type { Entry, EntryId } from '../raft/entry.ts'
import type { Proposal } from '../raft/work.ts'
import { digestOf, type Ledger } from './ledger.ts'

interface Uncommitted {
  readonly id: EntryId
  readonly proposal: Proposal
}

export interface Sifted {
  /** To be appended. */
  readonly fresh: readonly Proposal[]
  /** Of a key that is among the fresh ones before: to be sifted again when those are appended. */
  readonly again: readonly Proposal[]
  readonly repeats: readonly FoundRepeat[]
}

export interface FoundRepeat {
  readonly proposal: Proposal
  /** Null: another command was proposed under its key. */
  readonly first: EntryId | null
}

const nothing: readonly never[] = []

export class KeyGuard {
  readonly #ledger: () => Ledger
  readonly #uncommitted = new Map<string, Uncommitted>()
  #term = 0

  constructor(ledger: () => Ledger) {
    this.#ledger = ledger
  }

  /** As leader of this term. */
  sift(term: number, proposals: readonly Proposal[]): Sifted {
    if (term !== this.#term) {
      this.#term = term
      this.#uncommitted.clear()
    }
    if (proposals.every(({ key }) => key === null)) return { fresh: proposals, again: nothing, repeats: nothing }
    const fresh: Proposal[] = []
    const again: Proposal[] = []
    const repeats: FoundRepeat[] = []
    const keys = new Set<string>()
    for (const proposal of proposals) {
      const { key } = proposal
      const first = key === null ? null : this.#find(key)
      if (first !== null) repeats.push({ proposal, first: first.isSame(proposal) ? first.id : null })
      else if (key !== null && keys.has(key)) again.push(proposal)
      else {
        if (key !== null) keys.add(key)
        fresh.push(proposal)
      }
    }
    return { fresh, again, repeats }
  }

  /** These were appended, the first of them there. */
  appended(proposals: readonly Proposal[], first: EntryId): void {
    for (const [i, proposal] of proposals.entries()) {
      if (proposal.key === null) continue
      this.#uncommitted.set(proposal.key, { id: { term: first.term, index: first.index + i }, proposal })
    }
  }

  /** The ledger has them from now on. */
  committed(entries: readonly Entry[]): void {
    if (this.#uncommitted.size === 0) return
    for (const { key } of entries) if (key !== null) this.#uncommitted.delete(key)
  }

  #find(key: string): { readonly id: EntryId; isSame(proposal: Proposal): boolean } | null {
    const committed = this.#ledger().find(key)
    if (committed !== null) {
      const { id, digest } = committed
      return { id, isSame: ({ kind, payload }) => isCommandKind(kind) && digestOf(kind, payload) === digest }
    }
    const mine = this.#uncommitted.get(key)
    if (mine === undefined) return null
    const { id, proposal } = mine
    return {
      id,
      isSame: ({ kind, payload }) => kind === proposal.kind && Buffer.compare(payload, proposal.payload) === 0,
    }
  }
}

function isCommandKind(kind: Proposal['kind']): kind is 'json' | 'bytes' {
  return kind === 'json' || kind === 'bytes'
}
