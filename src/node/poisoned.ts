// Commands that an application refuses for good. The cluster may leave one out: then every application does, or a node whose application has taken it
// stops, because its state is another than that of the others.

import { exitCodes, FatalError, SkipError } from '../errors.ts'
import type { Entry, NodeId } from '../raft/entry.ts'
import type { Applier } from './ports.ts'
import { encodeSkip, type Skip } from './skip.ts'

export interface PoisonedOptions {
  readonly id: NodeId
  readonly application: Pick<Applier, 'appliedIndex' | 'poison'>
  /** It only watches: what it takes decides nothing. */
  readonly isObserver: boolean
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

  delivered(entries: readonly Entry[]): void {
    this.#deliveredFrom ??= entries[0]?.index ?? null
  }

  moved(): void {
    this.#deliveredFrom = null
  }

  /** The cluster has agreed on it. Throws FatalError when this process has delivered what is left out. */
  check({ index, reason }: Skip): void {
    const { id, application, isObserver } = this.#options
    // What was taken before this process began may have been left out then.
    if (isObserver || this.#deliveredFrom === null) return
    if (index < this.#deliveredFrom || index > application.appliedIndex) return
    const sentence = `The cluster leaves out the command at ${index} (${reason}), and the application of ${id} has taken it`
    const remedy = 'Its state differs from that of the others: reset it, so that it is restored, and start again.'
    throw new FatalError(exitCodes.dataError, `${sentence}. ${remedy}`)
  }
}
