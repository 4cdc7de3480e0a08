// Everything that the cluster promised, and the invariants over it, checked as it happens: at each message, save, commit and answer. A front to the
// parts, for those who report to it.

import type { PeerMessage, SnapshotFile, SnapshotHeader, Standing } from '../../../src/node/ports.ts'
import type { Entry, EntryId, NodeId } from '../../../src/raft/entry.ts'
import type { Recovered, Save } from '../../../src/raft/work.ts'
import type { World } from '../world/world.ts'
import { type Committed, CommittedLog, commandKey } from './committed-log.ts'
import { Delivery } from './delivery.ts'
import { Memories } from './memories.ts'
import type { NodeRecord } from './node-record.ts'
import { Promises } from './promises.ts'
import { meaningOf, type ReferenceMachine } from './reference-machine.ts'
import { Saves } from './saves.ts'
import { type DurableBytes, type SnapshotCounts, Snapshots } from './snapshots.ts'
import { Truth } from './truth.ts'

export class Ledger {
  readonly #truth: Truth
  readonly #log: CommittedLog
  readonly #promises: Promises
  readonly #saves: Saves
  readonly #snapshots: Snapshots
  readonly #delivery: Delivery
  readonly #memories: Memories

  constructor(world: World, ids: readonly NodeId[], voters: readonly NodeId[]) {
    this.#truth = new Truth(world, ids, voters)
    this.#log = new CommittedLog(this.#truth)
    this.#promises = new Promises(this.#truth, this.#log)
    this.#saves = new Saves(this.#truth)
    this.#snapshots = new Snapshots(this.#truth, this.#log)
    this.#delivery = new Delivery(this.#truth, this.#log)
    this.#memories = new Memories(this.#truth)
  }

  /** The highest index that any node has committed. */
  get commitIndex(): number {
    return this.#log.length - 1
  }

  get reference(): ReferenceMachine {
    return this.#log.reference
  }

  get snapshots(): SnapshotCounts {
    return this.#snapshots.counts
  }

  record(id: NodeId): NodeRecord {
    return this.#truth.record(id)
  }

  committed(index: number): Committed | null {
    return this.#log.at(index)
  }

  // From the nodes

  sent(message: PeerMessage): void {
    this.#promises.sent(message)
    this.#memories.sent(message)
  }

  /** `leads`: whom it reaches takes itself for the leader. */
  received(message: PeerMessage, leads: boolean): void {
    this.#memories.received(message, leads)
  }

  /** See Memories. */
  accepted(id: NodeId, by: NodeId, standing: Standing): boolean {
    return this.#memories.accepted(id, by, standing)
  }

  /** Its disk was emptied, or set back. */
  forgot(id: NodeId): void {
    this.#memories.forgot(id)
  }

  issued(id: NodeId, save: Save): void {
    this.#snapshots.installIssued(id, save)
    this.#saves.issued(id, save)
  }

  /** `problem`: what the disk does not hold of it, or null. */
  saved(id: NodeId, save: Save, problem: string | null): void {
    this.#saves.saved(id, save, problem)
  }

  /** `isAnother`: its disk was emptied, or set back. */
  restarted(id: NodeId, recovered: Recovered, isAnother: boolean): void {
    this.#saves.restarted(id, recovered, isAnother)
    this.#delivery.restarted(id)
    this.#memories.restarted(id)
  }

  /** See Snapshots, as the next ones. */
  snapshotTaken(id: NodeId, header: SnapshotHeader, body: Uint8Array, file: SnapshotFile, durable: DurableBytes): void {
    this.#snapshots.taken(id, header, body, file, durable)
  }

  snapshotReceived(id: NodeId, header: SnapshotHeader): void {
    this.#snapshots.received(id, header)
  }

  installSaved(id: NodeId, file: SnapshotFile | null, durable: DurableBytes): void {
    this.#snapshots.installSaved(id, file, durable)
  }

  compacted(id: NodeId, through: EntryId): void {
    this.#snapshots.compacted(id, through)
  }

  restored(id: NodeId, position: number, body: Uint8Array): void {
    this.#snapshots.restored(id, position, body)
  }

  advanced(id: NodeId, commitIndex: number): void {
    this.#log.advanced(id, commitIndex)
  }

  /** A state machine took these commands; `isInMemory`: it lives and dies with the node, and no answer of it is ever lost. */
  applied(
    id: NodeId,
    appliedIndex: number,
    entries: readonly Entry[],
    results: readonly unknown[],
    isInMemory: boolean,
  ): void {
    this.#log.applied(id, appliedIndex, entries, results, !isInMemory)
    this.#delivery.applied(id, appliedIndex, entries, isInMemory)
  }

  /** See Delivery. */
  rewound(id: NodeId, appliedIndex: number, isInMemory: boolean): void {
    this.#delivery.rewound(id, appliedIndex, isInMemory)
  }

  broughtTo(id: NodeId, appliedIndex: number): void {
    this.#delivery.broughtTo(id, appliedIndex)
  }

  // From the clients

  /** An answer to a proposal; `result` is null when none was waited for. */
  acknowledged(
    id: NodeId,
    payload: Uint8Array,
    answer: { index: number; term: number; timestampMs: number },
    result: unknown,
  ): void {
    const { index, term, timestampMs } = answer
    const entry = this.committed(index)?.entry
    if (entry === undefined || entry.term !== term) {
      this.#truth.world.violated(
        'acknowledged is committed',
        `${id} acknowledges ${commandKey(payload)} at ${index}/t${term}, which is not committed`,
      )
    } else if (commandKey(entry.payload) !== commandKey(payload)) {
      this.#truth.world.violated(
        'answers reach their proposer',
        `${id} answers ${commandKey(payload)} with entry ${index}, which is ${commandKey(entry.payload)}`,
      )
    } else if (entry.timestampMs !== timestampMs) {
      this.#truth.world.violated(
        'answers reach their proposer',
        `${id} answers entry ${index} with cluster time ${timestampMs}, not ${entry.timestampMs}`,
      )
    } else if (result !== null && meaningOf(result) !== this.committed(index)?.result) {
      this.#truth.world.violated(
        'answers reach their proposer',
        `${id} answers entry ${index} with ${meaningOf(result)}, not ${this.committed(index)?.result}`,
      )
    }
  }

  notApplied(id: NodeId, payload: Uint8Array): void {
    this.#log.refused(id, payload)
  }

  /** A read barrier was answered; `committedBefore` was the commit index when it was asked for. */
  barrier(id: NodeId, index: number, committedBefore: number): void {
    if (index < committedBefore) {
      this.#truth.world.violated(
        'reads are not stale',
        `${id} reads at ${index}; ${committedBefore} was committed when it was asked`,
      )
    }
  }
}
