import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import type { ForwardedProposal, ForwardRefused, PeerMessage } from '../../src/node/ports.ts'
import { decodeMessage, encodeMessage, maxChunkBytes, maxChunkFrameBytes, splitMessage } from '../../src/peers/codec.ts'
import { maxProposalsPerFrame, maxRepeatsPerFrame } from '../../src/peers/forwarding-codec.ts'
import { FrameParser, frame, frameBytes, ProtocolError } from '../../src/peers/frames.ts'
import { maxUint48, packHeader, unpackHeader } from '../../src/peers/header.ts'
import { maxResultBytes, maxResultsPerFrame } from '../../src/peers/results-codec.ts'
import { decodeRecords } from '../../src/storage/record.ts'
import { chunk, entry } from './peer-kit.ts'

const raw = new Packr({ useRecords: false })
const ends = { from: 'a', to: 'b' } as const
const conversation = { ...ends, decodeRecords }

function decode(header: Uint8Array, body: Uint8Array = new Uint8Array(0)): PeerMessage {
  return decodeMessage(unpackHeader(header), body, conversation)
}

function roundTrip(message: PeerMessage): PeerMessage {
  const encoded = encodeMessage(message)
  return decode(encoded.header, Uint8Array.from(Buffer.concat(encoded.body)))
}

/** Views into different buffers are the same when their bytes are. */
function plain(message: PeerMessage): unknown {
  return JSON.parse(
    JSON.stringify(message, (_key, value: unknown) => (value instanceof Uint8Array ? [...value] : value), 0),
  )
}

const natural = fc.oneof(fc.nat(300), fc.maxSafeNat())
const uint48 = fc.nat({ max: 2 ** 31 - 1 }).map((n) => (n % 2 === 0 ? n : maxUint48 - n))
const uint32 = fc.nat({ max: 2 ** 31 - 1 }).map((n) => (n % 2 === 0 ? n : 2 ** 32 - 1 - n))
const entryId = fc.record({ term: natural, index: natural })
const envelope = { from: fc.constant('a'), to: fc.constant('b'), term: natural }
const payload = fc.uint8Array({ maxLength: 50 })

function of<Type extends PeerMessage['type']>(type: Type): fc.Arbitrary<Type> {
  return fc.constant(type)
}

const appendEntries = fc
  .record({
    index: fc.nat(2 ** 40),
    term: fc.nat(2 ** 40),
    payloads: fc.array(payload, { maxLength: 5 }),
    round: natural,
  })
  .map(({ index, term, payloads, round }): PeerMessage => {
    const entries = payloads.map((bytes, i) => entry(index + 1 + i, term, bytes))
    return {
      type: 'AppendEntries',
      from: 'a',
      to: 'b',
      term,
      prev: { term, index },
      entries,
      leaderCommit: index,
      round,
    }
  })

const attribute = fc.option(
  fc.string({
    unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 255,
  }),
)
const proposal: fc.Arbitrary<ForwardedProposal> = fc.oneof(
  fc.record({
    sequence: uint48,
    kind: fc.constantFrom('json' as const, 'bytes' as const),
    key: attribute,
    traceparent: attribute,
    payload,
  }),
  fc.record({
    sequence: uint48,
    kind: fc.constant('skip' as const),
    key: fc.constant(null),
    traceparent: fc.constant(null),
    payload,
  }),
)
const place = natural.map((n) => Math.max(n, 1))

const messages: Readonly<Record<PeerMessage['type'], fc.Arbitrary<PeerMessage>>> = {
  RequestPreVote: fc.record({ type: of('RequestPreVote'), ...envelope, lastEntry: entryId }),
  RequestPreVoteResponse: fc.record({ type: of('RequestPreVoteResponse'), ...envelope, voteGranted: fc.boolean() }),
  RequestVote: fc.record({
    type: of('RequestVote'),
    ...envelope,
    lastEntry: entryId,
    leadershipTransfer: fc.boolean(),
  }),
  RequestVoteResponse: fc.record({ type: of('RequestVoteResponse'), ...envelope, voteGranted: fc.boolean() }),
  AppendEntries: appendEntries,
  AppendEntriesResponse: fc.oneof(
    fc.record({
      type: of('AppendEntriesResponse'),
      ...envelope,
      round: natural,
      leaseMs: uint32,
      isStorageFull: fc.boolean(),
      success: fc.constant(true as const),
      matchIndex: natural,
    }),
    fc.record({
      type: of('AppendEntriesResponse'),
      ...envelope,
      round: natural,
      leaseMs: uint32,
      isStorageFull: fc.boolean(),
      success: fc.constant(false as const),
      rejectedIndex: natural,
      hint: entryId,
    }),
  ),
  TimeoutNow: fc.record({ type: of('TimeoutNow'), ...envelope }),
  ReadIndexRequest: fc.record({ type: of('ReadIndexRequest'), ...envelope, readId: natural }),
  ReadIndexResponse: fc.record({
    type: of('ReadIndexResponse'),
    ...envelope,
    readId: natural,
    index: fc.oneof(natural, fc.constant(null)),
  }),
  ForwardedProposals: fc.record({
    type: of('ForwardedProposals'),
    ...envelope,
    origin: uint48,
    proposals: fc.array(proposal, { maxLength: 5 }),
  }),
  ForwardRefused: fc.record({
    type: of('ForwardRefused'),
    ...envelope,
    origin: uint48,
    sequences: fc.array(uint48, { maxLength: 5 }),
    reason: fc.constantFrom<ForwardRefused['reason'][]>('not-leader', 'transferring', 'tail-full', 'storage-full'),
  }),
  ForwardRepeated: fc.record({
    type: of('ForwardRepeated'),
    ...envelope,
    origin: uint48,
    repeats: fc.array(fc.record({ sequence: uint48, first: fc.option(fc.record({ term: place, index: place })) }), {
      maxLength: 5,
    }),
  }),
  ResultsRequest: fc.record({ type: of('ResultsRequest'), ...envelope, indexes: fc.array(place, { maxLength: 5 }) }),
  ResultsResponse: fc.record({
    type: of('ResultsResponse'),
    ...envelope,
    results: fc.array(
      fc.record({ index: place, resultJson: fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value)) }),
      { maxLength: 5 },
    ),
  }),
  SnapshotOffer: fc.record({
    type: of('SnapshotOffer'),
    ...envelope,
    file: fc.record({ lastIncluded: entryId, sizeBytes: uint48, checksum: uint32 }),
  }),
  SnapshotChunk: fc.record({
    type: of('SnapshotChunk'),
    ...envelope,
    lastIncluded: entryId,
    offset: uint48,
    bytes: payload,
  }),
  SnapshotAck: fc.record({ type: of('SnapshotAck'), ...envelope, lastIncluded: entryId, offset: uint48 }),
}

const anyMessage = fc.oneof(...Object.values(messages))

describe('the codec', () => {
  for (const [type, arbitrary] of Object.entries(messages)) {
    test(`gives ${type} back as it was`, () => {
      fc.assert(fc.property(arbitrary, (message) => assert.deepEqual(plain(roundTrip(message)), plain(message))))
    })
  }

  test('sends records as they are', () => {
    const entries = [entry(4, 2, Buffer.from('one')), entry(5, 2, Buffer.from('two'))]
    const prev = { term: 2, index: 3 }
    const message = {
      type: 'AppendEntries',
      from: 'a',
      to: 'b',
      term: 2,
      prev,
      entries,
      leaderCommit: 3,
      round: 1,
    } as const
    const { body } = encodeMessage(message)
    assert.ok(body.every((part, i) => part === entries[i]?.record))
  })

  test('sends the bytes of a chunk as they are', () => {
    const bytes = Buffer.alloc(maxChunkBytes, 'x')
    assert.ok(encodeMessage(chunk(7, bytes)).body[0] === bytes)
  })

  test('keeps the largest chunk within its frame', () => {
    const far = Number.MAX_SAFE_INTEGER
    const largest = { ...chunk(maxUint48, new Uint8Array(maxChunkBytes)), term: far }
    const { sizeBytes } = encodeMessage({ ...largest, lastIncluded: { term: far, index: far } })
    assert.ok(sizeBytes <= maxChunkFrameBytes, `${sizeBytes}`)
  })

  test('gives every message back when its frame is split at every byte', () => {
    for (const [type, arbitrary] of Object.entries(messages)) {
      for (const message of fc.sample(arbitrary, { seed: 1, numRuns: 5 })) {
        const bytes = Buffer.from(frameBytes(encodeMessage(message)))
        for (let at = 0; at <= bytes.length; at++) {
          const seen: PeerMessage[] = []
          const parser = new FrameParser(maxChunkFrameBytes, (header, body) => {
            seen.push(decode(header, Uint8Array.from(body)))
          })
          parser.push(bytes.subarray(0, at))
          parser.push(bytes.subarray(at))
          assert.deepEqual(seen.map(plain), [plain(message)], `${type} split at ${at}`)
        }
      }
    }
  })

  test('refuses a header with any field missing, more, or of another type', () => {
    const wrong = [-1, 1.5, 2 ** 53, Number.NaN, 'x', null, true, [], ['x'], {}, undefined, 10n ** 18n]
    fc.assert(
      fc.property(anyMessage, fc.nat(), fc.constantFrom(...wrong), (message, at, value) => {
        const encoded = encodeMessage(message)
        const body = Uint8Array.from(Buffer.concat(encoded.body))
        const { values } = rawFields(encoded.header)
        const place = at % values.length
        assert.throws(() => decode(packRaw(values.slice(0, -1)), body), ProtocolError)
        assert.throws(() => decode(packRaw([...values, 0]), body), ProtocolError)
        const other = values.with(place, value)
        try {
          const decoded = decode(packRaw(other), body)
          // What still passes must be what a peer could have said.
          assert.deepEqual(plain(roundTrip(decoded)), plain(decoded))
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error))
        }
      }),
      { numRuns: 500 },
    )
  })

  test('answers garbage with nothing worse than a ProtocolError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), payload, (header, body) => {
        try {
          decode(header, body)
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error))
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('survives a header nested as deep as it can be, and reads the next', () => {
    assert.throws(() => unpackHeader(new Uint8Array(65_535).fill(0x91)), ProtocolError)
    assert.deepEqual(decode(packHeader([16, 3])), { type: 'TimeoutNow', from: 'a', to: 'b', term: 3 })
  })

  const prev = [14, 5, 4, 9, 0, 0]
  const refused: readonly (readonly [name: string, header: Uint8Array, body?: Uint8Array])[] = [
    ['an unknown type', packHeader([99, 1])],
    ['an empty array', packHeader([])],
    ['a body where none belongs', packHeader([16, 3]), Uint8Array.of(1)],
    ['fewer entries than announced', packHeader([...prev, 2]), entry(10, 5).record],
    ['entries that nobody announced', packHeader([...prev, 0]), entry(10, 5).record],
    ['a gap before the entries', packHeader([...prev, 1]), entry(11, 5).record],
    ['an entry of a later term than the leader', packHeader([...prev, 1]), entry(10, 6).record],
    ['an entry of an earlier term than the one before', packHeader([...prev, 1]), entry(10, 3).record],
    ['a damaged record', packHeader([...prev, 1]), entry(10, 5, Buffer.from('x')).record.map((byte) => byte ^ 1)],
    ['proposals larger than their payloads', packHeader([19, 1, 1, [1], [0], [0], [0], [3]]), Uint8Array.of(1, 2)],
    ['proposals smaller than their payloads', packHeader([19, 1, 1, [1], [0], [0], [0], [1]]), Uint8Array.of(1, 2)],
    ['proposals of an unknown kind', packHeader([19, 1, 1, [1], [3], [0], [0], [0]])],
    ['fewer kinds than proposals', packHeader([19, 1, 1, [1, 2], [0], [0, 0], [0, 0], [0, 0]])],
    ['fewer sizes of keys than proposals', packHeader([19, 1, 1, [1, 2], [0, 0], [0], [0, 0], [0, 0]])],
    ['fewer sizes of trace contexts than proposals', packHeader([19, 1, 1, [1, 2], [0, 0], [0, 0], [0], [0, 0]])],
    ['fewer sizes than proposals', packHeader([19, 1, 1, [1, 2], [0, 0], [0, 0], [0, 0], [0]])],
    ['a key that is not visible ASCII', packHeader([19, 1, 1, [1], [0], [1], [0], [0]]), Uint8Array.of(0x20)],
    ['a trace context that is no ASCII', packHeader([19, 1, 1, [1], [0], [0], [1], [0]]), Uint8Array.of(0xe9)],
    ['a key past 255 characters', packHeader([19, 1, 1, [1], [0], [256], [0], [0]]), new Uint8Array(256).fill(0x61)],
    ['a key past the end', packHeader([19, 1, 1, [1], [0], [2], [0], [0]]), Uint8Array.of(0x61)],
    ['a skip with a key', packHeader([19, 1, 1, [1], [2], [1], [0], [1]]), Uint8Array.of(0x61, 0x62)],
    ['a skip with a trace context', packHeader([19, 1, 1, [1], [2], [0], [1], [1]]), Uint8Array.of(0x61, 0x62)],
    ['an origin past 48 bits', packHeader([19, 1, 2 ** 48, [], [], [], [], []])],
    ['repeats with fewer terms', packHeader([24, 1, 1, [1, 2], [1], [1, 1]])],
    ['repeats with fewer indexes', packHeader([24, 1, 1, [1, 2], [1, 1], [1]])],
    ['a repeat of the entry 0', packHeader([24, 1, 1, [1], [1], [0]])],
    ['a repeat of an entry of term 0', packHeader([24, 1, 1, [1], [0], [1]])],
    ['repeats past their bound', packHeader([24, 1, 1, ...new Array<number[]>(3).fill(ones(maxRepeatsPerFrame + 1))])],
    ['bytes behind repeats', packHeader([24, 1, 1, [], [], []]), Uint8Array.of(1)],
    ['a question for the index 0', packHeader([25, 1, [0]])],
    ['questions past their bound', packHeader([25, 1, ones(maxResultsPerFrame + 1)])],
    ['a result of the index 0', packHeader([26, 1, [0], [1]]), Buffer.from('1')],
    ['results past their bound', packHeader([26, 1, ones(201), ones(201)]), new Uint8Array(201).fill(0x31)],
    ['a result past 4 KiB', packHeader([26, 1, [1], [4097]]), Buffer.from('1'.repeat(4097))],
    ['a result of no bytes', packHeader([26, 1, [1], [0]])],
    ['a result that is no JSON', packHeader([26, 1, [1], [1]]), Buffer.from('x')],
    ['a result that is no UTF-8', packHeader([26, 1, [1], [3]]), Uint8Array.of(0x22, 0xff, 0x22)],
    ['results shorter than announced', packHeader([26, 1, [1], [2]]), Buffer.from('1')],
    ['results longer than announced', packHeader([26, 1, [1], [1]]), Buffer.from('11')],
    ['fewer sizes than results', packHeader([26, 1, [1, 2], [1]]), Buffer.from('1')],
    ['a promise past 32 bits', packHeader([15, 1, 1, 2 ** 32, false, true, 1])],
    ['an unknown reason', packHeader([20, 1, 1, [1], 4])],
    ['a checksum past 32 bits', packHeader([21, 1, 1, 9, 100, 2 ** 32])],
    ['a snapshot past 48 bits of size', packHeader([21, 1, 1, 9, 2 ** 48, 1])],
    ['an offset past 48 bits', packHeader([22, 1, 1, 9, 2 ** 48]), Uint8Array.of(1)],
    ['bytes behind the offer of a snapshot', packHeader([21, 1, 1, 9, 100, 1]), Uint8Array.of(1)],
    ['bytes behind the acknowledgement of a chunk', packHeader([23, 1, 1, 9, 100]), Uint8Array.of(1)],
    ['a list past its bound', packHeader([20, 1, 1, ones(maxProposalsPerFrame + 1), 0])],
  ]
  for (const [name, header, body] of refused) {
    test(`refuses ${name}`, () => assert.throws(() => decode(header, body), ProtocolError))
  }

  test('splits proposals that no frame could hold, in order and without loss', () => {
    const proposals = Array.from({ length: 5000 }, (_, i) => ({
      sequence: maxUint48 - i,
      kind: 'json' as const,
      key: i % 2 === 0 ? `key-${i}` : null,
      traceparent: i % 3 === 0 ? '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' : null,
      payload: new Uint8Array(i % 7),
    }))
    const message = { type: 'ForwardedProposals', from: 'a', to: 'b', term: 1, origin: maxUint48, proposals } as const
    for (const maxBodyBytes of [1, 100, 1_000_000]) {
      const parts = splitMessage(message, maxBodyBytes).map(roundTrip)
      const joined = parts.flatMap((part) => (part.type === 'ForwardedProposals' ? part.proposals : []))
      const told = (each: ForwardedProposal) => [each.sequence, each.key, each.traceparent, each.payload.length]
      assert.deepEqual(joined.map(told), proposals.map(told))
    }
    const sequences = proposals.map(({ sequence }) => sequence)
    const refusal = {
      type: 'ForwardRefused',
      from: 'a',
      to: 'b',
      term: 1,
      origin: 1,
      sequences,
      reason: 'tail-full',
    } as const
    const parts = splitMessage(refusal, 1).map(roundTrip)
    assert.deepEqual(
      parts.flatMap((part) => (part.type === 'ForwardRefused' ? part.sequences : [])),
      sequences,
    )
  })

  test('counts keys and trace contexts where it splits by size', () => {
    const proposals = Array.from({ length: 10 }, (_, i) => ({
      sequence: i,
      kind: 'json' as const,
      key: 'k'.repeat(100),
      traceparent: 't'.repeat(100),
      payload: new Uint8Array(0),
    }))
    const parts = splitMessage({ type: 'ForwardedProposals', ...ends, term: 1, origin: 1, proposals }, 400)
    assert.deepEqual(
      parts.map((part) => encodeMessage(part).body.reduce((size, { length }) => size + length, 0)),
      [400, 400, 400, 400, 400],
    )
  })

  test('splits repeats, questions and results that no frame could hold, in order and without loss', () => {
    const indexes = Array.from({ length: 2500 }, (_, i) => i + 1)
    const repeats = indexes.map((index) => ({ sequence: index, first: { term: 1, index } }))
    const results = indexes.map((index) => ({ index, resultJson: JSON.stringify(`result ${index}`) }))
    const repeated = splitMessage({ type: 'ForwardRepeated', ...ends, term: 1, origin: 1, repeats }, 1).map(roundTrip)
    assert.deepEqual(
      repeated.flatMap((part) => (part.type === 'ForwardRepeated' ? part.repeats : [])),
      repeats,
    )
    const asked = splitMessage({ type: 'ResultsRequest', ...ends, term: 1, indexes }, 1).map(roundTrip)
    assert.deepEqual(
      asked.flatMap((part) => (part.type === 'ResultsRequest' ? part.indexes : [])),
      indexes,
    )
    for (const maxBodyBytes of [1, 3 * maxResultBytes, 64 * 1024 * 1024]) {
      const parts = splitMessage({ type: 'ResultsResponse', ...ends, term: 1, results }, maxBodyBytes).map(roundTrip)
      assert.deepEqual(
        parts.flatMap((part) => (part.type === 'ResultsResponse' ? part.results : [])),
        results,
      )
    }
  })

  test('bounds what it splits results into by the room behind a header', () => {
    const results = Array.from({ length: 10 }, (_, i) => ({ index: i + 1, resultJson: '1'.repeat(maxResultBytes) }))
    const parts = splitMessage({ type: 'ResultsResponse', ...ends, term: 1, results }, 3 * maxResultBytes)
    assert.deepEqual(
      parts.map((part) => encodeMessage(part).body.length),
      [3, 3, 3, 1],
    )
  })

  test('sends an empty list as a message of its own', () => {
    const empty: readonly PeerMessage[] = [
      { type: 'ForwardedProposals', ...ends, term: 1, origin: 1, proposals: [] },
      { type: 'ForwardRefused', ...ends, term: 1, origin: 1, sequences: [], reason: 'tail-full' },
      { type: 'ForwardRepeated', ...ends, term: 1, origin: 1, repeats: [] },
      { type: 'ResultsRequest', ...ends, term: 1, indexes: [] },
      { type: 'ResultsResponse', ...ends, term: 1, results: [] },
    ]
    for (const message of empty) assert.deepEqual(splitMessage(message, 1).map(roundTrip), [message])
  })

  test('does not send a result that the other end would refuse', () => {
    for (const resultJson of ['', JSON.stringify('é'.repeat(maxResultBytes / 2))]) {
      const results = [{ index: 7, resultJson }]
      assert.throws(() => encodeMessage({ type: 'ResultsResponse', ...ends, term: 1, results }), /command 7/)
    }
  })

  test('keeps the largest headers within a frame', () => {
    const far = Number.MAX_SAFE_INTEGER
    const proposals = Array.from({ length: maxProposalsPerFrame }, () => ({
      sequence: maxUint48,
      kind: 'bytes' as const,
      key: 'k'.repeat(255),
      traceparent: 't'.repeat(255),
      payload: new Uint8Array(70_000),
    }))
    const repeats = new Array(maxRepeatsPerFrame).fill({ sequence: maxUint48, first: { term: far, index: far } })
    const indexes = new Array<number>(maxResultsPerFrame).fill(far)
    const results = indexes.map((index) => ({ index, resultJson: JSON.stringify('x'.repeat(maxResultBytes - 2)) }))
    const largest: readonly PeerMessage[] = [
      { type: 'ForwardedProposals', ...ends, term: far, origin: maxUint48, proposals },
      { type: 'ForwardRepeated', ...ends, term: far, origin: maxUint48, repeats },
      { type: 'ResultsRequest', ...ends, term: far, indexes },
      { type: 'ResultsResponse', ...ends, term: far, results },
    ]
    for (const message of largest) assert.doesNotThrow(() => frame(encodeMessage(message).header))
  })
})

function rawFields(header: Uint8Array): { values: unknown[] } {
  return { values: raw.unpack(header) }
}

function packRaw(values: readonly unknown[]): Uint8Array {
  return raw.pack(values)
}

function ones(length: number): number[] {
  return new Array<number>(length).fill(1)
}
