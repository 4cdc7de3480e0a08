// The conditions that a caller may want to catch, each with its code. Broken invariants are not here: they stop the process.

/** `not_applied`: it never entered the log, retry freely. `unknown`: it may yet commit. `committed`: it will be applied here. */
export type Outcome = 'not_applied' | 'unknown' | 'committed'

export type ProposalErrorCode =
  | 'command-too-large'
  | 'too-many-proposals'
  | 'no-leader'
  | 'shutting-down'
  | 'not-a-member'
  | 'leadership-lost'
  | 'commit-timeout'
  | 'apply-pending'
  /** It was applied, and what it answered is known nowhere any more, or is longer than what is kept. */
  | 'result-unknown'
  /** The application refused it for good, and the cluster has agreed to leave it out. */
  | 'command-skipped'
  | 'idempotency-key-reused'
  | 'storage-full'

/** A proposal that got no result. Source: the node. */
export class ProposalError extends Error {
  readonly code: ProposalErrorCode
  readonly outcome: Outcome
  /** Where the command stands in the log, for the outcome `committed`. */
  readonly committed: { readonly index: number; readonly term: number } | null

  constructor(
    code: ProposalErrorCode,
    outcome: Outcome,
    message: string,
    committed: { readonly index: number; readonly term: number } | null = null,
  ) {
    super(message)
    this.name = 'ProposalError'
    this.code = code
    this.outcome = outcome
    this.committed = committed
  }
}

/** A linearizable read or a wait for an index that could not be served in time. Source: the node. */
export class ReadError extends Error {
  readonly code: 'no-leader' | 'read-timeout' | 'shutting-down' | 'index-not-reached'

  constructor(code: 'no-leader' | 'read-timeout' | 'shutting-down' | 'index-not-reached', message: string) {
    super(message)
    this.name = 'ReadError'
    this.code = code
  }
}

/** The log no longer holds what was asked for. Source: the node. */
export class CompactedError extends Error {
  readonly code = 'compacted'
  /** The first entry that it still holds. */
  readonly firstIndex: number

  constructor(firstIndex: number, message: string) {
    super(message)
    this.name = 'CompactedError'
    this.firstIndex = firstIndex
  }
}

/** A command that is not to be left out. Source: the node. */
export class SkipError extends Error {
  /** Delivery to this node's application does not stop before this command. */
  readonly code = 'not-poison'

  constructor(message: string) {
    super(message)
    this.name = 'SkipError'
  }
}

/** Leadership was not handed over. Source: the node. */
export class TransferError extends Error {
  /** `unknown-member`: it is no voter of the cluster. `transfer-failed`: it did not take over in time, and leadership stays where it is found. */
  readonly code: 'not-leader' | 'unknown-member' | 'transfer-failed' | 'shutting-down'

  constructor(code: TransferError['code'], message: string) {
    super(message)
    this.name = 'TransferError'
    this.code = code
  }
}

/** A snapshot that could not be taken. Source: the node. */
export class SnapshotError extends Error {
  /** `snapshot-unsupported`: the state machine offers none. `snapshot-failed`: it could not give one now, try again. */
  readonly code: 'snapshot-unsupported' | 'snapshot-failed' | 'storage-full' | 'shutting-down'

  constructor(code: SnapshotError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SnapshotError'
    this.code = code
  }
}

/** There is no room on the disk for this; nothing of it was left behind, and it may be tried again. Source: the storage. */
export class StorageFullError extends Error {
  readonly code = 'storage-full'

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StorageFullError'
  }
}

/** What was received, or is to be restored, is no snapshot, or a damaged one. Source: the storage, a state machine. */
export class InvalidSnapshotError extends Error {
  readonly code = 'invalid-snapshot'

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'InvalidSnapshotError'
  }
}

/** The process cannot start or go on; `main` prints the message in one line and leaves with the exit code. */
export class FatalError extends Error {
  readonly exitCode: ExitCode

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'FatalError'
    this.exitCode = exitCode
  }
}

/** sysexits.h, so that systemd and people know them. */
export const exitCodes = {
  /** The data directory is damaged, or of another version or cluster. */
  dataError: 65,
  /** An address is in use, or cannot be bound. */
  unavailable: 69,
  /** An invariant of our own broke. */
  software: 70,
  /** The disk failed under us: a write or a sync. */
  ioError: 74,
  /** Another live process holds the data directory. */
  temporaryFailure: 75,
  /** A setting is missing or wrong. */
  configuration: 78,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]
