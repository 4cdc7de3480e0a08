// Who waits to know that the machine itself stands where delivery does. Only an answer to something that was asked of it after the wish came counts:
// a machine in another process may have lost its state since it last said anything.

interface Wish {
  resolve(): void
  reject(error: Error): void
}

export class Confirmations {
  /** Nothing has been asked of the machine since they came. */
  #waiting: Wish[] = []
  /** The answer that is under way settles them. */
  #asked: Wish[] = []

  wish(): Promise<void> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  get isWanted(): boolean {
    return this.#waiting.length > 0
  }

  /** A batch, or the question where it is, is on its way to the machine. */
  asked(): void {
    if (this.#waiting.length === 0) return
    this.#asked = [...this.#asked, ...this.#waiting]
    this.#waiting = []
  }

  /** It answered as what delivery takes it for by now. */
  confirmed(): void {
    if (this.#asked.length === 0) return
    const asked = this.#asked
    this.#asked = []
    for (const { resolve } of asked) resolve()
  }

  /** It did not answer so: the next answer may. */
  failed(): void {
    if (this.#asked.length === 0) return
    this.#waiting = [...this.#asked, ...this.#waiting]
    this.#asked = []
  }

  abandon(why: string): void {
    const wishes = [...this.#asked, ...this.#waiting]
    this.#asked = []
    this.#waiting = []
    for (const { reject } of wishes) reject(new Error(why))
  }
}
