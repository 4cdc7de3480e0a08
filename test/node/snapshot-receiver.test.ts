// The snapshot that a leader sends: what is taken in, what is left out, and what becomes of it when the disk, the sender or the term gives way.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes, FatalError, InvalidSnapshotError, StorageFullError } from '../../src/errors.ts'
import type { SnapshotChunk } from '../../src/node/ports.ts'
import { chunkBytes, windowBytes } from '../../src/node/snapshot-sender.ts'
import { Outgoing, ReceiverBench, settle } from './transfer-kit.ts'

async function offered(outgoing = new Outgoing()): Promise<ReceiverBench> {
  const bench = new ReceiverBench()
  bench.receiver.offered(outgoing.offer, 0)
  await settle()
  return bench
}

test('An offer is answered with what is here of it, each chunk with what is here then, and the whole is verified and handed over', async () => {
  const outgoing = new Outgoing()
  const b = await offered(outgoing)
  for (const chunk of outgoing.chunksFrom()) {
    b.receiver.chunk(chunk)
    await settle()
  }
  const { sizeBytes } = outgoing.file
  assert.deepEqual(b.acknowledged, [0, chunkBytes, 2 * chunkBytes, 3 * chunkBytes, sizeBytes])
  assert.deepEqual(
    b.received.map(({ from, term, file, header }) => [from, term, file, header.lastIncluded]),
    [['n2', 1, outgoing.file, { index: 10, term: 1 }]],
  )
  assert.deepEqual(b.shelf.received, outgoing.bytes)
})

test('What is committed here already is acknowledged as a whole, and not received', async () => {
  const outgoing = new Outgoing({ index: 10 })
  const b = new ReceiverBench()
  b.receiver.offered(outgoing.offer, 10)
  await settle()
  assert.deepEqual(b.acknowledged, [outgoing.file.sizeBytes])
  b.receiver.chunk(outgoing.chunk(0))
  await settle()
  assert.deepEqual([b.acknowledged.length, b.shelf.received.length], [1, 0])
})

test('After a break it goes on where it was, also when this process knows of it only by the disk', async () => {
  const outgoing = new Outgoing()
  const b = await offered(outgoing)
  b.receiver.chunk(outgoing.chunk(0))
  await settle()
  b.acks.length = 0
  b.receiver.offered(outgoing.offer, 0)
  assert.deepEqual(b.acknowledged, [chunkBytes])
  // As if the process had been started anew: only what storage kept is left.
  b.receiver.settled()
  b.acks.length = 0
  b.receiver.offered(outgoing.offer, 0)
  await settle()
  assert.deepEqual(b.acknowledged, [chunkBytes])
})

test('The same file goes on under a new leader who offers the same', async () => {
  const outgoing = new Outgoing()
  const b = await offered(outgoing)
  b.receiver.chunk(outgoing.chunk(0))
  await settle()
  b.acks.length = 0
  const next = new Outgoing({ from: 'n3', term: 2 })
  b.receiver.offered(next.offer, 0)
  await settle()
  assert.deepEqual(
    b.acks.map(({ to, term, offset }) => [to, term, offset]),
    [['n3', 2, chunkBytes]],
  )
})

for (const { name, of } of [
  { name: 'of another leader', of: (chunk: SnapshotChunk) => ({ ...chunk, from: 'n3' }) },
  { name: 'of another term', of: (chunk: SnapshotChunk) => ({ ...chunk, term: 2 }) },
  {
    name: 'of a snapshot through another entry',
    of: (chunk: SnapshotChunk) => ({ ...chunk, lastIncluded: { index: 9, term: 1 } }),
  },
  {
    name: 'of a snapshot through an entry of another term',
    of: (chunk: SnapshotChunk) => ({ ...chunk, lastIncluded: { index: 10, term: 2 } }),
  },
  { name: 'that leaves a gap', of: (chunk: SnapshotChunk) => ({ ...chunk, offset: 1 }) },
  { name: 'of nothing', of: (chunk: SnapshotChunk) => ({ ...chunk, bytes: new Uint8Array(0) }) },
  {
    name: 'that is longer than the file',
    of: (chunk: SnapshotChunk) => ({ ...chunk, bytes: new Uint8Array(10 * chunkBytes) }),
  },
]) {
  test(`A chunk ${name} is left out`, async () => {
    const outgoing = new Outgoing()
    const b = await offered(outgoing)
    b.acks.length = 0
    b.receiver.chunk(of(outgoing.chunk(0)))
    await settle()
    assert.deepEqual([b.acks.length, b.shelf.received.length], [0, 0])
  })
}

test('A chunk that comes twice is taken once', async () => {
  const outgoing = new Outgoing()
  const b = await offered(outgoing)
  b.receiver.chunk(outgoing.chunk(0))
  b.receiver.chunk(outgoing.chunk(0))
  b.receiver.chunk(outgoing.chunk(chunkBytes))
  b.receiver.chunk(outgoing.chunk(chunkBytes))
  await settle()
  assert.deepEqual(b.shelf.received, outgoing.bytes.subarray(0, 2 * chunkBytes))
})

test('A chunk before any offer, and one while the offer is being opened, are left out', async () => {
  const outgoing = new Outgoing()
  const b = new ReceiverBench()
  b.receiver.chunk(outgoing.chunk(0))
  b.shelf.gates.receive.shut()
  b.receiver.offered(outgoing.offer, 0)
  await settle()
  b.receiver.chunk(outgoing.chunk(0))
  b.shelf.gates.receive.open()
  await settle()
  assert.deepEqual([b.acknowledged, b.shelf.received.length], [[0], 0])
})

test('While the disk is slow no more waits for it than any sender has under way, whatever is sent', async () => {
  const outgoing = new Outgoing({ bytes: 60 * chunkBytes })
  const b = await offered(outgoing)
  b.shelf.gates.append.shut()
  for (const chunk of outgoing.chunksFrom()) b.receiver.chunk(chunk)
  b.shelf.gates.append.open()
  await settle()
  assert.equal(b.shelf.received.length, 2 * windowBytes)
  b.receiver.chunk(outgoing.chunk(2 * windowBytes))
  await settle()
  assert.equal(b.shelf.received.length, 2 * windowBytes + chunkBytes, 'and it goes on from there')
})

test('An offer that is repeated while the disk is slow is not answered with what is not written yet: that would open the window anew', async () => {
  const outgoing = new Outgoing()
  const b = await offered(outgoing)
  b.shelf.gates.append.shut()
  b.receiver.chunk(outgoing.chunk(0))
  await settle()
  b.acks.length = 0
  b.receiver.offered(outgoing.offer, 0)
  assert.deepEqual(b.acks, [])
  b.shelf.gates.append.open()
  await settle()
  assert.deepEqual(b.acknowledged, [chunkBytes])
})

for (const { name, gate, chunks } of [
  { name: 'opened', gate: 'receive', chunks: 0 },
  { name: 'written', gate: 'append', chunks: 4 },
  { name: 'verified', gate: 'finish', chunks: 4 },
] as const) {
  test(`Offers that are repeated while it is being ${name} do no harm`, async () => {
    const outgoing = new Outgoing()
    const b = new ReceiverBench()
    b.shelf.gates[gate].shut()
    b.receiver.offered(outgoing.offer, 0)
    await settle()
    for (const chunk of outgoing.chunksFrom().slice(0, chunks)) {
      b.receiver.chunk(chunk)
      await settle()
    }
    for (let i = 0; i < 5; i++) b.receiver.offered(outgoing.offer, 0)
    await settle()
    b.shelf.gates[gate].open()
    await settle()
    for (const chunk of outgoing.chunksFrom()) b.receiver.chunk(chunk)
    await settle()
    assert.deepEqual([b.received.length, b.failures], [1, []])
    assert.deepEqual(b.shelf.received, outgoing.bytes)
  })
}

test('Until it is settled no other one is begun, and afterwards one is', async () => {
  const outgoing = new Outgoing()
  const b = await offered(outgoing)
  for (const chunk of outgoing.chunksFrom()) b.receiver.chunk(chunk)
  await settle()
  assert.equal(b.received.length, 1)
  b.acks.length = 0
  const newer = new Outgoing({ index: 20, seed: 2 })
  b.receiver.offered(newer.offer, 0)
  b.receiver.offered(outgoing.offer, 0)
  await settle()
  assert.deepEqual([b.acks, b.shelf.received], [[], outgoing.bytes])
  b.receiver.settled()
  b.receiver.offered(newer.offer, 10)
  await settle()
  assert.deepEqual(b.acknowledged, [0])
})

test('A newer offer takes the place of an older one', async () => {
  const older = new Outgoing()
  const b = await offered(older)
  b.receiver.chunk(older.chunk(0))
  await settle()
  b.acks.length = 0
  const newer = new Outgoing({ index: 20, seed: 2 })
  b.receiver.offered(newer.offer, 0)
  await settle()
  b.receiver.chunk(older.chunk(chunkBytes))
  for (const chunk of newer.chunksFrom()) b.receiver.chunk(chunk)
  await settle()
  assert.deepEqual(
    b.received.map(({ file }) => file),
    [newer.file],
  )
  assert.deepEqual(
    b.acks.map(({ lastIncluded }) => lastIncluded.index),
    b.acks.map(() => 20),
  )
})

test('An older offer of the same leader that comes late does not throw away the newer one', async () => {
  const newer = new Outgoing({ index: 20, seed: 2 })
  const b = await offered(newer)
  b.receiver.chunk(newer.chunk(0))
  await settle()
  b.receiver.offered(new Outgoing().offer, 0)
  await settle()
  assert.deepEqual([b.acknowledged, b.shelf.received.length], [[0, chunkBytes], chunkBytes])
})

for (const { name, gate } of [
  { name: 'while it is being opened', gate: 'receive' },
  { name: 'while its last bytes are written', gate: 'append' },
] as const) {
  test(`One that is superseded ${name} is neither finished nor acknowledged`, async () => {
    const older = new Outgoing({ bytes: 1000 })
    const b = new ReceiverBench()
    b.shelf.gates[gate].shut()
    b.receiver.offered(older.offer, 0)
    await settle()
    b.receiver.chunk(older.chunk(0))
    await settle()
    const acks = b.acks.length
    const newer = new Outgoing({ index: 20, seed: 2 })
    b.receiver.offered(newer.offer, 0)
    b.shelf.gates[gate].open()
    await settle()
    assert.deepEqual(b.received, [])
    assert.deepEqual(
      b.acks.slice(acks).map(({ lastIncluded, offset }) => [lastIncluded.index, offset]),
      [[20, 0]],
    )
    for (const chunk of newer.chunksFrom()) b.receiver.chunk(chunk)
    await settle()
    assert.deepEqual(
      b.received.map(({ file }) => file),
      [newer.file],
    )
  })
}

test('One that turns out damaged is told of, and begins anew with the next offer', async () => {
  const outgoing = new Outgoing()
  const b = await offered(outgoing)
  const [first, ...others] = outgoing.chunksFrom()
  assert(first !== undefined, 'There is a first chunk')
  b.receiver.chunk({ ...first, bytes: Buffer.alloc(first.bytes.length, 0xff) })
  for (const chunk of others) b.receiver.chunk(chunk)
  await settle()
  assert.deepEqual([b.received, b.setbacks.map((error) => error instanceof InvalidSnapshotError)], [[], [true]])
  b.acks.length = 0
  b.receiver.offered(outgoing.offer, 0)
  await settle()
  assert.deepEqual(b.acknowledged, [0])
  for (const chunk of outgoing.chunksFrom()) b.receiver.chunk(chunk)
  await settle()
  assert.deepEqual([b.received.length, b.failures], [1, []])
})

for (const gate of ['receive', 'append', 'finish'] as const) {
  test(`Without room (${gate}) it waits for the next offer, and tries again`, async () => {
    const outgoing = new Outgoing({ bytes: chunkBytes })
    const b = new ReceiverBench()
    b.shelf.gates[gate].fail(new StorageFullError('No room'))
    b.receiver.offered(outgoing.offer, 0)
    await settle()
    for (const chunk of outgoing.chunksFrom()) b.receiver.chunk(chunk)
    await settle()
    assert.deepEqual([b.received.length, b.setbacks.length, b.failures], [0, 1, []])
    b.acks.length = 0
    b.receiver.offered(outgoing.offer, 0)
    await settle()
    for (const chunk of outgoing.chunksFrom(b.acknowledged.at(-1))) b.receiver.chunk(chunk)
    await settle()
    assert.equal(b.received.length, 1)
  })

  test(`A disk that fails (${gate}) is a failure of this node, and nothing is acknowledged after it`, async () => {
    const outgoing = new Outgoing({ bytes: chunkBytes })
    const b = new ReceiverBench()
    const failure = new FatalError(exitCodes.ioError, 'fdatasync failed')
    if (gate === 'receive') b.shelf.gates.receive.fail(failure)
    b.receiver.offered(outgoing.offer, 0)
    await settle()
    b.shelf.gates[gate].fail(failure)
    b.acks.length = 0
    const [first, ...others] = outgoing.chunksFrom()
    assert(first !== undefined, 'There is a first chunk')
    if (gate === 'finish') b.receiver.chunk(first)
    await settle()
    b.acks.length = 0
    for (const chunk of gate === 'finish' ? others : [first, ...others]) b.receiver.chunk(chunk)
    await settle()
    assert.deepEqual([b.received, b.acks, b.failures], [[], [], [failure]])
  })

  test(`Stopped while the disk works (${gate}), it says nothing more`, async () => {
    const outgoing = new Outgoing({ bytes: 1000 })
    const b = new ReceiverBench()
    b.shelf.gates[gate].shut()
    b.receiver.offered(outgoing.offer, 0)
    await settle()
    b.receiver.chunk(outgoing.chunk(0))
    await settle()
    b.acks.length = 0
    b.receiver.stop()
    b.shelf.gates[gate].open()
    await settle()
    assert.deepEqual([b.received, b.acks, b.failures], [[], [], []])
  })
}
