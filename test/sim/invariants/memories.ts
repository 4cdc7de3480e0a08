// Who has forgotten what it once promised is refused by everybody who knows better. What is known lasts as production says: the data directory
// that a member was met with, and its newest run, for ever, the rest as long as the process that was told of it.

import type { PeerMessage, Run, Standing } from '../../../src/node/ports.ts'
import type { NodeId } from '../../../src/raft/entry.ts'
import type { Truth } from './truth.ts'

interface Known {
  /** Highest one that was durably shown. */
  term: number
  /** What was acknowledged to a leader, in its term. */
  acknowledged: { readonly term: number; readonly index: number }
}

export class Memories {
  readonly #truth: Truth
  readonly #forgetful = new Set<NodeId>()
  /** What they sent since. */
  readonly #void = new WeakSet<PeerMessage>()
  /** What each met each other one with first, and in which run last, by both ids, the one that knows first. */
  readonly #met = new Map<string, { readonly incarnation: string; readonly run: Run }>()
  /** By both ids, in the same order. */
  readonly #known = new Map<string, Known>()

  constructor(truth: Truth) {
    this.#truth = truth
  }

  forgot(id: NodeId): void {
    this.#forgetful.add(id)
    const record = this.#truth.record(id)
    record.promised ??= [...record.durable]
  }

  /** A new process, which has been told nothing yet. */
  restarted(id: NodeId): void {
    for (const key of this.#known.keys()) if (key.startsWith(`${id}|`)) this.#known.delete(key)
  }

  /** `by` lets `id` in. Returns true when nobody can blame it, though it must not be so: nothing that happens from then on proves anything. */
  accepted(id: NodeId, by: NodeId, { incarnation, run, currentTerm, lastIndex }: Standing): boolean {
    const key = `${by}|${id}`
    if (this.#forgetful.has(id) && !this.#forgetful.has(by)) {
      const met = this.#met.get(key)
      const { term, acknowledged } = this.#known.get(key) ?? nothing
      if (met !== undefined && met.incarnation !== incarnation)
        this.#violated(`${by} lets ${id} in with ${incarnation}, and knows it with ${met.incarnation}`)
      else if (met !== undefined && !follows(run, met.run))
        this.#violated(`${by} lets ${id} in with run ${run.number} of a copy, and knows it with run ${met.run.number}`)
      if (currentTerm < term) this.#violated(`${by} lets ${id} in with term ${currentTerm}, and was shown ${term}`)
      if (currentTerm === acknowledged.term && lastIndex < acknowledged.index)
        this.#violated(
          `${by} lets ${id} in with entries through ${lastIndex}, and had ${acknowledged.index} acknowledged`,
        )
      return true
    }
    this.#met.set(key, { incarnation: this.#met.get(key)?.incarnation ?? incarnation, run })
    const known = this.#of(key)
    known.term = Math.max(known.term, currentTerm)
    return false
  }

  sent(message: PeerMessage): void {
    if (this.#forgetful.has(message.from)) this.#void.add(message)
  }

  /** `leads`: whom it reaches takes itself for the leader; one that has stepped down need not remember what it is acknowledged. */
  received(message: PeerMessage, leads: boolean): void {
    const { from, to, term } = message
    if (this.#void.has(message) && !this.#forgetful.has(to))
      this.#violated(`${to} gets ${message.type} from ${from}, which has forgotten what it promised`)
    if (message.type !== 'AppendEntriesResponse') return
    const known = this.#of(`${to}|${from}`)
    known.term = Math.max(known.term, term)
    const { acknowledged } = known
    const isLeading = leads && this.#truth.record(to).isLeading(term)
    if (!message.success || !isLeading || term < acknowledged.term) return
    const index = term === acknowledged.term ? Math.max(acknowledged.index, message.matchIndex) : message.matchIndex
    known.acknowledged = { term, index }
  }

  #of(key: string): Known {
    let known = this.#known.get(key)
    if (known === undefined) {
      known = { ...nothing }
      this.#known.set(key, known)
    }
    return known
  }

  #violated(message: string): void {
    this.#truth.world.violated('who has forgotten is refused', message)
  }
}

/** It is that run, or one of the same directory that came after it, as far back as it says. */
function follows(run: Run, known: Run): boolean {
  const ids = [run.id, ...run.former]
  const back = run.number - known.number
  return back >= ids.length || ids[back] === known.id
}

const nothing: Known = { term: 0, acknowledged: { term: 0, index: 0 } }
