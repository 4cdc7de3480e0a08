// The contract of a pluggable state machine: commands in log order in, results out, the whole state in and out as a stream.

import type { Entry } from '../raft/entry.ts'

/** What became of a batch. Everything but `applied` leaves the batch undelivered: nothing is ever dropped. */
export type ApplyOutcome =
  /** One JSON value a command, in order. */
  | { readonly type: 'applied'; readonly results: readonly unknown[] }
  /** The machine is at another index (it was restarted or restored): go on after it. */
  | { readonly type: 'elsewhere'; readonly position: number }
  /** The same batch again: after the machine's own wish in ms, or by the backoff (null). */
  | { readonly type: 'retry'; readonly afterMs: number | null; readonly reason: string }
  /** The answer does not fit the contract: the same batch again, and an alarm. */
  | { readonly type: 'malformed'; readonly reason: string }
  /** The machine can never take the command at this index: delivery stops before it. */
  | { readonly type: 'poison'; readonly index: number; readonly reason: string }
  /** Wrongly set up: delivery stops with an alarm and is retried slowly. */
  | { readonly type: 'misconfigured'; readonly reason: string }

/** What became of a restore. Everything but `restored` leaves the state as it was. */
export type RestoreOutcome =
  | { readonly type: 'restored' }
  /** This machine takes no snapshots: it goes by the log alone. */
  | { readonly type: 'not-offered' }
  | Extract<ApplyOutcome, { readonly type: 'retry' | 'malformed' | 'misconfigured' }>

export interface Snapshot {
  /** Index of the last command in the state. */
  readonly position: number
  /** Read it to its end, or call `return` of its iterator: until then the machine holds on to it. */
  readonly body: AsyncIterable<Uint8Array>
}

export interface StateMachine {
  /**
   * Index of the last command that the state holds; 0 when it holds none; null when the machine does not know (then the caller's own cursor
   * decides). Asked at start and after every failure. Throws when it cannot be asked now: ask again.
   */
  position(): Promise<number | null>
  /**
   * Commands only, in log order, contiguous but for entries that are not commands. `after` is the index of the command
   * delivered before the first one. One call at a time.
   */
  apply(after: number, commands: readonly Entry[]): ApplyOutcome | Promise<ApplyOutcome>
  /**
   * A consistent picture of the state; applying may go on while the body is read. Null: this machine offers none. Throws when it cannot give
   * one now. No `apply` is under way until it resolves.
   */
  snapshot(): Promise<Snapshot | null>
  /**
   * Puts the snapshot in the place of the whole state, at once or not at all. Throws InvalidSnapshotError, or what the body threw. No other
   * call is under way; the body's chunks are used before the next one is asked for.
   */
  restore(snapshot: Snapshot): Promise<RestoreOutcome>
  /** It lives in another process, and may be at another place than it was left at. */
  readonly movesByItself: boolean
  /** Items that the state holds, null when the machine does not say. */
  readonly size: number | null
  close(): Promise<void>
}
