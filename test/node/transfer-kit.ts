// A sender and a receiver of snapshots with a wire between them on which nothing moves by itself. Offers and acknowledgements travel on another
// link than chunks do, so each can overtake the other; within a link the order holds, as it does in TCP.

import assert from 'node:assert/strict'
import { setImmediate as microtasksDone } from 'node:timers/promises'
import type { PeerMessage, SnapshotAck, SnapshotChunk, SnapshotFile, SnapshotOffer } from '../../src/node/ports.ts'
import { type ReceivedSnapshot, SnapshotReceiver } from '../../src/node/snapshot-receiver.ts'
import { chunkBytes, SnapshotSender } from '../../src/node/snapshot-sender.ts'
import { founding } from '../raft/entries.ts'
import { FakeShelf } from './fake-shelf.ts'
import { ManualClock } from './fakes.ts'

export const repeatAfterMs = 1000
export const patienceMs = 20_000

export function headerAt(index: number, term = 1) {
  return {
    lastIncluded: { index, term },
    timestampMs: index,
    configuration: founding(['n1', 'n2', 'n3']),
    machinePosition: index,
  }
}

/** Bytes that differ from place to place and from seed to seed. */
export function bodyOf(length: number, seed = 1): Buffer {
  const body = Buffer.alloc(length)
  for (let i = 0; i < length; i += 97) body[i] = (i / 97 + seed) % 251
  return body
}

export class SenderBench {
  readonly clock: ManualClock
  readonly shelf = new FakeShelf()
  readonly wire: (SnapshotOffer | SnapshotChunk)[] = []
  readonly failures: unknown[] = []
  readonly sentAfterMs: number[] = []
  readonly bytesPerSecond: number
  /** How often the follower was given up. */
  stuck = 0

  readonly #chunkBytes: number

  constructor(
    options: { readonly clock?: ManualClock; readonly bytesPerSecond?: number; readonly chunkBytes?: number } = {},
  ) {
    this.clock = options.clock ?? new ManualClock()
    this.bytesPerSecond = options.bytesPerSecond ?? Number.POSITIVE_INFINITY
    this.#chunkBytes = options.chunkBytes ?? chunkBytes
  }

  /** Begins to send what is on the shelf. */
  async begin({ id = 'n2', to = 'n1', term = 1 } = {}): Promise<SnapshotSender> {
    const snapshot = await this.shelf.openSnapshot()
    assert(snapshot !== null, 'There is a snapshot to send')
    return new SnapshotSender({
      id,
      to,
      term,
      snapshot,
      transport: { send: (message) => this.wire.push(message as SnapshotOffer | SnapshotChunk) },
      clock: this.clock,
      bytesPerSecond: this.bytesPerSecond,
      chunkBytes: this.#chunkBytes,
      repeatAfterMs,
      patienceMs,
      onStuck: () => this.stuck++,
      onSent: (durationMs) => this.sentAfterMs.push(durationMs),
      onFailure: (error) => this.failures.push(error),
    })
  }

  get chunks(): SnapshotChunk[] {
    return this.wire.filter((message): message is SnapshotChunk => message.type === 'SnapshotChunk')
  }

  get offers(): SnapshotOffer[] {
    return this.wire.filter((message): message is SnapshotOffer => message.type === 'SnapshotOffer')
  }

  ack(offset: number, changed: Partial<SnapshotAck> = {}): SnapshotAck {
    const file = this.shelf.newestSnapshot as SnapshotFile
    return { type: 'SnapshotAck', from: 'n1', to: 'n2', term: 1, lastIncluded: file.lastIncluded, offset, ...changed }
  }

  async advance(ms: number): Promise<void> {
    await advance(this.clock, ms)
  }
}

export class ReceiverBench {
  readonly shelf = new FakeShelf()
  readonly acks: SnapshotAck[] = []
  readonly received: ReceivedSnapshot[] = []
  readonly setbacks: Error[] = []
  readonly failures: unknown[] = []
  readonly receiver = new SnapshotReceiver({
    id: 'n1',
    storage: this.shelf,
    transport: { send: (message: PeerMessage) => this.acks.push(message as SnapshotAck) },
    onReceived: (received) => this.received.push(received),
    onSetback: (error) => this.setbacks.push(error),
    onFailure: (error) => this.failures.push(error),
  })

  get acknowledged(): number[] {
    return this.acks.map(({ offset }) => offset)
  }
}

/** A file to be received, and the messages that its leader would send of it. */
export class Outgoing {
  readonly #shelf = new FakeShelf()
  readonly file: SnapshotFile
  readonly #from: string
  readonly #term: number

  constructor({ index = 10, bytes = 3 * chunkBytes, seed = 1, from = 'n2', term = 1, lastTerm = 1, ledger = '' } = {}) {
    this.file = this.#shelf.put(headerAt(index, lastTerm), bodyOf(bytes, seed), ledger)
    this.#from = from
    this.#term = term
  }

  get bytes(): Buffer {
    return this.#shelf.bytes
  }

  get offer(): SnapshotOffer {
    return { type: 'SnapshotOffer', from: this.#from, to: 'n1', term: this.#term, file: this.file }
  }

  chunk(offset: number, length = chunkBytes): SnapshotChunk {
    const { lastIncluded } = this.file
    const bytes = this.#shelf.bytes.subarray(offset, offset + length)
    return { type: 'SnapshotChunk', from: this.#from, to: 'n1', term: this.#term, lastIncluded, offset, bytes }
  }

  /** Everything from `offset` on. */
  chunksFrom(offset = 0): SnapshotChunk[] {
    const chunks: SnapshotChunk[] = []
    for (let at = offset; at < this.file.sizeBytes; at += chunkBytes) chunks.push(this.chunk(at))
    return chunks
  }
}

/** Lets promises go on until nothing is left that could without time or a gate. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await microtasksDone()
}

export async function advance(clock: ManualClock, ms: number): Promise<void> {
  const untilMs = clock.nowMs + ms
  await settle()
  while (clock.advanceToTimer(untilMs)) await settle()
}
