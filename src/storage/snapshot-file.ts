// The form of a snapshot: a file that is written once, from front to back, and the same bytes on the wire and in a backup. It names the
// cluster but no node, because it travels between them. Every byte is covered, twice but for the last ten. Pure: made and verified piece by
// piece, in memory that does not grow with the file. Little-endian throughout.
//
//  snapshot  000000000001234-7.snapshot: index and term of the last entry whose effect it holds
//  ┌────────┬──────┬────────────────────────┬───────────────────────┬─────┐
//  │ header │ head │ chunks of the ledger … │ chunks of the state … │ end │
//  └────────┴──────┴────────────────────────┴───────────────────────┴─────┘
//
//  The ledger stands first, so that a node reads it without reading through a state of any size. Either part may have no chunk: versions
//  before 0.3 write no ledger, and what they wrote is a snapshot with an empty one.
//
//  header   offset bytes
//                0     8  "RAFTSNAP"
//                8     4  format version, 1
//               12     4  crc32 of the cluster's name
//               16     4  bytes of the head
//               20     4  crc32 over the head
//               24     4  0
//               28     4  crc32 over the bytes 0 to 28
//
//  head     JSON, for people with a pager: lastIncluded, timestampMs, configuration, machinePosition
//
//  chunk         0     4  crc32 over the bytes from 4 to the end of the chunk
//                4     4  bytes of content, at most 256 KiB
//                8     1  section: 2 the ledger, what the node itself keeps of the log; 1 the state, what the state machine gave. Anything
//                         else is refused, and so is the ledger behind the state
//                9     …  content
//
//  end           0     9  as of a chunk, section 0
//                9     6  bytes of the whole file
//               15     4  crc32 over all that precedes: the last bytes of the file

import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import type { SnapshotFile, SnapshotHeader } from '../node/ports.ts'
import { decodeConfiguration } from '../raft/configuration.ts'
import type { EntryId } from '../raft/entry.ts'
import { isU48, readU32, readU48, writeU32, writeU48 } from './little-endian.ts'

export const snapshotFormatVersion = 1
export const snapshotHeaderBytes = 32
export const chunkHeadBytes = 9
export const maxChunkBytes = 256 * 1024

const magic = Buffer.from('RAFTSNAP')
const namePattern = /^(\d{15})-(0|[1-9]\d{0,14})\.snapshot$/
const maxHeadBytes = 1024 * 1024
const totalBytes = 6
const checksumBytes = 4
const endSection = 0
const stateSection = 1
const ledgerSection = 2

/** These bytes are no snapshot that can be used here. */
export class SnapshotFileError extends Error {
  /** Where the damage begins, in the bytes that were given; null: they are whole, but do not belong here. */
  readonly offset: number | null
  /** In a sentence. */
  readonly problem: string

  constructor(offset: number | null, problem: string) {
    super(offset === null ? problem : `Damaged at offset ${offset}. ${problem}`)
    this.name = 'SnapshotFileError'
    this.offset = offset
    this.problem = problem
  }
}

export function snapshotName(lastIncluded: EntryId): string {
  return `${String(lastIncluded.index).padStart(15, '0')}-${lastIncluded.term}.snapshot`
}

/** Null: not a snapshot's name. */
export function snapshotId(name: string): EntryId | null {
  const [, index, term] = namePattern.exec(name) ?? []
  return index === undefined ? null : { index: Number(index), term: Number(term) }
}

/**
 * Makes a snapshot's bytes: `begin`, any number of `addLedger`, any number of `add`, `end`. What is handed out is overwritten when the next piece
 * is asked for.
 */
export class SnapshotEncoder {
  readonly #cluster: string
  readonly #header: SnapshotHeader
  readonly #chunk = Buffer.allocUnsafeSlow(chunkHeadBytes + maxChunkBytes)
  #filled = chunkHeadBytes
  /** Of what is in the chunk. */
  #section = ledgerSection
  #sizeBytes = 0
  #checksum = 0
  #chunksOffset = 0
  #stateOffset = 0

  constructor(cluster: string, header: SnapshotHeader) {
    this.#cluster = cluster
    this.#header = header
  }

  /** What it is by its bytes so far; by all of them after the `end`. */
  get file(): SnapshotFile {
    return { lastIncluded: this.#header.lastIncluded, sizeBytes: this.#sizeBytes, checksum: this.#checksum }
  }

  /** What a verifier would find, after the `end`. */
  get verified(): VerifiedSnapshot {
    const { file } = this
    return { file, header: this.#header, chunksOffset: this.#chunksOffset, stateOffset: this.#stateOffset }
  }

  begin(): Uint8Array {
    const head = encodeHead(this.#header)
    if (head.length > maxHeadBytes) throw new RangeError(`The head of a snapshot cannot have ${head.length} bytes`)
    const bytes = Buffer.alloc(snapshotHeaderBytes + head.length)
    magic.copy(bytes)
    writeU32(bytes, 8, snapshotFormatVersion)
    writeU32(bytes, 12, crc32(this.#cluster))
    writeU32(bytes, 16, head.length)
    writeU32(bytes, 20, crc32(head))
    writeU32(bytes, 28, crc32(bytes.subarray(0, 28)))
    head.copy(bytes, snapshotHeaderBytes)
    this.#chunksOffset = bytes.length
    return this.#handOut(bytes)
  }

  /** The ledger, in pieces of any size: chunks that are full, none when it was little. */
  *addLedger(bytes: Uint8Array): Generator<Uint8Array> {
    assert(this.#section === ledgerSection, 'the ledger stands before the state')
    yield* this.#fill(bytes)
  }

  /** What the state machine gave, likewise. */
  *add(bytes: Uint8Array): Generator<Uint8Array> {
    yield* this.#endLedger()
    yield* this.#fill(bytes)
  }

  *end(): Generator<Uint8Array> {
    yield* this.#endLedger()
    if (this.#filled > chunkHeadBytes) yield this.#seal(stateSection)
    writeU48(this.#chunk, this.#filled, this.#sizeBytes + chunkHeadBytes + totalBytes + checksumBytes)
    this.#filled += totalBytes
    yield this.#seal(endSection)
    const checksum = Buffer.alloc(checksumBytes)
    writeU32(checksum, 0, this.#checksum)
    this.#sizeBytes += checksumBytes
    yield checksum
  }

  *#endLedger(): Generator<Uint8Array> {
    if (this.#section !== ledgerSection) return
    if (this.#filled > chunkHeadBytes) yield this.#seal(ledgerSection)
    this.#section = stateSection
    this.#stateOffset = this.#sizeBytes
  }

  *#fill(bytes: Uint8Array): Generator<Uint8Array> {
    for (let from = 0; from < bytes.length; ) {
      const some = bytes.subarray(from, from + this.#chunk.length - this.#filled)
      this.#chunk.set(some, this.#filled)
      this.#filled += some.length
      from += some.length
      if (this.#filled === this.#chunk.length) yield this.#seal(this.#section)
    }
  }

  #seal(section: number): Uint8Array {
    const chunk = this.#chunk.subarray(0, this.#filled)
    this.#filled = chunkHeadBytes
    writeU32(chunk, 4, chunk.length - chunkHeadBytes)
    chunk[8] = section
    writeU32(chunk, 0, crc32(chunk.subarray(4)))
    return this.#handOut(chunk)
  }

  #handOut(bytes: Uint8Array): Uint8Array {
    this.#checksum = crc32(bytes, this.#checksum)
    this.#sizeBytes += bytes.length
    return bytes
  }
}

export interface VerifiedSnapshot {
  readonly file: SnapshotFile
  readonly header: SnapshotHeader
  /** Where the first chunk begins: the ledger's, if it has any. */
  readonly chunksOffset: number
  /** Where the first chunk begins that is not the ledger's. */
  readonly stateOffset: number
}

type Part = 'header' | 'head' | 'chunk head' | 'content' | 'total' | 'checksum' | 'nothing'

/** Looks at every byte of a snapshot, which comes in pieces of any size. `push` and `end` throw SnapshotFileError. */
export class SnapshotVerifier {
  /** Null: of whatever cluster it is. */
  readonly #cluster: string | null
  #part: Part = 'header'
  /** Bytes of the part that are still to come, and, unless it is content, those that came. */
  #missing = snapshotHeaderBytes
  #came: Buffer = Buffer.allocUnsafe(snapshotHeaderBytes)
  /** Of the current part. */
  #offset = 0
  #sizeBytes = 0
  #checksum = 0
  #headChecksum = 0
  #header: SnapshotHeader | null = null
  #chunksOffset = 0
  /** Null: only chunks of the ledger have come. */
  #stateOffset: number | null = null
  #chunk = { offset: 0, stored: 0, computed: 0 }

  constructor(cluster: string | null) {
    this.#cluster = cluster
  }

  push(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      if (this.#part === 'nothing') throw new SnapshotFileError(this.#sizeBytes, 'More bytes follow its end.')
      const some = bytes.subarray(from, from + this.#missing)
      if (this.#part !== 'checksum') this.#checksum = crc32(some, this.#checksum)
      if (this.#part === 'content') this.#chunk.computed = crc32(some, this.#chunk.computed)
      else this.#came.set(some, this.#came.length - this.#missing)
      this.#missing -= some.length
      this.#sizeBytes += some.length
      from += some.length
      if (this.#missing === 0) this.#next()
    }
  }

  /** All bytes were pushed. */
  end(): VerifiedSnapshot {
    if (this.#part !== 'nothing' || this.#header === null) {
      const isInChunk = this.#part === 'content' || this.#part === 'total'
      const offset = isInChunk ? this.#chunk.offset : this.#offset
      throw new SnapshotFileError(offset, 'The file ends before what begins here does.')
    }
    const { lastIncluded } = this.#header
    const file = { lastIncluded, sizeBytes: this.#sizeBytes, checksum: this.#checksum }
    assert(this.#stateOffset !== null, 'it ends with a chunk that is not of the ledger')
    return { file, header: this.#header, chunksOffset: this.#chunksOffset, stateOffset: this.#stateOffset }
  }

  /** The current part has come. */
  #next(): void {
    switch (this.#part) {
      case 'header': {
        const problem = headerProblem(this.#came, this.#cluster)
        if (problem !== null) throw problem
        this.#headChecksum = readU32(this.#came, 20)
        this.#expect('head', readU32(this.#came, 16))
        break
      }
      case 'head':
        if (crc32(this.#came) !== this.#headChecksum) throw this.#damaged('The head does not fit its checksum.')
        this.#header = decodeHead(this.#came, this.#offset)
        this.#chunksOffset = this.#sizeBytes
        this.#expect('chunk head', chunkHeadBytes)
        break
      case 'chunk head': {
        const { contentBytes, section } = chunkAt(this.#came, this.#offset)
        if (section !== 'ledger') this.#stateOffset ??= this.#offset
        else if (this.#stateOffset !== null) throw this.#damaged('A chunk of the ledger stands behind the state.')
        const computed = crc32(this.#came.subarray(4))
        this.#chunk = { offset: this.#offset, stored: readU32(this.#came, 0), computed }
        this.#expect(section === 'end' ? 'total' : 'content', contentBytes)
        break
      }
      case 'content':
        this.#checkChunk()
        this.#expect('chunk head', chunkHeadBytes)
        break
      case 'total':
        this.#chunk.computed = crc32(this.#came, this.#chunk.computed)
        this.#checkChunk()
        if (readU48(this.#came, 0) !== this.#sizeBytes + checksumBytes) {
          throw this.#damaged(`It says that it has ${readU48(this.#came, 0)} bytes.`)
        }
        this.#expect('checksum', checksumBytes)
        break
      case 'checksum':
        if (readU32(this.#came, 0) !== this.#checksum) throw this.#damaged('All of it does not fit its checksum.')
        this.#part = 'nothing'
        break
      case 'nothing':
        break
      default:
        this.#part satisfies never
    }
  }

  #expect(part: Part, bytes: number): void {
    this.#part = part
    this.#offset = this.#sizeBytes
    this.#missing = bytes
    if (part !== 'content') this.#came = Buffer.allocUnsafe(bytes)
  }

  #checkChunk(): void {
    const { offset, stored, computed } = this.#chunk
    if (stored !== computed) throw chunkDamaged(offset)
  }

  #damaged(problem: string): SnapshotFileError {
    return new SnapshotFileError(this.#offset, problem)
  }
}

export interface Chunk {
  readonly contentBytes: number
  /** `end`: it holds nothing but the size of the file. */
  readonly section: 'ledger' | 'state' | 'end'
}

const sections: readonly (Chunk['section'] | undefined)[] = ['end', 'state', 'ledger']

/** What follows a chunk's first bytes, which stand at `offset` in the file. Throws SnapshotFileError. */
export function chunkAt(head: Uint8Array, offset: number): Chunk {
  const contentBytes = readU32(head, 4)
  const section = sections[head[8] as number]
  if (section === undefined) {
    throw new SnapshotFileError(offset, `A chunk is of section ${head[8]}, which this program does not know.`)
  }
  const fits = section === 'end' ? contentBytes === totalBytes : contentBytes > 0 && contentBytes <= maxChunkBytes
  if (!fits) throw new SnapshotFileError(offset, `A chunk claims ${contentBytes} bytes.`)
  return { contentBytes, section }
}

/** The content of a whole chunk, which stands at `offset` in the file. Throws SnapshotFileError when it is not what was written. */
export function chunkContent(chunk: Uint8Array, offset: number): Uint8Array {
  if (crc32(chunk.subarray(4)) !== readU32(chunk, 0)) throw chunkDamaged(offset)
  return chunk.subarray(chunkHeadBytes)
}

function chunkDamaged(offset: number): SnapshotFileError {
  return new SnapshotFileError(offset, 'A chunk does not fit its checksum.')
}

/** `header` is the first part of a snapshot, which was verified. */
export function isOfCluster(header: Uint8Array, cluster: string): boolean {
  return readU32(header, 12) === crc32(cluster)
}

function headerProblem(header: Buffer, cluster: string | null): SnapshotFileError | null {
  if (!header.subarray(0, 8).equals(magic)) return new SnapshotFileError(0, 'It does not begin as a snapshot does.')
  const version = readU32(header, 8)
  if (readU32(header, 28) !== crc32(header.subarray(0, 28))) {
    // A later format may keep its checksum elsewhere, so this cannot be told from damage.
    const problem =
      version === snapshotFormatVersion
        ? 'Its header is damaged: the checksum does not fit.'
        : `Its header is damaged, or of format ${version}; this program reads ${snapshotFormatVersion}.`
    return new SnapshotFileError(0, problem)
  }
  if (version !== snapshotFormatVersion) {
    const problem = `It is of format ${version}, this program reads format ${snapshotFormatVersion}.`
    return new SnapshotFileError(null, problem)
  }
  if (cluster !== null && !isOfCluster(header, cluster)) {
    return new SnapshotFileError(null, 'It belongs to another cluster.')
  }
  const headBytes = readU32(header, 16)
  if (headBytes === 0 || headBytes > maxHeadBytes) {
    return new SnapshotFileError(0, `Its head claims ${headBytes} bytes.`)
  }
  return null
}

function encodeHead({ lastIncluded, timestampMs, configuration, machinePosition }: SnapshotHeader): Buffer {
  const head: SnapshotHeader = {
    lastIncluded: { index: lastIncluded.index, term: lastIncluded.term },
    timestampMs,
    configuration,
    machinePosition,
  }
  return Buffer.from(JSON.stringify(head))
}

/** The checksum vouches for the values; this is for a file that something else wrote. */
function decodeHead(bytes: Buffer, offset: number): SnapshotHeader {
  try {
    const value: unknown = JSON.parse(bytes.toString())
    if (isHead(value)) {
      const { lastIncluded, timestampMs, configuration, machinePosition } = value
      const { index, term } = lastIncluded
      const members = decodeConfiguration(Buffer.from(JSON.stringify(configuration.configuration)))
      return {
        lastIncluded: { index, term },
        timestampMs,
        configuration: { index: configuration.index, configuration: members },
        machinePosition,
      }
    }
  } catch {
    // Told below, as everything else that is no head.
  }
  throw new SnapshotFileError(offset, 'It does not hold what the head of a snapshot holds.')
}

function isHead(value: unknown): value is SnapshotHeader {
  if (!isObject(value) || !isObject(value.lastIncluded) || !isObject(value.configuration)) return false
  const { lastIncluded, timestampMs, configuration, machinePosition } = value
  return (
    isWholeNumber(lastIncluded.index, 1) &&
    isWholeNumber(lastIncluded.term, 1) &&
    isWholeNumber(timestampMs, 0) &&
    isWholeNumber(configuration.index, 0, lastIncluded.index) &&
    isWholeNumber(machinePosition, 0, lastIncluded.index)
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function isWholeNumber(value: unknown, least: number, most: unknown = Number.POSITIVE_INFINITY): boolean {
  return typeof value === 'number' && isU48(value) && value >= least && value <= (most as number)
}
