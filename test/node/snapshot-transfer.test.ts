// Sender and receiver with a network between them that loses, repeats, swaps and cuts, a disk that is slow, full or garbles, a core that installs
// or does not want what came, and leaders that change: whatever happens, once that ends the follower has exactly the bytes that the last leader has.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvalidSnapshotError, StorageFullError } from '../../src/errors.ts'
import type { SnapshotAck, SnapshotChunk, SnapshotOffer } from '../../src/node/ports.ts'
import { chunkBytes, type SnapshotSender, windowBytes } from '../../src/node/snapshot-sender.ts'
import { isSame } from './fake-shelf.ts'
import { ManualClock } from './fakes.ts'
import { bodyOf, headerAt, ReceiverBench, repeatAfterMs, SenderBench, settle } from './transfer-kit.ts'

const links = ['consensus', 'bulk', 'acks'] as const
type Link = (typeof links)[number]

class Transfer {
  readonly clock = new ManualClock()
  readonly follower = new ReceiverBench()
  readonly benches: SenderBench[] = []
  /** What every stopped sender sent is still on the wire. */
  readonly wires: Record<Link, (() => void)[]> = { consensus: [], bulk: [], acks: [] }
  readonly sent: (SnapshotOffer | SnapshotChunk)[] = []
  sender: SnapshotSender | null = null
  commitIndex = 0
  term = 0

  get leader(): SenderBench {
    const leader = this.benches.at(-1)
    assert(leader !== undefined, 'There is a leader')
    return leader
  }

  /** Another leader, with a snapshot of its own through this entry; the state there is the same, and its file need not be. */
  async elect(index: number, seed: number): Promise<void> {
    this.sender?.stop()
    this.term += 1
    const bench = new SenderBench({ clock: this.clock, bytesPerSecond: 100 * chunkBytes })
    bench.shelf.put(headerAt(Math.max(index, this.commitIndex + 1)), bodyOf((seed % 3) * chunkBytes + 17 * seed, seed))
    this.benches.push(bench)
    this.sender = await bench.begin({ id: `leader-${this.term}`, term: this.term })
    await settle()
  }

  /** The same leader has a newer one, and is asked for it anew. */
  async renew(seed: number): Promise<void> {
    this.sender?.stop()
    const { shelf } = this.leader
    const index = Math.max((shelf.newestSnapshot?.lastIncluded.index ?? 0) + 1, this.commitIndex + 1)
    shelf.put(headerAt(index), bodyOf((seed % 2) * chunkBytes + 29 * seed, seed))
    this.sender = await this.leader.begin({ id: `leader-${this.term}`, term: this.term })
    await settle()
  }

  /** Puts what was said since on its link. */
  collect(): void {
    const { receiver, acks } = this.follower
    for (const message of this.leader.wire.splice(0)) {
      this.sent.push(message)
      const isCurrent = () => message.term === this.term
      if (message.type === 'SnapshotChunk') {
        this.wires.bulk.push(() => isCurrent() && receiver.chunk(message))
      } else {
        this.wires.consensus.push(() => isCurrent() && receiver.offered(message, this.commitIndex))
      }
    }
    for (const ack of acks.splice(0)) this.wires.acks.push(() => this.#acknowledge(ack))
  }

  #acknowledge(ack: SnapshotAck): void {
    if (ack.to !== `leader-${this.term}`) return
    this.sender?.acknowledged(ack)
  }

  async deliver(link: Link): Promise<boolean> {
    this.collect()
    const next = this.wires[link].shift()
    next?.()
    await settle()
    this.collect()
    return next !== undefined
  }

  cut(): void {
    this.collect()
    for (const link of links) this.wires[link].length = 0
    this.sender?.offer()
  }

  /** The follower's core says what becomes of what came whole. */
  decide(installs: boolean): void {
    const received = this.follower.received.shift()
    if (received === undefined) return
    const { lastIncluded } = received.header
    if (installs && received.term === this.term && lastIncluded.index > this.commitIndex) {
      this.follower.shelf.install(received.header)
      this.commitIndex = lastIncluded.index
    }
    this.follower.receiver.settled()
  }

  get isDone(): boolean {
    const [have, want] = [this.follower.shelf.newestSnapshot, this.leader.shelf.newestSnapshot]
    return have !== null && want !== null && isSame(have, want)
  }

  /** Nothing goes wrong any more. */
  async calm(): Promise<void> {
    for (const gate of Object.values(this.follower.shelf.gates)) {
      gate.fail(null)
      gate.open()
    }
    for (let rounds = 0; rounds < 200 && !this.isDone; rounds++) {
      for (const link of links) while (await this.deliver(link));
      this.decide(true)
      this.clock.advanceToTimer(this.clock.nowMs + repeatAfterMs)
      await settle()
    }
  }
}

type Action = (transfer: Transfer) => void | Promise<void>

const onLink = (name: string, act: (wire: (() => void)[], transfer: Transfer) => void) =>
  fc.constantFrom(...links).map((link) =>
    named(`${name} ${link}`, (transfer) => {
      transfer.collect()
      act(transfer.wires[link], transfer)
    }),
  )

/** So that a counterexample says what was done. */
function named(name: string, act: Action): { readonly act: Action; readonly toString: () => string } {
  return { act, toString: () => name }
}

const gates = fc.constantFrom('receive', 'append', 'finish')

const actions = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.tuple(fc.constantFrom(...links), fc.integer({ min: 1, max: 5 })).map(([link, count]) =>
      named(`deliver ${count} ${link}`, async (t) => {
        for (let i = 0; i < count; i++) await t.deliver(link)
      }),
    ),
  },
  { weight: 4, arbitrary: onLink('lose', (wire) => void wire.shift()) },
  { weight: 3, arbitrary: onLink('repeat', (wire) => wire[0] !== undefined && void wire.push(wire[0])) },
  { weight: 3, arbitrary: onLink('swap', (wire) => void wire.splice(0, 2, ...wire.slice(0, 2).reverse())) },
  { weight: 2, arbitrary: fc.constant(named('cut', (t) => t.cut())) },
  {
    weight: 4,
    arbitrary: fc.integer({ min: 1, max: 1500 }).map((ms) =>
      named(`advance ${ms}`, async (t) => {
        const untilMs = t.clock.nowMs + ms
        while (t.clock.advanceToTimer(untilMs)) await settle()
      }),
    ),
  },
  {
    weight: 4,
    arbitrary: gates.map((gate) => named(`hang ${gate}`, (t) => t.follower.shelf.gates[gate as 'append'].shut())),
  },
  {
    weight: 5,
    arbitrary: gates.map((gate) =>
      named(`go on ${gate}`, async (t) => {
        t.follower.shelf.gates[gate as 'append'].open()
        await settle()
      }),
    ),
  },
  {
    weight: 1,
    arbitrary: gates.map((gate) =>
      named(`full ${gate}`, (t) => t.follower.shelf.gates[gate as 'append'].fail(new StorageFullError('No room'))),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constant(
      named('damaged', (t) => t.follower.shelf.gates.finish.fail(new InvalidSnapshotError('Damaged'))),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.boolean().map((installs) => named(installs ? 'install' : 'give up', (t) => t.decide(installs))),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 9 }))
      .map(([index, seed]) => named(`elect ${index} ${seed}`, (t) => t.elect(index, seed))),
  },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 9 }).map((seed) => named(`renew ${seed}`, (t) => t.renew(seed))) },
)

test('Whatever is lost, repeated, swapped or cut, the follower ends with exactly the file of the last leader', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(actions, { maxLength: 80, size: 'max' }), async (steps) => {
      const transfer = new Transfer()
      await transfer.elect(10, 1)
      for (const { act } of steps) {
        await act(transfer)
        if (transfer.isDone) await transfer.renew(3)
      }
      await transfer.calm()
      assert(transfer.isDone, 'The follower never got the snapshot')
      assert.deepEqual(transfer.follower.shelf.bytes, transfer.leader.shelf.bytes)
      assert.deepEqual(transfer.follower.failures, [])
      transfer.sender?.stop()
      await settle()
      for (const { shelf, failures } of transfer.benches) {
        assert.deepEqual([shelf.opened, shelf.closedTwice, failures], [0, 0, []])
      }
      assert.equal(transfer.clock.timers, 0)
    }),
    { numRuns: 300 },
  )
})

test('After a break it goes on at the last acknowledged chunk: nothing but what was under way is sent twice', async () => {
  const transfer = new Transfer()
  await transfer.elect(10, 1)
  transfer.leader.shelf.put(headerAt(11), bodyOf(30 * chunkBytes))
  transfer.sender?.stop()
  transfer.sender = await transfer.leader.begin({ id: 'leader-1' })
  let breaks = 0
  for (let steps = 1; steps < 1000 && !transfer.isDone; steps++) {
    for (const link of links) await transfer.deliver(link)
    transfer.clock.advanceToTimer(transfer.clock.nowMs + 10)
    transfer.decide(true)
    if (steps % 8 === 0) {
      transfer.cut()
      breaks += 1
    }
  }
  assert(transfer.isDone, 'The follower never got the snapshot')
  const chunks = transfer.sent.filter((message) => message.type === 'SnapshotChunk')
  const sentBytes = chunks.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const { length } = transfer.leader.shelf.bytes
  assert(breaks >= 3, `Only ${breaks} breaks`)
  assert(
    sentBytes <= length + breaks * windowBytes,
    `${sentBytes} bytes were sent for ${length}, with ${breaks} breaks`,
  )
  assert.equal(chunks.filter(({ offset, lastIncluded }) => offset === 0 && lastIncluded.index === 11).length, 1)
})
