// What stands in the files of a log for certain, read from outside: the form of a segment is the production code's, the walk through it is not.

import {
  type BatchHeader,
  batchHeaderAt,
  batchHeaderBytes,
  type LogIdentity,
  logIdentity,
  segmentHeaderBytes,
  segmentNumber,
} from '../../../src/storage/segment.ts'
import type { SimDisk } from './disk.ts'
import type { Inode } from './inode.ts'

export interface SegmentFile {
  readonly path: string
  readonly inode: Inode
  readonly number: number
}

/** In rising order. */
export function segmentsOf(disk: SimDisk): SegmentFile[] {
  return [...disk.durableFiles]
    .map(([path, inode]) => ({ path, inode, number: segmentNumber(path.split('/').at(-1) ?? '') ?? 0 }))
    .filter(({ number }) => number > 0)
    .sort((a, b) => a.number - b.number)
}

/** Null: no node was founded yet. */
export function logIdentityOf(disk: SimDisk, directory: string): LogIdentity | null {
  const bytes = disk.durableFiles.get(`${directory}/metafile`)?.durable.bytes
  const incarnation = bytes && /"incarnation":"([0-9a-f]+)"/.exec(bytes.toString('latin1'))?.[1]
  return incarnation ? logIdentity('simulated', incarnation) : null
}

export function* batchesOf({ inode, number }: SegmentFile, identity: LogIdentity): Generator<BatchHeader> {
  const { bytes } = inode.durable
  for (let offset = segmentHeaderBytes; ; ) {
    const header = batchHeaderAt(bytes, identity, { segment: number, offset })
    if (header === null) return
    yield header
    offset += batchHeaderBytes + header.contentBytes
  }
}

/** Whether a segment is left that holds nothing but what is given up: the one with the entry at `baseIndex` stays, or a later one. */
export function holdsGivenUpSegment(disk: SimDisk, directory: string, baseIndex: number): boolean {
  const identity = logIdentityOf(disk, directory)
  const second = segmentsOf(disk)[1]
  if (identity === null || second === undefined) return false
  for (const { records, firstIndex } of batchesOf(second, identity)) if (records > 0) return firstIndex <= baseIndex
  return false
}
