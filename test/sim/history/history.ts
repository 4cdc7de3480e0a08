// What the clients did and saw, in the order of their calls and answers.

import type { Operation } from './linearizability.ts'

interface Recorded {
  readonly kind: Operation['kind']
  readonly key: string
  value: string | null
  readonly calledAt: number
  returnedAt: number
  /** It certainly had no effect, or its answer tells nothing. */
  isVoid: boolean
}

export class History {
  readonly #operations: Recorded[] = []
  #order = 0

  /** `value`: what is written; a read learns it from its answer. */
  called(kind: Operation['kind'], key: string, value: string | null): number {
    const calledAt = ++this.#order
    const id = this.#operations.length
    this.#operations.push({ kind, key, value, calledAt, returnedAt: Number.POSITIVE_INFINITY, isVoid: false })
    return id
  }

  /** The first answer counts. */
  wrote(id: number): void {
    const write = this.#at(id)
    if (write.returnedAt === Number.POSITIVE_INFINITY) write.returnedAt = ++this.#order
  }

  saw(id: number, value: string | null): void {
    const read = this.#at(id)
    read.value = value
    read.returnedAt = ++this.#order
  }

  void(id: number): void {
    this.#at(id).isVoid = true
  }

  get operations(): readonly Operation[] {
    return this.#operations.filter(({ isVoid }) => !isVoid)
  }

  #at(id: number): Recorded {
    return this.#operations[id] as Recorded
  }
}
