// Looks at a data directory without changing anything in it, and comes to the verdict of the next start by the very code that the start judges
// by. What is seen on the way is told, also of a directory that is refused in the end.

import type { Entry, EntryId } from '../raft/entry.ts'
import { checkAcquaintances } from './acquaintances.ts'
import { checkCursor } from './cursor.ts'
import { DamageError } from './damage.ts'
import type { ReadOnlyDisk } from './disk.ts'
import { judgeDirectory } from './judge-directory.ts'
import type { LogContents } from './log-contents.ts'
import { LogReader } from './log-reader.ts'
import type { MetafileContent } from './metafile.ts'
import { recordIndexAt, recordSizeAt, recordTermAt } from './record.ts'
import type { LogWitness, TornTail } from './recover-log.ts'
import { tornTailOf } from './recover-log.ts'
import { verifyNamed } from './recover-snapshots.ts'
import type { BatchHeader, Position } from './segment.ts'
import { batchHeaderBytes, isBefore, segmentHeaderBytes, segmentNumber } from './segment.ts'
import type { SlotState } from './slot-file.ts'
import { SnapshotFileError, snapshotId } from './snapshot-file.ts'

export interface Inspection {
  readonly metafile: InspectedMetafile | null
  /** In rising order. */
  readonly snapshots: readonly InspectedSnapshot[]
  readonly segments: readonly InspectedSegment[]
  /** What the log was last known to hold for certain, whatever happened afterwards; null: nothing says so. */
  readonly mark: DurableMark | null
  /** Of what was read of the log, up to the damage if there is any; null: nothing was. */
  readonly log: { readonly firstIndex: number; readonly lastIndex: number } | null
  /** The log is behind the newest snapshot, and the next start gives it up for that. */
  readonly isLogSuperseded: boolean
  readonly verdict: Verdict
  /** Those that were read, without what was replaced; ends early where they end. */
  entries(from: number, through: number): AsyncGenerator<Entry>
}

export interface InspectedMetafile {
  readonly slots: readonly SlotState[]
  readonly content: MetafileContent | null
}

export interface InspectedSnapshot {
  readonly name: string
  readonly index: number
  readonly term: number
  readonly sizeBytes: number
  /** Null: every byte is what was written. */
  readonly damage: { readonly offset: number | null; readonly problem: string } | null
}

export interface InspectedSegment {
  readonly name: string
  readonly number: number
  readonly sizeBytes: number
  /** `unread`: the reading ended before it. `unused`: made ahead of need. */
  readonly state: 'sound' | 'torn' | 'damaged' | 'unused' | 'unread'
  readonly batches: number
  /** Behind the last good batch; 0 when none was read. */
  readonly usedBytes: number
  /** Of the entries in good batches, those that were replaced later among them; null: there are none. */
  readonly entries: {
    readonly first: number
    readonly last: number
    readonly lowestTerm: number
    readonly highestTerm: number
  } | null
}

export interface DurableMark {
  readonly position: Position
  /** The last entry below it; null: it lies behind what could be read. */
  readonly index: number | null
}

export type Verdict =
  | { readonly kind: 'sound' }
  /** No node was founded here, and the next start would found one. */
  | { readonly kind: 'new' }
  /** The next start cuts it, and nothing is lost: nobody was told of it. */
  | { readonly kind: 'torn'; readonly tail: TornTail }
  /** The next start refuses. */
  | { readonly kind: 'damaged'; readonly damage: DamageError }

export interface InspectOptions {
  readonly disk: ReadOnlyDisk
  readonly directory: string
  /** A process writes there meanwhile: what looks like damage may be a write that it was in the midst of. */
  readonly isHeld: boolean
}

const looksWhileHeld = 3
const readBytes = 1024 * 1024

/** Rejects with what the disk answered when it cannot be read. */
export async function inspectDirectory({ disk, directory, isHeld }: InspectOptions): Promise<Inspection> {
  for (let look = 1; ; look++) {
    const inspection = await inspect(disk, directory)
    if (inspection.verdict.kind !== 'damaged' || !isHeld || look === looksWhileHeld) return inspection
  }
}

async function inspect(disk: ReadOnlyDisk, directory: string): Promise<Inspection> {
  const log = new LogRecorder()
  const metafile = { slots: null as readonly SlotState[] | null, content: null as MetafileContent | null }
  let isLogSuperseded = false
  let verdict: Verdict
  try {
    const judged = await judgeDirectory(disk, directory, {
      slots: (slots) => {
        metafile.slots = slots
      },
      metafile: (content) => {
        metafile.content = content
      },
      log,
    })
    // What the node opens besides its storage; of its results nothing could make it refuse the directory.
    await checkAcquaintances(disk, directory)
    await checkCursor(disk, directory)
    isLogSuperseded = judged?.isLogSuperseded ?? false
    verdict = verdictOf(directory, judged)
  } catch (error) {
    if (!(error instanceof DamageError)) throw error
    verdict = { kind: 'damaged', damage: error }
  }
  const { slots, content } = metafile
  return {
    metafile: slots && { slots, content },
    snapshots: await inspectSnapshots(disk, directory, content?.identity.cluster ?? null),
    segments: await inspectSegments(disk, directory, log, verdict),
    mark: log.mark,
    log: log.range,
    isLogSuperseded,
    verdict,
    entries: (from, through) => entriesOf(disk, directory, log.contentsRead, from, through),
  }
}

function verdictOf(directory: string, judged: Awaited<ReturnType<typeof judgeDirectory>>): Verdict {
  if (judged === null) return { kind: 'new' }
  const tail = tornTailOf(directory, judged.scanned.torn)
  return tail === null ? { kind: 'sound' } : { kind: 'torn', tail }
}

interface SegmentRead {
  isWhole: boolean
  batches: number
  usedBytes: number
  entries: InspectedSegment['entries']
}

/** Keeps what a scan of the log reads, so that it can be told though the scan ends early. */
class LogRecorder implements LogWitness {
  readonly segments = new Map<number, SegmentRead>()
  contentsRead: LogContents | null = null
  mark: DurableMark | null = null
  #current: SegmentRead | null = null
  /** Behind the last batch. */
  #end: Position | null = null

  get range(): Inspection['log'] {
    const contents = this.contentsRead
    if (contents === null || contents.base === null) return null
    return { firstIndex: contents.base.index + 1, lastIndex: contents.lastIndex }
  }

  contents(contents: LogContents): void {
    this.contentsRead = contents
  }

  segment(number: number): void {
    this.end()
    this.#current = { isWhole: false, batches: 0, usedBytes: segmentHeaderBytes, entries: null }
    this.segments.set(number, this.#current)
    this.#end ??= { segment: number, offset: segmentHeaderBytes }
  }

  durable(position: Position): void {
    if (this.mark !== null && !isBefore(this.mark.position, position)) return
    // One write is in flight at most, so that a mark is the end of the batch before, unless something is missing.
    const isEnd = this.#end?.segment === position.segment && this.#end.offset === position.offset
    this.mark = { position, index: isEnd ? (this.contentsRead?.lastIndex ?? null) : null }
  }

  batch(position: Position, content: Buffer, header: BatchHeader): void {
    const read = this.#current
    if (read === null) return
    read.batches++
    read.usedBytes = position.offset + batchHeaderBytes + content.length
    for (let record = 0, offset = 0; record < header.records; record++) {
      read.entries = widen(read.entries, recordIndexAt(content, offset), recordTermAt(content, offset))
      offset += recordSizeAt(content, offset)
    }
    this.#end = { segment: position.segment, offset: read.usedBytes }
  }

  end(): void {
    if (this.#current !== null) this.#current.isWhole = true
  }
}

function widen(entries: InspectedSegment['entries'], index: number, term: number): InspectedSegment['entries'] {
  return {
    first: Math.min(entries?.first ?? index, index),
    last: Math.max(entries?.last ?? index, index),
    lowestTerm: Math.min(entries?.lowestTerm ?? term, term),
    highestTerm: Math.max(entries?.highestTerm ?? term, term),
  }
}

async function inspectSegments(
  disk: ReadOnlyDisk,
  directory: string,
  log: LogRecorder,
  verdict: Verdict,
): Promise<InspectedSegment[]> {
  const segments: InspectedSegment[] = []
  for (const name of await disk.list(directory)) {
    const number = segmentNumber(name)
    if (number === null) continue
    const path = `${directory}/${name}`
    const read = log.segments.get(number) ?? null
    segments.push({
      name,
      number,
      sizeBytes: await sizeOf(disk, path),
      state: segmentState(path, read, verdict),
      batches: read?.batches ?? 0,
      usedBytes: read?.usedBytes ?? 0,
      entries: read?.entries ?? null,
    })
  }
  return segments
}

function segmentState(path: string, read: SegmentRead | null, verdict: Verdict): InspectedSegment['state'] {
  if (verdict.kind === 'damaged' && verdict.damage.path === path) return 'damaged'
  if (verdict.kind === 'torn' && verdict.tail.file === path) return 'torn'
  if (read === null || !read.isWhole) return 'unread'
  return read.batches === 0 ? 'unused' : 'sound'
}

/** All of them, those that the next start does not look at, too. */
async function inspectSnapshots(
  disk: ReadOnlyDisk,
  directory: string,
  cluster: string | null,
): Promise<InspectedSnapshot[]> {
  const snapshots: InspectedSnapshot[] = []
  for (const name of await disk.list(directory)) {
    const id = snapshotId(name)
    if (id === null) continue
    const sizeBytes = await sizeOf(disk, `${directory}/${name}`)
    snapshots.push({ name, ...id, sizeBytes, damage: await damageOf(disk, directory, cluster, id) })
  }
  return snapshots.sort((a, b) => a.index - b.index || a.term - b.term)
}

async function damageOf(
  disk: ReadOnlyDisk,
  directory: string,
  cluster: string | null,
  id: EntryId,
): Promise<InspectedSnapshot['damage']> {
  try {
    await verifyNamed(disk, directory, cluster, id)
    return null
  } catch (error) {
    if (!(error instanceof SnapshotFileError)) throw error
    return { offset: error.offset, problem: error.problem }
  }
}

async function sizeOf(disk: ReadOnlyDisk, path: string): Promise<number> {
  const file = await disk.open(path, 'read')
  try {
    return await file.size()
  } finally {
    await file.close()
  }
}

async function* entriesOf(
  disk: ReadOnlyDisk,
  directory: string,
  contents: LogContents | null,
  from: number,
  through: number,
): AsyncGenerator<Entry> {
  if (contents === null || contents.base === null) return
  const reader = new LogReader(disk, directory, contents.index)
  const last = Math.min(through, contents.lastIndex)
  for (let next = Math.max(from, contents.base.index + 1); next <= last; ) {
    const entries = await reader.read(next, last, readBytes)
    if (entries.length === 0) return
    yield* entries
    next += entries.length
  }
}
