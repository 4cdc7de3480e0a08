// Snapshots: each holds exactly what is committed through its last entry, whoever took it, sent it or restored it; none stands for anything before
// it is durable; and nothing leaves a log that a durable snapshot of the same disk does not hold.

import { crc32 } from 'node:zlib'
import type { SnapshotFile, SnapshotHeader } from '../../../src/node/ports.ts'
import type { EntryId, NodeId } from '../../../src/raft/entry.ts'
import type { SnapshotMetadata } from '../../../src/raft/snapshot.ts'
import type { Save } from '../../../src/raft/work.ts'
import type { CommittedLog } from './committed-log.ts'
import { decodeState } from './state-text.ts'
import type { Truth } from './truth.ts'

/** What the disk holds of a file for certain; null: it would not survive a power loss under that name. */
export type DurableBytes = Uint8Array | null

export interface SnapshotCounts {
  taken: number
  installed: number
  restored: number
  compactions: number
}

export class Snapshots {
  readonly counts: SnapshotCounts = { taken: 0, installed: 0, restored: 0, compactions: 0 }
  readonly #truth: Truth
  readonly #log: CommittedLog

  constructor(truth: Truth, log: CommittedLog) {
    this.#truth = truth
    this.#log = log
  }

  /** A node took one of its own state, and takes it for durable. */
  taken(id: NodeId, header: SnapshotHeader, body: Uint8Array, file: SnapshotFile, durable: DurableBytes): void {
    this.counts.taken++
    const record = this.#truth.record(id)
    this.#check(id, 'takes', header)
    this.#checkState(id, header, body)
    // While it was made, one that a leader sent may have come to stand for more.
    if (file.lastIncluded.index <= record.snapshot.index) return
    this.#checkFile(id, file, durable)
    record.snapshotIsDurable(file.lastIncluded)
  }

  /** A node has got one from a leader, and has verified it. */
  received(id: NodeId, header: SnapshotHeader): void {
    this.#check(id, 'received', header)
  }

  /** Its core wants it to stand for the log. */
  installIssued(id: NodeId, { snapshot }: Save): void {
    if (snapshot === null) return
    const record = this.#truth.record(id)
    const { index, term } = snapshot.lastIncluded
    this.#check(id, 'installs', snapshot)
    if (index <= record.commitIndex)
      this.#violated(
        'committed entries stay',
        `${id} installs ${index}, and has committed through ${record.commitIndex}`,
      )
    if (record.issued[index] === term)
      this.#violated('entries behind a snapshot stay', `${id} installs ${index}, and its log has that entry`)
  }

  /** The save that installs it has ended. */
  installSaved(id: NodeId, file: SnapshotFile | null, durable: DurableBytes): void {
    this.counts.installed++
    if (file === null) this.#violated('saved is synced', `${id} has installed a snapshot, and has none`)
    else this.#checkFile(id, file, durable)
  }

  /** Its disk may forget the entries through this one. */
  compacted(id: NodeId, through: EntryId): void {
    this.counts.compactions++
    const record = this.#truth.record(id)
    if (through.index > record.snapshot.index) {
      this.#violated(
        'a log begins behind no snapshot',
        `${id} gives up entries through ${through.index}; its newest durable snapshot holds those through ${record.snapshot.index}`,
      )
    }
    if (record.issued[through.index] !== through.term)
      this.#violated('log matching', `${id} gives up entry ${through.index} of term ${through.term}`)
    record.compactedThrough = Math.max(record.compactedThrough, through.index)
  }

  /** A state machine was given this state. */
  restored(id: NodeId, position: number, body: Uint8Array): void {
    this.counts.restored++
    const state = decodeState(Buffer.from(body).toString())
    const expected = this.#digestAt(position)
    if (state === null || state.position !== position || state.machine.digest !== expected)
      this.#violated('snapshots hold what is committed', `${id} is restored to ${position} with another state`)
  }

  #check(id: NodeId, does: string, metadata: SnapshotMetadata & { readonly machinePosition?: number }): void {
    const { lastIncluded, timestampMs, configuration, machinePosition } = metadata
    const committed = this.#log.at(lastIncluded.index)
    const name = `a snapshot through ${lastIncluded.index} of term ${lastIncluded.term}`
    if (committed === null || committed.entry.term !== lastIncluded.term) {
      this.#violated('snapshots hold what is committed', `${id} ${does} ${name}, which is not committed`)
      return
    }
    const position = this.#log.lastHeld(lastIncluded.index)
    if (machinePosition !== undefined && machinePosition !== position)
      this.#violated('snapshots hold what is committed', `${id} ${does} ${name} at ${machinePosition}, not ${position}`)
    if (timestampMs < committed.entry.timestampMs)
      this.#violated('cluster time never goes back', `${id} ${does} ${name} of ${timestampMs}`)
    if (configuration.configuration.members.length !== this.#truth.records.size)
      this.#violated('snapshots hold the configuration', `${id} ${does} ${name} with other members`)
  }

  #checkState(id: NodeId, { lastIncluded, machinePosition }: SnapshotHeader, body: Uint8Array): void {
    const state = decodeState(Buffer.from(body).toString())
    if (state?.position === machinePosition && state.machine.digest === this.#digestAt(machinePosition)) return
    this.#violated(
      'snapshots hold what is committed',
      `${id} takes a snapshot through ${lastIncluded.index} of another state than that at ${machinePosition}`,
    )
  }

  #checkFile(id: NodeId, file: SnapshotFile, durable: DurableBytes): void {
    const { lastIncluded, sizeBytes, checksum } = file
    const isWhole =
      durable !== null && durable.length === sizeBytes && crc32(durable.subarray(0, sizeBytes - 4)) === checksum
    if (!isWhole)
      this.#violated('snapshots are durable', `${id} counts on a snapshot through ${lastIncluded.index}, which is not`)
  }

  #digestAt(position: number): number {
    return position === 0 ? 0 : (this.#log.at(position)?.digest ?? Number.NaN)
  }

  #violated(invariant: string, message: string): void {
    this.#truth.world.violated(invariant, message)
  }
}
