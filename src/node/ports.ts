// What the loop needs from the rooms around it. The simulator implements Clock, Transport and (below storage) Disk;
// everything else runs there as it runs in production.

import type { Configuration, Member } from '../raft/configuration.ts'
import type { CommandKind, Entry, EntryId, NodeId } from '../raft/entry.ts'
import type { Message } from '../raft/messages.ts'
import type { SnapshotMetadata } from '../raft/snapshot.ts'
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
   * log was truncated or compacted meanwhile.
   */
  read(from: number, through: number, maxBytes: number): Promise<readonly Entry[]>
  /** Entries through this one are no longer wanted: their room is given up soon, and they are not read any more. */
  compact(through: EntryId): void
  /**
   * Makes a snapshot durable, whole or not at all, and keeps the one before. One call at a time. Rejects with StorageFullError, and leaves
   * nothing behind, when there is no room for it; with what `ledger` or `body` threw when that failed. `ledger` is read before `body`.
   */
  takeSnapshot(
    header: SnapshotHeader,
    ledger: AsyncIterable<Uint8Array>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<SnapshotFile>
  /** The newest snapshot, to be closed after use; it stays readable though newer ones replace it. Null: there is none. */
  openSnapshot(): Promise<StoredSnapshot | null>
  /** What the newest one is; null: there is none. */
  readonly newestSnapshot: SnapshotFile | null
  /**
   * Begins to take in the snapshot of a leader, or goes on with it when it is the one that was begun before; another one that was begun is
   * given up. It becomes this node's own by the save that names it.
   */
  receiveSnapshot(file: SnapshotFile): Promise<IncomingSnapshot>
  /** The room that is kept for an emergency is in use, or gone: no proposals should be taken until there is room again. */
  readonly isFull: boolean
  close(): Promise<void>
}

export interface SnapshotHeader extends SnapshotMetadata {
  /** Index of the last command that the state machine's state holds; at or before the last entry included. */
  readonly machinePosition: number
}

/** A snapshot as a file: what tells it from every other one, and its size on disk and on the wire. */
export interface SnapshotFile {
  readonly lastIncluded: EntryId
  readonly sizeBytes: number
  /** Over all bytes before it; the last four of the file. */
  readonly checksum: number
}

export interface StoredSnapshot {
  readonly file: SnapshotFile
  readonly header: SnapshotHeader
  /** The file's bytes as they are, from `position`; fewer only where it ends. They were verified when the node started or took it. */
  read(into: Uint8Array, position: number): Promise<number>
  /** What the node itself keeps of the log (keys and skips); nothing in snapshots of earlier versions. Verified and failing as `body`. */
  ledger(): AsyncIterable<Uint8Array>
  /** What the state machine gave, each part verified before it is handed out. Throws FatalError (dataError) at bit rot. */
  body(): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

export interface IncomingSnapshot {
  /** So many bytes are here; the next ones go behind them. */
  readonly sizeBytes: number
  /** Rejects with StorageFullError when there is no room. */
  append(bytes: Uint8Array): Promise<void>
  /** All bytes are here: verifies every one of them and makes them durable. Rejects with InvalidSnapshotError, and begins anew at 0, when they are not what was announced. */
  finish(): Promise<SnapshotHeader>
}

/** What a command answered, as JSON text. */
export interface KeptResult {
  readonly index: number
  readonly resultJson: string
}

/**
 * What this node's application answered to commands with a key since the newest snapshot, over restarts: an application that keeps its position is
 * not asked again. As good as the page cache is, and no promise rests on it: what is lost is asked of the other nodes.
 */
export interface ResultStore {
  /** What earlier processes kept, in the order in which it was appended: of two for one index, the later one holds. Once, at the start. */
  load(): readonly KeptResult[]
  /** Written soon, and not waited for; what cannot be written is lost, and said so in the log of the process. */
  append(results: readonly KeptResult[]): void
  /** Those through this index are held by a durable snapshot, and may be given up. */
  forget(through: number): void
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
  readonly proposals: readonly ForwardedProposal[]
}

export interface ForwardedProposal {
  readonly sequence: number
  readonly kind: CommandKind | 'skip'
  readonly key: string | null
  readonly traceparent: string | null
  readonly payload: Uint8Array
}

/** These came before under their key: nothing was appended for them. */
export interface ForwardRepeated {
  readonly type: 'ForwardRepeated'
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
  readonly origin: number
  /** At most 1,000. */
  readonly repeats: readonly Repeat[]
}

export interface Repeat {
  readonly sequence: number
  /** Where the first one stands in the leader's log, committed or not yet; null: that was another command. */
  readonly first: EntryId | null
}

/** What did the commands at these places answer? Asked when this node's own state machine cannot say. */
export interface ResultsRequest {
  readonly type: 'ResultsRequest'
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
  /** Committed ones with a key; at most 200. */
  readonly indexes: readonly number[]
}

/** Those of the answers that are known here. */
export interface ResultsResponse {
  readonly type: 'ResultsResponse'
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
  /** At most 200 of at most 4 KiB each. */
  readonly results: readonly KeptResult[]
}

/** These never entered the log. */
export interface ForwardRefused {
  readonly type: 'ForwardRefused'
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
  readonly origin: number
  readonly sequences: readonly number[]
  readonly reason: 'not-leader' | 'transferring' | 'tail-full' | 'storage-full'
}

/** Leader: this snapshot is there for you. Repeated until it is answered. */
export interface SnapshotOffer {
  readonly type: 'SnapshotOffer'
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
  readonly file: SnapshotFile
}

/** Travels on a link of its own, so that bulk never delays a heartbeat. */
export interface SnapshotChunk {
  readonly type: 'SnapshotChunk'
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
  readonly lastIncluded: EntryId
  /** Where in the file the bytes stand. */
  readonly offset: number
  /** At most 256 KiB, and not to be changed any more: they may wait to be sent. */
  readonly bytes: Uint8Array
}

/** Follower: so many bytes of it are here, go on behind them; all of them: nothing more is wanted. */
export interface SnapshotAck {
  readonly type: 'SnapshotAck'
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
  readonly lastIncluded: EntryId
  readonly offset: number
}

export type PeerMessage =
  | Message
  | ForwardedProposals
  | ForwardRefused
  | ForwardRepeated
  | ResultsRequest
  | ResultsResponse
  | SnapshotOffer
  | SnapshotChunk
  | SnapshotAck

export interface Peer {
  readonly id: NodeId
  readonly connected: boolean
  /** What the peer announced in its handshake; null until it did, or if it has none. */
  readonly appUrl: string | null
  /** Why it and this node do not speak to each other, in a sentence; null when they do, or when it just is not reached. */
  readonly refusal: string | null
}

/** Which start of a process on its data directory this is. Durable before the process says anything. */
export interface Run {
  /** Counts from 1. */
  readonly number: number
  /** Drawn at random at each start: a copy of the directory goes on with another than the original. */
  readonly id: string
  /** The ids of the runs before it, the newest first, as far back as they are kept. */
  readonly former: readonly string[]
}

/** What a node shows of itself in each handshake, so that one that forgot something is found out. */
export interface Standing {
  /** Drawn at random when the data directory was made: an emptied one has another. */
  readonly incarnation: string
  readonly run: Run
  /** Durable. */
  readonly currentTerm: number
  /** Durable; a snapshot's last entry counts. */
  readonly lastIndex: number
}

/** What each other node was last known to have shown and acknowledged, over restarts of this one; of its run, only the number and the id. */
export interface AcquaintanceStore {
  /** What was last saved; empty when nothing was. */
  load(): ReadonlyMap<NodeId, Standing>
  /** Resolves once it is durable. One call at a time. Rejects with StorageFullError when there is no room for it: try again. */
  save(standings: ReadonlyMap<NodeId, Standing>): Promise<void>
}

export interface TransportEvents {
  /** What this node shows of itself in a handshake, now. */
  standing(): Standing
  /**
   * A member has shown who it is; nothing that it says is handed over, and nothing is sent to it, before this resolves. A sentence: it has
   * forgotten what it once promised, and is refused with that. Null holds for this run of its process: it is not asked for again until the
   * member has restarted, because a greeting may be overtaken by what the same process acknowledged since, on another link.
   */
  greeted(id: NodeId, standing: Standing): Promise<string | null>
  /** A member refuses this node, in a sentence, as one that has forgotten what it promised; and shows where it stands itself. May come again. */
  disowned(by: NodeId, standing: Standing, sentence: string): void
  received(message: PeerMessage): void
  /** The connection that this node sends to the peer over is up. */
  peerUp(id: NodeId): void
  /** It was closed or refused. */
  peerDown(id: NodeId): void
}

export interface Transport {
  /** Begins to listen, dial and report. */
  start(events: TransportEvents): Promise<void>
  /** In order (snapshot chunks among themselves), at most once. Dropped silently when the peer is not connected or its queue is full: Raft repeats. */
  send(message: PeerMessage): void
  /** Whom to dial, and whose calls to accept; the own id among them is ignored. */
  setMembers(members: readonly Member[]): void
  peers(): readonly Peer[]
  close(): Promise<void>
}

/** Entries as an applier reads them: committed ones only. */
export interface CommittedEntries {
  /** In order from `from`, at least one unless the log begins later by now; from memory when it can. */
  read(from: number, through: number, maxBytes: number): Promise<readonly Entry[]> | readonly Entry[]
  /** The first entry that the log still holds. */
  readonly firstIndex: number
  /** The newest snapshot, for a machine that the log no longer reaches back to; to be closed after use. Null: there is none that would do for it. */
  openSnapshot(): Promise<StoredSnapshot | null>
  /**
   * The cluster has agreed to leave this command out: it is not delivered. Known as far as this node knows the log to be committed; a node that lags may
   * learn of it later than of the command.
   */
  isSkipped(index: number): boolean
}

/** A picture of a state machine's state, taken between two batches; applying goes on while the body is read. Read it to its end, or call `return` of its iterator. */
export interface MachineSnapshot {
  /** Every entry through here is in the state. */
  readonly appliedIndex: number
  /** Index of the last command in the state. */
  readonly position: number
  readonly body: AsyncIterable<Uint8Array>
}

export interface ApplierEvents {
  /**
   * The state machine holds every command through `appliedIndex`. `entries` are the commands it took in this step, in log order, `results` one a
   * command, JSON values; null: what they answered is not known here. After a rewind (an application that was restored) the same entries come again.
   */
  applied(appliedIndex: number, entries: readonly Entry[], results: readonly unknown[] | null): void
  /** The state machine lost what came after this index (restarted, restored): it will be applied again. */
  rewound(appliedIndex: number): void
  /** The state machine was brought to this index by a snapshot; what the commands up to it answered is not known here. */
  restored(appliedIndex: number): void
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
  /**
   * Resolves once the machine itself has shown, since this call, that it holds everything through `appliedIndex` as that is then: it may have lost
   * some without anybody's notice. Rejects when the applier is closed. Null: it cannot be elsewhere, or cannot say.
   */
  confirm(): Promise<void> | null
  /** The command that delivery stops before, because the machine refuses it for good; null: none. */
  readonly poison: { readonly index: number; readonly reason: string } | null
  /**
   * Once no batch is in flight. Null: the machine offers no snapshots. Rejects when it cannot give one now. One call at a time; applying goes on
   * when it resolves.
   */
  snapshot(): Promise<MachineSnapshot | null>
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
  | { readonly type: 'snapshotTaken'; readonly file: SnapshotFile; readonly durationMs: number }
  | { readonly type: 'snapshotSkipped'; readonly reason: string }
  | { readonly type: 'snapshotSent'; readonly to: NodeId; readonly file: SnapshotFile; readonly durationMs: number }
  | { readonly type: 'snapshotInstalled'; readonly from: NodeId; readonly file: SnapshotFile }
  | { readonly type: 'compacted'; readonly firstIndex: number }
  | { readonly type: 'storage'; readonly isStalled: boolean; readonly isFull: boolean }

export interface NodeObserver {
  event(event: NodeEvent): void
}
