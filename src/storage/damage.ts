// What is said, and done, about a data directory that cannot be trusted: nothing is served from it and nothing is mended.

import { AssertionError } from 'node:assert/strict'
import { exitCodes, FatalError } from '../errors.ts'
import { isOutOfRoom } from './disk.ts'

const usualRemedy =
  'Restore the file from a copy of the same moment, or move the whole data directory away and let this node join again as a new member.'

/** What was durable is not what was written, or does not belong where it is. */
export class DamageError extends FatalError {
  readonly path: string
  /** Null: the file is whole, or missing. */
  readonly offset: number | null
  readonly problem: string
  readonly remedy: string

  constructor(path: string, offset: number | null, problem: string, remedy: string) {
    const what = offset === null ? `Cannot use ${path}.` : `Cannot use ${path}: damaged at offset ${offset}.`
    super(exitCodes.dataError, `${what} ${problem} ${remedy}`)
    this.name = 'DamageError'
    this.path = path
    this.offset = offset
    this.problem = problem
    this.remedy = remedy
  }
}

/** For bytes that were durable and are not what was written. */
export function damaged(path: string, offset: number, problem: string, remedy = usualRemedy): DamageError {
  return new DamageError(path, offset, problem, remedy)
}

/** For a file that is whole but cannot belong here. */
export function misplaced(path: string, problem: string, remedy = usualRemedy): DamageError {
  return new DamageError(path, null, problem, remedy)
}

/** For a new directory on a full disk: what is there by now is no node yet, and a later start begins anew. */
export function noRoomToFound(directory: string, bytes: number, cause: unknown): FatalError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new FatalError(
    exitCodes.ioError,
    `Cannot found a node in ${directory}: ${reason}. It takes about ${Math.ceil(bytes / 2 ** 20)} MiB: make room and start again.`,
    { cause },
  )
}

/** Whatever the disk answered, as the end of the process; what is fatal already stays what it is. */
export function diskFailure(attempt: string, cause: unknown): FatalError {
  if (cause instanceof FatalError) return cause
  const reason = cause instanceof Error ? cause.message : String(cause)
  if (cause instanceof AssertionError) {
    return new FatalError(exitCodes.software, `Cannot ${attempt}: ${reason}. This is a fault of the program.`, {
      cause,
    })
  }
  const consequence = isOutOfRoom(cause)
    ? 'Make room on the disk, and start again.'
    : 'The process must stop: what the disk holds is certain only when it is read at the next start.'
  return new FatalError(exitCodes.ioError, `Cannot ${attempt}: ${reason}. ${consequence}`, { cause })
}
