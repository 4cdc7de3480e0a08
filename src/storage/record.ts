// The record of an entry: the one form that it has in a segment, over the wire and in every follower's segment.
// Made once, on the leader; whoever receives it verifies the checksum and passes the same bytes on.
//
//  offset  bytes
//       0      4  crc32 (zlib's) over the bytes from 4 to the end of the record
//       4      4  size of the whole record
//       8      6  index
//      14      6  term
//      20      6  timestamp, Unix ms
//      26      6  origin
//      32      6  sequence
//      38      1  kind: 1 noop, 2 configuration, 3 json, 4 bytes
//      39      1  version, 0; anything else is refused
//      40      …  payload
//
// Little-endian throughout. Records stand one behind the other without padding.

import { crc32 } from 'node:zlib'
import type { Entry, EntryFields, EntryKind } from '../raft/entry.ts'
import { isU48, readU32, readU48, writeU32, writeU48 } from './little-endian.ts'

export const recordHeaderBytes = 40
export const maxRecordBytes = 64 * 1024 * 1024

const checksumBytes = 4
const kindCodes: Readonly<Record<EntryKind, number>> = { noop: 1, configuration: 2, json: 3, bytes: 4 }
const kinds: readonly (EntryKind | undefined)[] = [undefined, 'noop', 'configuration', 'json', 'bytes']

/** These bytes are not records. Source: bit rot, or a peer that speaks something else. */
export class RecordError extends Error {
  /** Where the bad record begins, in the bytes that were given. */
  readonly offset: number

  constructor(offset: number, problem: string) {
    super(`Cannot decode the record at offset ${offset}: ${problem}`)
    this.name = 'RecordError'
    this.offset = offset
  }
}

export function encodeEntry(fields: EntryFields): Entry {
  const { index, term, kind, timestampMs, origin, sequence } = fields
  const size = recordHeaderBytes + fields.payload.length
  if (size > maxRecordBytes) throw new RangeError(`A record of ${size} bytes is over the limit of ${maxRecordBytes}`)
  if (!isU48(index) || !isU48(term) || !isU48(timestampMs) || !isU48(origin) || !isU48(sequence)) {
    const numbers = JSON.stringify({ index, term, timestampMs, origin, sequence })
    throw new RangeError(`A record holds whole numbers of 48 bits, not ${numbers}`)
  }
  const record = Buffer.allocUnsafe(size)
  writeU32(record, 4, size)
  writeU48(record, 8, index)
  writeU48(record, 14, term)
  writeU48(record, 20, timestampMs)
  writeU48(record, 26, origin)
  writeU48(record, 32, sequence)
  record[38] = kindCodes[kind]
  record[39] = 0
  record.set(fields.payload, recordHeaderBytes)
  writeU32(record, 0, crc32(record.subarray(checksumBytes)))
  return new RecordEntry(index, term, kind, record)
}

/** Tens of thousands of entries are in memory at any time: what is asked of each only once or twice stays in its record until then. */
class RecordEntry implements Entry {
  readonly index: number
  readonly term: number
  readonly kind: EntryKind
  readonly record: Buffer

  constructor(index: number, term: number, kind: EntryKind, record: Buffer) {
    this.index = index
    this.term = term
    this.kind = kind
    this.record = record
  }

  get timestampMs(): number {
    return readU48(this.record, 20)
  }

  get origin(): number {
    return readU48(this.record, 26)
  }

  get sequence(): number {
    return readU48(this.record, 32)
  }

  get payload(): Buffer {
    return this.record.subarray(recordHeaderBytes)
  }
}

/** The entries whose records fill `bytes` exactly; they are views into it. Throws RecordError. */
export function decodeRecords(bytes: Uint8Array): Entry[] {
  const buffer = asBuffer(bytes)
  const entries: Entry[] = []
  for (let offset = 0; offset < buffer.length; ) {
    const entry = decode(buffer, offset)
    entries.push(entry)
    offset += entry.record.length
  }
  return entries
}

/** The entry whose record begins at `offset`, as a view; the next record follows after `record.length`. Throws RecordError. */
export function decodeRecordAt(bytes: Uint8Array, offset: number): Entry {
  return decode(asBuffer(bytes), offset)
}

// For scans that must not build an object an entry: the caller has verified a checksum over the bytes.

/** The size that the record at `offset` claims, or RecordError where no record of that size can stand. */
export function recordSizeAt(bytes: Uint8Array, offset: number): number {
  if (offset + recordHeaderBytes > bytes.length) {
    throw new RecordError(offset, `its header has ${recordHeaderBytes} bytes, ${bytes.length - offset} are left`)
  }
  const size = readU32(bytes, offset + 4)
  if (size < recordHeaderBytes || size > maxRecordBytes) {
    throw new RecordError(offset, `its size is ${size}, not ${recordHeaderBytes} to ${maxRecordBytes}`)
  }
  if (offset + size > bytes.length) {
    throw new RecordError(offset, `its size is ${size}, ${bytes.length - offset} bytes are left`)
  }
  return size
}

export function recordIndexAt(bytes: Uint8Array, offset: number): number {
  return readU48(bytes, offset + 8)
}

export function recordTermAt(bytes: Uint8Array, offset: number): number {
  return readU48(bytes, offset + 14)
}

export function recordTimestampMsAt(bytes: Uint8Array, offset: number): number {
  return readU48(bytes, offset + 20)
}

export function isConfigurationRecordAt(bytes: Uint8Array, offset: number): boolean {
  return bytes[offset + 38] === kindCodes.configuration
}

function decode(buffer: Buffer, offset: number): Entry {
  const record = buffer.subarray(offset, offset + recordSizeAt(buffer, offset))
  const stored = readU32(record, 0)
  const computed = crc32(record.subarray(checksumBytes))
  if (stored !== computed) {
    throw new RecordError(offset, `its checksum is ${hex(stored)}, its bytes have ${hex(computed)}`)
  }
  const code = record[38] as number
  const kind = kinds[code]
  if (kind === undefined) throw new RecordError(offset, `its kind is ${code}, not 1 to ${kinds.length - 1}`)
  if (record[39] !== 0) throw new RecordError(offset, `its version is ${record[39]}, this program reads version 0`)
  return new RecordEntry(readU48(record, 8), readU48(record, 14), kind, record)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0')
}
