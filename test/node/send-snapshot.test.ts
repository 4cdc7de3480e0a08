// A leader whose log no longer reaches back to a follower: it sends its snapshot, keeps the log behind that meanwhile, and stops when the
// follower has it, or when it is no longer for this node to send.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes, FatalError } from '../../src/errors.ts'
import type { SnapshotAck, SnapshotFile } from '../../src/node/ports.ts'
import { appendEntries, rejected } from '../raft/entries.ts'
import { command, type KitSetup, leader, matched, type NodeKit, testTimings, timeoutMs } from './node-kit.ts'
import { headerAt } from './transfer-kit.ts'
import { watch } from './watched.ts'

/** Of term 2, with n2, and a log that begins behind a snapshot through entry 10. */
async function compacted(setup: KitSetup = {}): Promise<NodeKit> {
  const kit = await leader({ snapshot: { index: 10, term: 1 }, ...setup }, ['n2'])
  kit.applier.appliedIndex = 10
  return kit
}

/** The follower's log is empty. */
async function lags(kit: NodeKit, id: string): Promise<void> {
  await kit.receive(rejected(kit.node.currentTerm, 10, { term: 0, index: 0 }, id))
}

async function acknowledge(kit: NodeKit, id: string, offset: number): Promise<void> {
  const { lastIncluded } = kit.storage.newestSnapshot as SnapshotFile
  const term = kit.node.currentTerm
  const ack: SnapshotAck = { type: 'SnapshotAck', from: id, to: 'n1', term, lastIncluded, offset }
  await kit.receive(ack)
}

test('A follower before the beginning of the log is sent the snapshot, and then the log behind it', async () => {
  const kit = await compacted()
  const file = kit.storage.newestSnapshot as SnapshotFile
  await lags(kit, 'n3')
  assert.deepEqual(
    kit.sent('SnapshotOffer').map(({ to, term, file }) => [to, term, file]),
    [['n3', 2, file]],
  )
  await acknowledge(kit, 'n3', 0)
  const chunks = kit.sent('SnapshotChunk')
  assert.deepEqual(Buffer.concat(chunks.map(({ bytes }) => bytes)), kit.storage.shelf.bytes)
  await acknowledge(kit, 'n3', file.sizeBytes)
  assert.deepEqual(
    kit.events.filter(({ type }) => type === 'snapshotSent'),
    [{ type: 'snapshotSent', to: 'n3', file, durationMs: 0 }],
  )
  kit.forget()
  await kit.receive(matched({ from: 'n3', term: 2, matchIndex: 10 }))
  const [sent] = kit.sent('AppendEntries')
  assert.deepEqual(
    [sent?.to, sent?.prev, sent?.entries.map(({ index }) => index)],
    ['n3', { term: 1, index: 10 }, [11]],
  )
  assert.deepEqual([kit.storage.shelf.opened, kit.storage.shelf.closedTwice], [0, 0])
  await kit.advance(5 * testTimings.electionTimeoutMinMs)
  assert.deepEqual(kit.sent('SnapshotOffer'), [])
})

test('Heartbeats and commits go on while it travels', async () => {
  const kit = await compacted()
  await lags(kit, 'n3')
  const committed = watch(kit.node.proposeCommitted(command(), timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  assert.equal(committed.state, 'resolved')
  kit.forget()
  await kit.advance(testTimings.heartbeatIntervalMs)
  assert.deepEqual(new Set(kit.sent('AppendEntries').map(({ to }) => to)), new Set(['n2', 'n3']))
})

test('Several followers get it at the same time, each from where it is', async () => {
  const kit = await compacted({ learners: ['n4', 'n5'] })
  for (const id of ['n3', 'n4', 'n5']) await lags(kit, id)
  assert.deepEqual(
    kit.sent('SnapshotOffer').map(({ to }) => to),
    ['n3', 'n4', 'n5'],
  )
  await acknowledge(kit, 'n4', 10)
  assert.deepEqual(
    kit.sent('SnapshotChunk').map(({ to, offset }) => [to, offset]),
    [['n4', 10]],
  )
  await kit.receive(matched({ from: 'n4', term: 2, matchIndex: 10 }))
  assert.equal(kit.storage.shelf.opened, 2)
})

test('A new connection to the follower gets a new offer at once', async () => {
  const kit = await compacted()
  await lags(kit, 'n3')
  kit.forget()
  kit.transport.events?.peerUp('n3')
  assert.equal(kit.sent('SnapshotOffer').length, 1)
})

test('A deposed leader sends nothing of it any more, and closes it', async () => {
  const kit = await compacted()
  await lags(kit, 'n3')
  await kit.receive(appendEntries({ term: 3, prev: { term: 2, index: 11 } }))
  kit.forget()
  await acknowledge(kit, 'n3', 0)
  kit.transport.events?.peerUp('n3')
  await kit.advance(testTimings.electionTimeoutMinMs)
  assert.deepEqual([kit.sent('SnapshotOffer'), kit.sent('SnapshotChunk')], [[], []])
  assert.deepEqual([kit.storage.shelf.opened, kit.storage.shelf.closedTwice], [0, 0])
})

test('A node that halts or is stopped sends nothing of it any more, and closes it', async () => {
  for (const end of [
    (kit: NodeKit) => kit.node.stop(0),
    (kit: NodeKit) => kit.receive(appendEntries({ term: 2, from: 'n2' })),
  ]) {
    const kit = await compacted()
    await lags(kit, 'n3')
    await end(kit)
    kit.forget()
    await acknowledge(kit, 'n3', 0)
    kit.transport.events?.peerUp('n3')
    await kit.advance(60_000)
    assert.deepEqual([kit.transport.sent, kit.clock.timers], [[], 0])
    assert.deepEqual([kit.storage.shelf.opened, kit.storage.shelf.closedTwice], [0, 0])
  }
})

for (const { name, meanwhile } of [
  { name: 'the node is stopped', meanwhile: (kit: NodeKit) => kit.node.stop(0) },
  {
    name: 'the node halts',
    meanwhile: (kit: NodeKit) => kit.receive(appendEntries({ term: 2, from: 'n2' })),
  },
  {
    name: 'another node leads',
    meanwhile: (kit: NodeKit) => kit.receive(appendEntries({ term: 3, prev: { term: 2, index: 11 } })),
  },
  {
    name: 'the follower turns out to have it',
    meanwhile: (kit: NodeKit) => kit.receive(matched({ from: 'n3', term: 2, matchIndex: 11 })),
  },
]) {
  test(`When ${name} while the snapshot is being opened it is closed, and not offered`, async () => {
    const kit = await compacted()
    kit.storage.shelf.gates.open.shut()
    await lags(kit, 'n3')
    await meanwhile(kit)
    kit.storage.shelf.gates.open.open()
    await kit.advance(60_000)
    assert.deepEqual(kit.sent('SnapshotOffer'), [])
    assert.deepEqual([kit.storage.shelf.opened, kit.storage.shelf.closedTwice], [0, 0])
  })
}

test('A follower that is not heard of any more is sent it no further, and gets it anew when it is back', async () => {
  const kit = await compacted()
  await lags(kit, 'n3')
  await kit.advanceAnswered(11 * testTimings.electionTimeoutMaxMs, 'n2')
  assert.equal(kit.storage.shelf.opened, 0)
  kit.forget()
  await lags(kit, 'n3')
  assert.deepEqual([kit.sent('SnapshotOffer').length, kit.storage.shelf.opened], [1, 1])
})

test('While it is being opened it is not opened once more', async () => {
  const kit = await compacted()
  kit.storage.shelf.gates.open.shut()
  await lags(kit, 'n3')
  // The leader gives the follower up for lost, and then hears of it again.
  await kit.advanceAnswered(11 * testTimings.electionTimeoutMaxMs, 'n2')
  await lags(kit, 'n3')
  assert.deepEqual(
    kit.journal.filter((line) => line.startsWith('open')),
    ['open snapshot 10'],
  )
  kit.storage.shelf.gates.open.open()
  await kit.settle()
  assert.deepEqual([kit.sent('SnapshotOffer').length, kit.storage.shelf.opened], [1, 1])
})

test('An older snapshot than the one asked for would be of no use: the follower is asked anew with the next heartbeat', async () => {
  const kit = await compacted()
  kit.storage.shelf.put(headerAt(5))
  await lags(kit, 'n3')
  assert.deepEqual([kit.sent('SnapshotOffer'), kit.storage.shelf.opened], [[], 0])
  kit.storage.shelf.put(headerAt(10))
  await kit.advance(testTimings.heartbeatIntervalMs)
  await lags(kit, 'n3')
  assert.equal(kit.sent('SnapshotOffer').length, 1)
})

test('A snapshot that cannot be opened, or is damaged when it is read, halts the node', async () => {
  for (const gate of ['open', 'read'] as const) {
    const kit = await compacted()
    kit.storage.shelf.gates[gate].fail(new FatalError(exitCodes.dataError, 'The snapshot is damaged at 4096'))
    await lags(kit, 'n3')
    await acknowledge(kit, 'n3', 0)
    assert.deepEqual(
      kit.fatal.map(({ exitCode, message }) => [exitCode, message]),
      [[exitCodes.dataError, 'The snapshot is damaged at 4096']],
    )
    assert.deepEqual([kit.storage.shelf.opened, kit.clock.timers], [0, 0])
  }
})

test('The log behind the snapshot is kept for the follower until it has it, though a newer one is taken', async () => {
  const kit = await compacted()
  await lags(kit, 'n3')
  for (let i = 0; i < 4; i++) {
    watch(kit.node.propose(command(), timeoutMs))
    await kit.settle()
    await kit.answer('n2')
  }
  await kit.apply()
  await kit.node.takeSnapshot()
  await kit.advance(30)
  assert.deepEqual([kit.node.status().snapshot?.index, kit.storage.compacted], [15, []])
  await kit.receive(matched({ from: 'n3', term: 2, matchIndex: 10 }))
  const sent = kit.sent('AppendEntries').filter(({ to, entries }) => to === 'n3' && entries.length > 0)
  assert.deepEqual(sent.at(-1)?.prev, { term: 1, index: 10 })
  await kit.answer('n2', 'n3')
  await kit.advance(testTimings.heartbeatIntervalMs)
  assert.deepEqual(kit.storage.compacted.at(-1), { term: 2, index: 15 })
})
