import assert from 'node:assert/strict'
import test from 'node:test'
import { crc32 } from 'node:zlib'
import type { SnapshotHeader } from '../../src/node/ports.ts'
import {
  maxChunkBytes,
  SnapshotEncoder,
  SnapshotFileError,
  SnapshotVerifier,
  snapshotFormatVersion,
  snapshotId,
  snapshotName,
} from '../../src/storage/snapshot-file.ts'
import { encodeSnapshot, founding } from './storage-kit.ts'

const header: SnapshotHeader = {
  lastIncluded: { index: 120, term: 7 },
  timestampMs: 1_700_000_000_000,
  configuration: { index: 3, configuration: founding },
  machinePosition: 118,
}

function encode(body: readonly Uint8Array[], ledger: readonly Uint8Array[] = []): Buffer {
  const { bytes, file } = encodeSnapshot(header, body, 'orders', ledger)
  const checksum = bytes.readUInt32LE(bytes.length - 4)
  assert.deepEqual(file, { lastIncluded: header.lastIncluded, sizeBytes: bytes.length, checksum })
  return bytes
}

function verify(bytes: Uint8Array, pieceBytes = bytes.length, cluster: string | null = 'orders') {
  const verifier = new SnapshotVerifier(cluster)
  for (let from = 0; from < bytes.length; from += pieceBytes) verifier.push(bytes.subarray(from, from + pieceBytes))
  return verifier.end()
}

function fails(bytes: Uint8Array, cluster: string | null = 'orders'): SnapshotFileError {
  try {
    verify(bytes, bytes.length, cluster)
  } catch (error) {
    assert(error instanceof SnapshotFileError, String(error))
    return error
  }
  assert.fail('it was taken for whole')
}

test('names hold index and term, and stand in the order of the index', () => {
  const name = snapshotName({ index: 1234, term: 7 })
  assert.equal(name, '000000000001234-7.snapshot')
  assert.deepEqual(snapshotId(name), { index: 1234, term: 7 })
  assert(snapshotName({ index: 999, term: 10 }) < snapshotName({ index: 1000, term: 9 }))
  for (const other of [`${name}.tmp`, '1-7.snapshot', '000000000001234-07.snapshot', `a${name}`, 'metafile']) {
    assert.equal(snapshotId(other), null)
  }
})

test('what was encoded is verified, however it comes', () => {
  const bytes = encode([Buffer.from('one'), Buffer.alloc(0), Buffer.alloc(700, 'two')], [Buffer.from('keys')])
  for (const pieceBytes of [1, 7, 32, 100, bytes.length]) {
    const { file, header: head } = verify(bytes, pieceBytes)
    assert.deepEqual(head, header)
    assert.deepEqual(file, {
      lastIncluded: header.lastIncluded,
      sizeBytes: bytes.length,
      checksum: crc32(bytes.subarray(0, -4)),
    })
  }
})

test('an empty state is a snapshot, too, and so is one with a ledger only', () => {
  assert.deepEqual(verify(encode([])).header, header)
  assert.deepEqual(verify(encode([], [Buffer.from('keys')])).header, header)
})

test('the ledger stands before the state, and both say where they begin, to the writer as to the reader', () => {
  const first = 32 + encode([]).readUInt32LE(16)
  for (const [ledger, state, stateOffset] of [
    [[], [], first],
    [[], [Buffer.alloc(10)], first],
    [[Buffer.alloc(20), Buffer.alloc(30)], [Buffer.alloc(10)], first + 59],
    [[Buffer.alloc(20)], [], first + 29],
    [[Buffer.alloc(maxChunkBytes)], [Buffer.alloc(10)], first + 9 + maxChunkBytes],
    [[Buffer.alloc(maxChunkBytes + 5)], [Buffer.alloc(10)], first + 9 + maxChunkBytes + 14],
  ] as const) {
    const encoder = new SnapshotEncoder('orders', header)
    const parts = [Buffer.from(encoder.begin())]
    for (const piece of ledger) for (const chunk of encoder.addLedger(piece)) parts.push(Buffer.from(chunk))
    for (const piece of state) for (const chunk of encoder.add(piece)) parts.push(Buffer.from(chunk))
    for (const chunk of encoder.end()) parts.push(Buffer.from(chunk))
    const found = verify(Buffer.concat(parts), 1000)
    assert.deepEqual(encoder.verified, found)
    assert.deepEqual([found.chunksOffset, found.stateOffset], [first, stateOffset])
  }
})

test('without a ledger the bytes are those of version 0.2', () => {
  const empty = encode([Buffer.from('state')], [Buffer.alloc(0)])
  assert.deepEqual(empty, encode([Buffer.from('state')]))
  assert.equal(empty[32 + empty.readUInt32LE(16) + 8], 1)
})

test('a ledger is never added behind the state', () => {
  const encoder = new SnapshotEncoder('orders', header)
  encoder.begin()
  assert.deepEqual([...encoder.add(Buffer.from('state'))], [])
  assert.throws(() => [...encoder.addLedger(Buffer.from('keys'))], { code: 'ERR_ASSERTION' })
})

test('small pieces go together into a chunk, and large ones are divided', () => {
  const sizes = (pieces: readonly Uint8Array[]) => {
    const encoder = new SnapshotEncoder('orders', header)
    encoder.begin()
    const found: number[] = []
    for (const piece of pieces) for (const chunk of encoder.add(piece)) found.push(chunk.length)
    for (const chunk of encoder.end()) found.push(chunk.length)
    return found
  }
  const end = [15, 4]
  const full = maxChunkBytes + 9
  assert.deepEqual(sizes(Array.from({ length: 1000 }, () => Buffer.alloc(100))), [100_009, ...end])
  assert.deepEqual(sizes([Buffer.alloc(2 * maxChunkBytes)]), [full, full, ...end])
  assert.deepEqual(sizes([Buffer.alloc(10), Buffer.alloc(2 * maxChunkBytes)]), [full, full, 19, ...end])
})

test('every bit counts', () => {
  const bytes = encode([Buffer.from('the state of a machine')], [Buffer.from('the ledger')])
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
    const { offset } = fails(flipped)
    assert(offset !== null && offset <= bit >> 3, `bit ${bit}: ${offset}`)
  }
})

test('one that ends early, and one that goes on, are refused', () => {
  const bytes = encode([Buffer.from('state')], [Buffer.from('keys')])
  for (let length = 0; length < bytes.length; length++) {
    assert.match(fails(bytes.subarray(0, length)).message, /offset \d+\. The file ends before/)
  }
  assert.match(fails(Buffer.concat([bytes, Buffer.from([0])])).message, /More bytes follow/)
})

/** Changes bytes of the header and makes its checksum fit. */
function withHeader(bytes: Buffer, change: (header: Buffer) => void): Buffer {
  const changed = Buffer.from(bytes)
  change(changed)
  changed.writeUInt32LE(crc32(changed.subarray(0, 28)), 28)
  return changed
}

/** A whole file around this head. */
function withHead(head: string): Buffer {
  const bytes = Buffer.concat([encode([]).subarray(0, 32), Buffer.from(head)])
  return withHeader(bytes, (changed) => {
    changed.writeUInt32LE(head.length, 16)
    changed.writeUInt32LE(crc32(head), 20)
  })
}

test('another format version, and another cluster, are refused by name, and are no damage', () => {
  const bytes = encode([])
  const newer = fails(withHeader(bytes, (changed) => changed.writeUInt32LE(snapshotFormatVersion + 1, 8)))
  assert.equal(newer.offset, null)
  assert.match(newer.message, /format 2, this program reads format 1/)
  const foreign = fails(bytes, 'invoices')
  assert.equal(foreign.offset, null)
  assert.match(foreign.message, /another cluster/)
  assert.deepEqual(verify(bytes, bytes.length, null).header, header)
})

test('a head that holds something else is refused, though its checksum fits', () => {
  const good = JSON.stringify(header)
  for (const head of [
    'text',
    'null',
    '{}',
    good.replace('120', '0'),
    good.replace('120', '1.5'),
    good.replace('118', '121'),
    good.replace('"members":', '"people":'),
    good.replace('"timestampMs":', '"when":'),
  ]) {
    assert.match(fails(withHead(head)).message, /head of a snapshot/)
  }
  const { offset } = fails(withHeader(encode([]), (changed) => changed.writeUInt32LE(0xffff_ffff, 16)))
  assert.equal(offset, 0)
})

test('a chunk of an unknown section, of none or of too many bytes is refused, though its checksum fits', () => {
  const bytes = encode([Buffer.from('state')])
  const at = 32 + bytes.readUInt32LE(16)
  const changes: readonly [change: (chunk: Buffer) => void, problem: RegExp][] = [
    [(chunk) => chunk.writeUInt8(3, 8), /section 3/],
    [(chunk) => chunk.writeUInt8(255, 8), /section 255/],
    [(chunk) => chunk.writeUInt32LE(0, 4), /claims 0 bytes/],
    [(chunk) => chunk.writeUInt32LE(maxChunkBytes + 1, 4), /claims 262145 bytes/],
  ]
  for (const [change, problem] of changes) {
    const changed = Buffer.from(bytes)
    const chunk = changed.subarray(at, at + 14)
    change(chunk)
    chunk.writeUInt32LE(crc32(chunk.subarray(4)), 0)
    const error = fails(changed)
    assert.match(error.message, problem)
    assert.equal(error.offset, at)
  }
})

test('a chunk of the ledger behind one of the state is refused, though its checksum fits', () => {
  const bytes = encode([Buffer.from('state')], [Buffer.from('keys!')])
  const at = 32 + bytes.readUInt32LE(16)
  const [ledger, state] = [bytes.subarray(at, at + 14), bytes.subarray(at + 14, at + 28)]
  const swapped = Buffer.concat([bytes.subarray(0, at), state, ledger, bytes.subarray(at + 28)])
  const { message, offset } = fails(swapped)
  assert.match(message, /ledger stands behind the state/)
  assert.equal(offset, at + 14)
})
