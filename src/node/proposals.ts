// Commands of this node's clients that wait for their answer, and what is known of each: not handed to a leader yet, handed over, committed.
// An answer finds its request by the origin and sequence that the entry itself carries, never by its place in the log.

import { ProposalError, type ProposalErrorCode } from '../errors.ts'
import type { Entry } from '../raft/entry.ts'
import type { AppliedCommand, CommittedCommand, NewCommand, ProposalCounters } from './contract.ts'

export interface ProposalLimits {
  readonly maxPendingProposals: number
  readonly maxPendingBytes: number
  /** How long a proposal waits for a leader to be known before it is refused. */
  readonly leaderPatienceMs: number
}

interface Pending extends NewCommand {
  readonly sequence: number
  readonly wait: 'applied' | 'committed'
  readonly arrivedMs: number
  readonly deadlineMs: number
  /** Since when it waits for a leader. */
  queuedMs: number
  /** The term of the leader that it was handed to; 0 while it is queued. Only an entry of this term can be it. */
  handedTerm: number
  committed: CommittedCommand | null
  readonly resolve: (command: AppliedCommand) => void
  readonly reject: (error: ProposalError) => void
}

/** What the loop needs to hand a proposal on. */
export interface QueuedProposal extends NewCommand {
  readonly sequence: number
}

export class Proposals {
  readonly #origin: number
  readonly #limits: ProposalLimits
  readonly #pending = new Map<number, Pending>()
  /** Those not handed to a leader, oldest first. */
  #queued: Pending[] = []
  #pendingBytes = 0
  #lastSequence = 0
  /** Term of the last committed entry seen: what was handed to a leader of an older term can no longer commit. */
  #committedTerm = 0
  #appliedCount = 0
  #committedCount = 0
  readonly #failed: Record<ProposalErrorCode, number> = {
    'command-too-large': 0,
    'too-many-proposals': 0,
    'no-leader': 0,
    'shutting-down': 0,
    'not-a-member': 0,
    'leadership-lost': 0,
    'commit-timeout': 0,
    'apply-pending': 0,
    'storage-full': 0,
  }

  constructor(origin: number, limits: ProposalLimits) {
    this.#origin = origin
    this.#limits = limits
  }

  get size(): number {
    return this.#pending.size
  }

  get hasQueued(): boolean {
    return this.#queued.length > 0
  }

  /** Rejects with ProposalError. */
  add(command: NewCommand, wait: 'applied' | 'committed', nowMs: number, timeoutMs: number): Promise<AppliedCommand> {
    const { maxPendingProposals, maxPendingBytes } = this.#limits
    const isFull =
      this.#pending.size >= maxPendingProposals || this.#pendingBytes + command.payload.length > maxPendingBytes
    if (isFull) {
      return this.refuse(
        'too-many-proposals',
        `Cannot take another proposal: ${this.#pending.size} of ${this.#pendingBytes} bytes wait for their answer already`,
      )
    }
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        kind: command.kind,
        payload: command.payload,
        sequence: ++this.#lastSequence,
        wait,
        arrivedMs: nowMs,
        deadlineMs: nowMs + timeoutMs,
        queuedMs: nowMs,
        handedTerm: 0,
        committed: null,
        resolve,
        reject,
      }
      this.#pending.set(pending.sequence, pending)
      this.#pendingBytes += pending.payload.length
      this.#queued.push(pending)
    })
  }

  /** A proposal that never gets as far as the queue. */
  refuse(code: ProposalErrorCode, message: string): Promise<never> {
    this.#failed[code] += 1
    return Promise.reject(new ProposalError(code, 'not_applied', message))
  }

  /** Everything queued, to be handed to the leader of this term. */
  takeQueued(term: number): readonly QueuedProposal[] {
    const queued = this.#queued
    this.#queued = []
    for (const pending of queued) pending.handedTerm = term
    return queued
  }

  /** The leader of this term did not append it: it waits for the next one. */
  requeue(sequence: number, term: number, nowMs: number): void {
    // Term 0: it was never handed over, and waits already.
    const pending = term === 0 ? undefined : this.#pending.get(sequence)
    if (pending === undefined || pending.handedTerm !== term || pending.committed !== null) return
    pending.handedTerm = 0
    pending.queuedMs = nowMs
    this.#queued.push(pending)
  }

  /** The leader of this term did not append it, because it has too much under way, or its disk has no room. */
  refuseFull(sequence: number, term: number, reason: 'tail-full' | 'storage-full'): void {
    const pending = this.#pending.get(sequence)
    if (pending === undefined || pending.handedTerm !== term || pending.committed !== null) return
    if (reason === 'tail-full') {
      const sentence = 'Cannot take another proposal: the leader has too much uncommitted'
      this.#fail(pending, 'too-many-proposals', 'not_applied', sentence)
    } else {
      const sentence =
        "Cannot take another proposal: the leader's disk is full, and no other voter with room could take over"
      this.#fail(pending, 'storage-full', 'not_applied', sentence)
    }
  }

  /** A snapshot stands for the next entries of the log, the last of them of this term: what was committed among them is not known here. */
  skipped(term: number): void {
    this.#committedTerm = Math.max(this.#committedTerm, term)
    for (const pending of [...this.#pending.values()]) {
      if (pending.handedTerm === 0 || pending.handedTerm > term || pending.committed !== null) continue
      const sentence = `Handed to the leader of term ${pending.handedTerm}; this node has got a snapshot in place of the entries that it may be among`
      this.#fail(pending, 'leadership-lost', 'unknown', sentence)
    }
  }

  /** The state machine was brought to this index by a snapshot: what the commands up to it answered is not known here. */
  restored(appliedIndex: number): void {
    for (const pending of [...this.#pending.values()]) {
      const { committed } = pending
      if (committed === null || committed.index > appliedIndex) continue
      const sentence = `Committed at index ${committed.index}; its result is not known here, since the state machine was restored from a snapshot`
      this.#fail(pending, 'apply-pending', 'committed', sentence)
    }
  }

  /**
   * These entries, next in the log, are committed. Returns how many of them were proposed here, and when the oldest of those arrived.
   */
  committed(entries: readonly Entry[], nowMs: number): { readonly count: number; readonly oldestArrivalMs: number } {
    let count = 0
    let oldestArrivalMs = nowMs
    for (const entry of entries) {
      if (entry.term > this.#committedTerm) {
        this.#committedTerm = entry.term
        this.#requeueOlderThan(entry.term, nowMs)
      }
      if (entry.origin !== this.#origin) continue
      const pending = this.#pending.get(entry.sequence)
      if (pending === undefined) continue
      count += 1
      this.#committedCount += 1
      oldestArrivalMs = Math.min(oldestArrivalMs, pending.arrivedMs)
      pending.committed = { index: entry.index, term: entry.term, timestampMs: entry.timestampMs }
      if (pending.wait !== 'committed') continue
      this.#remove(pending)
      pending.resolve({ ...pending.committed, result: null })
    }
    return { count, oldestArrivalMs }
  }

  /** The state machine has taken these commands. */
  applied(entries: readonly Entry[], results: readonly unknown[]): void {
    if (this.#pending.size === 0) return
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]
      if (entry === undefined || entry.origin !== this.#origin) continue
      const pending = this.#pending.get(entry.sequence)
      if (pending === undefined) continue
      this.#remove(pending)
      this.#appliedCount += 1
      const { index, term, timestampMs } = entry
      pending.resolve({ index, term, timestampMs, result: results[i] ?? null })
    }
  }

  /** Answers those whose time is over, with what is known of them. */
  expire(nowMs: number): void {
    for (const pending of this.#pending.values()) {
      const isQueued = pending.handedTerm === 0
      const patienceOver = isQueued && nowMs - pending.queuedMs >= this.#limits.leaderPatienceMs
      if (nowMs < pending.deadlineMs && !patienceOver) continue
      if (pending.committed !== null) {
        this.#fail(
          pending,
          'apply-pending',
          'committed',
          `Committed at index ${pending.committed.index}; the state machine has not applied it yet`,
        )
      } else if (isQueued) {
        this.#fail(
          pending,
          'no-leader',
          'not_applied',
          'Cannot propose: no leader that could take it was found in time',
        )
      } else {
        this.#fail(
          pending,
          'commit-timeout',
          'unknown',
          `Handed to the leader of term ${pending.handedTerm}; it was not committed in time and may yet be`,
        )
      }
    }
    if (this.#queued.length > 0) this.#queued = this.#queued.filter((pending) => this.#pending.has(pending.sequence))
  }

  /** The process is about to stop: what was never handed over goes back at once. */
  refuseQueued(): void {
    for (const pending of this.#queued)
      this.#fail(pending, 'shutting-down', 'not_applied', 'Cannot propose: this node is shutting down')
    this.#queued = []
  }

  /** The process stops: nobody will be here to see what becomes of the rest. */
  abandon(): void {
    this.refuseQueued()
    for (const pending of [...this.#pending.values()]) {
      if (pending.committed !== null) {
        this.#fail(
          pending,
          'apply-pending',
          'committed',
          `Committed at index ${pending.committed.index}; this node stopped before it was applied`,
        )
      } else {
        this.#fail(
          pending,
          'leadership-lost',
          'unknown',
          `Handed to the leader of term ${pending.handedTerm}; this node stopped before it knew more`,
        )
      }
    }
  }

  counters(): ProposalCounters {
    return { applied: this.#appliedCount, committed: this.#committedCount, failed: { ...this.#failed } }
  }

  /**
   * An entry of this term is committed, so no entry of an older term can follow it into the log: what was handed to an older leader and is not
   * committed by now never will be, and may be proposed again without a risk of doing it twice.
   */
  #requeueOlderThan(term: number, nowMs: number): void {
    for (const pending of this.#pending.values()) {
      const isLost = pending.handedTerm !== 0 && pending.handedTerm < term && pending.committed === null
      if (isLost) this.requeue(pending.sequence, pending.handedTerm, nowMs)
    }
  }

  #fail(pending: Pending, code: ProposalErrorCode, outcome: ProposalError['outcome'], message: string): void {
    this.#remove(pending)
    this.#failed[code] += 1
    pending.reject(new ProposalError(code, outcome, message, pending.committed))
  }

  #remove(pending: Pending): void {
    this.#pending.delete(pending.sequence)
    this.#pendingBytes -= pending.payload.length
  }
}
