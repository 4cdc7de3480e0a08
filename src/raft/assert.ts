// Broken invariants stop the process; they are never mended on the fly.

export class InvariantError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'InvariantError'
  }
}

export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (condition) return
  throw new InvariantError(typeof message === 'string' ? message : message())
}
