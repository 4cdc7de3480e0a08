// Everything that the cluster promised, and the invariants over it, checked as it happens: at each message, save, commit and answer. A front to the
// parts, for those who report to it.

import type { Leadership, NewCommand } from '../../../src/node/contract.ts'
import type { LedgerLimits, LedgerPicture } from '../../../src/node/ledger.ts'
import type { PeerMessage, SnapshotFile, SnapshotHeader, Standing } from '../../../src/node/ports.ts'
import type { Entry, EntryId, NodeId } from '../../../src/raft/entry.ts'
import type { Recovered, Save } from '../../../src/raft/work.ts'
import type { World } from '../world/world.ts'
import { type Committed, CommittedLog, commandKey } from './committed-log.ts'
import { Delivery } from './delivery.ts'
import { KeyLedgers } from './key-ledgers.ts'
import { type Horizon, type KeyedEntry, Keys } from './keys.ts'
import { LeadershipNews } from './leadership.ts'
import { Memories } from './memories.ts'
import type { NodeRecord } from './node-record.ts'
import { Promises } from './promises.ts'
import { meaningOf, type ReferenceMachine } from './reference-machine.ts'
import { Saves } from './saves.ts'
import { type DurableBytes, type SnapshotCounts, Snapshots } from './snapshots.ts'
import { type Lease, Truth } from './truth.ts'

export interface LedgerOptions {
  readonly ids: readonly NodeId[]
  readonly voters: readonly NodeId[]
  /** The state machine whose results are answered lives and dies with the node, and no answer of it is ever lost. */
  readonly isInMemory: boolean
  readonly limits: LedgerLimits
  /** Those that are held now, if there are any. */
  readonly leases?: () => readonly Lease[]
}

/** Where a command stands, as a client is told. */
export interface Place {
  readonly index: number
  readonly term: number
  readonly timestampMs: number
  readonly duplicate: boolean
}

export class Ledger {
  readonly #truth: Truth
  readonly #log: CommittedLog
  readonly #promises: Promises
  readonly #saves: Saves
  readonly #snapshots: Snapshots
  readonly #delivery: Delivery
  readonly #memories: Memories
  readonly #keys: Keys
  readonly #keyLedgers: KeyLedgers
  readonly #leadership: LeadershipNews
  readonly #isInMemory: boolean

  constructor(world: World, { ids, voters, isInMemory, limits, leases }: LedgerOptions) {
    this.#truth = new Truth(world, ids, voters, leases)
    this.#isInMemory = isInMemory
    this.#keys = new Keys(world, limits)
    this.#log = new CommittedLog(this.#truth, this.#keys, !isInMemory)
    this.#promises = new Promises(this.#truth, this.#log)
    this.#saves = new Saves(this.#truth)
    this.#snapshots = new Snapshots(this.#truth, this.#log)
    this.#delivery = new Delivery(this.#truth, this.#log)
    this.#memories = new Memories(this.#truth)
    this.#keyLedgers = new KeyLedgers(this.#truth, this.#log, this.#keys)
    this.#leadership = new LeadershipNews(this.#truth, this.#log, this.#delivery)
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

  /** Index of the last command through this entry that the application takes. */
  lastTaken(index: number): number {
    return this.#log.lastTaken(index)
  }

  /** What stands under this key, and is live behind all that is committed anywhere. */
  find(key: string): KeyedEntry | null {
    return this.#keys.find(key)
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
    this.#leadership.restarted(id)
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

  /** A state machine took these commands. */
  applied(id: NodeId, appliedIndex: number, entries: readonly Entry[], results: readonly unknown[] | null): void {
    this.#log.applied(id, appliedIndex, entries, results)
    this.#delivery.applied(id, appliedIndex, entries, this.#isInMemory)
    if (results === null && this.#isInMemory)
      this.#truth.world.violated('state machine safety', `${id} lost what its own machine answered`)
  }

  /** See Delivery. */
  rewound(id: NodeId, appliedIndex: number): void {
    this.#delivery.rewound(id, appliedIndex, this.#isInMemory)
  }

  broughtTo(id: NodeId, appliedIndex: number): void {
    this.#delivery.broughtTo(id, appliedIndex)
  }

  /** See KeyLedgers, as the next ones. */
  horizonOf(file: SnapshotFile): Horizon {
    return this.#keyLedgers.horizonOf(file)
  }

  ledgerHeld(id: NodeId, picture: LedgerPicture, horizon: Horizon): void {
    this.#keyLedgers.held(id, picture, horizon)
  }

  ledgerWritten(id: NodeId, file: SnapshotFile, text: string, through: number, before: Horizon): void {
    this.#keyLedgers.written(id, file, text, through, before)
  }

  /** See LeadershipNews. */
  toldLeadership(id: NodeId, leadership: Leadership, held: number | null): void {
    this.#leadership.told(id, leadership, held)
  }

  // From the clients

  /** A proposal, before it is made; also each one that is made again. */
  proposed({ key, payload }: NewCommand): void {
    this.#log.proposed(commandKey(payload))
    if (key) this.#keys.proposed(key, commandKey(payload))
  }

  /** An answer to a proposal; `result` is undefined when none was waited for. */
  acknowledged(id: NodeId, { key, payload }: NewCommand, place: Place, result: unknown): void {
    const { index, term, timestampMs, duplicate } = place
    const command = commandKey(payload)
    const committed = this.committed(index)
    const entry = committed?.entry
    if (entry === undefined || entry.term !== term) {
      const message = `${id} acknowledges ${command} at ${index}/t${term}, which is not committed`
      this.#truth.world.violated('acknowledged is committed', message)
    } else if (commandKey(entry.payload) !== command) {
      this.#misled(`${id} answers ${command} with entry ${index}, which is ${commandKey(entry.payload)}`)
    } else if (entry.timestampMs !== timestampMs) {
      this.#misled(`${id} answers entry ${index} with cluster time ${timestampMs}, not ${entry.timestampMs}`)
    } else if (result !== undefined && committed?.skippedAt === null && meaningOf(result) !== committed.result) {
      this.#misled(`${id} answers entry ${index} with ${meaningOf(result)}, not ${committed?.result}`)
    }
    if (key) this.#keys.answered(id, key, index, duplicate)
    else if (duplicate) this.#misled(`${id} takes ${command}, which has no key, for a duplicate`)
  }

  /** Its proposer is told that it never entered the log. */
  notApplied(id: NodeId, { payload }: NewCommand): void {
    this.#log.refused(id, commandKey(payload))
  }

  /** Its proposer is told that its key was given to another command; `firstBefore`: what stood under it when it was proposed. */
  reused(id: NodeId, { key, payload }: NewCommand, firstBefore: KeyedEntry | null): void {
    const bodyOf = (entry: Entry) => commandKey(entry.payload)
    if (key) this.#keys.reused(id, key, commandKey(payload), firstBefore, bodyOf)
    else this.#misled(`${id} refuses ${commandKey(payload)}, which has no key, as one that reuses it`)
  }

  /** Its proposer is told that the cluster has left it out. */
  toldSkipped(id: NodeId, { payload }: NewCommand, index: number): void {
    const committed = this.committed(index)
    const isIt = committed !== null && commandKey(committed.entry.payload) === commandKey(payload)
    if (!isIt || committed.skippedAt === null || this.#isInMemory)
      this.#misled(`${id} tells the proposer of ${commandKey(payload)} that it is left out, at ${index}`)
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

  #misled(message: string): void {
    this.#truth.world.violated('answers reach their proposer', message)
  }
}
