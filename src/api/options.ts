// What the API is given: the node behind its type, and the few things that it must not know how to make.

import type { Logger } from 'pino'
import type { NewCommand, Node } from '../node/contract.ts'
import type { BodyBudget } from './body-budget.ts'
import type { Pace } from './pace.ts'
import type { StreamSlots } from './stream-slots.ts'

export type ListenTarget = { readonly host: string; readonly port: number } | { readonly path: string }

export interface KeyValueItem {
  readonly key: string
  /** A JSON value. */
  readonly value: unknown
  readonly createdIndex: number
  readonly modifiedIndex: number
}

/** What this node's key-value machine holds now; linearizability is the API's business. */
export interface KeyValueView {
  get(key: string): KeyValueItem | null
  /** The item as JSON text with the value exactly as it was sent: parsed and printed again, `12345678901234567890` would be another number. */
  getJson?(key: string): string | null
  /**
   * At most `limit` items as `getJson` writes them, in the order of their keys: of those keys that begin with `prefix`, the ones behind `after`
   * (null: from the first). `more`: there are others behind these.
   */
  listJson(
    prefix: string,
    after: string | null,
    limit: number,
  ): { readonly items: readonly string[]; readonly more: boolean }
}

export interface ReadyCheck {
  readonly name: string
  readonly ok: boolean
  /** One sentence; not shown while the check is ok. */
  readonly why: string
}

export interface ApiParts {
  readonly node: Node
  readonly cluster: string
  readonly version: string
  readonly maxCommandBytes: number
  /** Of request bodies that are not proposed yet, over all connections; those of the node's pending proposals have a bound of their own. */
  readonly maxPendingBytes: number
  /** Null under STATE_MACHINE=app. */
  readonly kv: KeyValueView | null
  /** Null, or a sentence on why the state machine can never take this command. It parses the JSON itself. */
  readonly validateCommand: ((kind: NewCommand['kind'], payload: Uint8Array) => string | null) | null
  /** `mode=lease` is offered. */
  readonly leaseReads: boolean
  readonly readyChecks: () => readonly ReadyCheck[]
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>
  readonly logger: Logger
}

/** What the routes of all listeners share. */
export interface ApiContext extends ApiParts {
  readonly bodies: BodyBudget
  readonly pace: Pace
  readonly streams: StreamSlots
}

export interface ApiOptions extends ApiParts {
  readonly listen: ListenTarget
  /** A second, read-only listener for other machines; null: none. */
  readonly statusListen: { readonly host: string; readonly port: number } | null
  readonly token: string | null
  /** How long `close` waits for requests in flight before it cuts their connections. */
  readonly closeTimeoutMs?: number
  /** How long a download of a backup may stand still before its connection is cut: it holds a file open. 60 s by default. */
  readonly backupIdleTimeoutMs?: number
  /** Of the main listener, and of the one for other machines. 10,000 by default. */
  readonly maxConnections?: number
  /** Streams and long polls that wait, together; 256 by default. */
  readonly maxStreams?: number
  /** How long a stream may go without its client taking anything. 60 s by default. */
  readonly streamIdleTimeoutMs?: number
}
