import assert from 'node:assert/strict'
import test from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import type { Entry, EntryFields } from '../../src/raft/entry.ts'
import { decodeRecordAt, decodeRecords, encodeEntry, RecordError, recordHeaderBytes } from '../../src/storage/record.ts'

const sample: EntryFields = {
  index: 7,
  term: 3,
  kind: 'json',
  timestampMs: 1_790_000_000_123,
  origin: 0xabcd_ef01_2345,
  sequence: 2 ** 48 - 1,
  key: null,
  traceparent: null,
  payload: Buffer.from('{"op":"set"}'),
}

const key = 'order-7'
const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

const number48 = fc.oneof(fc.integer({ min: 0, max: 2 ** 48 - 1 }), fc.constantFrom(0, 2 ** 31, 2 ** 32, 2 ** 48 - 1))

const visible = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code))
const attribute = fc.option(fc.string({ unit: visible, minLength: 1, maxLength: 255 }))

const numbers = {
  index: number48,
  term: number48,
  timestampMs: number48,
  origin: number48,
  sequence: number48,
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
}

const anyFields: fc.Arbitrary<EntryFields> = fc.oneof(
  fc.record({
    ...numbers,
    kind: fc.constantFrom('noop', 'configuration', 'skip'),
    key: fc.constant(null),
    traceparent: fc.constant(null),
  }),
  fc.record({ ...numbers, kind: fc.constantFrom('json', 'bytes'), key: attribute, traceparent: attribute }),
)

function fieldsOf(entry: Entry): EntryFields {
  const { index, term, kind, timestampMs, origin, sequence, key, traceparent, payload } = entry
  return { index, term, kind, timestampMs, origin, sequence, key, traceparent, payload: Buffer.from(payload) }
}

test('the layout is the one of the diagram', () => {
  const { record } = encodeEntry({ ...sample, index: 1, term: 2, timestampMs: 3, origin: 4, sequence: 5 })
  assert.equal(record.length, 52)
  assert.equal(
    Buffer.from(record.subarray(4, 40)).toString('hex'),
    '34000000' + '010000000000' + '020000000000' + '030000000000' + '040000000000' + '050000000000' + '03' + '00',
  )
})

const codes: readonly [fields: Partial<EntryFields>, code: string, attributes: string][] = [
  [{ kind: 'noop' }, '01', ''],
  [{ kind: 'configuration' }, '02', ''],
  [{ kind: 'json' }, '03', ''],
  [{ kind: 'bytes' }, '04', ''],
  [{ kind: 'json', key: 'k1', traceparent: 't' }, '05', '0201' + '6b31' + '74'],
  [{ kind: 'json', key: 'k1' }, '05', '0200' + '6b31'],
  [{ kind: 'json', traceparent: 't' }, '05', '0001' + '74'],
  [{ kind: 'bytes', key: 'k1' }, '06', '0200' + '6b31'],
  [{ kind: 'skip' }, '07', ''],
]
for (const [fields, code, attributes] of codes) {
  test(`${JSON.stringify(fields)} is kind ${code} with the attributes ${attributes || 'that it has not'}`, () => {
    const { record } = encodeEntry({ ...sample, ...fields })
    const rest = Buffer.from(record.subarray(38)).toString('hex')
    assert.equal(rest, `${code}00${attributes}${Buffer.from(sample.payload).toString('hex')}`)
  })
}

const longest = '~'.repeat(255)
const payloads = [Buffer.alloc(0), Buffer.from('{}'), Buffer.from([0, 255, 1, 254]), Buffer.alloc(70_000, 0xc3)]
for (const attributes of [
  { key, traceparent },
  { key, traceparent: null },
  { key: null, traceparent },
  { key: '!', traceparent: null },
  { key: longest, traceparent: longest },
] satisfies Partial<EntryFields>[]) {
  const what = JSON.stringify(attributes).replaceAll(longest, '255 characters')
  test(`commands with ${what} come back as they were, whatever their payload`, () => {
    for (const kind of ['json', 'bytes'] as const) {
      for (const payload of payloads) {
        const fields = { ...sample, ...attributes, kind, payload }
        const entry = encodeEntry(fields)
        assert.deepEqual(fieldsOf(entry), fields)
        assert.deepEqual(fieldsOf(decodeRecordAt(Buffer.from(entry.record), 0)), fields)
        const bare = encodeEntry({ ...fields, key: null, traceparent: null })
        const attributeBytes = 2 + (attributes.key?.length ?? 0) + (attributes.traceparent?.length ?? 0)
        assert.equal(entry.record.length, bare.record.length + attributeBytes)
      }
    }
  })
}

const refused: readonly [name: string, fields: Partial<EntryFields>][] = [
  ['an empty key', { key: '' }],
  ['an empty trace context', { traceparent: '' }],
  ['a key of 256 characters', { key: 'k'.repeat(256) }],
  ['a trace context of 256 characters', { traceparent: 't'.repeat(256) }],
  ...['\0', '\n', '\x1f', ' ', '\x7f', '\x80', 'é', '€'].flatMap((character): [string, Partial<EntryFields>][] => [
    [`a key with ${JSON.stringify(character)}`, { key: `a${character}` }],
    [`a trace context with ${JSON.stringify(character)}`, { traceparent: `${character}a` }],
  ]),
  ...(['noop', 'configuration', 'skip'] as const).flatMap((kind): [string, Partial<EntryFields>][] => [
    [`a key on a ${kind}`, { kind, key }],
    [`a trace context on a ${kind}`, { kind, traceparent }],
  ]),
]
for (const [name, fields] of refused) {
  test(`${name} is never encoded`, () => {
    assert.throws(() => encodeEntry({ ...sample, ...fields }), RangeError)
  })
}

/** Makes the checksum fit what the record says after the change. */
function sealed(fields: EntryFields, change: (record: Buffer) => void): Buffer {
  const record = Buffer.from(encodeEntry(fields).record)
  change(record)
  record.writeUInt32LE(crc32(record.subarray(4)), 0)
  return record
}

const foreign: readonly [name: string, record: Buffer, problem: RegExp][] = [
  [
    'a key that reaches past its end',
    sealed({ ...sample, key: 'k', payload: Buffer.alloc(3) }, (record) => record.writeUInt8(5, 40)),
    /attributes reach past its end/,
  ],
  [
    'a trace context that reaches past its end',
    sealed({ ...sample, key: 'k', payload: Buffer.alloc(3) }, (record) => record.writeUInt8(4, 41)),
    /attributes reach past its end/,
  ],
  [
    'no room for the lengths of its attributes',
    sealed({ ...sample, payload: Buffer.alloc(0) }, (record) => record.writeUInt8(5, 38)),
    /attributes reach past its end/,
  ],
  [
    'one byte of the two lengths of its attributes',
    sealed({ ...sample, kind: 'bytes', payload: Buffer.alloc(1) }, (record) => record.writeUInt8(6, 38)),
    /attributes reach past its end/,
  ],
  ['kind 0', sealed(sample, (record) => record.writeUInt8(0, 38)), /its kind is 0, not 1 to 7/],
  ['kind 8', sealed(sample, (record) => record.writeUInt8(8, 38)), /its kind is 8, not 1 to 7/],
  ['version 1', sealed(sample, (record) => record.writeUInt8(1, 39)), /its version is 1, this program reads version 0/],
]
for (const [name, record, problem] of foreign) {
  test(`a record with ${name} is refused, though its checksum fits`, () => {
    const before = encodeEntry(sample).record
    assert.throws(
      () => decodeRecords(Buffer.concat([before, record])),
      (error) => error instanceof RecordError && error.offset === before.length && problem.test(error.message),
    )
  })
}

test('attributes may fill a record to its very end', () => {
  const record = sealed({ ...sample, key: 'k', payload: Buffer.alloc(3, 'x') }, (each) => each.writeUInt8(3, 41))
  assert.deepEqual(fieldsOf(decodeRecordAt(record, 0)), {
    ...sample,
    key: 'k',
    traceparent: 'xxx',
    payload: Buffer.alloc(0),
  })
})

test('entries come back as they were, from one run of bytes', () => {
  fc.assert(
    fc.property(fc.array(anyFields, { maxLength: 20 }), (list) => {
      const entries = list.map(encodeEntry)
      const bytes = Buffer.concat(entries.map((entry) => entry.record))
      assert.deepEqual(
        decodeRecords(bytes).map(fieldsOf),
        list.map((fields) => ({ ...fields })),
      )
      assert.deepEqual(decodeRecords(bytes), entries)
      assert.deepEqual(decodeRecords(new Uint8Array(bytes)), entries)
    }),
  )
})

test('payload and record are views, not copies', () => {
  for (const [fields, attributeBytes] of [
    [sample, 0],
    [{ ...sample, key, traceparent }, 2 + key.length + traceparent.length],
  ] as const) {
    const bytes = Buffer.from(encodeEntry(fields).record)
    const entry = decodeRecordAt(bytes, 0)
    assert.equal(entry.record.buffer, bytes.buffer)
    assert.equal(entry.payload.buffer, bytes.buffer)
    assert.equal(entry.payload.byteOffset, entry.record.byteOffset + recordHeaderBytes + attributeBytes)
  }
})

test('every flipped bit is noticed, and the message names the offset', () => {
  const first = encodeEntry(sample).record
  const bytes = Buffer.concat([first, encodeEntry({ ...sample, index: 8, key, traceparent }).record])
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
  const { record } = encodeEntry({ ...sample, key, traceparent })
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
