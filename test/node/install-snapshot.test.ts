// A follower that is too far behind for the log: it takes in the leader's snapshot, goes on from the log behind it, and promises nothing before
// the snapshot is its own.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes, FatalError, StorageFullError } from '../../src/errors.ts'
import type { SnapshotFile } from '../../src/node/ports.ts'
import { chunkBytes } from '../../src/node/snapshot-sender.ts'
import { appendEntries, logOf } from '../raft/entries.ts'
import { command, entryOf, follower, forwarded, type NodeKit, passedOn, started, timeoutMs } from './node-kit.ts'
import { Outgoing, settle } from './transfer-kit.ts'
import { watch } from './watched.ts'

/** All of it, one after the other. */
async function send(kit: NodeKit, outgoing: Outgoing): Promise<void> {
  await kit.receive(outgoing.offer)
  const from = kit.sent('SnapshotAck').at(-1)?.offset ?? 0
  for (const chunk of outgoing.chunksFrom(from)) await kit.receive(chunk)
}

function acknowledged(kit: NodeKit): (number | false)[] {
  return kit.sent('AppendEntriesResponse').map((sent) => sent.success && sent.matchIndex)
}

test('A follower gets the snapshot in place of the entries, and goes on from the log behind it', async () => {
  const kit = await follower({ watched: true })
  const outgoing = new Outgoing({ index: 10 })
  await send(kit, outgoing)
  assert.deepEqual(acknowledged(kit), [10])
  assert.deepEqual(kit.storage.shelf.bytes, outgoing.bytes)
  const { snapshot, firstIndex, lastIndex, commitIndex, durableIndex } = kit.node.status()
  assert.deepEqual(snapshot, { index: 10, term: 1, sizeBytes: outgoing.file.sizeBytes })
  assert.deepEqual([firstIndex, lastIndex, commitIndex, durableIndex], [11, 10, 10, 10])
  assert.deepEqual([kit.applier.commitIndex, kit.watcher?.commitIndex], [10, 10])
  assert.deepEqual(
    kit.events.filter(({ type }) => type === 'snapshotInstalled'),
    [{ type: 'snapshotInstalled', from: 'n2', file: outgoing.file }],
  )
  const prev = { term: 1, index: 10 }
  await kit.receive(appendEntries({ term: 1, prev, entries: logOf([1, 1], 11), leaderCommit: 12 }))
  assert.deepEqual(acknowledged(kit), [10, 12])
  assert.equal(kit.applier.commitIndex, 12)
  const entries = await kit.applier.entries?.read(11, 12, 1000)
  assert.deepEqual(
    entries?.map(({ index }) => index),
    [11, 12],
  )
})

test('Until the snapshot is durable nothing is acknowledged, and the state machine does not get an older one', async () => {
  const kit = await follower()
  kit.storage.holdsSaves = true
  await send(kit, new Outgoing({ index: 10 }))
  assert.equal(kit.storage.saves.at(-1)?.snapshot?.lastIncluded.index, 10)
  assert.equal(kit.applier.entries?.firstIndex, 11)
  const opened = watch(kit.applier.entries?.openSnapshot() ?? Promise.resolve(null))
  await settle()
  assert.deepEqual([opened.state, acknowledged(kit)], ['pending', []])
  await kit.completeSave()
  await settle()
  assert.deepEqual([opened.value?.file.lastIncluded.index, acknowledged(kit)], [10, [10]])
})

test('A state machine that waits for one snapshot gets the next one that is installed meanwhile, not one that the log does not reach back to', async () => {
  const kit = await follower()
  const { shelf } = kit.storage
  shelf.gates.open.shut()
  await send(kit, new Outgoing({ index: 10 }))
  const opened = watch(kit.applier.entries?.openSnapshot() ?? Promise.resolve(null))
  kit.storage.holdsSaves = true
  await send(kit, new Outgoing({ index: 20, seed: 2 }))
  assert.equal(kit.applier.entries?.firstIndex, 21)
  shelf.gates.open.open()
  await settle()
  await kit.settle()
  assert.equal(opened.state, 'pending')
  await kit.completeSave()
  await settle()
  assert.equal(opened.value?.file.lastIncluded.index, 20)
})

test('Reads wait for what the snapshot brought to be restored', async () => {
  const kit = await follower()
  const wait = watch(kit.node.waitApplied(10, timeoutMs))
  await send(kit, new Outgoing({ index: 10 }))
  assert.equal(wait.state, 'pending')
  kit.applier.appliedIndex = 10
  kit.applier.events?.restored(10)
  await settle()
  assert.equal(wait.state, 'resolved')
})

test('Its clients learn that nothing is known of what was under way, what was not handed over goes on, and none is handed over twice', async () => {
  const kit = await follower()
  const handed = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const { origin, proposals } = passedOn(kit)
  kit.transport.connected.delete('n2')
  const queued = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  await send(kit, new Outgoing({ index: 10 }))
  assert.deepEqual([handed.state, queued.state], ['leadership-lost/unknown', 'pending'])
  kit.forget()
  // The leader did not append it, as it turns out: too late.
  const sequences = proposals.map(({ sequence }) => sequence)
  await kit.receive({ type: 'ForwardRefused', from: 'n2', to: 'n1', term: 1, origin, sequences, reason: 'not-leader' })
  kit.transport.connected.add('n2')
  await kit.advance(60)
  assert.deepEqual(
    passedOn(kit).proposals.map(({ sequence }) => sequence),
    [2],
  )
  const entries = [entryOf(1, 11, origin, 2)]
  await kit.receive(appendEntries({ term: 1, prev: { term: 1, index: 10 }, entries, leaderCommit: 11 }))
  kit.applier.appliedIndex = 11
  kit.applier.events?.applied(11, entries, ['done'])
  await settle()
  assert.equal(queued.value?.result, 'done')
})

test('What was committed here before the state machine was restored over it has no result, and its client learns where it stands', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  await kit.receive(appendEntries({ term: 1, entries: [entryOf(1, 1, origin, 1)], leaderCommit: 1 }))
  await send(kit, new Outgoing({ index: 10 }))
  assert.equal(waiting.state, 'pending')
  kit.applier.appliedIndex = 10
  kit.applier.events?.restored(10)
  await settle()
  assert.equal(waiting.state, 'result-unknown/committed')
})

test('A leader that is deposed in the midst is listened to no more, and the next one goes on with the same file where that was', async () => {
  const kit = await follower()
  const outgoing = new Outgoing({ index: 10 })
  await kit.receive(outgoing.offer, outgoing.chunk(0))
  await kit.receive(outgoing.chunk(0))
  await kit.receive(appendEntries({ term: 2, from: 'n3' }))
  kit.forget()
  await kit.receive(outgoing.chunk(chunkBytes), outgoing.offer)
  assert.deepEqual(kit.sent('SnapshotAck'), [])
  const next = new Outgoing({ index: 10, from: 'n3', term: 2 })
  await kit.receive(next.offer)
  assert.deepEqual(
    kit.sent('SnapshotAck').map(({ to, term, offset }) => [to, term, offset]),
    [['n3', 2, chunkBytes]],
  )
  for (const chunk of next.chunksFrom(chunkBytes)) await kit.receive(chunk)
  assert.deepEqual(acknowledged(kit), [10])
  assert.deepEqual(kit.storage.shelf.bytes, outgoing.bytes)
})

test('What a leader sent in an earlier term of its own is not taken in a later one', async () => {
  const kit = await follower()
  const outgoing = new Outgoing({ index: 10 })
  await kit.receive(appendEntries({ term: 3, from: 'n2' }))
  await send(kit, outgoing)
  assert.deepEqual([kit.sent('SnapshotAck'), kit.storage.shelf.received.length], [[], 0])
})

test('A snapshot that is whole only when its leader is none any more is not installed; that of the next one is', async () => {
  const kit = await follower()
  kit.storage.shelf.gates.finish.shut()
  await send(kit, new Outgoing({ index: 10 }))
  await kit.receive(appendEntries({ term: 2, from: 'n3' }))
  kit.storage.shelf.gates.finish.open()
  await kit.settle()
  assert.deepEqual([kit.storage.shelf.newestSnapshot, kit.lastIndex], [null, 0])
  const next = new Outgoing({ index: 20, seed: 2, from: 'n3', term: 2 })
  await send(kit, next)
  assert.deepEqual(acknowledged(kit).at(-1), 20)
  assert.deepEqual([kit.storage.shelf.bytes, kit.fatal], [next.bytes, []])
})

test('A snapshot that the log has overtaken by the time it is whole is not installed, and a later one is taken all the same', async () => {
  const kit = await follower()
  kit.storage.shelf.gates.finish.shut()
  await send(kit, new Outgoing({ index: 10 }))
  await kit.receive(appendEntries({ term: 1, entries: logOf(new Array(12).fill(1)), leaderCommit: 12 }))
  kit.storage.shelf.gates.finish.open()
  await kit.settle()
  assert.deepEqual([kit.storage.shelf.newestSnapshot, kit.node.status().firstIndex], [null, 1])
  await send(kit, new Outgoing({ index: 20, seed: 2 }))
  assert.equal(kit.storage.shelf.newestSnapshot?.lastIncluded.index, 20)
})

test('A snapshot of what the log holds already proves that it is committed, and replaces nothing', async () => {
  const kit = await follower()
  await kit.receive(appendEntries({ term: 1, entries: logOf(new Array(12).fill(1)) }))
  assert.equal(kit.applier.commitIndex, 0)
  await send(kit, new Outgoing({ index: 10 }))
  const { firstIndex, lastIndex, commitIndex } = kit.node.status()
  assert.deepEqual([firstIndex, lastIndex, commitIndex, kit.applier.commitIndex], [1, 12, 10, 10])
  await send(kit, new Outgoing({ index: 20, seed: 2 }))
  assert.equal(kit.storage.shelf.newestSnapshot?.lastIncluded.index, 20)
})

test('A log in conflict with the snapshot is replaced by it', async () => {
  const kit = await follower({ log: new Array(15).fill(1) }, 3)
  await kit.receive(appendEntries({ term: 3 }))
  const outgoing = new Outgoing({ index: 10, term: 3, lastTerm: 2 })
  await send(kit, outgoing)
  assert.deepEqual([kit.lastIndex, acknowledged(kit).at(-1)], [10, 10])
  await kit.receive(appendEntries({ term: 3, prev: { term: 2, index: 10 }, entries: logOf([3], 11), leaderCommit: 11 }))
  assert.equal(kit.applier.commitIndex, 11)
})

test('One snapshot after the other is installed when the follower falls behind again', async () => {
  const kit = await follower()
  for (const index of [10, 20, 30]) await send(kit, new Outgoing({ index, seed: index }))
  assert.deepEqual(acknowledged(kit), [10, 20, 30])
  assert.equal(kit.fatal.length, 0)
})

test('Without room the snapshot waits, the node goes on, and it is taken when there is room', async () => {
  const kit = await follower()
  const outgoing = new Outgoing({ index: 10 })
  kit.storage.shelf.gates.append.fail(new StorageFullError('The disk is full'))
  await send(kit, outgoing)
  assert.deepEqual(
    kit.events.filter(({ type }) => type === 'snapshotSkipped'),
    [{ type: 'snapshotSkipped', reason: 'The disk is full' }],
  )
  await kit.receive(appendEntries({ term: 1, entries: logOf([1]) }))
  assert.deepEqual([acknowledged(kit), kit.fatal], [[1], []])
  await send(kit, outgoing)
  assert.equal(kit.storage.shelf.newestSnapshot?.lastIncluded.index, 10)
})

test('A disk that fails under the snapshot halts the node, and nothing is said after it', async () => {
  const kit = await follower()
  const outgoing = new Outgoing({ index: 10 })
  await kit.receive(outgoing.offer)
  kit.storage.shelf.gates.append.fail(new FatalError(exitCodes.ioError, 'write failed'))
  kit.forget()
  await kit.receive(outgoing.chunk(0))
  await kit.receive(outgoing.offer, forwarded([1]))
  assert.deepEqual(
    kit.fatal.map(({ exitCode }) => exitCode),
    [exitCodes.ioError],
  )
  assert.deepEqual(kit.transport.sent, [])
})

for (const gate of ['receive', 'append', 'finish'] as const) {
  test(`A node that is stopped while the disk takes a snapshot in (${gate}) says nothing of it afterwards`, async () => {
    const kit = await follower()
    kit.storage.shelf.gates[gate].shut()
    const outgoing = new Outgoing({ index: 10, bytes: 1000 })
    await kit.receive(outgoing.offer)
    await kit.receive(outgoing.chunk(0))
    await kit.node.stop(1000)
    kit.forget()
    kit.storage.shelf.gates[gate].open()
    await kit.advance(60_000)
    assert.deepEqual([kit.journal, kit.transport.sent, kit.events, kit.fatal], [[], [], [], []])
    assert.equal(kit.clock.timers, 0)
  })
}

test('A node that is stopped while a snapshot is being installed lets go of a state machine that waits for it', async () => {
  const kit = await follower()
  kit.storage.holdsSaves = true
  await send(kit, new Outgoing({ index: 10 }))
  const opened = watch(kit.applier.entries?.openSnapshot() ?? Promise.reject(new Error('Not started')))
  await kit.node.stop(1000)
  await settle()
  assert.deepEqual([opened.state, opened.value], ['resolved', null])
  kit.storage.releaseSaves()
  await settle()
  assert.deepEqual([acknowledged(kit), kit.storage.shelf.opened, kit.fatal], [[], 0, []])
})

test('A node that starts from a snapshot knows at once that what it holds is committed', async () => {
  const kit = await started({ snapshot: { index: 10, term: 1 }, log: [1, 2], watched: true })
  assert.deepEqual(kit.journal, ['open snapshot 10', 'commit 10', 'watcher commit 10'])
  assert.equal(kit.applier.entries?.firstIndex, 11)
  const opened = await kit.applier.entries?.openSnapshot()
  assert.equal(opened?.file.lastIncluded.index, 10)
  assert.equal(await kit.watcher?.entries?.openSnapshot(), null, 'it is of another state machine')
  const { firstIndex, lastIndex, commitIndex, snapshot } = kit.node.status()
  assert.deepEqual([firstIndex, lastIndex, commitIndex], [11, 12, 10])
  assert.equal(snapshot?.index, (kit.storage.newestSnapshot as SnapshotFile).lastIncluded.index)
})
