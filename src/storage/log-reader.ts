// Reads durable entries back, verifying each record's checksum. It may run beside appends and compaction: bytes of the log never change, and
// an entry that was replaced or given up while it was being read is left out, with all that follow.

import type { Entry } from '../raft/entry.ts'
import { damaged } from './damage.ts'
import type { ReadOnlyDisk, ReadOnlyFile } from './disk.ts'
import type { EntryIndex } from './entry-index.ts'
import { readU32 } from './little-endian.ts'
import { decodeRecordAt, maxRecordBytes, RecordError, recordHeaderBytes } from './record.ts'
import type { Position } from './segment.ts'
import { segmentName } from './segment.ts'

/** Entries of one segment, in rising order of their offsets there. */
interface Run {
  readonly from: number
  readonly segment: number
  readonly offsets: readonly number[]
  /** Where the next entry begins, if that is known to be behind the last one of these. */
  readonly boundary: number | null
}

export class LogReader {
  readonly #disk: ReadOnlyDisk
  readonly #directory: string
  readonly #index: EntryIndex

  constructor(disk: ReadOnlyDisk, directory: string, index: EntryIndex) {
    this.#disk = disk
    this.#directory = directory
    this.#index = index
  }

  /** At least one entry, if `from` is in the log; ends early when the records pass `maxBytes`. Rejects with FatalError on bit rot. */
  async read(from: number, through: number, maxBytes: number): Promise<Entry[]> {
    const entries: Entry[] = []
    let bytes = 0
    for (let index = from; index <= through && (bytes < maxBytes || bytes === 0); ) {
      const run = this.#run(index, through, maxBytes - bytes)
      if (run === null) break
      const read = await this.#readRun(run).catch((error: unknown) => {
        // The file of an entry that is no longer wanted may be gone.
        if (this.#stands(run.from, run.segment, run.offsets[0] as number)) throw error
        return []
      })
      if (read.length === 0) break
      for (const [at, entry] of read.entries()) {
        if (!this.#stands(entry.index, run.segment, run.offsets[at] as number)) return entries
        if (entries.length > 0 && bytes + entry.record.length > maxBytes) return entries
        entries.push(entry)
        bytes += entry.record.length
      }
      index += read.length
    }
    return entries
  }

  #stands(index: number, segment: number, offset: number): boolean {
    const position = this.#index.position(index)
    return position !== null && position.segment === segment && position.offset === offset
  }

  #run(from: number, through: number, maxBytes: number): Run | null {
    const first = this.#index.position(from)
    if (first === null) return null
    const offsets: number[] = []
    let position: Position | null = first
    while (follows(position, first.segment, offsets)) {
      const next = from + offsets.length
      if (offsets.length > 0 && (next > through || position.offset - first.offset >= maxBytes)) {
        return { from, segment: first.segment, offsets, boundary: position.offset }
      }
      offsets.push(position.offset)
      position = this.#index.position(next + 1)
    }
    return { from, segment: first.segment, offsets, boundary: null }
  }

  async #readRun(run: Run): Promise<Entry[]> {
    const path = `${this.#directory}/${segmentName(run.segment)}`
    const file = await this.#disk.open(path, 'read')
    try {
      const start = run.offsets[0] as number
      const end = run.boundary ?? (await endOfRecord(file, path, run.offsets.at(-1) as number))
      const bytes = Buffer.allocUnsafeSlow(end - start)
      const count = await file.read(bytes, start)
      return run.offsets.map((offset, at) => decode(bytes.subarray(0, count), start, path, offset, run.from + at))
    } finally {
      await file.close()
    }
  }
}

function follows(position: Position | null, segment: number, offsets: readonly number[]): position is Position {
  return position !== null && position.segment === segment && position.offset > (offsets.at(-1) ?? -1)
}

async function endOfRecord(file: ReadOnlyFile, path: string, offset: number): Promise<number> {
  const header = Buffer.alloc(recordHeaderBytes)
  await file.read(header, offset)
  const size = readU32(header, 4)
  if (size < recordHeaderBytes || size > maxRecordBytes) throw damaged(path, offset, `A record claims ${size} bytes.`)
  return offset + size
}

function decode(bytes: Buffer, start: number, path: string, offset: number, index: number): Entry {
  try {
    const entry = decodeRecordAt(bytes, offset - start)
    if (entry.index !== index)
      throw damaged(path, offset, `Entry ${entry.index} stands where entry ${index} was written.`)
    return entry
  } catch (error) {
    if (error instanceof RecordError) throw damaged(path, offset, `${error.message}.`)
    throw error
  }
}
