// Who this node is, and what it promised: the identity that was written when the directory was founded, and term and vote
// (§5.2), which must be durable before anything that rests on them leaves the node. The value is JSON, for people with a pager.

import assert from 'node:assert/strict'
import type { SnapshotFile } from '../node/ports.ts'
import type { Configuration } from '../raft/configuration.ts'
import type { NodeId } from '../raft/entry.ts'
import type { HardState } from '../raft/work.ts'
import { misplaced } from './damage.ts'
import type { Disk, ReadOnlyDisk } from './disk.ts'
import type { SlotFormat, SlotState } from './slot-file.ts'
import { readSlotValue, SlotFile } from './slot-file.ts'

export const metafileName = 'metafile'

/** Room for the founding configuration of some 40 members with the longest of addresses. */
/** At most, of one write. */
export const metafileSlotBytes = 4 * 4096

const format: SlotFormat = { version: 1, slotBytes: metafileSlotBytes }

export interface Identity {
  readonly cluster: string
  readonly nodeId: NodeId
  /** 64 random bits in hexadecimal, drawn when the directory was founded: one that was emptied is another node. */
  readonly incarnation: string
  /** Null: this node was told to join a cluster that exists. */
  readonly foundingConfiguration: Configuration | null
  /** The backup that the cluster was made anew from; null: it began with an empty log. */
  readonly restoredFrom: SnapshotFile | null
}

export class Metafile {
  readonly identity: Identity
  readonly #slots: SlotFile
  #hardState: HardState

  private constructor(slots: SlotFile, identity: Identity, hardState: HardState) {
    this.#slots = slots
    this.identity = identity
    this.#hardState = hardState
  }

  static async create(disk: Disk, directory: string, identity: Identity, currentTerm = 0): Promise<Metafile> {
    const hardState: HardState = { currentTerm, votedFor: null }
    const slots = await SlotFile.create(disk, directory, metafileName, format, encode(identity, hardState))
    return new Metafile(slots, identity, hardState)
  }

  static async open(disk: Disk, directory: string): Promise<Metafile> {
    const slots = await SlotFile.open(disk, directory, metafileName, format)
    try {
      const { identity, hardState } = decode(`${directory}/${metafileName}`, slots.value)
      return new Metafile(slots, identity, hardState)
    } catch (error) {
      await slots.close()
      throw error
    }
  }

  get hardState(): HardState {
    return this.#hardState
  }

  /** Resolves when it is durable. One call at a time, and again where there was no room. */
  async save(hardState: HardState): Promise<void> {
    const mine = this.#hardState
    assert(hardState.currentTerm >= mine.currentTerm, `term ${hardState.currentTerm} would replace ${mine.currentTerm}`)
    assert(
      hardState.currentTerm > mine.currentTerm || mine.votedFor === null || hardState.votedFor === mine.votedFor,
      `the vote of term ${mine.currentTerm} would go from ${mine.votedFor} to ${hardState.votedFor}`,
    )
    await this.#slots.write(encode(this.identity, hardState))
    this.#hardState = hardState
  }

  /** See SlotFile: for an idle moment. */
  double(): Promise<void> {
    return this.#slots.double()
  }

  close(): Promise<void> {
    return this.#slots.close()
  }
}

export interface MetafileContent {
  readonly identity: Identity
  readonly hardState: HardState
}

/** What `open` would find, or the error that it would throw; `report` is told of the slots first. Only reads. */
export async function readMetafile(
  disk: ReadOnlyDisk,
  directory: string,
  report: (slots: readonly SlotState[]) => void,
): Promise<MetafileContent> {
  const path = `${directory}/${metafileName}`
  return decode(path, await readSlotValue(disk, path, format, report))
}

type Content = Identity & HardState

function encode(identity: Identity, hardState: HardState): Buffer {
  const content: Content = { ...identity, currentTerm: hardState.currentTerm, votedFor: hardState.votedFor }
  return Buffer.from(JSON.stringify(content))
}

function decode(path: string, bytes: Buffer): MetafileContent {
  const value = parse(bytes)
  if (!isContent(value)) throw misplaced(path, 'It does not hold what a metafile holds.')
  const { cluster, nodeId, incarnation, foundingConfiguration, restoredFrom, currentTerm, votedFor } = value
  return {
    // Metafiles that were written before there were backups say nothing of one.
    identity: { cluster, nodeId, incarnation, foundingConfiguration, restoredFrom: restoredFrom ?? null },
    hardState: { currentTerm, votedFor },
  }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return null
  }
}

/** The checksum vouches for the values; this is for a file that something else wrote. */
function isContent(value: unknown): value is Omit<Content, 'restoredFrom'> & Partial<Content> {
  if (typeof value !== 'object' || value === null) return false
  const content: Partial<Record<keyof Content, unknown>> = value
  return (
    typeof content.cluster === 'string' &&
    typeof content.nodeId === 'string' &&
    typeof content.incarnation === 'string' &&
    typeof content.foundingConfiguration === 'object' &&
    (content.restoredFrom === undefined || typeof content.restoredFrom === 'object') &&
    typeof content.currentTerm === 'number' &&
    (content.votedFor === null || typeof content.votedFor === 'string')
  )
}
