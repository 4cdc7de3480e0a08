// What every Transport keeps, whatever carries its bytes: the same tests run against each implementation.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Transport, TransportEvents } from '../../src/node/ports.ts'
import { chunk, chunksArrive, entry, members, numbered, numbers, Recorder, standing, until } from './peer-kit.ts'

const chunkBytes = 256 * 1024
const chunks = 128

export interface TransportNetwork {
  /** A started transport of the node with this id. */
  start(id: string, events: TransportEvents): Promise<{ readonly transport: Transport; readonly peerAddress: string }>
  close(): Promise<void>
}

interface Side {
  readonly transport: Transport
  readonly peerAddress: string
  readonly events: Recorder
}

export function transportContract(name: string, createNetwork: () => TransportNetwork): void {
  async function withNetwork(run: (start: (id: string) => Promise<Side>) => Promise<void>): Promise<void> {
    const network = createNetwork()
    try {
      await run(async (id) => {
        const events = new Recorder(standing(id))
        return { ...(await network.start(id, events)), events }
      })
    } finally {
      await network.close()
    }
  }

  function introduce(a: Side, b: Side): void {
    const both = members({ a: a.peerAddress, b: b.peerAddress })
    a.transport.setMembers(both)
    b.transport.setMembers(both)
  }

  async function connect(a: Side, b: Side): Promise<void> {
    introduce(a, b)
    await until(() => isUp(a) && isUp(b), 'both links are up')
  }

  function isUp(side: Side): boolean {
    return side.transport.peers().every((peer) => peer.connected)
  }

  describe(`${name} as a Transport`, () => {
    test('delivers 10,000 messages in order, each once', () =>
      withNetwork(async (start) => {
        const [a, b] = [await start('a'), await start('b')]
        await connect(a, b)
        const sent = Array.from({ length: 10_000 }, (_, i) => i)
        for (const n of sent) {
          a.transport.send(numbered(n))
          if (n % 1000 === 999) await new Promise((resolve) => setImmediate(resolve))
        }
        await until(() => b.events.messages.length >= sent.length, 'all have arrived')
        assert.deepEqual(numbers(b.events.messages), sent)
      }))

    test('delivers a message whole, both ways', () =>
      withNetwork(async (start) => {
        const [a, b] = [await start('a'), await start('b')]
        await connect(a, b)
        const prev = { term: 1, index: 8 }
        const entries = [entry(9, 1, Buffer.from('x')), entry(10, 2, Buffer.alloc(300_000, 'y')), entry(11, 2)]
        a.transport.send({
          type: 'AppendEntries',
          from: 'a',
          to: 'b',
          term: 2,
          prev,
          entries,
          leaderCommit: 9,
          round: 3,
        })
        b.transport.send(numbered(1, 'b', 'a'))
        await until(() => b.events.messages.length === 1 && a.events.messages.length === 1, 'both have arrived')
        const message = b.events.messages[0]
        assert.ok(message?.type === 'AppendEntries')
        assert.deepEqual([message.from, message.to, message.term, message.prev], ['a', 'b', 2, prev])
        assert.deepEqual(
          message.entries.map(({ record }) => Buffer.from(record)),
          entries.map(({ record }) => Buffer.from(record)),
        )
      }))

    test('delivers 32 MiB of snapshot in order, and other messages overtake what is under way of it', () =>
      withNetwork(async (start) => {
        const [a, b] = [await start('a'), await start('b')]
        await connect(a, b)
        const bytes = Buffer.alloc(chunkBytes, 'x')
        await chunksArrive(a, b.events)
        const received: number[] = []
        let sent = 0
        let pulses = 0
        let overtook = 0
        b.events.onReceived = (message) => {
          if (message.type === 'SnapshotChunk') {
            assert.equal(message.bytes.length, chunkBytes)
            received.push(message.offset / chunkBytes)
            const { term, lastIncluded, offset } = message
            b.transport.send({ type: 'SnapshotAck', from: 'b', to: 'a', term, lastIncluded, offset })
          } else if (message.type === 'ReadIndexRequest') {
            pulses++
            if (received.length < message.readId) overtook++
          }
        }
        a.events.onReceived = () => {
          // Eight of them, 2 MiB, are always on their way; the arrival of each makes room for the next.
          while (sent < Math.min(received.length + 8, chunks)) a.transport.send(chunk(sent++ * chunkBytes, bytes))
          if (sent < chunks) a.transport.send(numbered(sent))
        }
        a.events.onReceived(numbered(0))
        await until(() => received.length === chunks, 'the whole snapshot has arrived', 30_000)
        assert.deepEqual(
          received,
          Array.from({ length: chunks }, (_, i) => i),
        )
        assert.ok(pulses > chunks / 2, `${pulses} messages came while the snapshot travelled`)
        assert.ok(overtook > 0, 'no message ever came before a chunk that was sent before it')
      }))

    test('shows where it stands, and lets nothing pass before it is judged', () =>
      withNetwork(async (start) => {
        const [a, b] = [await start('a'), await start('b')]
        a.events.shown = standing('a', { currentTerm: 7, lastIndex: 9 })
        let decide: (sentence: string | null) => void = () => {}
        b.events.judge = () =>
          new Promise((resolve) => {
            decide = resolve
          })
        introduce(a, b)
        await until(() => b.events.greetings.length > 0, 'b is asked what it thinks of a')
        assert.deepEqual(b.events.greetings[0], { id: 'a', standing: standing('a', { currentTerm: 7, lastIndex: 9 }) })
        a.transport.send(numbered(1))
        b.transport.send(numbered(1, 'b', 'a'))
        assert.deepEqual([a.events.ups, b.events.ups], [[], []])
        decide(null)
        await until(() => isUp(a) && isUp(b), 'both links are up')
        a.transport.send(numbered(2))
        b.transport.send(numbered(2, 'b', 'a'))
        await until(() => b.events.messages.length > 0 && a.events.messages.length > 0, 'messages flow')
        assert.deepEqual([numbers(a.events.messages), numbers(b.events.messages)], [[2], [2]])
      }))

    test('does not speak to a peer that is judged to have forgotten, both sides say why, until it is whole', () =>
      withNetwork(async (start) => {
        const [a, b] = [await start('a'), await start('b')]
        let judgement: string | null = 'b has forgotten its vote'
        a.events.judge = async () => judgement
        introduce(a, b)
        const says = (side: Side) => side.transport.peers()[0]?.refusal?.includes('b has forgotten its vote')
        await until(() => says(a) === true && says(b) === true, 'both know why')
        a.transport.send(numbered(1))
        b.transport.send(numbered(1, 'b', 'a'))
        assert.deepEqual([a.events.ups, b.events.ups], [[], []])
        judgement = null
        await until(() => isUp(a) && isUp(b), 'both links are up')
        assert.deepEqual([a.transport.peers()[0]?.refusal, b.transport.peers()[0]?.refusal], [null, null])
        assert.deepEqual([a.events.messages, b.events.messages], [[], []])
        await b.transport.close()
        await until(() => !isUp(a), 'b is gone')
        assert.equal(a.transport.peers()[0]?.refusal, null, 'what was refused once is no reason for this')
      }))

    test('reports a peer as it comes and goes', () =>
      withNetwork(async (start) => {
        const [a, b] = [await start('a'), await start('b')]
        await connect(a, b)
        await until(() => a.events.ups.includes('b'), 'a is told of b')
        await b.transport.close()
        await until(() => a.events.downs.includes('b') && !isUp(a), 'a is told that b is gone')
      }))

    test('drops what is sent to a node that is no member or not connected', () =>
      withNetwork(async (start) => {
        const [a, b] = [await start('a'), await start('b')]
        a.transport.send(numbered(1))
        await connect(a, b)
        a.transport.send(numbered(2, 'a', 'c'))
        a.transport.send(numbered(3))
        await until(() => b.events.messages.length > 0, 'a message arrives')
        assert.deepEqual(numbers(b.events.messages), [3])
      }))

    test('knows every member but itself', () =>
      withNetwork(async (start) => {
        const [a, b] = [await start('a'), await start('b')]
        await connect(a, b)
        assert.deepEqual(a.transport.peers(), [{ id: 'b', connected: true, appUrl: null, refusal: null }])
        a.transport.setMembers(members({ a: a.peerAddress }))
        assert.deepEqual(a.transport.peers(), [])
      }))

    test('reports nothing more once it is closed', () =>
      withNetwork(async (start) => {
        const [a, b] = [await start('a'), await start('b')]
        await connect(a, b)
        await a.transport.close()
        const { length } = a.events.downs
        a.transport.send(numbered(1))
        await b.transport.close()
        await a.transport.close()
        assert.equal(a.events.downs.length, length)
      }))
  })
}
