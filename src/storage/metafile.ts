// Who this node is, and what it promised: the identity that was written when the directory was founded, term and vote (§5.2), which
// must be durable before anything that rests on them leaves the node, and the runs of its process, of which the newest must be counted before
// that says anything at all. The value is JSON, for people with a pager.

import assert from 'node:assert/strict'
import type { Run, SnapshotFile } from '../node/ports.ts'
import type { Configuration } from '../raft/configuration.ts'
import type { NodeId } from '../raft/entry.ts'
import type { HardState } from '../raft/work.ts'
import { misplaced } from './damage.ts'
import type { Disk, ReadOnlyDisk } from './disk.ts'
import type { SlotFormat, SlotState } from './slot-file.ts'
import { readSlotValue, SlotFile } from './slot-file.ts'

export const metafileName = 'metafile'

/** Of one write at most: room for the founding configuration of some 40 members with the longest of addresses. */
export const metafileSlotBytes = 4 * 4096

const format: SlotFormat = { version: 1, slotBytes: metafileSlotBytes }

/** A peer that met none of so many runs cannot tell whether they followed the last one that it met. */
const keptFormerRuns = 63

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
  #run: Run | null

  private constructor(slots: SlotFile, { identity, hardState, run }: MetafileContent) {
    this.#slots = slots
    this.identity = identity
    this.#hardState = hardState
    this.#run = run
  }

  static async create(disk: Disk, directory: string, identity: Identity, currentTerm = 0): Promise<Metafile> {
    const content: MetafileContent = { identity, hardState: { currentTerm, votedFor: null }, run: null }
    const slots = await SlotFile.create(disk, directory, metafileName, format, encode(content))
    return new Metafile(slots, content)
  }

  static async open(disk: Disk, directory: string): Promise<Metafile> {
    const slots = await SlotFile.open(disk, directory, metafileName, format)
    try {
      return new Metafile(slots, decode(`${directory}/${metafileName}`, slots.value))
    } catch (error) {
      await slots.close()
      throw error
    }
  }

  get hardState(): HardState {
    return this.#hardState
  }

  get run(): Run | null {
    return this.#run
  }

  /** Resolves when it is durable. One call at a time, and again where there was no room. */
  async save(hardState: HardState): Promise<void> {
    const mine = this.#hardState
    assert(hardState.currentTerm >= mine.currentTerm, `term ${hardState.currentTerm} would replace ${mine.currentTerm}`)
    assert(
      hardState.currentTerm > mine.currentTerm || mine.votedFor === null || hardState.votedFor === mine.votedFor,
      `the vote of term ${mine.currentTerm} would go from ${mine.votedFor} to ${hardState.votedFor}`,
    )
    await this.#slots.write(encode({ ...this.#content, hardState }))
    this.#hardState = hardState
  }

  /** A process begins to act for this node. It is counted in both slots, so that no single damage takes that back. Not while something is saved. */
  async beginRun(id: string): Promise<Run> {
    const before = this.#run
    const former = before === null ? [] : [before.id, ...before.former].slice(0, keptFormerRuns)
    const run: Run = { number: (before?.number ?? 0) + 1, id, former }
    await this.#slots.write(encode({ ...this.#content, run }))
    this.#run = run
    await this.#slots.double()
    return run
  }

  get #content(): MetafileContent {
    return { identity: this.identity, hardState: this.#hardState, run: this.#run }
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
  /** The newest one; null: none has begun yet. */
  readonly run: Run | null
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

type Content = Identity & HardState & Pick<MetafileContent, 'run'>

function encode({ identity, hardState, run }: MetafileContent): Buffer {
  const { currentTerm, votedFor } = hardState
  const content: Content = { ...identity, currentTerm, votedFor, run }
  return Buffer.from(JSON.stringify(content))
}

function decode(path: string, bytes: Buffer): MetafileContent {
  const value = parse(bytes)
  if (!isContent(value)) throw misplaced(path, 'It does not hold what a metafile holds.')
  const { cluster, nodeId, incarnation, foundingConfiguration, restoredFrom, currentTerm, votedFor, run } = value
  return {
    // Metafiles that were written before there were backups, and before runs were counted, say nothing of them.
    identity: { cluster, nodeId, incarnation, foundingConfiguration, restoredFrom: restoredFrom ?? null },
    hardState: { currentTerm, votedFor },
    run: run ?? null,
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
function isContent(value: unknown): value is Omit<Content, 'restoredFrom' | 'run'> & Partial<Content> {
  if (typeof value !== 'object' || value === null) return false
  const content: Partial<Record<keyof Content, unknown>> = value
  return (
    typeof content.cluster === 'string' &&
    typeof content.nodeId === 'string' &&
    typeof content.incarnation === 'string' &&
    typeof content.foundingConfiguration === 'object' &&
    (content.restoredFrom === undefined || typeof content.restoredFrom === 'object') &&
    typeof content.currentTerm === 'number' &&
    (content.votedFor === null || typeof content.votedFor === 'string') &&
    (content.run === undefined || content.run === null || isRun(content.run))
  )
}

function isRun(value: unknown): value is Run {
  if (typeof value !== 'object' || value === null) return false
  const run: Partial<Record<keyof Run, unknown>> = value
  return (
    Number.isSafeInteger(run.number) &&
    typeof run.id === 'string' &&
    Array.isArray(run.former) &&
    run.former.every((id) => typeof id === 'string')
  )
}
