// What commands answered, in the form of a file that only grows: nothing in it is ever written over. No promise rests on it, so that what is
// damaged, or is another directory's, is left out and never a reason to refuse anything. Pure. Little-endian throughout.
//
//  results  0000000001.results, numbered in the order in which they were begun
//  ┌────────┬──────────┬──────────┬─────┐
//  │ header │ record 1 │ record 2 │  …  │
//  └────────┴──────────┴──────────┴─────┘
//
//  header   offset bytes
//                0     8  "RAFTRSLT"
//                8     4  format version, 1
//               12     4  crc32 of the cluster's name
//               16     4  crc32 of the data directory's incarnation: what was answered elsewhere says nothing here
//               20     8  0
//               28     4  crc32 over the bytes 0 to 28
//
//  record        0     4  crc32 over the bytes from 4 to the end of the record, begun with that of the header: a record fits no other
//                         directory's file
//                4     4  bytes of the text
//                8     6  index of the command
//               14     …  what it answered: JSON in UTF-8

import { crc32 } from 'node:zlib'
import type { KeptResult } from '../node/ports.ts'
import { readU32, readU48, writeU32, writeU48 } from './little-endian.ts'
import type { LogIdentity } from './segment.ts'

export const resultHeaderBytes = 32

const formatVersion = 1
const magic = Buffer.from('RAFTRSLT')
const recordHeadBytes = 14
const checksumBytes = 4
const namePattern = /^(\d{10})\.results$/

export function resultsName(number: number): string {
  return `${String(number).padStart(10, '0')}.results`
}

/** Null: not such a name. */
export function resultsNumber(name: string): number | null {
  const digits = namePattern.exec(name)?.[1]
  return digits === undefined ? null : Number(digits)
}

export function encodeResultHeader(identity: LogIdentity): Buffer {
  const header = Buffer.alloc(resultHeaderBytes)
  magic.copy(header)
  writeU32(header, 8, formatVersion)
  writeU32(header, 12, identity.cluster)
  writeU32(header, 16, identity.incarnation)
  writeU32(header, 28, crc32(header.subarray(0, 28)))
  return header
}

/** `header` is that of the file in which it will stand. */
export function encodeResult(header: Uint8Array, { index, resultJson }: KeptResult): Buffer {
  const textBytes = Buffer.byteLength(resultJson)
  const record = Buffer.allocUnsafe(recordHeadBytes + textBytes)
  writeU32(record, 4, textBytes)
  writeU48(record, 8, index)
  record.write(resultJson, recordHeadBytes)
  writeU32(record, 0, recordChecksum(header, record))
  return record
}

export interface ReadResults {
  /** In the order of the file. */
  readonly results: readonly KeptResult[]
  /** Behind the last good record: nothing from here on is known. */
  readonly end: number
  /** In a sentence, why it ends there; null: because nothing follows. */
  readonly problem: string | null
}

/** Of a whole file, which should begin with this header. */
export function readResults(bytes: Buffer, header: Uint8Array): ReadResults {
  const results: KeptResult[] = []
  const ends = (end: number, problem: string | null) => ({ results, end, problem })
  const wrongHeader = headerProblem(bytes, header)
  if (wrongHeader !== null) return ends(0, wrongHeader)
  for (let offset = resultHeaderBytes; ; ) {
    if (offset === bytes.length) return ends(offset, null)
    const rest = bytes.length - offset
    const size = rest < recordHeadBytes ? recordHeadBytes : recordHeadBytes + readU32(bytes, offset + 4)
    if (size > rest) return ends(offset, 'The file ends before what begins here does.')
    const record = bytes.subarray(offset, offset + size)
    if (readU32(record, 0) !== recordChecksum(header, record)) {
      return ends(offset, 'A record does not fit its checksum.')
    }
    results.push({ index: readU48(record, 8), resultJson: record.toString('utf8', recordHeadBytes) })
    offset += size
  }
}

function headerProblem(bytes: Buffer, header: Uint8Array): string | null {
  const found = bytes.subarray(0, resultHeaderBytes)
  if (found.equals(header)) return null
  if (found.length < resultHeaderBytes || readU32(found, 28) !== crc32(found.subarray(0, 28))) {
    return 'Its header is damaged.'
  }
  if (!found.subarray(0, 8).equals(magic)) return 'It does not begin as a file of results does.'
  const version = readU32(found, 8)
  if (version !== formatVersion) return `It is of format ${version}, this program reads format ${formatVersion}.`
  return 'It belongs to another data directory.'
}

function recordChecksum(header: Uint8Array, record: Uint8Array): number {
  return crc32(record.subarray(checksumBytes), readU32(header, 28))
}
