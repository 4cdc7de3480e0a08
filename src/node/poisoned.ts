// Commands that an application refuses for good. The cluster may leave one out: then every application does, or a node whose application has taken it
// stops, because its state is another than that of the others.

import { exitCodes, FatalError, SkipError } from '../errors.ts'
import type { Entry, NodeId } from '../raft/entry.ts'
import type { Ledger } from './ledger.ts'
import type { Applier } from './ports.ts'
import { encodeSkip, type Skip } from './skip.ts'

export interface PoisonedOptions {
  readonly id: NodeId
  readonly application: Pick<Applier, 'appliedIndex' | 'poison'>
  /** It is the state machine; one that only watches decides nothing. */
  readonly leavesOut: boolean
}

export class Poisoned {
  readonly #options: PoisonedOptions
  /** The first command that this process has delivered, since the application was last put into another state; null: none yet. */
  #deliveredFrom: number | null = null

  constructor(options: PoisonedOptions) {
    this.#options = options
  }

  /** The payload of an entry that leaves out this command. Throws SkipError when delivery does not stop before it. */
  skipOf(index: number, isSkipped: boolean): Uint8Array {
    const { poison } = this.#options.application
    if (poison?.index === index && !isSkipped) return encodeSkip(index, poison.reason)
    const met = poison === null ? 'before none' : `before ${poison.index}`
    const why = isSkipped ? 'it is left out already' : `delivery to the application stops ${met}`
    throw new SkipError(`Cannot leave out the command at ${index}: ${why}`)
  }

  /** Throws FatalError when the cluster agreed to leave one of them out while it was on its way to the application, which has taken it. */
  delivered(entries: readonly Entry[], ledger: Pick<Ledger, 'hasSkips' | 'skipOf'>): void {
    this.#deliveredFrom ??= entries[0]?.index ?? null
    if (!this.#options.leavesOut || !ledger.hasSkips) return
    for (const { index } of entries) {
      const skip = ledger.skipOf(index)
      if (skip !== null) throw this.#diverged(skip)
    }
  }

  moved(): void {
    this.#deliveredFrom = null
  }

  /** The cluster has agreed on it. Throws FatalError when this process has delivered what is left out. */
  check(skip: Skip): void {
    const { application, leavesOut } = this.#options
    const { index } = skip
    // What was taken before this process began may have been left out then.
    if (!leavesOut || this.#deliveredFrom === null) return
    if (index < this.#deliveredFrom || index > application.appliedIndex) return
    throw this.#diverged(skip)
  }

  #diverged({ index, reason }: Skip): FatalError {
    const { id } = this.#options
    const sentence = `The cluster leaves out the command at ${index} (${reason}), and the application of ${id} has taken it`
    const remedy = 'Its state differs from that of the others: reset it, so that it is restored, and start again.'
    return new FatalError(exitCodes.dataError, `${sentence}. ${remedy}`)
  }
}
