// What the application of this node is told of leadership: `acquired` only when it holds everything that was committed before the election, and in
// an order in which nothing contradicts what was told before.

import type { Leadership, LeaderView } from './contract.ts'

export interface LeadershipNow {
  readonly leader: LeaderView | null
  readonly term: number
  /** The first entry of this node's own term; null: it does not lead. */
  readonly noopIndex: number | null
  /** Everything through here is in the application. */
  readonly appliedIndex: number
}

export class LeadershipNews {
  /** The term in which `acquired` was told and not taken back. */
  #acquiredTerm: number | null = null
  #told: { readonly id: string | null; readonly term: number } = { id: null, term: 0 }

  /** What there is to tell now, in order. */
  next({ leader, term, noopIndex, appliedIndex }: LeadershipNow): readonly Leadership[] {
    const news: Leadership[] = []
    const leads = leader?.self === true && noopIndex !== null
    const tell = (event: Leadership['event']) => {
      this.#told = { id: leader?.id ?? null, term: leader === null ? this.#told.term : term }
      news.push({ event, leader, term })
    }
    if (this.#acquiredTerm !== null && (!leads || this.#acquiredTerm !== term)) {
      this.#acquiredTerm = null
      tell('lost')
    }
    const isNew = leader === null ? this.#told.id !== null : this.#told.id !== leader.id || this.#told.term !== term
    if (isNew) tell('changed')
    if (leads && this.#acquiredTerm === null && appliedIndex >= noopIndex) {
      this.#acquiredTerm = term
      tell('acquired')
    }
    return news
  }
}
