// What the API is given: the node behind its type, and the few things that it must not know how to make.

import type { Logger } from 'pino'
import type { NewCommand, Node } from '../node/contract.ts'

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
}

export interface ReadyCheck {
  readonly name: string
  readonly ok: boolean
  /** One sentence; not shown while the check is ok. */
  readonly why: string
}

export interface ApiContext {
  readonly node: Node
  readonly cluster: string
  readonly version: string
  readonly maxCommandBytes: number
  /** Null under STATE_MACHINE=app. */
  readonly kv: KeyValueView | null
  /** Null, or a sentence on why the state machine can never take this command. It parses the JSON itself. */
  readonly validateCommand: ((kind: NewCommand['kind'], payload: Uint8Array) => string | null) | null
  readonly readyChecks: () => readonly ReadyCheck[]
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>
  readonly logger: Logger
}

export interface ApiOptions extends ApiContext {
  readonly listen: ListenTarget
  /** A second, read-only listener for other machines; null: none. */
  readonly statusListen: { readonly host: string; readonly port: number } | null
  readonly token: string | null
  /** How long `close` waits for requests in flight before it cuts their connections. */
  readonly closeTimeoutMs?: number
  /** How long a download of a backup may stand still before its connection is cut: it holds a file open. 60 s by default. */
  readonly backupIdleTimeoutMs?: number
}
