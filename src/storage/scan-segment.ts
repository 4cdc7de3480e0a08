// Reads one segment's bytes from front to back: which batches stand in it, and how it ends. Pure; what a bad batch
// means depends on the other segments, and is decided in recover-log.ts.

import type { BatchHeader, LogIdentity, Position } from './segment.ts'
import { batchContent, batchHeaderAt, batchHeaderBytes, isBefore, segmentHeaderBytes } from './segment.ts'

export interface SegmentEnd {
  /** Behind the last good batch. */
  readonly offset: number
  /** Null: nothing but zeros follows. */
  readonly bad: BadBatch | null
}

export interface BadBatch {
  readonly problem: string
  /** The highest durable mark in headers at or behind the bad batch, if there are any. */
  readonly mark: Position | null
  /** Behind the last byte that is not zero. */
  readonly through: number
}

/** Calls `accept` for each good batch in order; its header has been verified, and so has its content. */
export function scanSegment(
  segment: Buffer,
  identity: LogIdentity,
  number: number,
  accept: (header: BatchHeader, content: Buffer, offset: number) => void,
): SegmentEnd {
  let offset = segmentHeaderBytes
  while (true) {
    const header = batchHeaderAt(segment, identity, { segment: number, offset })
    const content = header && batchContent(segment, offset, header)
    if (!header || !content) return { offset, bad: badBatch(segment, identity, { segment: number, offset }, header) }
    accept(header, content, offset)
    offset += batchHeaderBytes + content.length
  }
}

/** Whether anything was ever written behind the header. */
export function isUnused(segment: Buffer): boolean {
  return lastNonZero(segment, segmentHeaderBytes) === -1
}

function badBatch(
  segment: Buffer,
  identity: LogIdentity,
  position: Position,
  header: BatchHeader | null,
): BadBatch | null {
  const last = lastNonZero(segment, position.offset)
  if (last === -1) return null
  const problem = header
    ? 'The content of a batch does not fit its checksum.'
    : 'There is no batch where one must begin.'
  return { problem, mark: highestMark(segment, identity, position), through: last + 1 }
}

function highestMark(segment: Buffer, identity: LogIdentity, from: Position): Position | null {
  let highest: Position | null = null
  for (let offset = from.offset; offset + batchHeaderBytes <= segment.length; offset += 8) {
    const header = batchHeaderAt(segment, identity, { segment: from.segment, offset })
    if (header && (highest === null || isBefore(highest, header.mark))) highest = header.mark
  }
  return highest
}

/** Offset of the last byte from `from` on that is not zero, or -1. */
function lastNonZero(bytes: Buffer, from: number): number {
  const zeros = Buffer.alloc(Math.min(64 * 1024, Math.max(bytes.length - from, 0)))
  for (let end = bytes.length; end > from; end -= zeros.length) {
    const start = Math.max(from, end - zeros.length)
    if (bytes.compare(zeros, 0, end - start, start, end) === 0) continue
    let at = end - 1
    while (bytes[at] === 0) at--
    return at
  }
  return -1
}
