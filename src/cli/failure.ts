// From whatever went wrong to an exit code and one line: no stack reaches the terminal.

import { CompactedError, SidecarError } from '../client/client.ts'
import {
  type ExitCode,
  exitCodes,
  FatalError,
  InvalidSnapshotError,
  type Outcome,
  StorageFullError,
} from '../errors.ts'
import { type CliExitCode, cliExitCodes } from './exit-codes.ts'

/** A command that did not do what it was asked for, found out on this side. */
export class CliFailure extends Error {
  readonly exitCode: CliExitCode
  readonly code: string

  constructor(exitCode: CliExitCode, code: string, message: string) {
    super(message)
    this.name = 'CliFailure'
    this.exitCode = exitCode
    this.code = code
  }
}

export interface Failure {
  readonly exitCode: number
  /** Stable, for scripts; the sidecar's own where it answered. */
  readonly code: string
  readonly message: string
  readonly outcome: Outcome | null
  readonly committed: { readonly index: number; readonly term: number } | null
}

const fatalCodes: Readonly<Record<ExitCode, string>> = {
  [exitCodes.dataError]: 'data-error',
  [exitCodes.unavailable]: 'unavailable',
  [exitCodes.software]: 'internal-error',
  [exitCodes.ioError]: 'io-error',
  [exitCodes.temporaryFailure]: 'directory-held',
  [exitCodes.configuration]: 'configuration',
}

/** `api` is where the sidecar was looked for. */
export function failureOf(error: unknown, api: string | null): Failure {
  const nothing = { outcome: null, committed: null }
  if (error instanceof CliFailure)
    return { exitCode: error.exitCode, code: error.code, message: error.message, ...nothing }
  if (error instanceof FatalError)
    return { exitCode: error.exitCode, code: fatalCodes[error.exitCode], message: error.message, ...nothing }
  if (error instanceof InvalidSnapshotError)
    return { exitCode: exitCodes.dataError, code: error.code, message: error.message, ...nothing }
  if (error instanceof StorageFullError)
    return { exitCode: exitCodes.ioError, code: error.code, message: error.message, ...nothing }
  if (error instanceof SidecarError) {
    const { code, outcome, committed } = error
    return { exitCode: exitCodeOf(error), code, outcome, committed, message: messageOf(error, api) }
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return {
    exitCode: exitCodes.software,
    code: 'internal-error',
    message: `A defect of raft-sidecar: ${message}`,
    ...nothing,
  }
}

function exitCodeOf({ code, outcome, status }: SidecarError): CliExitCode {
  if (code === 'condition-failed') return cliExitCodes.conditionFailed
  // It stands in the log, and has no effect on any node.
  if (code === 'command-skipped') return cliExitCodes.refused
  if (outcome === 'unknown') return cliExitCodes.unknownOutcome
  if (outcome === 'committed') return cliExitCodes.appliesLater
  if (status === 0) return cliExitCodes.unreachable
  return code === 'key-not-found' ? cliExitCodes.keyNotFound : cliExitCodes.refused
}

function messageOf(error: SidecarError, api: string | null): string {
  const { code, outcome, status, message, cause, committed } = error
  if (status === 0) {
    const reason = cause instanceof Error && 'code' in cause ? ` (${cause.code})` : ''
    const advice = outcome === 'unknown' ? 'the command may yet be committed' : 'is it running, and is --api right?'
    return `Cannot reach the sidecar at ${api}: ${message}${reason}; ${advice}`
  }
  const text = message.replace(/\.$/, '')
  if (outcome === 'unknown') return `${text}; the command may yet be committed`
  if (committed !== null && code !== 'condition-failed') {
    const will = code === 'apply-pending' ? ', and will be applied' : ''
    return `${text}; it is committed at index ${committed.index}, term ${committed.term}${will}`
  }
  if (error instanceof CompactedError)
    return `${text}; --after ${error.firstIndex - 1} begins with what this node still holds`
  if (code === 'unauthorized') return `${text}; give the token by --token-file or API_TOKEN`
  return text
}
