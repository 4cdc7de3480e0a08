import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { pack, unpack } from 'msgpackr'
import { type Frame, frame, frameBytes } from '../../src/peers/frames.ts'
import { encodeHello, encodeRefusal, type Greeting, type Identity } from '../../src/peers/handshake.ts'
import { packHeader } from '../../src/peers/header.ts'
import {
  type Bench,
  connected,
  HandPeer,
  hello,
  identity,
  members,
  numbered,
  numbers,
  until,
  withBench,
} from './peer-kit.ts'

/** A greeting as version 4 might have it. */
function helloOfVersion4(): Frame {
  return frame(packHeader([0, 'raft-sidecar', 4, 'anything', true]))
}

/** As version 2 had it, which is how this version has it, too. */
function helloOfVersion2(): Frame {
  const { header } = encodeHello(hello('b', 'a'))
  const fields: unknown[] = unpack(header)
  return frame(pack(fields.with(2, 2)))
}

/** As version 1 had it. */
function helloOfVersion1(): Frame {
  return frame(packHeader([0, 'raft-sidecar', 1, 'test', 'b', 'a', 'b-1', null, null]))
}

const wrong: readonly (readonly [code: string, greeting: Frame])[] = [
  ['protocol-version', helloOfVersion4()],
  ['protocol-version', helloOfVersion2()],
  ['protocol-version', helloOfVersion1()],
  ['cluster', encodeHello(hello('b', 'a', { cluster: 'other' }))],
  ['own-id', encodeHello(hello('a', 'a'))],
  ['wrong-node', encodeHello(hello('b', 'c'))],
  ['not-a-member', encodeHello(hello('x', 'a'))],
  ['founding', encodeHello(hello('b', 'a', { foundingDigest: '02' }))],
]

const unanswerable = 'http'

async function listener(bench: Bench, overrides: Partial<Identity> = { foundingDigest: '01' }) {
  const a = await bench.node('a', overrides)
  a.transport.setMembers(members({ a: a.address, b: '127.0.0.1:1' }))
  return a
}

describe('a caller', () => {
  for (const [code, greeting] of wrong) {
    test(`is refused for ${code}, told so, and logged once however often it calls`, () =>
      withBench(async (bench) => {
        const a = await listener(bench)
        for (let call = 0; call < 3; call++) {
          const peer = new HandPeer(await bench.dial(a.address))
          peer.say(greeting)
          await until(() => peer.ended, 'the connection is closed')
          assert.deepEqual(peer.greetings.map(refusalCode), [code])
        }
        assert.equal(a.lines.filter((line) => line.startsWith('Refused') && line.includes(`(${code})`)).length, 1)
      }))
  }

  test('of another version is told both versions, and what to do', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      const peer = new HandPeer(await bench.dial(a.address))
      peer.say(helloOfVersion2())
      await until(() => peer.ended, 'the connection is closed')
      const [greeting] = peer.greetings
      assert.equal(
        greeting?.type === 'refused' && greeting.refusal.sentence,
        'it speaks protocol 2, this node speaks 3: run the same release on every node',
      )
    }))

  test('is accepted when only one side knows the founding', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      const peer = new HandPeer(await bench.dial(a.address))
      peer.hello(identity('b'), 'a')
      await until(() => peer.greetings.length === 1, 'a answers')
      const [greeting] = peer.greetings
      assert.ok(greeting?.type === 'hello')
      assert.deepEqual(greeting.hello, hello('a', 'b', { foundingDigest: '01' }))
    }))

  test('is refused again with a line when the reason has changed', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      for (const own of [identity('b', { cluster: 'other' }), identity('b', { foundingDigest: '02' })]) {
        const peer = new HandPeer(await bench.dial(a.address))
        peer.hello(own, 'a')
        await until(() => peer.ended, 'the connection is closed')
      }
      assert.equal(a.lines.filter((line) => line.startsWith('Refused')).length, 2)
    }))

  test('that calls again takes the place of its older connection, whose bytes no longer count', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      const older = new HandPeer(await bench.dial(a.address))
      older.hello(identity('b'), 'a')
      await until(() => older.greetings.length === 1, 'the older one is accepted')
      const newer = new HandPeer(await bench.dial(a.address))
      newer.hello(identity('b'), 'a')
      await until(() => newer.greetings.length === 1 && older.ended, 'the newer one takes its place')
      newer.say(readIndexRequest(2))
      await until(() => a.events.messages.length === 1, 'a message arrives')
      assert.deepEqual(numbers(a.events.messages), [2])
      // Port 1 refuses every dial, which is reported as well: count only what came after.
      newer.socket.destroy()
      const before = a.events.downs.length
      await until(() => a.events.downs.length > before, 'the loss of the newer one is reported')
    }))

  test('is turned away when it is no longer a member', () =>
    withBench(async (bench) => {
      const [a, b] = await bench.pair()
      a.transport.setMembers(members({ a: a.address }))
      await until(() => b.lines.some((line) => line.includes('(not-a-member)')), 'b is told')
      assert.equal(connected(b, 'a'), false)
      b.transport.send(numbered(1, 'b', 'a'))
      assert.deepEqual(a.events.messages, [])
    }))
})

// Each waits out the slow end of the backoff: side by side they take a second.
describe('an answer', { concurrency: true }, () => {
  const answers: readonly (readonly [code: string, answer: Frame, line: RegExp])[] = [
    ['protocol-version', helloOfVersion4(), /^Refused what answers for b .*\(protocol-version\)/],
    ['cluster', encodeHello(hello('b', 'a', { cluster: 'other' })), /^Refused what answers for b .*\(cluster\)/],
    ['wrong-node', encodeHello(hello('c', 'a')), /^Refused what answers for b .*\(wrong-node\)/],
    ['founding', encodeHello(hello('b', 'a', { foundingDigest: '02' })), /\(founding\)/],
    [
      'not-a-member',
      encodeRefusal({ code: 'not-a-member', sentence: 'go away' }),
      /^Connection refused by b .*\(not-a-member\), it says: go away/,
    ],
    ['a-later-reason', encodeRefusal({ code: 'a-later-reason', sentence: 'so' }), /\(a-later-reason\), it says: so/],
    [unanswerable, frame(packHeader([16, 1])), /is no peer: the first frame is not a greeting/],
  ]
  for (const [code, answer, line] of answers) {
    test(`of ${code} is logged once, and the dial is repeated, but late`, () =>
      withBench(async (bench) => {
        let dials = 0
        const address = await bench.server((socket) => {
          dials++
          socket.on('data', () => socket.write(frameBytes(answer)))
        })
        // Zero would redial at once, were it not for the refusal.
        const a = await bench.node('a', { foundingDigest: '01', random: () => 0 })
        a.transport.setMembers(members({ a: a.address, b: address }))
        await until(() => dials === 2, 'it dials again')
        assert.equal(a.lines.filter((logged) => line.test(logged)).length, 1, a.lines.join('\n'))
        assert.deepEqual(a.events.ups, [])
        assert.equal(a.transport.peers()[0]?.connected, false)
      }))
  }
})

describe('both ends of a refused connection', () => {
  test('say why, in one line each', () =>
    withBench(async (bench) => {
      const a = await bench.node('a')
      const b = await bench.node('b', { cluster: 'other' })
      a.transport.setMembers(members({ a: a.address, b: b.address }))
      await until(() => a.lines.length > 0 && b.lines.length > 0, 'both log')
      assert.match(
        a.lines.join('\n'),
        /^Connection refused by b at .* \(cluster\), it says: .*'test', this node to 'other'/,
      )
      assert.match(b.lines.join('\n'), /^Refused a connection from a \(cluster\): it belongs to cluster 'test'/)
    }))
})

describe('a stranger', () => {
  const garbage: readonly (readonly [name: string, bytes: Uint8Array])[] = [
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['a TLS hello', Uint8Array.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01)],
    ['zeros', new Uint8Array(100)],
    ['a frame larger than a greeting may be', Uint8Array.of(0, 0, 0xff, 0xff, 0, 5)],
    ['a header that is no msgpack array', frameBytes(frame(Uint8Array.of(0xc1, 1, 2)))],
    ['another protocol with our framing', frameBytes(frame(packHeader([0, 'raft-other', 1])))],
    ['a message without a greeting', frameBytes(frame(packHeader([16, 1])))],
    ['a refusal out of nowhere', frameBytes(encodeRefusal({ code: 'cluster', sentence: 'no' }))],
  ]
  for (const [name, bytes] of garbage) {
    test(`that speaks ${name} costs its connection and one line`, () =>
      withBench(async (bench) => {
        const [a, b] = await bench.pair()
        for (let call = 0; call < 3; call++) {
          const socket = await bench.dial(a.address)
          let closed = false
          socket.on('close', () => {
            closed = true
          })
          socket.resume()
          socket.write(bytes)
          await until(() => closed, 'its connection is closed')
        }
        assert.equal(a.lines.filter((line) => line.startsWith('Closed a connection from 127.0.0.1')).length, 1)
        assert.ok(connected(a, 'b') && connected(b, 'a'))
        b.transport.send(numbered(1, 'b', 'a'))
        await until(() => a.events.messages.length === 1, 'members go on')
      }))
  }

  test('that says nothing is not waited for', () =>
    withBench(async (bench) => {
      const a = await bench.node('a', { rpcTimeoutMs: 60 })
      const peer = new HandPeer(await bench.dial(a.address))
      await until(() => peer.ended, 'its connection is closed')
    }))

  test('is one of 64 at most, and members still get in', () =>
    withBench(async (bench) => {
      const a = await bench.node('a')
      const strangers: HandPeer[] = []
      for (let i = 0; i < 70; i++) strangers.push(new HandPeer(await bench.dial(a.address)))
      await until(() => strangers.filter((stranger) => stranger.ended).length === 6, 'the oldest are dropped')
      assert.ok(strangers.slice(0, 6).every((stranger) => stranger.ended))
      const b = await bench.node('b')
      a.transport.setMembers(members({ a: a.address, b: b.address }))
      b.transport.setMembers(members({ a: a.address, b: b.address }))
      await until(() => connected(b, 'a'), 'a member connects')
    }))
})

describe('a member that speaks garbage after its greeting', () => {
  test('loses its connection, and nothing is received', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      const peer = new HandPeer(await bench.dial(a.address))
      peer.hello(identity('b'), 'a')
      await until(() => peer.greetings.length === 1, 'it is accepted')
      peer.say(frame(packHeader([14, 5, 4, 9, 0, 0, 1]), [Buffer.alloc(50, 'x')]))
      peer.say(readIndexRequest(1))
      await until(() => peer.ended, 'its connection is closed')
      assert.deepEqual(a.events.messages, [])
      assert.equal(
        a.lines.filter((line) => line.startsWith('Closed a connection from b: AppendEntries has a bad')).length,
        1,
      )
    }))
})

function readIndexRequest(readId: number): Frame {
  return frame(packHeader([17, 1, readId]))
}

function refusalCode(greeting: Greeting): string {
  return greeting.type === 'refused' ? greeting.refusal.code : greeting.type
}
