// One snapshot on its way to one follower: what is sent when, how much of it, and that its file is closed once, whatever happens.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { chunkBytes, windowBytes } from '../../src/node/snapshot-sender.ts'
import { bodyOf, headerAt, patienceMs, repeatAfterMs, SenderBench, settle } from './transfer-kit.ts'

/** A file of that many chunks, the last one not full. */
function bench(chunks: number, options: ConstructorParameters<typeof SenderBench>[0] = {}): SenderBench {
  const bench = new SenderBench(options)
  bench.shelf.put(headerAt(10), bodyOf((chunks - 1) * chunkBytes + 1000))
  return bench
}

test('It is offered first, and nothing more is sent before the answer', async () => {
  const b = bench(3)
  await b.begin()
  await settle()
  assert.deepEqual(b.wire, [{ type: 'SnapshotOffer', from: 'n2', to: 'n1', term: 1, file: b.shelf.newestSnapshot }])
})

test('It is offered again, and again, until it is answered', async () => {
  const b = bench(3)
  const sender = await b.begin()
  await b.advance(3 * repeatAfterMs)
  assert.equal(b.offers.length, 4)
  sender.acknowledged(b.ack(0))
  await settle()
  assert.equal(b.chunks.length, 3)
})

test('The chunks are the file, in order, and each is as large as it may be', async () => {
  const b = bench(4)
  const sender = await b.begin()
  sender.acknowledged(b.ack(0))
  await settle()
  assert.deepEqual(
    b.chunks.map(({ bytes }) => bytes.length),
    [chunkBytes, chunkBytes, chunkBytes, b.shelf.bytes.length - 3 * chunkBytes],
  )
  assert.deepEqual(Buffer.concat(b.chunks.map(({ bytes }) => bytes)), b.shelf.bytes)
})

test('The chunks may be smaller, and the window is with them', async () => {
  const b = bench(1, { chunkBytes: 100 })
  const sender = await b.begin()
  sender.acknowledged(b.ack(0))
  await settle()
  assert.equal(b.chunks.length, windowBytes / chunkBytes)
  assert.ok(b.chunks.every(({ bytes }) => bytes.length === 100))
})

test('No more is under way than the window lets, and each acknowledgement lets more follow', async () => {
  const b = bench(30)
  const sender = await b.begin()
  sender.acknowledged(b.ack(0))
  await settle()
  assert.equal(b.chunks.length * chunkBytes, windowBytes)
  sender.acknowledged(b.ack(2 * chunkBytes))
  await settle()
  assert.equal(b.chunks.length * chunkBytes, windowBytes + 2 * chunkBytes)
  // An older one, or the same again, says nothing new.
  sender.acknowledged(b.ack(chunkBytes))
  sender.acknowledged(b.ack(2 * chunkBytes))
  await settle()
  assert.equal(b.chunks.length * chunkBytes, windowBytes + 2 * chunkBytes)
})

test('However fast it is acknowledged, no more bytes leave than the rate allows', async () => {
  const bytesPerSecond = 10 * chunkBytes
  const b = bench(40, { bytesPerSecond })
  const sender = await b.begin()
  sender.acknowledged(b.ack(0))
  for (let ms = 0; ms < 3000; ms += 10) {
    await b.advance(10)
    const sent = b.chunks.reduce((sum, { bytes }) => sum + bytes.length, 0)
    // One chunk leaves before its time is paid for.
    const allowed = (bytesPerSecond * b.clock.nowMs) / 1000 + chunkBytes
    assert(sent <= allowed, `${sent} bytes after ${b.clock.nowMs} ms, ${allowed} allowed`)
    sender.acknowledged(b.ack(sent))
  }
  assert(b.chunks.length >= 30, `${b.chunks.length} chunks in three seconds, ten a second allowed`)
})

test('A new connection gets a new offer at once, and it goes on where the answer says', async () => {
  const b = bench(6)
  const sender = await b.begin()
  sender.acknowledged(b.ack(0))
  await settle()
  sender.acknowledged(b.ack(2 * chunkBytes))
  await settle()
  b.wire.length = 0
  sender.offer()
  await settle()
  assert.deepEqual([b.offers.length, b.chunks.length], [1, 0])
  sender.acknowledged(b.ack(4 * chunkBytes))
  await settle()
  assert.deepEqual(
    b.chunks.map(({ offset }) => offset / chunkBytes),
    [4, 5],
  )
})

test('A follower whose copy turned out damaged says so by an answer of nothing, and gets all of it again', async () => {
  const b = bench(3)
  const sender = await b.begin()
  sender.acknowledged(b.ack(0))
  await settle()
  sender.acknowledged(b.ack(2 * chunkBytes))
  await b.advance(repeatAfterMs)
  b.wire.length = 0
  sender.acknowledged(b.ack(0))
  await settle()
  assert.deepEqual(
    b.chunks.map(({ offset }) => offset / chunkBytes),
    [0, 1, 2],
  )
})

test('On a slow link an offer that is repeated does not send the same again and again', async () => {
  const b = bench(3)
  const sender = await b.begin()
  // Each offer is answered at once; the first chunk is on its way for ten times as long as an offer waits for its answer.
  for (let passed = 0; passed < 10; passed += 0.5) {
    if (b.wire.at(-1)?.type === 'SnapshotOffer') sender.acknowledged(b.ack(0))
    await b.advance(repeatAfterMs / 2)
  }
  assert.ok(b.chunks.filter(({ offset }) => offset === 0).length <= 4)
  sender.acknowledged(b.ack(chunkBytes))
  const offers = b.offers.length
  await b.advance(4 * repeatAfterMs)
  assert.equal(b.offers.length, offers, 'the next one will not be any faster')
})

test('An offer that an older acknowledgement seems to answer does not send again what the follower has by then', async () => {
  const b = bench(12)
  const sender = await b.begin()
  sender.acknowledged(b.ack(0))
  await settle()
  sender.offer()
  b.wire.length = 0
  // Under way before the offer came; the answer proper follows.
  b.shelf.gates.read.shut()
  sender.acknowledged(b.ack(chunkBytes))
  sender.acknowledged(b.ack(8 * chunkBytes))
  b.shelf.gates.read.open()
  await settle()
  assert.deepEqual(
    b.chunks.map(({ offset }) => offset / chunkBytes),
    [8, 9, 10, 11],
  )
})

test('A follower that needs nothing of it is sent nothing of it, also when it says so late', async () => {
  const b = bench(30)
  const sender = await b.begin()
  const { length } = b.shelf.bytes
  sender.acknowledged(b.ack(0))
  await settle()
  b.wire.length = 0
  sender.acknowledged(b.ack(length))
  await settle()
  assert.deepEqual([b.chunks.length, b.sentAfterMs.length], [0, 1])
})

test('What is being read when it is offered anew is not sent: the answer may be to go on elsewhere', async () => {
  const b = bench(4)
  b.shelf.gates.read.shut()
  const sender = await b.begin()
  sender.acknowledged(b.ack(0))
  await settle()
  sender.offer()
  sender.acknowledged(b.ack(3 * chunkBytes))
  b.shelf.gates.read.open()
  await settle()
  assert.deepEqual(
    b.chunks.map(({ offset }) => offset / chunkBytes),
    [3],
  )
})

test('It is told once that the follower has all of it, with the time that it took', async () => {
  const b = bench(2)
  const sender = await b.begin()
  const { length } = b.shelf.bytes
  sender.acknowledged(b.ack(0))
  await b.advance(400)
  sender.acknowledged(b.ack(length))
  await b.advance(repeatAfterMs)
  sender.acknowledged(b.ack(length))
  assert.deepEqual(b.sentAfterMs, [400])
})

for (const { name, changed } of [
  { name: 'of another term', changed: { term: 2 } },
  { name: 'of a snapshot through another entry', changed: { lastIncluded: { index: 11, term: 1 } } },
  { name: 'of a snapshot through an entry of another term', changed: { lastIncluded: { index: 10, term: 2 } } },
  { name: 'of more than there is', changed: { offset: 1e9 } },
]) {
  test(`An acknowledgement ${name} is none`, async () => {
    const b = bench(3)
    const sender = await b.begin()
    sender.acknowledged(b.ack(0, changed))
    await settle()
    assert.deepEqual([b.chunks.length, b.sentAfterMs.length], [0, 0])
  })
}

for (const { name, prepare } of [
  { name: 'before an answer', prepare: async () => {} },
  {
    name: 'while it reads',
    prepare: async (b: SenderBench, acknowledge: (offset: number) => void) => {
      b.shelf.gates.read.shut()
      acknowledge(0)
      await settle()
      assert.equal(b.shelf.gates.read.waiting, 1)
    },
  },
  {
    name: 'while it reads, and the read fails then',
    prepare: async (b: SenderBench, acknowledge: (offset: number) => void) => {
      b.shelf.gates.read.shut()
      acknowledge(0)
      await settle()
      b.shelf.gates.read.fail(new Error('closed'))
    },
  },
  {
    name: 'while the rate holds it back',
    prepare: async (_: SenderBench, acknowledge: (offset: number) => void) => {
      acknowledge(0)
      await settle()
    },
  },
  {
    name: 'when all is acknowledged',
    prepare: async (b: SenderBench, acknowledge: (offset: number) => void) => {
      acknowledge(b.shelf.bytes.length)
      await settle()
    },
  },
]) {
  test(`Stopped ${name}, it closes the file once, keeps no timer, and sends nothing more`, async () => {
    const b = bench(3, { bytesPerSecond: 1000 })
    const sender = await b.begin()
    await prepare(b, (offset) => sender.acknowledged(b.ack(offset)))
    const sent = b.wire.length
    sender.stop()
    sender.stop()
    sender.offer()
    sender.acknowledged(b.ack(0))
    assert.equal(b.clock.timers, 0)
    b.shelf.gates.read.open()
    await b.advance(60_000)
    assert.deepEqual([b.shelf.opened, b.shelf.closedTwice], [0, 0])
    assert.deepEqual([b.wire.length, b.failures, b.clock.timers], [sent, [], 0])
  })
}

test('A read that fails is a failure of this node, and the file is closed once when that stops the sender', async () => {
  const b = bench(3)
  const rot = new FatalError(exitCodes.dataError, 'The snapshot is damaged')
  b.shelf.gates.read.fail(rot)
  const sender = await b.begin()
  sender.acknowledged(b.ack(0))
  await settle()
  assert.deepEqual(b.failures, [rot])
  sender.stop()
  await settle()
  assert.deepEqual([b.shelf.opened, b.shelf.closedTwice], [0, 0])
})

test('A file that ends too early is damaged', async () => {
  const b = bench(2)
  const snapshot = await b.shelf.openSnapshot()
  assert(snapshot !== null, 'There is a snapshot')
  b.shelf.openSnapshot = async () => ({ ...snapshot, read: async () => 7 })
  const sender = await b.begin()
  sender.acknowledged(b.ack(0))
  await settle()
  assert.deepEqual(
    b.failures.map((error) => error instanceof FatalError && error.exitCode),
    [exitCodes.dataError],
  )
  assert.deepEqual(b.chunks, [])
})

test('A follower that answers and takes nothing is given up after a while; each acknowledgement that brings news begins that while anew', async () => {
  const b = bench(30)
  const sender = await b.begin()
  const answerFor = async (ms: number, offset: number) => {
    for (let passedMs = 0; passedMs < ms; passedMs += repeatAfterMs / 2) {
      sender.acknowledged(b.ack(offset))
      await b.advance(repeatAfterMs / 2)
    }
  }
  await answerFor(patienceMs / 2, 0)
  await answerFor(patienceMs / 2, chunkBytes)
  await answerFor(patienceMs / 2, 2 * chunkBytes)
  assert.equal(b.stuck, 0)
  await answerFor(patienceMs, 2 * chunkBytes)
  assert.equal(b.stuck, 1)
})
