// What applications are told of leadership: `acquired` to one application a term, with a token that rises, and only to one that holds everything
// that was committed before the election.

import type { Leadership } from '../../../src/node/contract.ts'
import type { NodeId } from '../../../src/raft/entry.ts'
import type { CommittedLog } from './committed-log.ts'
import type { Delivery } from './delivery.ts'
import type { Truth } from './truth.ts'

export class LeadershipNews {
  readonly #truth: Truth
  readonly #log: CommittedLog
  readonly #delivery: Delivery
  /** By term. */
  readonly #acquired = new Map<number, NodeId>()
  /** The term that was told last, over all lives of a node. */
  readonly #lastAcquired = new Map<NodeId, number>()
  /** In this life: `acquired` was told and `lost` was not. */
  readonly #holds = new Map<NodeId, number>()

  constructor(truth: Truth, log: CommittedLog, delivery: Delivery) {
    this.#truth = truth
    this.#log = log
    this.#delivery = delivery
  }

  restarted(id: NodeId): void {
    this.#holds.delete(id)
  }

  /** `held`: the last command that the application held when it was last heard of; null: it is the embedded machine. */
  told(id: NodeId, { event, leader, term }: Leadership, held: number | null): void {
    switch (event) {
      case 'acquired':
        if (leader?.id !== id || !leader.self || leader.term !== term)
          this.#violated(`${id} has acquired term ${term}, and ${leader?.id} leads term ${leader?.term}`)
        this.#acquires(id, term, held ?? this.#delivery.positionOf(id))
        break
      case 'lost':
        if (!this.#holds.delete(id)) this.#violated(`${id} has lost what it was not told to have`)
        break
      case 'changed':
        if (leader?.self && this.#holds.has(id)) this.#violated(`${id} changes to itself, and has acquired already`)
        break
      default:
        event satisfies never
    }
  }

  #acquires(id: NodeId, term: number, held: number): void {
    const other = this.#acquired.get(term)
    if (other !== undefined) this.#violated(`${id} has acquired term ${term}, and so has ${other}`)
    this.#acquired.set(term, id)
    const last = this.#lastAcquired.get(id) ?? 0
    if (term <= last) this.#violated(`${id} has acquired term ${term}, after term ${last}`)
    this.#lastAcquired.set(id, term)
    this.#holds.set(id, term)
    const elected = this.#firstOf(term)
    if (elected === null) {
      this.#violated(`${id} has acquired term ${term}, and nothing of it is committed`)
      return
    }
    const wanted = this.#log.lastTaken(elected - 1)
    if (held < wanted)
      this.#violated(
        `${id} has acquired term ${term}; its application is at ${held}, and ${wanted} was committed before`,
      )
  }

  #firstOf(term: number): number | null {
    for (let index = this.#log.length - 1; index > 0; index--) {
      const found = this.#log.at(index)?.entry.term ?? 0
      if (found < term) return null
      if (found === term && (this.#log.at(index - 1)?.entry.term ?? 0) < term) return index
    }
    return null
  }

  #violated(message: string): void {
    this.#truth.world.violated('leadership is told truly', message)
  }
}
