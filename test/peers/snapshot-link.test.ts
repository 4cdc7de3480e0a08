// The link for snapshots beside the other one: neither holds the other up, and each takes only what is its own.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Packr } from 'msgpackr'
import type { PeerMessage } from '../../src/node/ports.ts'
import type { Channel } from '../../src/peers/channel.ts'
import { encodeMessage, maxChunkBytes, maxChunkFrameBytes } from '../../src/peers/codec.ts'
import { frame } from '../../src/peers/frames.ts'
import {
  type Bench,
  chunk,
  chunks,
  chunksArrive,
  connected,
  HandPeer,
  identity,
  type LinkProxy,
  members,
  numbered,
  type TestNode,
  until,
  withBench,
} from './peer-kit.ts'

const packr = new Packr({ useRecords: false })
const bytes = Buffer.alloc(maxChunkBytes, 'x')

/** Two nodes; what a sends to b goes through a proxy. */
async function proxied(bench: Bench): Promise<{ a: TestNode; b: TestNode; proxy: LinkProxy }> {
  const a = await bench.node('a')
  const b = await bench.node('b')
  const proxy = await bench.proxy(b.address)
  a.transport.setMembers(members({ a: a.address, b: proxy.address }))
  b.transport.setMembers(members({ a: a.address, b: b.address }))
  await until(() => connected(a, 'b') && connected(b, 'a'), 'two nodes connect')
  await chunksArrive(a, b.events)
  return { a, b, proxy }
}

function link(proxy: LinkProxy, channel: Channel) {
  const found = proxy.links.findLast((each) => each.channel === channel && !each.ended)
  if (found === undefined) throw new Error(`No link for ${channel}`)
  return found
}

function isNumbered(message: PeerMessage): boolean {
  return message.type === 'ReadIndexRequest'
}

describe('the link for snapshots', () => {
  test('that is stuck holds up no other message, and goes on where it was', () =>
    withBench(async (bench) => {
      const { a, b, proxy } = await proxied(bench)
      link(proxy, 'snapshots').hold()
      const before = chunks(b.events.messages).length
      for (let i = 0; i < 8; i++) a.transport.send(chunk(i * maxChunkBytes, bytes))
      for (let n = 1; n <= 1000; n++) a.transport.send(numbered(n))
      await until(() => b.events.messages.filter(isNumbered).length === 1000, 'all other messages arrive')
      assert.equal(chunks(b.events.messages).length, before)
      link(proxy, 'snapshots').release()
      await until(() => chunks(b.events.messages).length === before + 8, 'the chunks arrive')
      assert.deepEqual(
        chunks(b.events.messages)
          .slice(before)
          .map(({ offset }) => offset / maxChunkBytes),
        [0, 1, 2, 3, 4, 5, 6, 7],
      )
    }))

  test('that is cut comes back by itself, and no one takes its loss for the loss of the peer', () =>
    withBench(async (bench) => {
      const { a, b, proxy } = await proxied(bench)
      const [consensus, snapshots] = [link(proxy, 'consensus'), link(proxy, 'snapshots')]
      snapshots.cut()
      await until(() => proxy.links.length === 3, 'it is dialled again')
      await chunksArrive(a, b.events)
      assert.ok(connected(a, 'b') && !consensus.ended)
      assert.deepEqual([a.events.downs, b.events.downs], [[], []])
      assert.deepEqual([a.events.ups, b.events.ups], [['b'], ['a']])
      assert.deepEqual(
        a.lines.filter((line) => line.includes('snapshot')).map((line) => line.replace(/ at .*/, '')),
        ['Lost the snapshot connection to b'],
      )
      a.transport.send(numbered(1))
      await until(() => b.events.messages.some(isNumbered), 'the other link is as it was')
    }))

  test('stays when the other one is cut, which is reported and comes back', () =>
    withBench(async (bench) => {
      const { a, b, proxy } = await proxied(bench)
      const snapshots = link(proxy, 'snapshots')
      link(proxy, 'consensus').cut()
      await until(() => a.events.ups.length === 2, 'it is up again')
      await until(() => b.events.downs.length === 1, 'the loss is reported')
      assert.deepEqual(a.events.downs, ['b'])
      await chunksArrive(a, b.events)
      assert.equal(snapshots.ended, false)
      assert.deepEqual(
        proxy.links.map(({ channel }) => channel),
        ['consensus', 'snapshots', 'consensus'],
      )
    }))

  test('is not dialled to a peer that is not reached, and the log tells of one link only', () =>
    withBench(async (bench) => {
      const { a, b } = await proxied(bench)
      const c = await bench.node('c')
      a.transport.setMembers(members({ a: a.address, b: b.address, c: c.address }))
      c.transport.setMembers(members({ a: a.address, c: c.address }))
      await until(() => connected(a, 'c'), 'it connects')
      await chunksArrive({ transport: { ...a.transport, send: (m) => a.transport.send({ ...m, to: 'c' }) } }, c.events)
      await c.transport.close()
      await until(() => a.lines.some((line) => line.startsWith('Cannot reach c')), 'it is dialled in vain')
      assert.equal(a.lines.filter((line) => line.startsWith('Cannot open a snapshot connection to c')).length, 0)
    }))

  test('drops the newest chunks when it is full: what arrives has no gap', () =>
    withBench(async (bench) => {
      const peers: HandPeer[] = []
      const address = await bench.server((socket) => {
        const peer = new HandPeer(socket)
        peers.push(peer)
        peer.answer(identity('b'), 'a')
        socket.once('data', () => {
          const [greeting] = peer.greetings
          if (greeting?.type === 'hello' && greeting.hello.channel === 'snapshots') socket.pause()
        })
      })
      const a = await bench.node('a', { maxSnapshotQueueBytes: 1024 * 1024 })
      a.transport.setMembers(members({ a: a.address, b: address }))
      // A link that is up takes a chunk at once, one that is not drops it: only the former fills.
      const isFull = () => a.lines.some((line) => line.includes('snapshot chunks too slowly'))
      let sent = 0
      await until(() => {
        for (let i = 0; i < 64; i++) a.transport.send(chunk(sent++, bytes))
        return isFull()
      }, 'the queue is full')
      const peer = peers[1]
      assert.ok(peer !== undefined)
      peer.socket.resume()
      await until(() => peer.frames.filter(({ type }) => type === 22).length >= 4, 'chunks arrive')
      a.transport.send(chunk(sent, Uint8Array.of(1)))
      const last = () => peer.frames.filter(({ type }) => type === 22).at(-1)
      await until(() => last()?.body.length === 1, 'the last one arrives')
      const whole = peer.frames.filter(({ type }) => type === 22)
      const offsets = whole.slice(0, -1).map(({ header }) => offsetOf(header))
      assert.ok(offsets.length < sent, 'some were dropped')
      assert.deepEqual(
        offsets,
        offsets.map((_, i) => (offsets[0] ?? 0) + i),
      )
    }))

  test('carries no chunk past its bound, by a broken invariant', () =>
    withBench(async (bench) => {
      const { a, b } = await proxied(bench)
      const before = chunks(b.events.messages).length
      assert.throws(
        () => a.transport.send(chunk(0, Buffer.alloc(maxChunkBytes + 1024))),
        new RegExp(`Cannot send SnapshotChunk of .* no frame is larger than ${maxChunkFrameBytes}`),
      )
      a.transport.send(chunk(0, bytes))
      await until(() => chunks(b.events.messages).length === before + 1, 'the largest one arrives')
    }))
})

describe('a caller', () => {
  async function called(bench: Bench, ...channels: readonly Channel[]) {
    const a = await bench.node('a')
    a.transport.setMembers(members({ a: a.address, b: '127.0.0.1:1' }))
    const peers: HandPeer[] = []
    for (const channel of channels) {
      const peer = new HandPeer(await bench.dial(a.address))
      peer.hello(identity('b'), 'a', { channel })
      await until(() => peer.greetings.length === 1, 'it is answered')
      const [answer] = peer.greetings
      assert.ok(answer?.type === 'hello' && answer.hello.channel === channel)
      peers.push(peer)
    }
    return { a, peers }
  }

  test('has one link of each kind, and a newer one takes the place of its own kind only', () =>
    withBench(async (bench) => {
      const { a, peers } = await called(bench, 'consensus', 'snapshots', 'snapshots')
      const [consensus, older, newer] = peers
      await until(() => older?.ended === true, 'the older link for snapshots is closed')
      consensus?.say(encodeMessage(numbered(1, 'b', 'a')))
      newer?.say(encodeMessage(chunk(5, Uint8Array.of(1), 'b', 'a')))
      await until(() => a.events.messages.length === 2, 'both of the others go on')
      assert.ok(consensus?.ended === false && newer?.ended === false)
    }))

  const wrong: readonly (readonly [name: string, channel: Channel, message: PeerMessage])[] = [
    ['a chunk on the link for consensus', 'consensus', chunk(0, Uint8Array.of(1), 'b', 'a')],
    ['a message on the link for snapshots', 'snapshots', numbered(1, 'b', 'a')],
  ]
  for (const [name, channel, message] of wrong) {
    test(`that sends ${name} loses that link, and nothing is received`, () =>
      withBench(async (bench) => {
        const other = channel === 'consensus' ? 'snapshots' : 'consensus'
        const { a, peers } = await called(bench, channel, other)
        peers[0]?.say(encodeMessage(message))
        await until(() => peers[0]?.ended === true, 'it is closed')
        assert.deepEqual(a.events.messages, [])
        assert.equal(peers[1]?.ended, false)
        assert.ok(
          a.lines.some((line) => line.startsWith(`Closed a connection from b: ${message.type} came`)),
          a.lines.join('\n'),
        )
      }))
  }

  test('that sends more than a chunk at once on the link for snapshots loses it', () =>
    withBench(async (bench) => {
      const { a, peers } = await called(bench, 'snapshots')
      peers[0]?.say(frame(encodeMessage(chunk(0, bytes)).header, [Buffer.alloc(maxChunkBytes + 1024)]))
      await until(() => peers[0]?.ended === true, 'it is closed')
      assert.deepEqual(a.events.messages, [])
      assert.ok(a.lines.some((line) => line.includes(`past the limit of ${maxChunkFrameBytes}`)))
    }))
})

describe('an answer for another kind of link than was called for', () => {
  test('is none of this protocol', () =>
    withBench(async (bench) => {
      const address = await bench.server((socket) =>
        new HandPeer(socket).answer(identity('b'), 'a', { channel: 'snapshots' }),
      )
      const a = await bench.node('a')
      a.transport.setMembers(members({ a: a.address, b: address }))
      await until(() => a.lines.length > 0, 'it is logged')
      assert.match(
        a.lines[0] ?? '',
        /^What answers for b .* is no peer: a call for consensus was answered with one for snapshots/,
      )
      assert.deepEqual(a.events.ups, [])
    }))
})

function offsetOf(header: Uint8Array): number {
  const fields: readonly number[] = packr.unpack(header)
  return fields[4] ?? -1
}
