// A disk that hangs, and one that is full: the node says so, gives leadership away while it can, refuses what it cannot keep, serves what it
// can, and goes on by itself when the disk does.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { appendEntries } from '../raft/entries.ts'
import {
  command,
  follower,
  forwarded,
  leader,
  matched,
  momentMs,
  type NodeKit,
  passedOn,
  started,
  testTimings,
  tickMs,
  timeoutMs,
} from './node-kit.ts'
import { watch } from './watched.ts'

const { electionTimeoutMinMs } = testTimings
const stalledAfterMs = electionTimeoutMinMs / 2

/** Whether there is room is seen at a tick. */
async function fill(kit: NodeKit, isFull = true): Promise<void> {
  kit.storage.isFull = isFull
  await kit.advance(tickMs)
}

/** Neither has room. */
async function allFull(kit: NodeKit): Promise<void> {
  const { currentTerm: term } = kit.node
  for (const from of ['n2', 'n3']) {
    await kit.receive(matched({ from, term, matchIndex: kit.lastIndex, isStorageFull: true }))
  }
  await fill(kit)
}

function storageEvents(kit: NodeKit) {
  return kit.events.flatMap((event) => (event.type === 'storage' ? [[event.isStalled, event.isFull]] : []))
}

test('A leader whose disk hangs says so after half an election timeout, and hands leadership over', async () => {
  const kit = await leader()
  kit.storage.holdsSaves = true
  watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  await kit.answer('n2', 'n3')
  await kit.advanceAnswered(stalledAfterMs - tickMs, 'n2', 'n3')
  assert.deepEqual([kit.node.status().isStorageStalled, storageEvents(kit)], [false, []])
  await kit.advanceAnswered(2 * tickMs, 'n2', 'n3')
  assert.deepEqual([kit.node.status().isStorageStalled, storageEvents(kit)], [true, [[true, false]]])
  assert.equal(kit.sent('TimeoutNow').length, 1)
})

test('If nobody takes over within another half, it leads no longer; and when the disk goes on, so does the node', async () => {
  const kit = await leader()
  kit.storage.holdsSaves = true
  const waiting = watch(kit.node.proposeCommitted(command(), timeoutMs))
  await kit.settle()
  await kit.advanceAnswered(2 * stalledAfterMs + 2 * tickMs, 'n2', 'n3')
  assert.deepEqual([kit.node.status().role, waiting.state], ['follower', 'resolved'])
  const { length } = kit.sent('RequestPreVote')
  await kit.advance(2 * testTimings.electionTimeoutMaxMs)
  assert.equal(kit.sent('RequestPreVote').length, length, 'it does not stand for election')
  kit.storage.releaseSaves()
  await kit.advance(tickMs)
  assert.deepEqual(
    [kit.node.status().isStorageStalled, storageEvents(kit)],
    [
      false,
      [
        [true, false],
        [false, false],
      ],
    ],
  )
  await kit.advance(2 * testTimings.electionTimeoutMaxMs)
  assert(kit.sent('RequestPreVote').length > length, 'It stands for election again')
})

test('A follower whose disk hangs answers heartbeats all the same, and acknowledges nothing', async () => {
  const kit = await follower()
  kit.storage.holdsSaves = true
  await kit.receive(appendEntries({ term: 1, entries: [] }))
  kit.forget()
  for (let ms = 0; ms < 2 * electionTimeoutMinMs; ms += 100) {
    await kit.receive(appendEntries({ term: 1 }))
    await kit.advance(100)
  }
  assert.equal(kit.sent('AppendEntriesResponse').length, 20)
  assert.equal(kit.node.status().role, 'follower')
})

test('A leader whose disk is full hands leadership to whoever has room, and its clients wait for that one', async () => {
  const kit = await leader()
  await kit.receive(matched({ from: 'n2', term: 1, matchIndex: 1, isStorageFull: true }))
  await fill(kit)
  assert.deepEqual([kit.node.status().isStorageFull, storageEvents(kit)], [true, [[false, true]]])
  assert.deepEqual(
    kit.sent('TimeoutNow').map(({ to }) => to),
    ['n3'],
  )
  const waiting = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  assert.equal(waiting.state, 'pending')
  await kit.receive(appendEntries({ term: 2, from: 'n3', prev: { term: 1, index: 1 } }))
  assert.equal(passedOn(kit).to, 'n3')
})

test('Where no voter has room, commands are refused, those that followers pass on, too, and reads go on', async () => {
  const kit = await leader()
  await allFull(kit)
  const refused = watch(kit.node.propose(command(), timeoutMs))
  await kit.receive(forwarded([1, 2]))
  assert.equal(refused.state, 'storage-full/not_applied')
  assert.deepEqual(
    kit.sent('ForwardRefused').map(({ to, reason, sequences }) => [to, reason, sequences]),
    [['n2', 'storage-full', [1, 2]]],
  )
  const read = watch(kit.node.readBarrier(timeoutMs))
  await kit.settle()
  await kit.answer('n2', 'n3')
  await kit.apply()
  assert.equal(read.state, 'resolved')
  assert.equal(kit.lastIndex, 1)
})

test('A refusal for want of room on the leader is told to the client of the follower', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  const reason = 'storage-full'
  await kit.receive({ type: 'ForwardRefused', from: 'n2', to: 'n1', term: 1, origin, sequences: [1], reason })
  assert.equal(waiting.state, 'storage-full/not_applied')
})

test('A follower whose own disk is full tells the leader so, and passes commands on all the same', async () => {
  const kit = await follower()
  await fill(kit)
  kit.forget()
  await kit.receive(appendEntries({ term: 1 }))
  assert.deepEqual(
    kit.sent('AppendEntriesResponse').map(({ isStorageFull }) => isStorageFull),
    [true],
  )
  watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  assert.equal(passedOn(kit).to, 'n2')
})

test('On a full disk a snapshot is taken at once, and nothing stays in the log behind it', async () => {
  const kit = await leader({ raft: { maxLogEntries: 1000 } })
  for (let i = 0; i < 5; i++) {
    watch(kit.node.propose(command(), timeoutMs))
    await kit.settle()
    await kit.answer('n2', 'n3')
  }
  await kit.apply()
  await allFull(kit)
  await kit.advance(momentMs)
  assert.deepEqual(
    [kit.storage.newestSnapshot?.lastIncluded.index, kit.storage.compacted],
    [6, [{ term: 1, index: 6 }]],
  )
})

test('A disk that is full right after a snapshot that took long gets another one without a rest', async () => {
  const kit = await leader()
  await kit.apply()
  kit.storage.shelf.gates.take.shut()
  watch(kit.node.takeSnapshot())
  await kit.advanceAnswered(3000, 'n2', 'n3')
  kit.storage.shelf.gates.take.open()
  watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  await kit.answer('n2', 'n3')
  await kit.apply()
  assert.equal(kit.storage.newestSnapshot?.lastIncluded.index, 1)
  await allFull(kit)
  assert.equal(kit.storage.newestSnapshot?.lastIncluded.index, 2)
})

test('When there is room again, commands are taken again', async () => {
  const kit = await leader()
  await allFull(kit)
  await fill(kit, false)
  assert.deepEqual(
    [kit.node.status().isStorageFull, storageEvents(kit)],
    [
      false,
      [
        [false, true],
        [false, false],
      ],
    ],
  )
  const committed = watch(kit.node.proposeCommitted(command(), timeoutMs))
  await kit.settle()
  await kit.answer('n2', 'n3')
  assert.equal(committed.state, 'resolved')
})

test('Not even a full disk takes from the log what an application that watches needs, not even right after a start', async () => {
  const kit = await started({
    snapshot: { index: 10, term: 1 },
    base: { index: 0, term: 0 },
    log: new Array(12).fill(1),
    watched: true,
    raft: { maxLogEntries: 1000 },
  })
  assert(kit.watcher !== null, 'There is a watcher')
  kit.watcher.appliedIndex = 4
  await fill(kit)
  assert.deepEqual(kit.storage.compacted, [{ term: 1, index: 4 }])
  assert.match(kit.node.status().compactionBlocked ?? '', /observes has taken nothing since 4/)
})
