// What a node is put together from.

import type { FatalError } from '../errors.ts'
import type { EncodeEntry, NodeId } from '../raft/entry.ts'
import type { RaftOptions } from '../raft/state.ts'
import type { LedgerLimits } from './ledger.ts'
import type { AcquaintanceStore, Applier, Clock, NodeObserver, ResultStore, Run, Storage, Transport } from './ports.ts'
import type { ProposalLimits } from './proposals.ts'

export interface NodeOptions {
  readonly id: NodeId
  readonly storage: Storage
  /** Of the data directory. */
  readonly incarnation: string
  /** Of this process on it. */
  readonly run: Run
  /** What is known of the peers, over restarts. */
  readonly acquaintances: AcquaintanceStore
  readonly transport: Transport
  /** Feeds the state machine whose results answer the proposals. */
  readonly applier: Applier
  /** That state machine is the application: what the cluster leaves out, it leaves out. An embedded one takes every command, as it did live. */
  readonly leavesOut: boolean
  /** Feeds an application that only watches; null without one. */
  readonly watcher: Applier | null
  /** Keeps what a state machine answered that is not fed again after a restart; null: it always is, or there is no such store. */
  readonly results: ResultStore | null
  /** Of idempotency keys, and of what commands under them answered. */
  readonly ledger: LedgerLimits
  readonly clock: Clock
  /** In [0, 1). */
  readonly random: () => number
  readonly encodeEntry: EncodeEntry
  readonly observer: NodeObserver
  readonly raft: Pick<
    RaftOptions,
    | 'electionTimeoutMinMs'
    | 'electionTimeoutMaxMs'
    | 'heartbeatIntervalMs'
    | 'maxInFlightMessages'
    | 'maxMessageBytes'
    | 'maxUncommittedBytes'
    | 'maxCachedBytes'
    | 'maxLogEntries'
    | 'leaseReads'
    | 'maxClockDriftPpm'
    | 'waitsAfterRestart'
  >
  readonly snapshots: {
    /** Applied entries between two. */
    readonly threshold: number
    /** To one follower. */
    readonly bytesPerSecond: number
    /** At a time; 256 KiB by default, which is the most. */
    readonly chunkBytes?: number
  }
  readonly limits: Pick<ProposalLimits, 'maxPendingProposals' | 'maxPendingBytes'>
  /** What the application of this node is reached at, for `leader()`. */
  readonly appUrl: string | null
  /** Called once; the node does nothing any more. */
  readonly onFatal: (error: FatalError) => void
}
