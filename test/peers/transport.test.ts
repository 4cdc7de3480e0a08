import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Packr } from 'msgpackr'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { foundingDigest } from '../../src/peers/founding-digest.ts'
import {
  Bench,
  connected,
  entry,
  HandPeer,
  identity,
  members,
  numbered,
  numbers,
  until,
  withBench,
} from './peer-kit.ts'
import { transportContract } from './transport-contract.ts'

const packr = new Packr({ useRecords: false })

transportContract('TCP', () => {
  const bench = new Bench()
  return {
    async start(id, events) {
      const { transport, address } = await bench.node(id, {}, events)
      return { transport, peerAddress: address }
    },
    close: () => bench.close(),
  }
})

describe('the peer port', () => {
  test('that is in use stops the start with its address and the setting', () =>
    withBench(async (bench) => {
      const { transport } = await bench.node('a')
      const listen = { host: '127.0.0.1', port: transport.port }
      await assert.rejects(bench.node('b', { listen }), (error) => {
        assert.ok(error instanceof FatalError)
        assert.equal(error.exitCode, exitCodes.unavailable)
        const where = `127.0.0.1:${transport.port} (PEER_LISTEN)`
        assert.ok(error.message.startsWith(`Cannot listen on ${where}: address already in use`), error.message)
        return true
      })
    }))

  test('on an address of another machine stops the start', () =>
    withBench(async (bench) => {
      const start = bench.node('a', { listen: { host: '192.0.2.1', port: 0 } })
      await assert.rejects(start, /Cannot listen on 192\.0\.2\.1:0 \(PEER_LISTEN\): this machine has no such address/)
    }))
})

describe('what peers announce', () => {
  test('is known to the other side', () =>
    withBench(async (bench) => {
      const [a] = await bench.pair({ appUrl: 'http://127.0.0.1:8080/raft' })
      assert.deepEqual(a.transport.peers(), [
        { id: 'b', connected: true, appUrl: 'http://127.0.0.1:8080/raft', refusal: null },
      ])
    }))

  test('as their founding does not depend on the order of members, nor on how they are reached', () => {
    const addresses = { n1: '10.0.0.1:4000', n2: '10.0.0.2:4000' }
    const founding = members(addresses)
    const digest = foundingDigest({ members: founding })
    assert.match(digest, /^[0-9a-f]{16}$/)
    assert.equal(foundingDigest({ members: founding.toReversed() }), digest)
    assert.equal(foundingDigest({ members: members({ n1: 'one:4000', n2: 'two:4000' }) }), digest)
    assert.notEqual(foundingDigest({ members: members({ ...addresses, n3: '10.0.0.3:4000' }) }), digest)
    assert.notEqual(foundingDigest({ members: members({ n1: addresses.n1, n4: addresses.n2 }) }), digest)
    assert.notEqual(foundingDigest({ members: founding.map((member) => ({ ...member, role: 'learner' })) }), digest)
  })
})

describe('the queue of a peer that takes nothing', () => {
  test('drops its oldest messages, keeps the newest, and what has left stays whole and in order', () =>
    withBench(async (bench) => {
      const peers: HandPeer[] = []
      const address = await bench.server((socket) => {
        const peer = new HandPeer(socket)
        peers.push(peer)
        peer.hello(identity('b'), 'a')
        socket.pause()
      })
      const maxQueueBytes = 2 * 1024 * 1024
      const a = await bench.node('a', { maxQueueBytes })
      a.transport.setMembers(members({ a: a.address, b: address }))
      await until(() => connected(a, 'b'), 'the peer has answered')

      const record = entry(1, 1, Buffer.alloc(100_000))
      const last = 400
      for (let round = 1; round <= last; round++) {
        const prev = { term: 0, index: 0 }
        a.transport.send({
          type: 'AppendEntries',
          from: 'a',
          to: 'b',
          term: 1,
          prev,
          entries: [record],
          leaderCommit: 0,
          round,
        })
        if (round % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      const peer = peers[0]
      assert.ok(peer !== undefined)
      peer.socket.resume()
      const rounds = () => peer.frames.filter(({ type }) => type === 14).map(({ header }) => roundOf(header))
      await until(() => rounds().includes(last), 'the newest message arrives')

      const seen = rounds()
      assert.ok(seen.length < last, 'some were dropped')
      assert.deepEqual(
        seen,
        seen.toSorted((x, y) => x - y),
      )
      assert.equal(seen[0], 1)
      const kept = Math.floor(maxQueueBytes / (record.record.length + 20)) - 10
      assert.deepEqual(
        seen.slice(-kept),
        Array.from({ length: kept }, (_, i) => last - kept + 1 + i),
      )
      assert.equal(a.lines.filter((line) => line.includes('the oldest are dropped')).length, 1)
    }))
})

describe('messages that this node must not send', () => {
  test('of another node are a broken invariant', () =>
    withBench(async (bench) => {
      const [a] = await bench.pair()
      assert.throws(() => a.transport.send(numbered(1, 'b', 'a')), /Cannot send ReadIndexRequest of b from a/)
    }))

  test('past the largest frame are a broken invariant', () =>
    withBench(async (bench) => {
      const [a] = await bench.pair({ maxFrameBytes: 100_000 })
      const entries = [entry(1, 1, Buffer.alloc(100_000))]
      const message = {
        type: 'AppendEntries',
        from: 'a',
        to: 'b',
        term: 1,
        entries,
        leaderCommit: 0,
        round: 0,
      } as const
      assert.throws(
        () => a.transport.send({ ...message, prev: { term: 0, index: 0 } }),
        /no frame is larger than 100000/,
      )
    }))

  test('in the turn of a close still leave', () =>
    withBench(async (bench) => {
      const [a, b] = await bench.pair()
      a.transport.send(numbered(1))
      await a.transport.close()
      await until(() => b.events.messages.length === 1, 'the last word arrives')
      assert.deepEqual(numbers(b.events.messages), [1])
    }))
})

function roundOf(header: Uint8Array): number {
  const fields: readonly number[] = packr.unpack(header)
  return fields[5] ?? -1
}
