// What became of a promise so far, without waiting for it: `pending`, `resolved`, or the code of the error (with the outcome, for a proposal).

import { ProposalError, ReadError, SnapshotError } from '../../src/errors.ts'

export interface Watched<T> {
  state: string
  value: T | null
  error: unknown
}

export function watch<T>(promise: Promise<T>): Watched<T> {
  const watched: Watched<T> = { state: 'pending', value: null, error: null }
  promise.then(
    (value) => {
      watched.state = 'resolved'
      watched.value = value
    },
    (error: unknown) => {
      watched.state = nameOf(error)
      watched.error = error
    },
  )
  return watched
}

function nameOf(error: unknown): string {
  if (error instanceof ProposalError) return `${error.code}/${error.outcome}`
  if (error instanceof ReadError || error instanceof SnapshotError) return error.code
  return `rejected: ${String(error)}`
}
