// Commands between nodes: a follower passes those of its clients on to the leader, and the leader says which it did not append. What it did
// append needs no answer: the entry comes back by the log, and carries who proposed it.

import type { NodeId } from '../raft/entry.ts'
import type { Proposal, ProposalOutcome } from '../raft/work.ts'
import type { ForwardedProposals, ForwardRefused, Transport } from './ports.ts'
import type { QueuedProposal } from './proposals.ts'

export interface ForwardingOptions {
  readonly id: NodeId
  readonly transport: Pick<Transport, 'send'>
  readonly maxMessageBytes: number
}

/** Who passed on which origin, in one turn. */
export type Forwarders = ReadonlyMap<number, NodeId>

export const nobody: Forwarders = new Map()

export class Forwarding {
  readonly #options: ForwardingOptions
  #received: ForwardedProposals[] = []

  constructor(options: ForwardingOptions) {
    this.#options = options
  }

  /** Follower: hands commands to the leader of this term, in messages of bounded size. */
  pass(proposals: readonly QueuedProposal[], origin: number, leader: NodeId, term: number): void {
    const { id, transport, maxMessageBytes } = this.#options
    let batch: QueuedProposal[] = []
    let bytes = 0
    const flush = () => {
      const message = { type: 'ForwardedProposals', from: id, to: leader, term, origin, proposals: batch } as const
      if (batch.length > 0) transport.send(message)
      batch = []
      bytes = 0
    }
    for (const { sequence, kind, payload } of proposals) {
      if (bytes + payload.length > maxMessageBytes) flush()
      batch.push({ sequence, kind, payload })
      bytes += payload.length
    }
    flush()
  }

  /** Leader: they wait here until their turn to be appended. */
  received(message: ForwardedProposals): void {
    this.#received.push(message)
  }

  get hasReceived(): boolean {
    return this.#received.length > 0
  }

  /** Leader: proposes what was received for this term and refuses the rest. */
  take(term: number, propose: (proposals: readonly Proposal[], forwardedBy: NodeId) => void): Forwarders {
    if (this.#received.length === 0) return nobody
    const received = this.#received
    this.#received = []
    const forwarders = new Map<number, NodeId>()
    for (const { from, origin, term: handedTerm, proposals } of received) {
      if (handedTerm !== term) {
        // Only by the term that it was handed to can its proposer tell when it can no longer commit: another leader must not take it.
        const sequences = proposals.map(({ sequence }) => sequence)
        this.#refuse(from, handedTerm, origin, sequences, 'not-leader')
        continue
      }
      forwarders.set(origin, from)
      propose(
        proposals.map(({ kind, payload, sequence }) => ({ kind, payload, sequence, origin })),
        from,
      )
    }
    return forwarders
  }

  /** Leader: tells the forwarder of a proposal that the core refused; false when it is this node's own. */
  refused(outcome: ProposalOutcome, reason: ForwardRefused['reason'], forwarders: Forwarders, term: number): boolean {
    const forwarder = forwarders.get(outcome.origin)
    if (forwarder === undefined) return false
    this.#refuse(forwarder, term, outcome.origin, [outcome.sequence], reason)
    return true
  }

  #refuse(
    to: NodeId,
    term: number,
    origin: number,
    sequences: readonly number[],
    reason: ForwardRefused['reason'],
  ): void {
    const { id, transport } = this.#options
    transport.send({ type: 'ForwardRefused', from: id, to, term, origin, sequences, reason })
  }
}
