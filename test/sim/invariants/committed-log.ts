// The one log that is committed, as the nodes reveal it, and what state machines make of it: every node commits and applies the same (state
// machine safety), from a majority's disks, and each command once.

import { quorum } from '../../../src/raft/configuration.ts'
import { type Entry, isCommand, type NodeId } from '../../../src/raft/entry.ts'
import type { NodeRecord } from './node-record.ts'
import { meaningOf, ReferenceMachine } from './reference-machine.ts'
import type { Truth } from './truth.ts'

export interface Committed {
  readonly entry: Entry
  /** Index of the last command before this entry. */
  readonly previousCommand: number
  /** What its application must have answered; null for what is no command. */
  readonly result: string | null
  /** Of the state that every application must have behind it. */
  readonly digest: number
}

export class CommittedLog {
  readonly reference = new ReferenceMachine()
  readonly #truth: Truth
  /** By index; the first one is before the log. */
  readonly #committed: (Committed | null)[] = [null]
  readonly #indexOfCommand = new Map<string, number>()
  readonly #neverApplied = new Set<string>()

  constructor(truth: Truth) {
    this.#truth = truth
  }

  /** One past the last index. */
  get length(): number {
    return this.#committed.length
  }

  at(index: number): Committed | null {
    return this.#committed[index] ?? null
  }

  advanced(id: NodeId, commitIndex: number): void {
    const record = this.#truth.record(id)
    if (commitIndex === record.untoldCommitIndex) {
      record.untoldCommitIndex = 0
      return
    }
    if (commitIndex <= record.commitIndex)
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
    const previous = this.#committed[index - 1] ?? null
    let previousCommand = 0
    if (previous !== null) previousCommand = isCommand(previous.entry) ? previous.entry.index : previous.previousCommand
    let result: string | null = null
    if (isCommand(entry)) {
      result = meaningOf(this.reference.apply(entry.kind, entry.payload, index))
      this.#commitCommand(entry)
    }
    this.#committed[index] = { entry, previousCommand, result, digest: this.reference.digest }
    this.#truth.committedTerms[index] = term
    this.#truth.world.trace.mix(index)
    this.#truth.world.trace.mix(term)
  }

  #commitCommand(entry: Entry): void {
    const command = commandKey(entry.payload)
    const earlier = this.#indexOfCommand.get(command)
    if (earlier !== undefined) {
      this.#truth.world.violated(
        'a proposal commits once',
        `entry ${entry.index} is the command of entry ${earlier} again: ${command}`,
      )
    }
    this.#indexOfCommand.set(command, entry.index)
    if (this.#neverApplied.has(command)) {
      this.#truth.world.violated(
        'not_applied is final',
        `entry ${entry.index} is committed, and its proposer was told that it never entered the log: ${command}`,
      )
    }
  }

  /** A state machine took these commands; `mayForget`: results of a batch whose answer was lost are null. */
  applied(
    id: NodeId,
    appliedIndex: number,
    entries: readonly Entry[],
    results: readonly unknown[],
    mayForget: boolean,
  ): void {
    if (appliedIndex > this.#truth.record(id).commitIndex) {
      this.#truth.world.violated(
        'state machine safety',
        `${id} applied ${appliedIndex}, and has committed through ${this.#truth.record(id).commitIndex}`,
      )
    }
    entries.forEach((entry, at) => {
      const committed = this.at(entry.index)
      const result = results[at]
      if (committed === null || committed.entry.term !== entry.term || !isSameRecord(committed.entry, entry)) {
        this.#truth.world.violated(
          'state machine safety',
          `${id} applied entry ${entry.index} of term ${entry.term}, which is not the committed one`,
        )
      } else if (!(mayForget && result === null) && meaningOf(result) !== committed.result) {
        this.#truth.world.violated(
          'state machine safety',
          `${id} got ${meaningOf(result)} for entry ${entry.index}, not ${committed.result}`,
        )
      }
    })
  }

  /** Its proposer is told that it never entered the log. */
  refused(id: NodeId, payload: Uint8Array): void {
    const command = commandKey(payload)
    const index = this.#indexOfCommand.get(command)
    if (index !== undefined) {
      this.#truth.world.violated(
        'not_applied is final',
        `${id} tells the proposer of ${command} that it never entered the log; it is entry ${index}`,
      )
    }
    this.#neverApplied.add(command)
  }
}

function isSameRecord(a: Entry, b: Entry): boolean {
  return a.record === b.record || Buffer.compare(a.record, b.record) === 0
}

/** The clients' commands are all different within their first bytes. */
export function commandKey(payload: Uint8Array): string {
  return Buffer.from(payload.buffer, payload.byteOffset, Math.min(payload.length, 80)).toString('latin1')
}
