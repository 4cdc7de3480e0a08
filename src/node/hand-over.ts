// Commands on their way to the leader, this node or another: those of its own clients, and on the leader those that followers pass on. One batch
// is under way, and everything that arrives meanwhile is the next; what the leader refuses goes back to whoever waits for it.

import type { Entry, NodeId } from '../raft/entry.ts'
import type { Raft } from '../raft/raft.ts'
import type { Proposal, ProposalOutcome } from '../raft/work.ts'
import { type Forwarders, type Forwarding, nobody } from './forwarding.ts'
import { type FoundRepeat, KeyGuard } from './key-guard.ts'
import type { Ledger } from './ledger.ts'
import type {
  Clock,
  ForwardedProposal,
  ForwardedProposals,
  ForwardRefused,
  ForwardRepeated,
  Transport,
} from './ports.ts'
import type { Proposals } from './proposals.ts'

export interface HandOverOptions {
  /** By which the entries of this process's clients are known. */
  readonly origin: number
  readonly raft: Raft
  readonly proposals: Proposals
  readonly forwarding: Forwarding
  readonly ledger: () => Ledger
  readonly transport: Pick<Transport, 'peers'>
  readonly clock: Pick<Clock, 'unixMs'>
  /** Appended and not committed, on the leader. */
  readonly maxBatches: number
}

export class HandOver {
  readonly #options: HandOverOptions
  readonly #keys: KeyGuard
  /** Who passed on what is proposed in this turn. */
  #forwarders: Forwarders = nobody
  /** The leader of this term refused: it is asked again after the next tick, not as fast as messages go to and fro. */
  #refusedTerm = 0

  constructor(options: HandOverOptions) {
    this.#options = options
    this.#keys = new KeyGuard(options.ledger)
  }

  /** Something waits for its turn. */
  get isWaiting(): boolean {
    return this.#options.proposals.hasQueued || this.#options.forwarding.hasReceived
  }

  /** A follower passes commands on. */
  received(message: ForwardedProposals): void {
    this.#options.forwarding.received(message)
  }

  /** The leader did not append what was passed on to it. */
  refused({ origin, term, sequences, reason }: ForwardRefused, nowMs: number): void {
    if (origin !== this.#options.origin) return
    if (reason !== 'tail-full' && reason !== 'storage-full') this.#refusedTerm = term
    for (const sequence of sequences) this.#giveBack(sequence, term, reason, nowMs)
  }

  /** The leader's log holds an entry under their keys already. */
  repeated({ origin, term, repeats }: ForwardRepeated, nowMs: number): void {
    const { origin: own, raft, proposals } = this.#options
    if (origin !== own) return
    const isCurrent = raft.currentTerm === term
    for (const { sequence, first } of repeats) proposals.repeated(sequence, term, first, isCurrent, nowMs)
  }

  /** The next entries of the log, which the ledger has seen. */
  committed(entries: readonly Entry[]): void {
    this.#keys.committed(entries)
  }

  tick(): void {
    this.#refusedTerm = 0
  }

  /** Hands over what waits, if its turn has come. */
  run(nowMs: number): void {
    this.#forwarders = nobody
    const { raft, maxBatches } = this.#options
    const { role } = raft
    // Until then the ledger does not know every key of the log.
    if (role.name === 'leader' && this.#options.ledger().throughIndex < role.noopIndex) return
    // On a leader, the log, the disk and the followers then take few large steps instead of many small ones out of step with each other.
    if (role.name === 'leader' && role.uncommitted.length >= maxBatches) return
    this.#takeForwarded(nowMs)
    this.#takeQueued(nowMs)
  }

  /** What the core made of that: whoever waits for what it refused is told. */
  answer(outcomes: readonly ProposalOutcome[], nowMs: number): void {
    const { forwarding, raft } = this.#options
    const term = raft.currentTerm
    for (const { sequence, refused } of forwarding.refused(outcomes, this.#forwarders, term)) {
      if (refused !== null) this.#giveBack(sequence, term, refused, nowMs)
    }
  }

  #takeForwarded(nowMs: number): void {
    const { forwarding, raft } = this.#options
    this.#forwarders = forwarding.take(raft.currentTerm, (proposals, forwardedBy) => {
      this.#propose(proposals, nowMs, forwardedBy)
    })
  }

  #takeQueued(nowMs: number): void {
    const { origin, raft, proposals, forwarding, transport } = this.#options
    if (!proposals.hasQueued) return
    const { role, currentTerm, leader } = raft
    if (role.name === 'leader') {
      if (role.transfer !== null) return
      const queued = proposals.takeQueued(currentTerm).map((proposal): Proposal => withOrigin(proposal, origin))
      this.#propose(queued, nowMs)
      return
    }
    if (this.#refusedTerm === currentTerm) return
    if (leader === null || !transport.peers().some((peer) => peer.id === leader && peer.connected)) return
    forwarding.pass(proposals.takeQueued(currentTerm), origin, leader, currentTerm)
  }

  #propose(proposals: readonly Proposal[], nowMs: number, forwardedBy?: NodeId): void {
    const { raft, clock } = this.#options
    if (raft.role.name !== 'leader') {
      // Its core says so, and they go back.
      raft.step(nowMs, { type: 'propose', proposals, unixMs: clock.unixMs() })
      return
    }
    const { fresh, again, repeats } = this.#keys.sift(raft.currentTerm, proposals)
    this.#answerRepeats(repeats, nowMs, forwardedBy)
    if (fresh.length === 0) return
    const { lastIndex } = raft.log
    raft.step(nowMs, {
      type: 'propose',
      proposals: fresh,
      unixMs: clock.unixMs(),
      ...(forwardedBy === undefined ? {} : { forwardedBy }),
    })
    // All or none.
    if (raft.log.lastIndex > lastIndex) {
      this.#keys.appended(fresh, { term: raft.currentTerm, index: lastIndex + 1 })
      this.#answerRepeats(this.#keys.sift(raft.currentTerm, again).repeats, nowMs, forwardedBy)
    } else if (again.length > 0) {
      raft.step(nowMs, { type: 'propose', proposals: again, unixMs: clock.unixMs() })
    }
  }

  #answerRepeats(repeats: readonly FoundRepeat[], nowMs: number, forwardedBy: NodeId | undefined): void {
    if (repeats.length === 0) return
    const { raft, proposals, forwarding } = this.#options
    const term = raft.currentTerm
    if (forwardedBy === undefined) {
      for (const { proposal, first } of repeats) proposals.repeated(proposal.sequence, term, first, true, nowMs)
    } else forwarding.repeated(repeats, forwardedBy, term)
  }

  #giveBack(sequence: number, term: number, reason: ForwardRefused['reason'], nowMs: number): void {
    const { proposals } = this.#options
    if (reason === 'tail-full' || reason === 'storage-full') proposals.refuseFull(sequence, term, reason)
    else proposals.requeue(sequence, term, nowMs)
  }
}

/** Of what waits here, nothing but what is proposed. */
function withOrigin({ kind, sequence, key, traceparent, payload }: ForwardedProposal, origin: number): Proposal {
  return { kind, origin, sequence, key, traceparent, payload }
}
