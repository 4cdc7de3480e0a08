// Which answers may be lost. A sidecar keeps what its application answered, but not in the same step as the application keeps its data: what was
// answered at about the moment of a kill may be known to that machine no more. Only if that happened on all three is it known nowhere.

import { lastBatches } from '../application/journal.ts'

/** The batch that was under way, and those whose answers were on their way into the sidecar's memory and its file. */
const batches = 4

interface Window {
  readonly from: number
  readonly through: number
}

export class Losses {
  readonly #windows = new Map<string, Window[]>()

  /** To be called while what was killed is still down, so that the application's file is as it was then. */
  killed(id: string, journal: string): void {
    this.#windows.set(id, [...(this.#windows.get(id) ?? []), lastBatches(journal, batches)])
  }

  /** Every machine was killed at about the time at which it applied this. */
  explain(index: number, ids: readonly string[]): boolean {
    return ids.every((id) => this.#windows.get(id)?.some(({ from, through }) => from <= index && index <= through))
  }
}
