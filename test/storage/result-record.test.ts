import assert from 'node:assert/strict'
import test from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import {
  encodeResult,
  encodeResultHeader,
  readResults,
  resultHeaderBytes,
  resultsName,
  resultsNumber,
} from '../../src/storage/result-record.ts'
import { logIdentity } from '../../src/storage/segment.ts'

const header = encodeResultHeader(logIdentity('orders', '00112233aabbccdd'))
const sample = [
  { index: 7, resultJson: '{"ok":true}' },
  { index: 9, resultJson: '"ä€🙂"' },
  { index: 8, resultJson: 'null' },
]

function fileOf(results: typeof sample): Buffer {
  return Buffer.concat([header, ...results.map((result) => encodeResult(header, result))])
}

test('names hold the number, in its order', () => {
  assert.equal(resultsName(12), '0000000012.results')
  assert.equal(resultsNumber('0000000012.results'), 12)
  for (const other of ['12.results', '0000000012.results.tmp', '0000000012.segment', 'results', 'a0000000012.results'])
    assert.equal(resultsNumber(other), null)
})

test('the layout is the one of the diagram', () => {
  assert.equal(header.toString('hex', 0, 12), `${Buffer.from('RAFTRSLT').toString('hex')}01000000`)
  assert.equal(header.readUInt32LE(12), crc32('orders'))
  assert.equal(header.readUInt32LE(16), crc32('00112233aabbccdd'))
  assert.equal(header.toString('hex', 20, 28), '0000000000000000')
  const checksum = crc32(header.subarray(0, 28))
  assert.equal(header.readUInt32LE(28), checksum)
  const record = encodeResult(header, { index: 0x0102_0304_0506, resultJson: '[1]' })
  assert.equal(record.toString('hex', 4), '03000000' + '060504030201' + '5b315d')
  assert.equal(record.readUInt32LE(0), crc32(record.subarray(4), checksum))
})

test('results come back as they were, in their order', () => {
  const index = fc.integer({ min: 1, max: 2 ** 48 - 1 })
  const result = fc.record({ index, resultJson: fc.json() }, { noNullPrototype: true })
  fc.assert(
    fc.property(fc.array(result, { maxLength: 20 }), (results) => {
      const bytes = fileOf(results)
      assert.deepEqual(readResults(bytes, header), { results, end: bytes.length, problem: null })
    }),
  )
})

test('of a file with a flipped bit, what stands before it is taken, and nothing else', () => {
  const bytes = fileOf(sample)
  const ends = sample.map((_, at) => fileOf(sample.slice(0, at + 1)).length)
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
    const { results, end, problem } = readResults(flipped, header)
    const good = ends.filter((each) => each <= bit >> 3).length
    assert.deepEqual(results, sample.slice(0, good), `bit ${bit}`)
    assert.equal(end, bit >> 3 < resultHeaderBytes ? 0 : (ends[good - 1] ?? resultHeaderBytes))
    assert.notEqual(problem, null)
  }
})

test('of a file that was cut, or goes on with zeros or text, what stands before that is taken', () => {
  const bytes = fileOf(sample)
  const ends = [resultHeaderBytes, ...sample.map((_, at) => fileOf(sample.slice(0, at + 1)).length)]
  for (let length = 0; length < bytes.length; length++) {
    const { results, end, problem } = readResults(bytes.subarray(0, length), header)
    const whole = ends.filter((each) => each <= length)
    assert.deepEqual(results, sample.slice(0, Math.max(whole.length - 1, 0)), `${length} bytes`)
    assert.equal(end, whole.at(-1) ?? 0)
    assert.equal(problem === null, whole.at(-1) === length)
  }
  for (const rest of [Buffer.alloc(1), Buffer.alloc(500), Buffer.from('text')]) {
    const { results, end, problem } = readResults(Buffer.concat([bytes, rest]), header)
    assert.deepEqual([results, end], [sample, bytes.length])
    assert.notEqual(problem, null)
  }
})

const another = (cluster: string, incarnation: string) => encodeResultHeader(logIdentity(cluster, incarnation))
for (const [name, expected, problem] of [
  ['another cluster', another('invoices', '00112233aabbccdd'), /another data directory/],
  ['another incarnation', another('orders', 'ffffffffffffffff'), /another data directory/],
  ['another format version', otherVersion(), /format 2, this program reads format 1/],
  ['another kind', otherKind(), /does not begin as a file of results does/],
] as const) {
  test(`a file of ${name} is not taken, and no record of it fits this one's`, () => {
    const records = sample.map((result) => encodeResult(expected, result))
    const foreign = readResults(Buffer.concat([expected, ...records]), header)
    assert.deepEqual([foreign.results, foreign.end], [[], 0])
    assert.match(foreign.problem ?? '', problem)
    const mixed = readResults(Buffer.concat([header, ...records]), header)
    assert.deepEqual([mixed.results, mixed.end], [[], resultHeaderBytes])
  })
}

function withChange(change: (header: Buffer) => void): Buffer {
  const changed = Buffer.from(header)
  change(changed)
  changed.writeUInt32LE(crc32(changed.subarray(0, 28)), 28)
  return changed
}

function otherVersion(): Buffer {
  return withChange((changed) => changed.writeUInt32LE(2, 8))
}

function otherKind(): Buffer {
  return withChange((changed) => changed.write('RAFTSNAP'))
}
