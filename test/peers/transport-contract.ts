// What every Transport keeps, whatever carries its bytes: the same tests run against each implementation.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Transport, TransportEvents } from '../../src/node/ports.ts'
import { entry, members, numbered, numbers, Recorder, until } from './peer-kit.ts'

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
        const events = new Recorder()
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
        assert.deepEqual(a.transport.peers(), [{ id: 'b', connected: true, appUrl: null }])
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
