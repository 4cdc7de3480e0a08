import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import type { ForwardRefused, PeerMessage } from '../../src/node/ports.ts'
import {
  decodeMessage,
  encodeMessage,
  maxChunkBytes,
  maxChunkFrameBytes,
  maxProposalsPerFrame,
  splitMessage,
} from '../../src/peers/codec.ts'
import { FrameParser, frame, frameBytes, ProtocolError } from '../../src/peers/frames.ts'
import { maxUint48, packHeader, unpackHeader } from '../../src/peers/header.ts'
import { decodeRecords } from '../../src/storage/record.ts'
import { chunk, entry } from './peer-kit.ts'

const raw = new Packr({ useRecords: false })
const conversation = { from: 'a', to: 'b', decodeRecords }

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

const proposal = fc.record({ sequence: uint48, kind: fc.constantFrom('json' as const, 'bytes' as const), payload })

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
      isStorageFull: fc.boolean(),
      success: fc.constant(true as const),
      matchIndex: natural,
    }),
    fc.record({
      type: of('AppendEntriesResponse'),
      ...envelope,
      round: natural,
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
    ['proposals larger than their payloads', packHeader([19, 1, 1, [1], [0], [3]]), Uint8Array.of(1, 2)],
    ['proposals smaller than their payloads', packHeader([19, 1, 1, [1], [0], [1]]), Uint8Array.of(1, 2)],
    ['proposals of an unknown kind', packHeader([19, 1, 1, [1], [2], [0]])],
    ['lists of different lengths', packHeader([19, 1, 1, [1, 2], [0], [0]])],
    ['an origin past 48 bits', packHeader([19, 1, 2 ** 48, [], [], []])],
    ['an unknown reason', packHeader([20, 1, 1, [1], 4])],
    ['a checksum past 32 bits', packHeader([21, 1, 1, 9, 100, 2 ** 32])],
    ['a snapshot past 48 bits of size', packHeader([21, 1, 1, 9, 2 ** 48, 1])],
    ['an offset past 48 bits', packHeader([22, 1, 1, 9, 2 ** 48]), Uint8Array.of(1)],
    ['bytes behind the offer of a snapshot', packHeader([21, 1, 1, 9, 100, 1]), Uint8Array.of(1)],
    ['bytes behind the acknowledgement of a chunk', packHeader([23, 1, 1, 9, 100]), Uint8Array.of(1)],
    ['a list past its bound', packHeader([20, 1, 1, new Array<number>(maxProposalsPerFrame + 1).fill(1), 0])],
  ]
  for (const [name, header, body] of refused) {
    test(`refuses ${name}`, () => assert.throws(() => decode(header, body), ProtocolError))
  }

  test('splits proposals that no frame could hold, in order and without loss', () => {
    const proposals = Array.from({ length: 5000 }, (_, i) => ({
      sequence: maxUint48 - i,
      kind: 'json' as const,
      payload: new Uint8Array(i % 7),
    }))
    const message = { type: 'ForwardedProposals', from: 'a', to: 'b', term: 1, origin: maxUint48, proposals } as const
    for (const maxBodyBytes of [1, 100, 1_000_000]) {
      const parts = splitMessage(message, maxBodyBytes).map(roundTrip)
      const joined = parts.flatMap((part) => (part.type === 'ForwardedProposals' ? part.proposals : []))
      assert.deepEqual(
        joined.map(({ sequence }) => sequence),
        proposals.map(({ sequence }) => sequence),
      )
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

  test('keeps the largest header within a frame', () => {
    const proposals = Array.from({ length: maxProposalsPerFrame }, () => ({
      sequence: maxUint48,
      kind: 'bytes' as const,
      payload: new Uint8Array(70_000),
    }))
    const message = {
      type: 'ForwardedProposals',
      from: 'a',
      to: 'b',
      term: 2 ** 53 - 1,
      origin: maxUint48,
      proposals,
    } as const
    assert.doesNotThrow(() => frame(encodeMessage(message).header))
  })
})

function rawFields(header: Uint8Array): { values: unknown[] } {
  return { values: raw.unpack(header) }
}

function packRaw(values: readonly unknown[]): Uint8Array {
  return raw.pack(values)
}
