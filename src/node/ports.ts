// What the loop needs from the rooms around it. The simulator implements Clock, Transport and (below storage) Disk;
// everything else runs there as it runs in production.

import type { Configuration, Member } from '../raft/configuration.ts'
import type { Entry, NodeId } from '../raft/entry.ts'
import type { Message } from '../raft/messages.ts'
import type { Recovered, RoleName, Save } from '../raft/work.ts'

/** Time and turns of the event loop; injected so that a simulator can own them. */
export interface Clock {
  /** Milliseconds, with fractions, from an arbitrary start; never goes back. */
  monotonicMs(): number
  /** Unix time in milliseconds; may jump. */
  unixMs(): number
  /** Runs once, after the I/O that is ready now has been taken in (setImmediate). */
  defer(run: () => void): void
  /** Runs once after a delay; the returned function cancels it. */
  after(delayMs: number, run: () => void): () => void
}

/** The durable log and hard state. A rejected promise means that the disk failed: the process must stop and never retry. */
export interface Storage {
  /** What the disk held at the start. */
  readonly recovered: Recovered
  /** Resolves once the save is durable. Saves become durable in the order of the calls; those that arrive during a write share the next. */
  save(save: Save): Promise<void>
  /**
   * Durable entries in order from index `from` through at most `through`, ending early at `maxBytes` (at least one entry) or where the
   * log was truncated meanwhile.
   */
  read(from: number, through: number, maxBytes: number): Promise<readonly Entry[]>
  close(): Promise<void>
}

/** A follower passes the commands of its application on to the leader. Its entries carry `origin` and `sequence`, by which the proposer knows them again. */
export interface ForwardedProposals {
  readonly type: 'ForwardedProposals'
  readonly from: NodeId
  readonly to: NodeId
  /** Only the leader of this very term may append them. */
  readonly term: number
  readonly origin: number
  readonly proposals: readonly {
    readonly sequence: number
    readonly kind: 'json' | 'bytes'
    readonly payload: Uint8Array
  }[]
}

/** These never entered the log. */
export interface ForwardRefused {
  readonly type: 'ForwardRefused'
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
  readonly origin: number
  readonly sequences: readonly number[]
  readonly reason: 'not-leader' | 'transferring' | 'tail-full'
}

export type PeerMessage = Message | ForwardedProposals | ForwardRefused

export interface Peer {
  readonly id: NodeId
  readonly connected: boolean
  /** What the peer announced in its handshake; null until it did, or if it has none. */
  readonly appUrl: string | null
}

export interface TransportEvents {
  received(message: PeerMessage): void
  /** The connection that this node sends to the peer over is up. */
  peerUp(id: NodeId): void
  /** It was closed or refused. */
  peerDown(id: NodeId): void
}

export interface Transport {
  /** Begins to listen, dial and report. */
  start(events: TransportEvents): Promise<void>
  /** In order, at most once. Dropped silently when the peer is not connected or its queue is full: Raft repeats. */
  send(message: PeerMessage): void
  /** Whom to dial, and whose calls to accept; the own id among them is ignored. */
  setMembers(members: readonly Member[]): void
  peers(): readonly Peer[]
  close(): Promise<void>
}

/** Entries as an applier reads them: committed ones only. */
export interface CommittedEntries {
  /** In order from `from`, at least one unless nothing is committed there; from memory when it can. */
  read(from: number, through: number, maxBytes: number): Promise<readonly Entry[]> | readonly Entry[]
}

export interface ApplierEvents {
  /**
   * The state machine holds every command through `appliedIndex`. `entries` are the commands it took in this step, in log order, `results` one a
   * command, JSON values. After a rewind (an application that was restored) the same entries come again.
   */
  applied(appliedIndex: number, entries: readonly Entry[], results: readonly unknown[]): void
  /** The state machine lost what came after this index (restarted, restored): it will be applied again. */
  rewound(appliedIndex: number): void
}

/** Feeds one state machine with committed entries, in order, without ever holding the loop. */
export interface Applier {
  start(entries: CommittedEntries, events: ApplierEvents): void
  /** Everything through this index is committed; rises only. */
  commit(index: number): void
  /** Every entry through here is in the state machine. */
  readonly appliedIndex: number
  /** Null, or in one sentence why delivery does not go on. */
  readonly blocked: string | null
  close(): Promise<void>
}

/** What is worth a log line or a metric; never one a command. */
export type NodeEvent =
  | { readonly type: 'role'; readonly role: RoleName; readonly term: number; readonly reason: string }
  | { readonly type: 'leader'; readonly leader: NodeId | null; readonly term: number }
  | { readonly type: 'configuration'; readonly index: number; readonly configuration: Configuration }
  | { readonly type: 'peer'; readonly id: NodeId; readonly connected: boolean }
  /** One durable write: how long, how much. */
  | { readonly type: 'saved'; readonly durationMs: number; readonly entries: number }
  /** Proposals of this node's clients that were committed in one step; the latency is the oldest one's, from its arrival. */
  | { readonly type: 'committed'; readonly proposals: number; readonly latencyMs: number }
  | { readonly type: 'applied'; readonly commands: number }

export interface NodeObserver {
  event(event: NodeEvent): void
}
