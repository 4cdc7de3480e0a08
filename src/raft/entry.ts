// What the log is made of. An entry is encoded once, on the leader: `record` holds the bytes that go to the
// segment, over the wire and into every follower's segment, unchanged.

export type NodeId = string

/** A place in the log. Term and index travel as a pair, so that they cannot be swapped. Index 0, term 0: before the first entry. */
export interface EntryId {
  readonly term: number
  readonly index: number
}

/** What a client may propose: a command of the application, as JSON text or as opaque bytes. */
export type CommandKind = 'json' | 'bytes'

/**
 * `skip` leaves out a command that applications refuse for good: its payload is JSON, {"index":N,"reason":"…"}. It and the kinds of Raft's own
 * never reach a state machine.
 */
export type EntryKind = 'noop' | 'configuration' | 'skip' | CommandKind

export interface EntryFields extends EntryId {
  readonly kind: EntryKind
  /** Cluster time: the leader's wall clock in Unix ms, never going back along the log. */
  readonly timestampMs: number
  /** Which process proposed it: 48 random bits drawn at its start; 0 for entries of Raft's own. */
  readonly origin: number
  /** Counts the proposals of that process; with `origin` it finds the request that waits for this entry. 48 bits. */
  readonly sequence: number
  /** Idempotency key: 1 to 255 visible ASCII characters. Null: the proposer gave none. */
  readonly key: string | null
  /** Trace context of the proposer, as in the W3C's header of that name. Null: it gave none. */
  readonly traceparent: string | null
  readonly payload: Uint8Array
}

export interface Entry extends EntryFields {
  /** Header and payload as they stand on disk and on the wire; `payload` is a view into it. */
  readonly record: Uint8Array
}

/** Makes the record of an entry; given to the core from outside, because a checksum is not its business. */
export type EncodeEntry = (fields: EntryFields) => Entry

export function isCommand(entry: Entry): boolean {
  return entry.kind === 'json' || entry.kind === 'bytes'
}

/** §5.4.1: the log with the later last term is newer; of one term, the longer one. */
export function isUpToDate(candidate: EntryId, mine: EntryId): boolean {
  if (candidate.term !== mine.term) return candidate.term > mine.term
  return candidate.index >= mine.index
}
