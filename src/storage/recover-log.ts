// Reads the whole log at the start and decides what a bad batch is. Invariants: one write is in flight at most, so only the
// last one can be torn; what was written is a mark for all that came before it. A bad batch that anything durable
// follows, or below the highest durable mark, is corruption and is refused; any other is a torn tail, which nobody was told
// of, and is cut.

import { damaged, misplaced } from './damage.ts'
import type { Disk, ReadOnlyDisk } from './disk.ts'
import { LogContents } from './log-contents.ts'
import type { BadBatch } from './scan-segment.ts'
import { isUnused, scanSegment } from './scan-segment.ts'
import type { BatchHeader, LogIdentity, Position } from './segment.ts'
import {
  batchHeaderBytes,
  isBefore,
  segmentHeaderBytes,
  segmentHeaderProblem,
  segmentName,
  segmentNumber,
} from './segment.ts'

/** What was cut from the log's end at the start: the remains of a write that was never acknowledged. */
export interface TornTail {
  readonly file: string
  readonly offset: number
  readonly bytes: number
  readonly problem: string
}

/** Is told what a scan reads, in order and before it is judged. */
export interface LogWitness {
  /** They grow as the scan goes on. */
  contents(contents: LogContents): void
  segment(number: number): void
  /** When something was written, the log was known to be durable up to here. */
  durable(position: Position): void
  /** A good batch, which `contents` holds by now. */
  batch(position: Position, content: Buffer, header: BatchHeader): void
  /** Everything was read. */
  end(): void
}

/** What the log's files hold, and nothing changed in them yet. */
export interface ScannedLog {
  readonly contents: LogContents
  /** Without a gap, in rising order. */
  readonly segments: readonly number[]
  /** Behind the last batch. */
  readonly end: Position
  readonly lastBatch: Extent | null
  readonly torn: { readonly at: Position; readonly bad: BadBatch } | null
}

export interface RecoveredLog {
  readonly contents: LogContents
  /** The first segment that exists. */
  readonly firstSegment: number
  /** Behind the last batch: where the next one goes, if it fits. */
  readonly end: Position
  /** Segments behind `end.segment` that exist already, unused. */
  readonly prepared: readonly number[]
  readonly tornTail: TornTail | null
}

interface Extent {
  readonly position: Position
  readonly bytes: number
}

/** Rejects with FatalError (dataError) where what was durable is not what was written. */
export async function scanLog(
  disk: ReadOnlyDisk,
  directory: string,
  identity: LogIdentity,
  witness: LogWitness | null = null,
): Promise<ScannedLog> {
  const segments = await segmentNumbers(disk, directory)
  const first = segments[0] as number
  const contents = new LogContents(first)
  witness?.contents(contents)
  let end: Position = { segment: first, offset: segmentHeaderBytes }
  let lastBatch: Extent | null = null
  let torn: { readonly at: Position; readonly bad: BadBatch } | null = null

  for await (const { number, bytes } of readSegments(disk, directory, identity, segments)) {
    const path = `${directory}/${segmentName(number)}`
    witness?.segment(number)
    if (torn) {
      if (!isUnused(bytes))
        throw corrupt(directory, torn.at, `${torn.bad.problem} Segment ${number} was written after it.`)
      continue
    }
    const ending = scanSegment(bytes, identity, number, (header, content, offset) => {
      witness?.durable(header.mark)
      if (isBefore(end, header.mark)) {
        const mark = `segment ${header.mark.segment}, offset ${header.mark.offset}`
        throw corrupt(directory, end, `The log was durable up to ${mark}, and nothing is left from here on.`)
      }
      try {
        contents.add(header, content, { segment: number, offset: offset + batchHeaderBytes })
      } catch (error) {
        throw damaged(path, offset, error instanceof Error ? error.message : String(error))
      }
      const size = batchHeaderBytes + content.length
      lastBatch = { position: { segment: number, offset }, bytes: size }
      end = { segment: number, offset: offset + size }
      witness?.batch({ segment: number, offset }, content, header)
    })
    if (ending.bad) {
      if (ending.bad.mark) witness?.durable(ending.bad.mark)
      torn = { at: { segment: number, offset: ending.offset }, bad: ending.bad }
      if (ending.bad.mark && isBefore(torn.at, ending.bad.mark)) {
        throw corrupt(directory, torn.at, `${ending.bad.problem} The log was written on and durable behind it.`)
      }
    }
  }
  witness?.end()
  return { contents, segments, end, lastBatch, torn }
}

/** Makes what was scanned something to build on. */
export async function settleLog(disk: Disk, directory: string, scanned: ScannedLog): Promise<RecoveredLog> {
  const { contents, segments, end, lastBatch, torn } = scanned
  await makeCertain(disk, directory, lastBatch)
  if (torn) await cut(disk, directory, torn)
  const prepared = segments.filter((number) => number > end.segment)
  return { contents, firstSegment: segments[0] as number, end, prepared, tornTail: tornTailOf(directory, torn) }
}

/** What will be cut, or was; null: the log ends as it was written. */
export function tornTailOf(directory: string, torn: ScannedLog['torn']): TornTail | null {
  if (torn === null) return null
  const { at, bad } = torn
  const file = `${directory}/${segmentName(at.segment)}`
  return { file, offset: at.offset, bytes: bad.through - at.offset, problem: bad.problem }
}

/** True when no segment holds anything: the directory was never used, its founding was interrupted. */
export async function isLogUnused(disk: ReadOnlyDisk, directory: string): Promise<boolean> {
  for (const name of await disk.list(directory)) {
    if (segmentNumber(name) !== null && !isUnused(await readWhole(disk, `${directory}/${name}`, null))) return false
  }
  return true
}

async function segmentNumbers(disk: ReadOnlyDisk, directory: string): Promise<number[]> {
  const names = await disk.list(directory)
  const numbers = names.map(segmentNumber).filter((number) => number !== null)
  const first = numbers[0]
  if (first === undefined) throw misplaced(`${directory}/${segmentName(1)}`, 'It is missing, and so is all of the log.')
  for (const [at, number] of numbers.entries()) {
    if (number === first + at) continue
    throw misplaced(`${directory}/${segmentName(first + at)}`, `It is missing between segments ${first} and ${number}.`)
  }
  return numbers
}

/** One buffer serves them all: what was yielded is gone when the next one comes. */
async function* readSegments(
  disk: ReadOnlyDisk,
  directory: string,
  identity: LogIdentity,
  numbers: readonly number[],
): AsyncGenerator<{ number: number; bytes: Buffer }> {
  let buffer: Buffer | null = null
  for (const number of numbers) {
    const path = `${directory}/${segmentName(number)}`
    buffer = await readWhole(disk, path, buffer)
    const problem = segmentHeaderProblem(buffer, identity, number)
    if (problem !== null) throw misplaced(path, problem)
    yield { number, bytes: buffer }
  }
}

async function readWhole(disk: ReadOnlyDisk, path: string, reuse: Buffer | null): Promise<Buffer> {
  const file = await disk.open(path, 'read')
  try {
    const size = await file.size()
    const buffer = reuse?.length === size ? reuse : Buffer.allocUnsafeSlow(size)
    const count = await file.read(buffer, 0)
    return buffer.subarray(0, count)
  } finally {
    await file.close()
  }
}

/**
 * The last batch may have been read from the page cache of a process that died before its sync, or whose sync failed. Written
 * again, the same bytes in the same place, and synced, it is certain before anyone builds on it.
 */
async function makeCertain(disk: Disk, directory: string, batch: Extent | null): Promise<void> {
  await disk.syncDirectory(directory)
  if (batch === null) return
  const file = await disk.open(`${directory}/${segmentName(batch.position.segment)}`, 'update')
  try {
    const bytes = Buffer.allocUnsafeSlow(batch.bytes)
    await file.read(bytes, batch.position.offset)
    file.write(bytes, batch.position.offset)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function cut(disk: Disk, directory: string, { at, bad }: NonNullable<ScannedLog['torn']>): Promise<void> {
  const file = await disk.open(`${directory}/${segmentName(at.segment)}`, 'update')
  try {
    await file.zeroFill(at.offset, bad.through)
    await file.sync()
  } finally {
    await file.close()
  }
}

function corrupt(directory: string, at: Position, problem: string): Error {
  return damaged(`${directory}/${segmentName(at.segment)}`, at.offset, problem)
}
