// The one log that is committed, as the nodes reveal it, and what state machines make of it: every node commits and applies the same (state
// machine safety), from a majority's disks, and each command once.

import { quorum } from '../../../src/raft/configuration.ts'
import { type Entry, isCommand, type NodeId } from '../../../src/raft/entry.ts'
import type { Keys } from './keys.ts'
import type { NodeRecord } from './node-record.ts'
import { meaningOf, ReferenceMachine } from './reference-machine.ts'
import type { Truth } from './truth.ts'

export interface Committed {
  readonly entry: Entry
  /** The term in which it was committed, which may be later than its own. */
  readonly inTerm: number
  /** Index of the last command before this entry. */
  readonly previousCommand: number
  /** What its application must have answered; null for what is no command. */
  result: string | null
  /** Of the state that every application must have behind it. */
  digest: number
  /** The entry by which the cluster leaves it out. */
  skippedAt: number | null
}

export class CommittedLog {
  readonly #truth: Truth
  readonly #keys: Keys
  /** The state machine whose results are answered goes by what is skipped; the embedded one takes every command. */
  readonly #leavesOut: boolean
  #reference = new ReferenceMachine()
  /** By index; the first one is before the log. */
  readonly #committed: (Committed | null)[] = [null]
  readonly #indexOfCommand = new Map<string, number>()
  /** How many proposals of a command are in the log, or may still get there. */
  readonly #proposals = new Map<string, number>()

  constructor(truth: Truth, keys: Keys, leavesOut: boolean) {
    this.#truth = truth
    this.#keys = keys
    this.#leavesOut = leavesOut
  }

  get reference(): ReferenceMachine {
    return this.#reference
  }

  /** One past the last index. */
  get length(): number {
    return this.#committed.length
  }

  at(index: number): Committed | null {
    return this.#committed[index] ?? null
  }

  /** Index of the last command through this entry. */
  lastCommand(index: number): number {
    const committed = this.at(index)
    if (committed === null) return 0
    return isCommand(committed.entry) ? index : committed.previousCommand
  }

  /** The same for a state machine that leaves out what is skipped. */
  lastTaken(index: number): number {
    let last = this.lastCommand(index)
    for (let at = this.at(last); at !== null && at.skippedAt !== null; at = this.at(last)) last = at.previousCommand
    return last
  }

  /** The last command that the machine whose results are answered holds behind this entry. */
  lastHeld(index: number): number {
    return this.#leavesOut ? this.lastTaken(index) : this.lastCommand(index)
  }

  skips(through: number): readonly { readonly index: number; readonly at: number }[] {
    return this.#committed.flatMap((committed) =>
      committed !== null && committed.skippedAt !== null && committed.skippedAt <= through
        ? [{ index: committed.entry.index, at: committed.skippedAt }]
        : [],
    )
  }

  advanced(id: NodeId, commitIndex: number): void {
    const record = this.#truth.record(id)
    if (commitIndex === record.commitIndex) return
    if (commitIndex < record.commitIndex)
      this.#truth.world.violated('commitIndex rises', `${id} goes from ${record.commitIndex} to ${commitIndex}`)
    if (commitIndex > record.lastIndex) {
      this.#truth.world.violated(
        'state machine safety',
        `${id} commits ${commitIndex}, past its last entry ${record.lastIndex}`,
      )
      return
    }
    const { currentTerm } = record.issuedHardState
    const isNews = commitIndex >= this.#committed.length
    for (let index = record.commitIndex + 1; index <= commitIndex; index++) {
      const term = record.issued[index] ?? 0
      const known = this.#committed[index]
      if (known === undefined) this.#commit(record, index, term)
      else if (known?.entry.term !== term) {
        this.#truth.world.violated(
          'state machine safety',
          `${id} commits entry ${index} of term ${term}, another node did of term ${known?.entry.term}`,
        )
      }
      if (this.#truth.world.violation !== null) return
    }
    const last = record.issued[commitIndex]
    if (isNews && record.leads === currentTerm && last !== currentTerm) {
      this.#truth.world.violated(
        'older terms never commit by counting',
        `${id} leads term ${currentTerm} and commits entry ${commitIndex} of term ${last}`,
      )
    }
    record.commitIndex = commitIndex
  }

  #commit(record: NodeRecord, index: number, term: number): void {
    const entry = this.#truth.registry.get({ term, index })
    if (entry === undefined) {
      this.#truth.world.violated(
        'state machine safety',
        `${record.id} commits entry ${index} of term ${term}, which nobody proposed`,
      )
      return
    }
    const holders = this.#truth.voters.filter((id) => {
      const { promised, durable } = this.#truth.record(id)
      return (promised ?? durable)[index] === term
    })
    if (holders.length < quorum(this.#truth.voters.length)) {
      const names = holders.join(', ') || 'none of the voters'
      this.#truth.world.violated(
        'committed is durable on a majority',
        `${record.id} commits entry ${index} of term ${term}, durable on ${names}`,
      )
    }
    for (const other of this.#truth.records.values()) {
      if (other.leads > record.issuedHardState.currentTerm && other.issued[index] !== term) {
        this.#truth.world.violated(
          'leader completeness',
          `${record.id} commits entry ${index} of term ${term}, which ${other.id}, leader of term ${other.leads}, lacks`,
        )
      }
    }
    for (const lease of this.#truth.leases()) {
      if (lease.id === record.id || lease.index >= index) continue
      this.#truth.world.violated(
        'reads are not stale',
        `${record.id} commits entry ${index}, and ${lease.id} would read by lease at ${lease.index}`,
      )
    }
    const committed: Committed = {
      entry,
      inTerm: record.issuedHardState.currentTerm,
      previousCommand: this.lastCommand(index - 1),
      result: null,
      digest: 0,
      skippedAt: null,
    }
    this.#committed[index] = committed
    this.#apply(committed)
    if (isCommand(entry)) this.#commitCommand(entry)
    this.#keys.committed(entry)
    if (entry.kind === 'skip') this.#commitSkip(entry)
    this.#truth.committedTerms[index] = term
    this.#truth.world.trace.mix(index)
    this.#truth.world.trace.mix(term)
  }

  #apply(committed: Committed): void {
    const { entry, skippedAt } = committed
    const isTaken = isCommand(entry) && !(this.#leavesOut && skippedAt !== null)
    committed.result = isTaken ? meaningOf(this.#reference.apply(entry.kind, entry.payload, entry.index)) : null
    committed.digest = this.#reference.digest
  }

  /** Nobody may have gone past what it leaves out, so that all that followed is as if it had never been. */
  #commitSkip(entry: Entry): void {
    const { index } = JSON.parse(Buffer.from(entry.payload).toString()) as { readonly index: number }
    const skipped = index < entry.index ? this.at(index) : null
    if (skipped === null || skipped.skippedAt !== null) return
    skipped.skippedAt = entry.index
    if (!this.#leavesOut) return
    if (this.#truth.world.trace.isTold) this.#truth.world.tell('', `SKIPPED is the command at ${index}`)
    this.#reference = new ReferenceMachine()
    for (const each of this.#committed) if (each !== null) this.#apply(each)
  }

  #commitCommand(entry: Entry): void {
    const command = commandKey(entry.payload)
    const earlier = this.#indexOfCommand.get(command)
    // Under a key it may come again, once that has expired: see Keys.
    if (earlier !== undefined && entry.key === null) {
      this.#truth.world.violated(
        'a proposal commits once',
        `entry ${entry.index} is the command of entry ${earlier} again: ${command}`,
      )
    }
    this.#indexOfCommand.set(command, entry.index)
    if (this.#proposals.get(command) === 0) {
      this.#truth.world.violated(
        'not_applied is final',
        `entry ${entry.index} is committed, and its proposer was told that it never entered the log: ${command}`,
      )
    }
  }

  /** A state machine took these commands; `results` null: its answer was lost. */
  applied(id: NodeId, appliedIndex: number, entries: readonly Entry[], results: readonly unknown[] | null): void {
    if (appliedIndex > this.#truth.record(id).commitIndex) {
      this.#truth.world.violated(
        'state machine safety',
        `${id} applied ${appliedIndex}, and has committed through ${this.#truth.record(id).commitIndex}`,
      )
    }
    entries.forEach((entry, at) => {
      const committed = this.at(entry.index)
      const result = results?.[at]
      if (committed === null || committed.entry.term !== entry.term || !isSameRecord(committed.entry, entry)) {
        this.#truth.world.violated(
          'state machine safety',
          `${id} applied entry ${entry.index} of term ${entry.term}, which is not the committed one`,
        )
      } else if (results !== null && committed.skippedAt === null && meaningOf(result) !== committed.result) {
        // An application that takes what the cluster has left out is another matter.
        this.#truth.world.violated(
          'state machine safety',
          `${id} got ${meaningOf(result)} for entry ${entry.index}, not ${committed.result}`,
        )
      }
    })
  }

  /** Somebody proposes it, for the first time or again. */
  proposed(command: string): void {
    this.#proposals.set(command, (this.#proposals.get(command) ?? 0) + 1)
  }

  /** A proposer is told that its proposal never entered the log: if there is no other one of that command, the command never will. */
  refused(id: NodeId, command: string): void {
    const others = (this.#proposals.get(command) ?? 0) - 1
    this.#proposals.set(command, others)
    const index = this.#indexOfCommand.get(command)
    if (others > 0 || index === undefined) return
    this.#truth.world.violated(
      'not_applied is final',
      `${id} tells the proposer of ${command} that it never entered the log; it is entry ${index}`,
    )
  }
}

function isSameRecord(a: Entry, b: Entry): boolean {
  return a.record === b.record || Buffer.compare(a.record, b.record) === 0
}

/** The clients' commands are all different within their first bytes. */
export function commandKey(payload: Uint8Array): string {
  return Buffer.from(payload.buffer, payload.byteOffset, Math.min(payload.length, 80)).toString('latin1')
}
