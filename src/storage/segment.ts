// The files of the log. A segment is created whole, zeros and all, before it is used; batches are then written into it one
// behind the other, so that an append is one write and one sync, with no metadata in it. Little-endian throughout.
//
//  segment  0000000001.segment, numbered from 1 without gaps
//  ┌────────┬─────────┬─────────┬─────┬─────────────────────────────┐
//  │ header │ batch 1 │ batch 2 │  …  │ zeros: the end of the data  │
//  └────────┴─────────┴─────────┴─────┴─────────────────────────────┘
//
//  header   offset bytes
//                0     8  "RAFT-LOG"
//                8     4  format version, 1
//               12     4  crc32 of the cluster's name
//               16     4  crc32 of the data directory's incarnation: segments of two directories never mix
//               20     4  number of the segment
//               24     4  0
//               28     4  crc32 over the bytes 0 to 28
//
//  batch    begins at a multiple of 8, so that one can be found again behind damage
//                0     4  "RBAT"
//                4     4  crc32 over the bytes 8 to 48: a header can be trusted alone
//                8     4  crc32 of the incarnation
//               12     4  number of the segment  ┐ where this batch stands, so that a copy of it inside
//               16     4  offset of the batch    ┘ somebody's payload is never taken for a batch
//               20     4  number of a segment    ┐ the durable mark: when this batch was written, the log was
//               24     4  offset in it           ┘ known to be on the disk up to here
//               28     4  bytes of records and padding, a multiple of 8
//               32     4  crc32 over the records and padding
//               36     4  number of records
//               40     6  index of the first record's entry
//               46     2  0
//               48     …  records (see record.ts), one behind the other, then zeros up to the multiple of 8
//
// Truncation has no form of its own: a batch whose first index is not past the last one replaces everything from there on.
// So no durable byte is ever changed, and an old tail goes in the same instant in which the new one comes.
//
// A batch of no records, index 0 and no content only carries the mark. One of no records with an index says that the log begins anew with
// that index, behind a snapshot, and holds nothing of what it held; its content is the term of the entry before (6 bytes) and 2 zeros.
// Segments whose entries a snapshot stands for are removed, in rising order: then the log begins with the first entry that it still holds.

import { crc32 } from 'node:zlib'
import type { EntryId } from '../raft/entry.ts'
import { readU32, readU48, writeU32, writeU48 } from './little-endian.ts'

export const segmentHeaderBytes = 32
export const batchHeaderBytes = 48
export const formatVersion = 1

const segmentMagic = Buffer.from('RAFT-LOG')
const batchMagic = Buffer.from('RBAT').readUInt32LE()
const namePattern = /^(\d{10})\.segment$/

/** A place in the log's bytes. */
export interface Position {
  readonly segment: number
  readonly offset: number
}

/** Whose log it is: the two checksums that every segment bears. */
export interface LogIdentity {
  readonly cluster: number
  readonly incarnation: number
}

export interface BatchHeader {
  readonly mark: Position
  readonly contentBytes: number
  readonly contentChecksum: number
  readonly records: number
  readonly firstIndex: number
}

export function logIdentity(cluster: string, incarnation: string): LogIdentity {
  return { cluster: crc32(cluster), incarnation: crc32(incarnation) }
}

export function segmentName(number: number): string {
  return `${String(number).padStart(10, '0')}.segment`
}

/** Null: not a segment's name. */
export function segmentNumber(name: string): number | null {
  const digits = namePattern.exec(name)?.[1]
  return digits === undefined ? null : Number(digits)
}

export function isBefore(a: Position, b: Position): boolean {
  return a.segment !== b.segment ? a.segment < b.segment : a.offset < b.offset
}

export function paddedTo8(bytes: number): number {
  return Math.ceil(bytes / 8) * 8
}

export function encodeSegmentHeader(identity: LogIdentity, number: number): Buffer {
  const header = Buffer.alloc(segmentHeaderBytes)
  segmentMagic.copy(header)
  writeU32(header, 8, formatVersion)
  writeU32(header, 12, identity.cluster)
  writeU32(header, 16, identity.incarnation)
  writeU32(header, 20, number)
  writeU32(header, 28, crc32(header.subarray(0, 28)))
  return header
}

/** What is wrong with the header of the segment that is named `number`, in a sentence; null when nothing is. */
export function segmentHeaderProblem(bytes: Buffer, identity: LogIdentity, number: number): string | null {
  if (bytes.length < segmentHeaderBytes)
    return `It has ${bytes.length} bytes, its header alone has ${segmentHeaderBytes}.`
  if (!bytes.subarray(0, 8).equals(segmentMagic)) return 'It does not begin as a segment does.'
  const version = readU32(bytes, 8)
  if (readU32(bytes, 28) !== crc32(bytes.subarray(0, 28))) {
    // A later format may keep its checksum elsewhere, so this cannot be told from damage.
    if (version !== formatVersion)
      return `Its header is damaged, or of format ${version}; this program reads ${formatVersion}.`
    return 'Its header is damaged: the checksum does not fit.'
  }
  if (version !== formatVersion) return `It is of format ${version}, this program reads format ${formatVersion}.`
  if (readU32(bytes, 12) !== identity.cluster) return 'It belongs to another cluster.'
  if (readU32(bytes, 16) !== identity.incarnation)
    return "It belongs to another node's data directory, or an earlier one's."
  if (readU32(bytes, 20) !== number) return `Its header says that it is segment ${readU32(bytes, 20)}: it was renamed.`
  return null
}

/** Fills in the header of the batch whose content stands behind it in `batch`. */
export function sealBatch(
  batch: Buffer,
  fields: { identity: LogIdentity; position: Position; mark: Position; records: number; firstIndex: number },
): void {
  const content = batch.subarray(batchHeaderBytes)
  writeU32(batch, 0, batchMagic)
  writeU32(batch, 8, fields.identity.incarnation)
  writeU32(batch, 12, fields.position.segment)
  writeU32(batch, 16, fields.position.offset)
  writeU32(batch, 20, fields.mark.segment)
  writeU32(batch, 24, fields.mark.offset)
  writeU32(batch, 28, content.length)
  writeU32(batch, 32, crc32(content))
  writeU32(batch, 36, fields.records)
  writeU48(batch, 40, fields.firstIndex)
  batch[46] = 0
  batch[47] = 0
  writeU32(batch, 4, crc32(batch.subarray(8, batchHeaderBytes)))
}

/** The content of a batch with which the log begins anew behind an entry of this term. */
export const beginningBytes = 8

export function encodeBeginning(content: Uint8Array, termBefore: number): void {
  writeU48(content, 0, termBefore)
  content[6] = 0
  content[7] = 0
}

/** The entry behind which the log begins anew with this batch; null: it is any other. */
export function beginningOf(header: BatchHeader, content: Uint8Array): EntryId | null {
  if (header.records > 0 || header.firstIndex === 0 || content.length !== beginningBytes) return null
  return { index: header.firstIndex - 1, term: readU48(content, 0) }
}

/** The header of a batch at this position, its content unseen; null: there is none that can be trusted. */
export function batchHeaderAt(segment: Buffer, identity: LogIdentity, position: Position): BatchHeader | null {
  const { offset } = position
  if (offset + batchHeaderBytes > segment.length || readU32(segment, offset) !== batchMagic) return null
  const checksum = crc32(segment.subarray(offset + 8, offset + batchHeaderBytes))
  if (readU32(segment, offset + 4) !== checksum) return null
  if (readU32(segment, offset + 8) !== identity.incarnation) return null
  if (readU32(segment, offset + 12) !== position.segment || readU32(segment, offset + 16) !== offset) return null
  return {
    mark: { segment: readU32(segment, offset + 20), offset: readU32(segment, offset + 24) },
    contentBytes: readU32(segment, offset + 28),
    contentChecksum: readU32(segment, offset + 32),
    records: readU32(segment, offset + 36),
    firstIndex: readU48(segment, offset + 40),
  }
}

/** The batch's records and padding; null when they are not what was written. */
export function batchContent(segment: Buffer, offset: number, header: BatchHeader): Buffer | null {
  const from = offset + batchHeaderBytes
  if (from + header.contentBytes > segment.length) return null
  const content = segment.subarray(from, from + header.contentBytes)
  return crc32(content) === header.contentChecksum ? content : null
}
