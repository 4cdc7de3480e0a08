// Bit rot: one bit of a disk changes, in the log, a snapshot, or the metafile. Only where the storage must notice, or where it makes no difference:
// what was acknowledged last, and is not marked as durable yet, cannot be told from a write that was torn.

import { isBefore, type Position, segmentHeaderBytes } from '../../../src/storage/segment.ts'
import { snapshotHeaderBytes } from '../../../src/storage/snapshot-file.ts'
import type { SimDisk } from './disk.ts'
import type { Inode } from './inode.ts'
import { batchesOf, logIdentityOf, segmentsOf } from './log-files.ts'
import type { Random } from './random.ts'

interface Place {
  readonly path: string
  readonly inode: Inode
  readonly from: number
  readonly to: number
}

/** Says where, or returns null when there is no such place now. */
export function rot(disk: SimDisk, random: Random, directory: string): string | null {
  const kinds = [markedLog(disk, directory), snapshots(disk), unusedSpace(disk), doubledSlots(disk, directory)]
  const there = kinds.filter((places) => places.length > 0)
  if (there.length === 0) return null
  const { path, inode, from, to } = random.pick(random.pick(there))
  const position = from + random.below(to - from)
  disk.hasRotted = true
  inode.rot(position, random.below(8))
  return `${path} at ${position}`
}

/** Headers of segments, and batches below the highest durable mark. */
function markedLog(disk: SimDisk, directory: string): Place[] {
  const identity = logIdentityOf(disk, directory)
  if (identity === null) return []
  let mark: Position = { segment: 0, offset: 0 }
  const segments = segmentsOf(disk)
  for (const segment of segments) {
    for (const header of batchesOf(segment, identity)) if (isBefore(mark, header.mark)) mark = header.mark
  }
  return segments.flatMap(({ path, inode, number }) => {
    const to = number < mark.segment ? inode.durable.size : number === mark.segment ? mark.offset : 0
    return to > segmentHeaderBytes ? [{ path, inode, from: 0, to }] : []
  })
}

/** They were durable before they had their names: what says what they are, and what they hold. */
function snapshots(disk: SimDisk): Place[] {
  return [...disk.durableFiles]
    .filter(([path, inode]) => path.endsWith('.snapshot') && !inode.hasPending && inode.durable.size > 0)
    .flatMap(([path, inode]) => {
      const { bytes } = inode.durable
      const bodyAt = snapshotHeaderBytes + bytes.readUInt32LE(16)
      return [
        { path, inode, from: 0, to: bodyAt },
        { path, inode, from: bodyAt, to: bytes.length },
      ]
    })
}

function unusedSpace(disk: SimDisk): Place[] {
  const last = segmentsOf(disk).at(-1)
  if (last === undefined || last.inode.hasPending) return []
  const { path, inode } = last
  const { bytes } = inode.durable
  let from = bytes.length
  while (from > 0 && bytes[from - 1] === 0) from--
  return from < bytes.length ? [{ path, inode, from, to: bytes.length }] : []
}

/** Either slot of the metafile, once both hold the same value. */
function doubledSlots(disk: SimDisk, directory: string): Place[] {
  const inode = disk.durableFiles.get(`${directory}/metafile`)
  if (inode === undefined || inode.hasPending) return []
  const { bytes } = inode.durable
  const half = bytes.length / 2
  const size = bytes.readUInt32LE(12)
  const isDoubled = bytes.subarray(24, 24 + size).equals(bytes.subarray(half + 24, half + 24 + size))
  if (!isDoubled) return []
  return [0, half].map((from) => ({ path: `${directory}/metafile`, inode, from, to: from + 24 + size }))
}
