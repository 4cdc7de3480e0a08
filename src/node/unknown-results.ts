// Asks the other nodes what commands answered, for clients whose answer got lost with the acknowledgement of this node's own state machine. Asked again
// until it is known or the client's time is over: a node that has not applied the command yet cannot tell.

import type { NodeId } from '../raft/entry.ts'
import type { KeptResult, ResultsRequest, ResultsResponse, Transport } from './ports.ts'

export interface UnknownResultsOptions {
  readonly id: NodeId
  readonly transport: Pick<Transport, 'send' | 'peers'>
  readonly repeatAfterMs: number
}

/** In one message. */
const maxIndexes = 200

export class UnknownResults {
  readonly #options: UnknownResultsOptions
  #askedMs = Number.NEGATIVE_INFINITY
  /** The next question begins behind it: those that nobody can answer do not keep the others from being asked. */
  #askedThrough = 0

  constructor(options: UnknownResultsOptions) {
    this.#options = options
  }

  /** `indexes` of committed commands with a key that clients wait for. */
  ask(indexes: readonly number[], term: number, nowMs: number): void {
    const { id, transport, repeatAfterMs } = this.#options
    if (indexes.length === 0 || nowMs - this.#askedMs < repeatAfterMs) return
    this.#askedMs = nowMs
    const wanted = this.#next([...new Set(indexes)].sort((a, b) => a - b))
    for (const peer of transport.peers()) {
      if (peer.connected) transport.send({ type: 'ResultsRequest', from: id, to: peer.id, term, indexes: wanted })
    }
  }

  #next(indexes: readonly number[]): readonly number[] {
    const later = indexes.filter((index) => index > this.#askedThrough)
    const wanted = [...later, ...indexes.slice(0, indexes.length - later.length)].slice(0, maxIndexes)
    this.#askedThrough = wanted.at(-1) ?? 0
    return wanted
  }

  /** `find`: the answer to the command at this place, null when it is not known here. */
  answer(request: ResultsRequest, find: (index: number) => string | null): void {
    const results: KeptResult[] = []
    for (const index of request.indexes.slice(0, maxIndexes)) {
      const resultJson = find(index)
      if (resultJson !== null) results.push({ index, resultJson })
    }
    if (results.length === 0) return
    const { id, transport } = this.#options
    const response: ResultsResponse = {
      type: 'ResultsResponse',
      from: id,
      to: request.from,
      term: request.term,
      results,
    }
    transport.send(response)
  }
}
