// Commands between nodes: a follower passes those of its clients on to the leader, and the leader says which it did not append. What it did
// append needs no answer: the entry comes back by the log, and carries who proposed it.

import type { NodeId } from '../raft/entry.ts'
import type { Proposal, ProposalOutcome } from '../raft/work.ts'
import type { FoundRepeat } from './key-guard.ts'
import type { ForwardedProposal, ForwardedProposals, ForwardRefused, Transport } from './ports.ts'

export interface ForwardingOptions {
  readonly id: NodeId
  readonly transport: Pick<Transport, 'send'>
  readonly maxMessageBytes: number
  /** What waits here for its turn is refused past this much, as the log's tail is. */
  readonly maxWaitingBytes: number
}

/** What a command takes in memory besides its payload, roughly: so that many tiny ones are bounded, too. */
const overheadBytes = 64

/** In one message. */
const maxRepeats = 1000

/** Who passed on which origin, in one turn. */
export type Forwarders = ReadonlyMap<number, NodeId>

export const nobody: Forwarders = new Map()

interface RefusedBatch {
  readonly to: NodeId
  readonly origin: number
  readonly reason: ForwardRefused['reason']
  readonly sequences: number[]
}

export class Forwarding {
  readonly #options: ForwardingOptions
  #received: ForwardedProposals[] = []
  #receivedBytes = 0

  constructor(options: ForwardingOptions) {
    this.#options = options
  }

  /** Follower: hands commands to the leader of this term, in messages of bounded size. */
  pass(proposals: readonly ForwardedProposal[], origin: number, leader: NodeId, term: number): void {
    const { id, transport, maxMessageBytes } = this.#options
    let batch: ForwardedProposal[] = []
    let bytes = 0
    const flush = () => {
      const message = { type: 'ForwardedProposals', from: id, to: leader, term, origin, proposals: batch } as const
      if (batch.length > 0) transport.send(message)
      batch = []
      bytes = 0
    }
    for (const { sequence, kind, key, traceparent, payload } of proposals) {
      if (bytes + payload.length > maxMessageBytes) flush()
      batch.push({ sequence, kind, key, traceparent, payload })
      bytes += payload.length
    }
    flush()
  }

  /** Leader: they wait here until their turn to be appended. */
  received(message: ForwardedProposals): void {
    const { from, origin, term, proposals } = message
    if (this.#receivedBytes >= this.#options.maxWaitingBytes) {
      const sequences = proposals.map(({ sequence }) => sequence)
      this.#refuse(from, term, origin, sequences, 'tail-full')
      return
    }
    for (const { payload } of proposals) this.#receivedBytes += overheadBytes + payload.length
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
    this.#receivedBytes = 0
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
        proposals.map((proposal) => ({ ...proposal, origin })),
        from,
      )
    }
    return forwarders
  }

  /** Leader: tells the forwarders of what the core refused, in one message for each batch; returns the refusals that are this node's own. */
  refused(outcomes: readonly ProposalOutcome[], forwarders: Forwarders, term: number): readonly ProposalOutcome[] {
    const own: ProposalOutcome[] = []
    const batches: RefusedBatch[] = []
    for (const outcome of outcomes) {
      const { origin, sequence, refused: reason } = outcome
      if (reason === null) continue
      const to = forwarders.get(origin)
      if (to === undefined) {
        own.push(outcome)
        continue
      }
      const last = batches.at(-1)
      if (last?.origin === origin && last.reason === reason) last.sequences.push(sequence)
      else batches.push({ to, origin, reason, sequences: [sequence] })
    }
    for (const { to, origin, reason, sequences } of batches) this.#refuse(to, term, origin, sequences, reason)
    return own
  }

  /** Leader: tells a forwarder, all of whose proposals have one origin, of what came before under its key. */
  repeated(repeats: readonly FoundRepeat[], to: NodeId, term: number): void {
    const { id, transport } = this.#options
    const origin = repeats[0]?.proposal.origin ?? 0
    for (let from = 0; from < repeats.length; from += maxRepeats) {
      const some = repeats
        .slice(from, from + maxRepeats)
        .map(({ proposal, first }) => ({ sequence: proposal.sequence, first }))
      transport.send({ type: 'ForwardRepeated', from: id, to, term, origin, repeats: some })
    }
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
