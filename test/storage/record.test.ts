import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import type { EntryFields } from '../../src/raft/entry.ts'
import { decodeRecordAt, decodeRecords, encodeEntry, RecordError, recordHeaderBytes } from '../../src/storage/record.ts'

const sample: EntryFields = {
  index: 7,
  term: 3,
  kind: 'json',
  timestampMs: 1_790_000_000_123,
  origin: 0xabcd_ef01_2345,
  sequence: 2 ** 48 - 1,
  payload: Buffer.from('{"op":"set"}'),
}

const number48 = fc.oneof(fc.integer({ min: 0, max: 2 ** 48 - 1 }), fc.constantFrom(0, 2 ** 31, 2 ** 32, 2 ** 48 - 1))

const anyFields: fc.Arbitrary<EntryFields> = fc.record({
  index: number48,
  term: number48,
  kind: fc.constantFrom('noop', 'configuration', 'json', 'bytes'),
  timestampMs: number48,
  origin: number48,
  sequence: number48,
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
})

test('the layout is the one of the diagram', () => {
  const { record } = encodeEntry({ ...sample, index: 1, term: 2, timestampMs: 3, origin: 4, sequence: 5 })
  assert.equal(record.length, 52)
  assert.equal(
    Buffer.from(record.subarray(4, 40)).toString('hex'),
    '34000000' + '010000000000' + '020000000000' + '030000000000' + '040000000000' + '050000000000' + '03' + '00',
  )
})

test('entries come back as they were, from one run of bytes', () => {
  fc.assert(
    fc.property(fc.array(anyFields, { maxLength: 20 }), (list) => {
      const entries = list.map(encodeEntry)
      const bytes = Buffer.concat(entries.map((entry) => entry.record))
      assert.deepEqual(decodeRecords(bytes), entries)
      assert.deepEqual(decodeRecords(new Uint8Array(bytes)), entries)
    }),
  )
})

test('payload and record are views, not copies', () => {
  const bytes = Buffer.from(encodeEntry(sample).record)
  const entry = decodeRecordAt(bytes, 0)
  assert.equal(entry.record.buffer, bytes.buffer)
  assert.equal(entry.payload.buffer, bytes.buffer)
  assert.equal(entry.payload.byteOffset, entry.record.byteOffset + recordHeaderBytes)
})

test('every flipped bit is noticed, and the message names the offset', () => {
  const first = encodeEntry(sample).record
  const bytes = Buffer.concat([first, encodeEntry({ ...sample, index: 8 }).record])
  for (let bit = first.length * 8; bit < bytes.length * 8; bit++) {
    const damaged = Buffer.from(bytes)
    damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    assert.throws(
      () => decodeRecords(damaged),
      (error) => error instanceof RecordError && error.offset === first.length,
    )
  }
})

test('bytes that end within a record are refused', () => {
  const { record } = encodeEntry(sample)
  for (let length = 1; length < record.length; length++) {
    assert.throws(() => decodeRecords(record.subarray(0, length)), RecordError)
  }
  assert.deepEqual(decodeRecords(record.subarray(0, 0)), [])
})

test('numbers that 48 bits cannot hold are never encoded', () => {
  for (const value of [-1, 0.5, 2 ** 48, Number.NaN, Number.POSITIVE_INFINITY]) {
    for (const name of ['index', 'term', 'timestampMs', 'origin', 'sequence']) {
      assert.throws(() => encodeEntry({ ...sample, [name]: value }), RangeError)
    }
  }
})
