// What ends a check before its end. Each is one sentence for the person who wrote the application: what it did, and what would do.

/** The application breaks the contract. */
export class Failure extends Error {
  constructor(sentence: string, options?: ErrorOptions) {
    super(sentence, options)
    this.name = 'Failure'
  }
}

/** There is nothing to check, and the sentence says why and what follows from it. */
export class Skip extends Error {
  constructor(sentence: string) {
    super(sentence)
    this.name = 'Skip'
  }
}
