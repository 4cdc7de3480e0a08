// How far the state machine is. Two marks: the last command that it holds, by which it knows itself, and the last entry, command or
// not, up to which there is nothing left to deliver. What the machine says of itself goes before everything else.

import type { ApplierEvents } from '../node/ports.ts'
import type { Entry } from '../raft/entry.ts'
import type { CursorSaver } from './cursor.ts'

export class Progress {
  readonly #cursor: CursorSaver | null
  readonly #events: ApplierEvents
  #appliedIndex = 0
  #after = 0
  #placed = false
  #usesCursor = false

  constructor(cursor: CursorSaver | null, events: ApplierEvents) {
    this.#cursor = cursor
    this.#events = events
  }

  /** The machine says by itself where it is; true until it was asked. */
  get isTold(): boolean {
    return !this.#usesCursor
  }

  get appliedIndex(): number {
    return this.#appliedIndex
  }

  /** Index of the last command that the machine holds; entries from there to appliedIndex are no commands. */
  get after(): number {
    return this.#after
  }

  /** Where the machine stands: by its word, or else (null) by the cursor at the start and by what was acknowledged later on. */
  locate(position: number | null): number {
    this.#usesCursor = position === null
    if (position !== null) return position
    return this.#placed ? this.#after : (this.#cursor?.position ?? 0)
  }

  /**
   * Goes by a committed position of the machine: back when it lost commands, forth when it holds some whose acknowledgement was lost
   * (then `undelivered` are the commands of the batch that failed, and what they answered is not known). False when it changes nothing.
   */
  adopt(position: number, undelivered: readonly Entry[]): boolean {
    this.#placed = true
    if (position < this.#after) {
      this.#appliedIndex = position
      this.#after = position
      this.#noteCursor()
      this.#events.rewound(position)
      return true
    }
    if (position <= this.#appliedIndex) return false
    this.advance(
      position,
      position,
      undelivered.filter((command) => command.index <= position),
      null,
    )
    return true
  }

  advance(appliedIndex: number, after: number, commands: readonly Entry[], results: readonly unknown[] | null): void {
    if (appliedIndex <= this.#appliedIndex) {
      throw new Error(`Applying goes from ${this.#appliedIndex} to ${appliedIndex}, which is no advance`)
    }
    this.#appliedIndex = appliedIndex
    this.#after = after
    this.#noteCursor()
    this.#events.applied(appliedIndex, commands, results)
  }

  /** A snapshot brought the machine to `after`; behind it, through `appliedIndex`, stand no commands. */
  restore(appliedIndex: number, after: number): void {
    this.#appliedIndex = appliedIndex
    this.#after = after
    this.#noteCursor()
    this.#events.restored(appliedIndex)
  }

  #noteCursor(): void {
    if (this.#usesCursor) this.#cursor?.note(this.#after)
  }
}
