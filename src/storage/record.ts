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
//      38      1  kind: 1 noop, 2 configuration, 3 json, 4 bytes, 5 json with attributes, 6 bytes with attributes, 7 skip
//      39      1  version, 0; anything else is refused
//      40      …  attributes of the kinds 5 and 6: a byte each for the length of the key and of the trace context (0: none), then these two in
//                 ASCII
//       …      …  payload
//
// Little-endian throughout. Records stand one behind the other without padding.

import { crc32 } from 'node:zlib'
import type { Entry, EntryFields, EntryKind } from '../raft/entry.ts'
import { isU48, readU32, readU48, writeU32, writeU48 } from './little-endian.ts'

export const recordHeaderBytes = 40
export const maxRecordBytes = 64 * 1024 * 1024

const checksumBytes = 4
const kindCodes: Readonly<Record<EntryKind, number>> = { noop: 1, configuration: 2, json: 3, bytes: 4, skip: 7 }
const kinds = [undefined, 'noop', 'configuration', 'json', 'bytes', 'json', 'bytes', 'skip'] as const
const attributedCodes = { json: 5, bytes: 6 } as const
const attributesHeadBytes = 2
const attributePattern = /^[\x21-\x7e]{1,255}$/

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
  const { index, term, kind, timestampMs, origin, sequence, key, traceparent } = fields
  const isAttributed = key !== null || traceparent !== null
  const attributesBytes = isAttributed ? attributesHeadBytes + (key?.length ?? 0) + (traceparent?.length ?? 0) : 0
  const size = recordHeaderBytes + attributesBytes + fields.payload.length
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
  record[38] = isAttributed ? attributedCode(kind) : kindCodes[kind]
  record[39] = 0
  if (isAttributed) writeAttributes(record, key, traceparent)
  record.set(fields.payload, recordHeaderBytes + attributesBytes)
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

  get key(): string | null {
    if (!isAttributed(this.record)) return null
    const from = recordHeaderBytes + attributesHeadBytes
    return asciiOrNull(this.record, from, from + keyBytes(this.record))
  }

  get traceparent(): string | null {
    if (!isAttributed(this.record)) return null
    const from = recordHeaderBytes + attributesHeadBytes + keyBytes(this.record)
    return asciiOrNull(this.record, from, from + traceparentBytes(this.record))
  }

  get payload(): Buffer {
    return this.record.subarray(payloadOffset(this.record))
  }
}

function attributedCode(kind: EntryKind): number {
  if (kind === 'json' || kind === 'bytes') return attributedCodes[kind]
  throw new RangeError(`An entry of kind ${kind} has neither key nor trace context`)
}

function writeAttributes(record: Buffer, key: string | null, traceparent: string | null): void {
  for (const text of [key, traceparent]) {
    if (text !== null && !attributePattern.test(text)) {
      throw new RangeError('Key and trace context are 1 to 255 visible ASCII characters each')
    }
  }
  record[recordHeaderBytes] = key?.length ?? 0
  record[recordHeaderBytes + 1] = traceparent?.length ?? 0
  record.write(`${key ?? ''}${traceparent ?? ''}`, recordHeaderBytes + attributesHeadBytes, 'latin1')
}

function isAttributed(record: Uint8Array): boolean {
  const code = record[38]
  return code === attributedCodes.json || code === attributedCodes.bytes
}

function keyBytes(record: Uint8Array): number {
  return record[recordHeaderBytes] as number
}

function traceparentBytes(record: Uint8Array): number {
  return record[recordHeaderBytes + 1] as number
}

function payloadOffset(record: Uint8Array): number {
  if (!isAttributed(record)) return recordHeaderBytes
  return recordHeaderBytes + attributesHeadBytes + keyBytes(record) + traceparentBytes(record)
}

function asciiOrNull(record: Buffer, from: number, end: number): string | null {
  return from === end ? null : record.toString('latin1', from, end)
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
  if (isAttributed(record)) checkAttributes(record, offset)
  return new RecordEntry(readU48(record, 8), readU48(record, 14), kind, record)
}

/** The checksum holds, so that only an encoder of another mind could have written such a record. */
function checkAttributes(record: Buffer, offset: number): void {
  if (record.length < recordHeaderBytes + attributesHeadBytes || payloadOffset(record) > record.length) {
    throw new RecordError(offset, 'its attributes reach past its end')
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0')
}
