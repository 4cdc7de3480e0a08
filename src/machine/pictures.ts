// Pictures of a machine's state for whoever wishes for one: one at a time, and each wish gets one answer. A picture counts only when it shows the
// machine at the very command at which delivery stands.

import type { MachineSnapshot } from '../node/ports.ts'
import { messageOf } from './error-message.ts'
import type { Snapshot, StateMachine } from './state-machine.ts'

export interface Place {
  /** Every entry through here is in the machine. */
  readonly appliedIndex: number
  /** Index of the last command that the machine holds. */
  readonly after: number
}

interface Wish {
  resolve(snapshot: MachineSnapshot | null): void
  reject(error: Error): void
}

export class Pictures {
  readonly #machine: StateMachine
  readonly #ended: (isElsewhere: boolean) => void
  #wish: Wish | null = null

  /** `ended`: something else may be asked of the machine again; true when it showed itself at another place than it was taken to be at. */
  constructor(machine: StateMachine, ended: (isElsewhere: boolean) => void) {
    this.#machine = machine
    this.#ended = ended
  }

  get isWanted(): boolean {
    return this.#wish !== null
  }

  /** Resolves after `take`, rejects by `refuse`. */
  wish(): Promise<MachineSnapshot | null> {
    return new Promise((resolve, reject) => {
      if (this.#wish === null) this.#wish = { resolve, reject }
      else reject(refusal('one is being taken'))
    })
  }

  refuse(why: string): void {
    this.#wish?.reject(refusal(why))
    this.#wish = null
  }

  take(place: Place): void {
    const wish = this.#wish
    this.#machine.snapshot().then(
      (snapshot) => this.#ended(this.#judge(snapshot, place, wish)),
      (error: unknown) => {
        if (this.#wish === wish) this.refuse(messageOf(error))
        this.#ended(false)
      },
    )
  }

  #judge(snapshot: Snapshot | null, { appliedIndex, after }: Place, wish: Wish | null): boolean {
    const isElsewhere = snapshot !== null && snapshot.position !== after
    const isRefused = this.#wish !== wish
    if (snapshot !== null && (isElsewhere || isRefused)) giveUp(snapshot.body)
    if (isRefused) return isElsewhere
    if (isElsewhere) {
      this.refuse(`it gave its state at ${snapshot.position}, and was taken to be at ${after}`)
      return true
    }
    this.#wish = null
    wish?.resolve(snapshot === null ? null : { appliedIndex, position: after, body: snapshot.body })
    return false
  }
}

function refusal(why: string): Error {
  return new Error(`Cannot take a snapshot of the state machine: ${why}`)
}

/** Lets go of a picture that nobody will read. */
function giveUp(body: AsyncIterable<Uint8Array>): void {
  body[Symbol.asyncIterator]()
    .return?.()
    .catch(() => {})
}
