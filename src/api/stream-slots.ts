// How many clients may have a request open without end: each costs a little memory for as long as it likes.

import { Refusal } from './problem.ts'

export class StreamSlots {
  readonly #max: number
  #taken = 0

  constructor(max: number) {
    this.#max = max
  }

  get taken(): number {
    return this.#taken
  }

  /** Returns how to give it back, to be called once. Throws Refusal when there is none left. */
  take(): () => void {
    if (this.#taken >= this.#max) {
      throw new Refusal(
        429,
        'too-many-streams',
        `There are ${this.#max} streams and waiting reads already: end one, or try again in a moment.`,
        1,
      )
    }
    this.#taken++
    return () => {
      this.#taken--
    }
  }
}
