import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Frame, FrameParser, frame, frameBytes, ProtocolError } from '../../src/peers/frames.ts'
import { Gatherer } from '../../src/peers/gather.ts'

const limitBytes = 1024 * 1024

function frames(): Frame[] {
  return [
    frame(Uint8Array.of(1)),
    frame(Uint8Array.of(1, 2, 3), [Uint8Array.of(4, 5), Uint8Array.of(), Uint8Array.of(6)]),
    frame(new Uint8Array(300).fill(7), [new Uint8Array(700).fill(8)]),
    frame(Uint8Array.of(9), [Uint8Array.of(10)]),
  ]
}

function parse(chunks: Iterable<Uint8Array>, limit = limitBytes): { header: number[]; body: number[] }[] {
  const seen: { header: number[]; body: number[] }[] = []
  const parser = new FrameParser(limit, (header, body) => seen.push({ header: [...header], body: [...body] }))
  for (const chunk of chunks) parser.push(Buffer.from(chunk))
  return seen
}

function expected(list: readonly Frame[]): { header: number[]; body: number[] }[] {
  return list.map(({ header, body }) => ({ header: [...header], body: body.flatMap((part) => [...part]) }))
}

describe('frames', () => {
  test('come out the same when split at every byte', () => {
    const bytes = Buffer.concat(frames().map(frameBytes))
    for (let at = 0; at <= bytes.length; at++) {
      assert.deepEqual(parse([bytes.subarray(0, at), bytes.subarray(at)]), expected(frames()), `split at ${at}`)
    }
  })

  test('come out the same one byte at a time', () => {
    const bytes = Buffer.concat(frames().map(frameBytes))
    assert.deepEqual(parse([...bytes].map((byte) => Uint8Array.of(byte))), expected(frames()))
  })

  test('come out the same however they are cut, and as the gatherer writes them', () => {
    const anyBytes = fc.uint8Array({ maxLength: 40 })
    const anyFrame = fc
      .tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.array(anyBytes, { maxLength: 4 }))
      .map(([header, body]) => frame(header, body))
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 8 }), fc.array(fc.nat(60), { minLength: 1 }), (list, cuts) => {
        const gatherer = new Gatherer()
        for (const one of list) gatherer.add(one)
        const bytes = Buffer.concat(gatherer.take())
        assert.deepEqual(bytes, Buffer.concat(list.map(frameBytes)))
        const chunks: Uint8Array[] = []
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = 1 + (cuts[i % cuts.length] ?? 0)
          chunks.push(bytes.subarray(at, at + size))
          at += size
        }
        assert.deepEqual(parse(chunks), expected(list))
      }),
    )
  })

  test('of any size are gathered without a change, big parts without a copy', () => {
    const big = Buffer.alloc(700_000, 'x')
    const list = [frame(Uint8Array.of(1), [big]), frame(new Uint8Array(65_000), [Buffer.alloc(8191, 'y')])]
    const gatherer = new Gatherer()
    for (const one of list) gatherer.add(one)
    const pieces = gatherer.take()
    assert.deepEqual(Buffer.concat(pieces), Buffer.concat(list.map(frameBytes)))
    assert.ok(pieces.some((piece) => piece.buffer === big.buffer))
    assert.deepEqual(gatherer.take(), [])
  })

  test('have bodies that hold on to nothing but themselves', () => {
    const bytes = Buffer.concat([frameBytes(frame(Uint8Array.of(1), [Buffer.alloc(100)])), Buffer.alloc(5)])
    const sizes: number[] = []
    const parser = new FrameParser(limitBytes, (_header, body) => sizes.push(body.buffer.byteLength))
    assert.throws(() => parser.push(bytes), ProtocolError)
    assert.deepEqual(sizes, [100])
  })

  test('behind a stop are not reported', () => {
    let seen = 0
    const parser = new FrameParser(limitBytes, () => {
      seen++
      parser.stop()
    })
    parser.push(Buffer.concat(frames().map(frameBytes)))
    parser.push(Buffer.concat(frames().map(frameBytes)))
    assert.equal(seen, 1)
  })

  const bad: readonly (readonly [name: string, bytes: Uint8Array])[] = [
    ['a length of zero', Uint8Array.of(0, 0, 0, 0)],
    ['a length without room for a header', Uint8Array.of(0, 0, 0, 2, 0, 0)],
    ['an empty header', Uint8Array.of(0, 0, 0, 3, 0, 0)],
    ['a header longer than the frame', Uint8Array.of(0, 0, 0, 4, 0, 3)],
    ['a length past the limit', Uint8Array.of(0, 16, 0, 0)],
    ['the largest length', Uint8Array.of(255, 255, 255, 255)],
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a TLS hello', Uint8Array.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01)],
  ]
  for (const [name, bytes] of bad) {
    test(`are refused for ${name}, wherever it is split`, () => {
      for (let at = 0; at <= bytes.length; at++)
        assert.throws(() => parse([bytes.subarray(0, at), bytes.subarray(at)]), ProtocolError)
    })
  }

  test('of exactly the limit pass, one byte more does not', () => {
    const bytes = frameBytes(frame(Uint8Array.of(1), [Buffer.alloc(93)]))
    assert.equal(bytes.length, 100)
    assert.equal(parse([bytes], 100).length, 1)
    assert.throws(() => parse([bytes], 99), ProtocolError)
  })
})
