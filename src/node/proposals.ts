// Commands of this node's clients that wait for their answer, and what is known of each: not handed to a leader yet, handed over, committed.
// An answer finds its request by the origin and sequence that the entry itself carries; that of a repeat by the place of the entry that came first
// under its key, in the ledger.

import { ProposalError, type ProposalErrorCode } from '../errors.ts'
import type { CommandKind, Entry, EntryId } from '../raft/entry.ts'
import type { AppliedCommand, CommittedCommand, ProposalCounters } from './contract.ts'
import { digestOf, type KeyedCommand, type Ledger } from './ledger.ts'
import type { ForwardedProposal } from './ports.ts'
import type { Skip } from './skip.ts'

export interface ProposalLimits {
  readonly maxPendingProposals: number
  readonly maxPendingBytes: number
  /** How long a proposal waits for a leader to be known before it is refused. */
  readonly leaderPatienceMs: number
}

/** What is proposed: a command of a client, or to leave one out. */
export interface NewProposal {
  readonly kind: CommandKind | 'skip'
  readonly payload: Uint8Array
  readonly key: string | null
  readonly traceparent: string | null
}

export interface ProposalsOptions {
  /** By which the entries of this process's clients are known. */
  readonly origin: number
  readonly limits: ProposalLimits
  readonly ledger: () => Ledger
  /** Everything through here is in the state machine. */
  readonly appliedIndex: () => number
  /** The state machine leaves out what the cluster skips; the embedded one takes every command. */
  readonly leavesOut: boolean
}

const snapshotSentence = 'this node has got a snapshot in place of the entries that it may be among'

interface Pending extends NewProposal {
  readonly sequence: number
  readonly wait: 'applied' | 'committed'
  readonly arrivedMs: number
  readonly deadlineMs: number
  /** Since when it waits for a leader. */
  queuedMs: number
  /** The term of the leader that it was handed to; 0 while it is queued. Only an entry of this term can be it. */
  handedTerm: number
  /** Where the entry stands that came before it under its key, in the log of the leader that it was handed to; null: it is none such. */
  first: EntryId | null
  /** A snapshot stands where its entry may be: whoever refuses it now does not prove that it is in no log. */
  isInDoubt: boolean
  committed: CommittedCommand | null
  readonly resolve: (command: AppliedCommand) => void
  readonly reject: (error: ProposalError) => void
}

export class Proposals {
  readonly #origin: number
  readonly #limits: ProposalLimits
  readonly #ledger: () => Ledger
  readonly #appliedIndex: () => number
  readonly #leavesOut: boolean
  readonly #pending = new Map<number, Pending>()
  /** Those that are answered by the ledger: repeats, and those whose own answer was lost. */
  readonly #byLedger = new Set<Pending>()
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
    'result-unknown': 0,
    'command-skipped': 0,
    'idempotency-key-reused': 0,
    'storage-full': 0,
  }

  constructor({ origin, limits, ledger, appliedIndex, leavesOut }: ProposalsOptions) {
    this.#origin = origin
    this.#limits = limits
    this.#ledger = ledger
    this.#appliedIndex = appliedIndex
    this.#leavesOut = leavesOut
  }

  get size(): number {
    return this.#pending.size
  }

  get hasQueued(): boolean {
    return this.#queued.length > 0
  }

  /** Null when there is room for so many more; else a sentence on why there is none. */
  fullness(count: number, bytes: number): string | null {
    const { maxPendingProposals, maxPendingBytes } = this.#limits
    const hasRoom = this.#pending.size + count <= maxPendingProposals && this.#pendingBytes + bytes <= maxPendingBytes
    if (hasRoom) return null
    const taken = `${this.#pending.size} of ${this.#pendingBytes} bytes wait for their answer already`
    return `Cannot take ${count === 1 ? 'another proposal' : `${count} proposals`}: ${taken}`
  }

  /** Null when there is room for another of this size; else how it is refused, and counted as that. */
  admit(bytes: number): ProposalError | null {
    const full = this.fullness(1, bytes)
    return full === null ? null : this.#refusal('too-many-proposals', full)
  }

  /** Rejects with ProposalError. */
  add(command: NewProposal, wait: 'applied' | 'committed', nowMs: number, timeoutMs: number): Promise<AppliedCommand> {
    const full = this.fullness(1, command.payload.length)
    if (full !== null) return this.refuse('too-many-proposals', full)
    const first = command.key === null ? null : this.#ledger().find(command.key)
    if (first !== null && !isSame(command, first)) return this.refuse('idempotency-key-reused', reusedSentence(first))
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        kind: command.kind,
        payload: command.payload,
        key: command.key,
        traceparent: command.traceparent,
        sequence: ++this.#lastSequence,
        wait,
        arrivedMs: nowMs,
        deadlineMs: nowMs + timeoutMs,
        queuedMs: nowMs,
        handedTerm: 0,
        first: null,
        isInDoubt: false,
        committed: null,
        resolve,
        reject,
      }
      this.#pending.set(pending.sequence, pending)
      this.#pendingBytes += pending.payload.length
      if (first === null) this.#queued.push(pending)
      else this.#follow(pending, first.id, nowMs)
    })
  }

  /** A proposal that never gets as far as the queue. */
  refuse(code: ProposalErrorCode, message: string): Promise<never> {
    return Promise.reject(this.#refusal(code, message))
  }

  #refusal(code: ProposalErrorCode, message: string): ProposalError {
    this.#failed[code] += 1
    return new ProposalError(code, 'not_applied', message)
  }

  /** Everything queued, to be handed to the leader of this term. */
  takeQueued(term: number): readonly ForwardedProposal[] {
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
    this.#byLedger.delete(pending)
    pending.first = null
    pending.handedTerm = 0
    pending.queuedMs = nowMs
    this.#queued.push(pending)
  }

  /**
   * The leader of this term holds an entry under its key, there; null: of another command. `isCurrent`: no leader of a later term is known, so that
   * what is committed here by now is in its log, too.
   */
  repeated(sequence: number, term: number, first: EntryId | null, isCurrent: boolean, nowMs: number): void {
    const pending = this.#pending.get(sequence)
    if (pending === undefined || pending.handedTerm !== term || pending.committed !== null) return
    if (first === null) {
      const sentence = `Cannot propose under the key ${pending.key}: it was given to another command before`
      this.#refuse(pending, 'idempotency-key-reused', sentence)
    } else if (isCurrent && this.#hasGivenUp(pending.key, first)) {
      // Proposed again, it would get this very answer for ever.
      this.#failUnknown(pending, 'its key has expired here', first)
    } else this.#follow(pending, first, nowMs)
  }

  /** What stands there is committed, and this node's ledger no longer has it: it keeps fewer keys than the leader's. */
  #hasGivenUp(key: string | null, { index }: EntryId): boolean {
    const ledger = this.#ledger()
    return index <= ledger.throughIndex && (key === null || ledger.find(key)?.id.index !== index)
  }

  /** The ledger has seen more, or has learnt what commands answered. */
  ledgerChanged(nowMs: number): void {
    if (this.#byLedger.size === 0) return
    const { throughIndex } = this.#ledger()
    const appliedIndex = this.#appliedIndex()
    for (const pending of this.#byLedger) {
      const { committed, first } = pending
      // Thousands may wait for one command, and this comes with every commit: what is left out meanwhile is told by `leftOut`.
      const isReached = committed === null ? (first?.index ?? 0) <= throughIndex : committed.index <= appliedIndex
      if (isReached) this.#consult(pending, nowMs)
    }
  }

  /** Commands of which only the other nodes can tell what they answered. */
  get unanswered(): readonly number[] {
    const indexes: number[] = []
    for (const { committed } of this.#byLedger) {
      if (committed !== null && committed.index <= this.#appliedIndex()) indexes.push(committed.index)
    }
    return indexes
  }

  /** These will never be applied. */
  leftOut(skips: readonly Skip[]): void {
    if (!this.#leavesOut) return
    for (const skip of skips) {
      for (const pending of [...this.#pending.values()]) {
        if (pending.committed?.index === skip.index) this.#failSkipped(pending, skip)
      }
    }
  }

  /** The leader of this term did not append it, because it has too much under way, or its disk has no room. */
  refuseFull(sequence: number, term: number, reason: 'tail-full' | 'storage-full'): void {
    const pending = this.#pending.get(sequence)
    if (pending === undefined || pending.handedTerm !== term || pending.committed !== null) return
    if (reason === 'tail-full') {
      const sentence = 'Cannot take another proposal: the leader has too much uncommitted'
      this.#refuse(pending, 'too-many-proposals', sentence)
    } else {
      const sentence =
        "Cannot take another proposal: the leader's disk is full, and no other voter with room could take over"
      this.#refuse(pending, 'storage-full', sentence)
    }
  }

  /** A snapshot stands for the next entries of the log, the last of them of this term: what was committed among them is not known here. */
  skipped(term: number, nowMs: number): void {
    this.#committedTerm = Math.max(this.#committedTerm, term)
    for (const pending of [...this.#pending.values()]) {
      if (pending.handedTerm === 0 || pending.handedTerm > term || pending.committed !== null) continue
      if (pending.key !== null) {
        // Once more does no harm: if it is in the log, the leader knows its key.
        pending.isInDoubt = true
        this.requeue(pending.sequence, pending.handedTerm, nowMs)
        continue
      }
      const sentence = `Handed to the leader of term ${pending.handedTerm}; ${snapshotSentence}`
      this.#fail(pending, 'leadership-lost', 'unknown', sentence)
    }
  }

  /** The state machine holds everything through this index, and what the commands up to it answered is not known here, for this reason. */
  answersLost(appliedIndex: number, why: string): void {
    for (const pending of [...this.#pending.values()]) {
      const { committed } = pending
      if (committed === null || committed.index > appliedIndex) continue
      this.#answerLost(pending, why)
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
      // In doubt, it was proposed again, and stands here twice if its key had expired by then: the first one is the one that is answered.
      if (pending === undefined || pending.committed !== null) continue
      count += 1
      oldestArrivalMs = Math.min(oldestArrivalMs, pending.arrivedMs)
      const { index, term, timestampMs } = entry
      this.#commit(pending, { index, term, timestampMs, duplicate: false })
    }
    return { count, oldestArrivalMs }
  }

  /** The state machine has taken these commands. */
  applied(entries: readonly Entry[], results: readonly unknown[], nowMs: number): void {
    if (this.#pending.size === 0) return
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]
      if (entry === undefined || entry.origin !== this.#origin) continue
      const pending = this.#pending.get(entry.sequence)
      if (pending === undefined) continue
      const { index, term, timestampMs } = entry
      pending.committed ??= { index, term, timestampMs, duplicate: false }
      this.#answer(pending, pending.committed, results[i] ?? null)
    }
    this.ledgerChanged(nowMs)
  }

  /** Answers those whose time is over, with what is known of them. */
  expire(nowMs: number): void {
    for (const pending of this.#pending.values()) {
      const isQueued = pending.handedTerm === 0 && pending.first === null
      const patienceOver = isQueued && nowMs - pending.queuedMs >= this.#limits.leaderPatienceMs
      if (nowMs < pending.deadlineMs && !patienceOver) continue
      const { committed } = pending
      if (committed !== null && this.#byLedger.has(pending) && committed.index <= this.#appliedIndex()) {
        const sentence = `Applied at index ${committed.index}; what it answered is not known here, and no other node could tell in time`
        this.#fail(pending, 'result-unknown', 'committed', sentence)
      } else if (committed !== null) {
        const sentence = `Committed at index ${committed.index}; the state machine has not applied it yet`
        this.#fail(pending, 'apply-pending', 'committed', sentence)
      } else if (isQueued) {
        this.#refuse(pending, 'no-leader', 'Cannot propose: no leader that could take it was found in time')
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
      this.#refuse(pending, 'shutting-down', 'Cannot propose: this node is shutting down')
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

  /** It is answered as the entry that stands there under its key, if that is committed. */
  #follow(pending: Pending, first: EntryId, nowMs: number): void {
    pending.first = first
    this.#byLedger.add(pending)
    this.#consult(pending, nowMs)
  }

  #consult(pending: Pending, nowMs: number): void {
    const ledger = this.#ledger()
    const { key, first, committed } = pending
    const index = committed?.index ?? first?.index ?? 0
    if (ledger.throughIndex < index) return
    const found = key === null ? null : ledger.find(key)
    const place = committed ?? first
    const isThere = found !== null && found.id.index === index && found.id.term === place?.term
    if (committed === null) {
      if (!isThere) {
        // What it was to follow gave way to other entries.
        this.requeue(pending.sequence, pending.handedTerm, nowMs)
        return
      }
      const { id, timestampMs } = found
      this.#commit(pending, { ...id, timestampMs, duplicate: true })
    }
    if (pending.committed === null || !this.#pending.has(pending.sequence)) return
    const skip = this.#leavesOut ? ledger.skipOf(index) : null
    if (skip !== null) this.#failSkipped(pending, skip)
    else if (index <= this.#appliedIndex()) this.#answerFrom(isThere ? found : null, pending, pending.committed)
  }

  #answerFrom(found: KeyedCommand | null, pending: Pending, committed: CommittedCommand): void {
    if (found?.answer.type === 'known') this.#answer(pending, committed, JSON.parse(found.answer.json))
    else if (found?.answer.type === 'too-long') this.#failUnknown(pending, 'it was longer than the 4 KiB that are kept')
    else if (found === null) this.#failUnknown(pending, 'its key has expired')
  }

  /** Its own answer will not come: the ledger may have it, or get it from another node. */
  #answerLost(pending: Pending, why: string): void {
    if (pending.key === null) this.#failUnknown(pending, why)
    else {
      this.#byLedger.add(pending)
      this.#consult(pending, pending.queuedMs)
    }
  }

  #commit(pending: Pending, committed: CommittedCommand): void {
    // One in doubt turned up in the log, and is not to be proposed once more.
    if (pending.isInDoubt) this.#queued = this.#queued.filter((queued) => queued !== pending)
    this.#committedCount += 1
    pending.committed = committed
    if (pending.wait !== 'committed') return
    this.#remove(pending)
    pending.resolve({ ...committed, result: null })
  }

  #answer(pending: Pending, committed: CommittedCommand, result: unknown): void {
    this.#remove(pending)
    this.#appliedCount += 1
    pending.resolve({ ...committed, result })
  }

  /** It is in no log, as far as can be said. */
  #refuse(pending: Pending, code: ProposalErrorCode, sentence: string): void {
    if (!pending.isInDoubt) this.#fail(pending, code, 'not_applied', sentence)
    else this.#fail(pending, 'leadership-lost', 'unknown', `${sentence}; ${snapshotSentence}`)
  }

  #failUnknown(pending: Pending, why: string, place: EntryId | null = pending.committed): void {
    const sentence = `Applied at index ${place?.index}; what it answered is not known: ${why}`
    this.#fail(pending, 'result-unknown', 'committed', sentence, place)
  }

  #failSkipped(pending: Pending, { index, reason }: Skip): void {
    const sentence = `The application refused the command at ${index} for good (${reason}), and the cluster has left it out`
    this.#fail(pending, 'command-skipped', 'not_applied', sentence)
  }

  #fail(
    pending: Pending,
    code: ProposalErrorCode,
    outcome: ProposalError['outcome'],
    message: string,
    place: EntryId | null = pending.committed,
  ): void {
    this.#remove(pending)
    this.#failed[code] += 1
    const committed = place === null ? null : { index: place.index, term: place.term }
    pending.reject(new ProposalError(code, outcome, message, committed))
  }

  #remove(pending: Pending): void {
    this.#pending.delete(pending.sequence)
    this.#byLedger.delete(pending)
    this.#pendingBytes -= pending.payload.length
  }
}

function isSame({ kind, payload }: NewProposal, first: KeyedCommand): boolean {
  return kind !== 'skip' && digestOf(kind, payload) === first.digest
}

function reusedSentence({ key, id }: KeyedCommand): string {
  return `Cannot propose under the key ${key}: it was given to another command before, at index ${id.index}`
}
