// The durable log: appends batches, one write and one sync each, and reads entries back from anywhere in it.
// Its owner makes one call of `append` or `mark` at a time; reads go on beside them.

import assert from 'node:assert/strict'

import type { Entry, EntryId } from '../raft/entry.ts'
import type { Disk, DiskFile } from './disk.ts'
import type { EntryIndex } from './entry-index.ts'
import { LogReader } from './log-reader.ts'
import type { RecoveredLog } from './recover-log.ts'
import type { Remover } from './remover.ts'
import type { LogIdentity, Position } from './segment.ts'
import {
  batchHeaderBytes,
  beginningBytes,
  encodeBeginning,
  paddedTo8,
  sealBatch,
  segmentHeaderBytes,
  segmentName,
} from './segment.ts'
import { SegmentAllocator } from './segment-allocator.ts'
import type { Space } from './space.ts'

/** Bounds how long one write holds the loop, and what a segment's unused end can waste. */
export const maxBatchBytes = 1024 * 1024

export interface LogOptions {
  readonly disk: Disk
  /** The same, for reading what was written long ago. */
  readonly reading: Disk
  readonly space: Space
  readonly directory: string
  readonly identity: LogIdentity
  readonly segmentBytes: number
  readonly remover: Remover
  /** The disk failed where no call waits for it. */
  readonly onFailure: (error: unknown) => void
}

export class Log {
  readonly #options: LogOptions
  readonly #index: EntryIndex
  readonly #reader: LogReader
  readonly #allocator: SegmentAllocator
  /** The first segment that was not given up, and the first one that is still wanted: at a beginning these may differ. */
  #firstSegment: number
  #wantedFrom: number
  #isStarted = false
  #file: DiskFile
  /** Behind the last durable batch. */
  #end: Position
  /** Reused for every batch up to the usual size. */
  #scratch: Buffer = Buffer.allocUnsafeSlow(64 * 1024)

  private constructor(options: LogOptions, recovered: RecoveredLog, file: DiskFile) {
    this.#options = options
    this.#index = recovered.contents.index
    this.#reader = new LogReader(options.reading, options.directory, this.#index)
    this.#allocator = new SegmentAllocator(options, recovered.end.segment, recovered.prepared)
    this.#firstSegment = recovered.firstSegment
    this.#wantedFrom = recovered.contents.baseSegment
    this.#file = file
    this.#end = recovered.end
  }

  static async open(options: LogOptions, recovered: RecoveredLog): Promise<Log> {
    const path = `${options.directory}/${segmentName(recovered.end.segment)}`
    return new Log(options, recovered, await options.disk.open(path, 'update'))
  }

  /** Begins to make segments ahead of need, and to remove those that a crash left; a failure there goes to `onFailure`. */
  start(): void {
    this.#allocator.prepare()
    this.#isStarted = true
    this.#removeUnwanted()
  }

  /** The entry before the first one that can be read, once it is durable. */
  get baseIndex(): number {
    return this.#index.baseIndex
  }

  /** Entries from `index` on will be replaced by what is appended next: they are not read any more. */
  forget(index: number): void {
    this.#index.truncate(index)
  }

  /** Nothing that the log holds is read any more: it will begin anew behind this index. */
  forgetAll(baseIndex: number): void {
    this.#index.reset(baseIndex)
  }

  /** Entries through this one, which is durable, are not read any more, and what room can be had of it is given up in the background. */
  compact(through: EntryId): void {
    const position = this.#index.position(through.index)
    assert(position !== null, `entry ${through.index} is not in the log`)
    this.#index.compact(through.index)
    // The segment with that entry stays: it says where the log begins.
    this.#wantedFrom = position.segment
    this.#removeUnwanted()
  }

  /**
   * Resolves when the entries, which are contiguous, are durable; those from the log's own indexes on replace what was there. Whatever
   * `replacedFrom` says by then has been forgotten already and stays invisible.
   */
  async append(entries: readonly Entry[], replacedFrom: () => number): Promise<void> {
    for (let from = 0; from < entries.length; ) {
      const through = batchEnd(entries, from)
      const first = (entries[from] as Entry).index
      const { segment, offset } = await this.#write(this.#encode(entries, from, through), through - from, first)
      const limit = replacedFrom()
      if (first < limit) this.#index.truncate(first)
      let at = offset + batchHeaderBytes
      for (; from < through; from++) {
        const { index, record } = entries[from] as Entry
        if (index < limit) {
          assert(index === this.#index.lastIndex + 1, `entry ${index} was written behind ${this.#index.lastIndex}`)
          this.#index.append(segment, at)
        }
        at += record.length
      }
    }
  }

  /**
   * Resolves when it is durable that the log holds nothing of what it held and goes on behind this entry, whose snapshot is durable; what can be
   * read was settled by `forgetAll`. The old segments go in the background.
   */
  async beginAfter(base: EntryId): Promise<void> {
    const bytes = this.#space(batchHeaderBytes + beginningBytes)
    encodeBeginning(bytes.subarray(batchHeaderBytes), base.term)
    const { segment } = await this.#write(bytes, 0, base.index + 1)
    this.#wantedFrom = segment
    this.#removeUnwanted()
  }

  /** A mark can be written without waiting for a segment. */
  get hasRoomForMark(): boolean {
    return this.#end.offset + batchHeaderBytes <= this.#options.segmentBytes || this.#allocator.isReady
  }

  /** An empty batch: says that everything before it was durable. */
  async mark(): Promise<void> {
    await this.#write(this.#space(batchHeaderBytes), 0, 0)
  }

  read(from: number, through: number, maxBytes: number): Promise<Entry[]> {
    return this.#reader.read(from, through, maxBytes)
  }

  async close(): Promise<void> {
    await this.#allocator.close()
    await this.#file.close()
  }

  /** Writes one batch, whose content stands behind the place of its header, and resolves with its position when it is durable. */
  async #write(bytes: Buffer, records: number, firstIndex: number): Promise<Position> {
    const mark = this.#end
    const full = this.#end.offset + bytes.length > this.#options.segmentBytes
    // A batch larger than a segment gets one to itself, which grows as it is written.
    if (full && this.#end.offset > segmentHeaderBytes) await this.#rollOver()
    const position = this.#end
    sealBatch(bytes, { identity: this.#options.identity, position, mark, records, firstIndex })
    await this.#put(bytes, position.offset)
    await this.#file.sync()
    this.#end = { segment: position.segment, offset: position.offset + bytes.length }
    this.#allocator.used(this.#end.offset)
    return position
  }

  /** Into the page cache, where there is room for it. A file system that writes to new places, or a batch larger than a segment, may have to wait. */
  async #put(bytes: Buffer, offset: number): Promise<void> {
    try {
      this.#file.write(bytes, offset)
    } catch (error) {
      // Nobody was told of what is written by now, and nothing follows it: left like this it is a torn tail.
      await this.#options.space.retry(error, bytes.length, () => this.#file.write(bytes, offset))
    }
  }

  #encode(entries: readonly Entry[], from: number, through: number): Buffer {
    let content = 0
    for (let at = from; at < through; at++) content += (entries[at] as Entry).record.length
    const batch = this.#space(batchHeaderBytes + paddedTo8(content))
    let offset = batchHeaderBytes
    for (let at = from; at < through; at++) {
      const { record } = entries[at] as Entry
      batch.set(record, offset)
      offset += record.length
    }
    batch.fill(0, offset)
    return batch
  }

  #space(bytes: number): Buffer {
    if (bytes > this.#scratch.length) {
      const buffer = Buffer.allocUnsafeSlow(bytes)
      if (bytes > 2 * maxBatchBytes) return buffer
      this.#scratch = buffer
    }
    return this.#scratch.subarray(0, bytes)
  }

  #removeUnwanted(): void {
    if (!this.#isStarted) return
    for (; this.#firstSegment < this.#wantedFrom; this.#firstSegment++) {
      this.#options.remover.remove(segmentName(this.#firstSegment))
    }
  }

  async #rollOver(): Promise<void> {
    const { number, file } = await this.#allocator.take()
    await this.#file.close()
    this.#file = file
    this.#end = { segment: number, offset: segmentHeaderBytes }
  }
}

/** As many entries as a batch takes, at least one. */
function batchEnd(entries: readonly Entry[], from: number): number {
  let bytes = (entries[from] as Entry).record.length
  let through = from + 1
  for (; through < entries.length; through++) {
    bytes += (entries[through] as Entry).record.length
    if (bytes > maxBatchBytes) break
  }
  return through
}
