// The loop: everything that came in first, then what is to be done; what leaves at once, what waits for the disk, and what waits for its turn.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { appendEntries, logOf, requestPreVote, requestVote } from '../raft/entries.ts'
import { command, follower, leader, NodeKit, started, testTimings, timeoutMs } from './node-kit.ts'
import { watch } from './watched.ts'

test('A vote leaves after the save that it rests on, and not before', async () => {
  const kit = await started()
  kit.storage.holdsSaves = true
  await kit.receive(requestVote({ term: 3 }))
  assert.deepEqual(kit.journal, ['save 1'])
  assert.deepEqual(kit.storage.saves[0]?.hardState, { currentTerm: 3, votedFor: 'n2' })
  await kit.completeSave()
  assert.deepEqual(kit.journal, ['save 1', 'send RequestVoteResponse to n2'])
})

test('Promises leave in the order in which they were made, each after its own save', async () => {
  const kit = await follower()
  kit.storage.holdsSaves = true
  const entries = logOf([1, 1, 1])
  for (const [i, prev] of [
    { term: 0, index: 0 },
    { term: 1, index: 1 },
    { term: 1, index: 2 },
  ].entries()) {
    await kit.receive(appendEntries({ term: 1, prev, entries: entries.slice(i, i + 1) }))
  }
  assert.equal(kit.sent('AppendEntriesResponse').length, 0)
  const acknowledged = () => kit.sent('AppendEntriesResponse').map((sent) => sent.success && sent.matchIndex)
  await kit.completeSave()
  assert.deepEqual(acknowledged(), [1])
  await kit.completeSave()
  assert.deepEqual(acknowledged(), [1, 2])
  await kit.completeSave()
  assert.deepEqual(acknowledged(), [1, 2, 3])
})

test('A promise that needs no save of its own waits for the one under way', async () => {
  const kit = await follower()
  kit.storage.holdsSaves = true
  const message = appendEntries({ term: 1, entries: logOf([1]) })
  await kit.receive(message)
  // The same once more: nothing is left to save, and nothing is durable yet.
  await kit.receive(message)
  assert.deepEqual(
    kit.journal.filter((line) => line.startsWith('send')),
    [],
  )
  await kit.completeSave()
  assert.equal(kit.sent('AppendEntriesResponse').length, 2)
})

test('A promise that rests on nothing that is under way leaves in the same turn', async () => {
  const kit = await follower({ log: [1, 1] }, 1)
  await kit.receive(appendEntries({ term: 1, entries: logOf([1, 1]) }))
  assert.deepEqual(kit.journal, ['send AppendEntriesResponse to n2'])
})

test('AppendEntries leave in the turn in which a batch is appended, before the disk is asked', async () => {
  const kit = await leader()
  watch(kit.node.propose(command(), timeoutMs))
  watch(kit.node.propose(command(), timeoutMs))
  assert.deepEqual(kit.journal, [], 'nothing happens before the turn')
  kit.clock.turn()
  assert.deepEqual(kit.journal, ['send AppendEntries to n2', 'send AppendEntries to n3'])
  assert.deepEqual(
    kit.sent('AppendEntries').map(({ entries }) => entries.map(({ index }) => index)),
    [
      [2, 3],
      [2, 3],
    ],
  )
  await kit.microtasks()
  assert.match(kit.journal.join(), /^send AppendEntries to n2,send AppendEntries to n3,save \d+$/)
})

test('Everything that came in before the turn is taken in before anything is done', async () => {
  const kit = await follower()
  const entries = logOf([1, 1])
  await kit.receive(
    appendEntries({ term: 1, entries: entries.slice(0, 1) }),
    appendEntries({ term: 1, prev: { term: 1, index: 1 }, entries: entries.slice(1) }),
  )
  assert.equal(kit.storage.saves.at(-1)?.entries.length, 2)
  assert.deepEqual(kit.journal.filter((line) => line.startsWith('save')).length, 1)
})

test('What arrived during a pause of the process is seen before the timeout that the pause brought', async () => {
  const kit = await follower()
  kit.clock.nowMs += testTimings.electionTimeoutMaxMs * 2
  kit.clock.advanceToTimer(kit.clock.nowMs)
  await kit.receive(appendEntries({ term: 1 }))
  assert.equal(kit.node.status().role, 'follower')
  assert.deepEqual(kit.sent('RequestPreVote'), [])
})

test('A command is answered when it is durable on a majority and applied here', async () => {
  const kit = await leader()
  kit.storage.holdsSaves = true
  kit.clock.wallMs = 2_000_000
  const applied = watch(kit.node.propose(command(), timeoutMs))
  const committed = watch(kit.node.proposeCommitted(command(), timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  assert.equal(committed.state, 'pending', 'one of three has it')
  await kit.completeSave()
  assert.equal(committed.state, 'resolved')
  assert.deepEqual([committed.value?.index, committed.value?.term, committed.value?.timestampMs], [3, 1, 2_000_000])
  assert.equal(applied.state, 'pending')
  await kit.apply()
  assert.deepEqual(applied.value, { index: 2, term: 1, timestampMs: 2_000_000, duplicate: false, result: 2 })
  assert.deepEqual([kit.node.counters().committed, kit.node.counters().applied], [2, 1])
})

test('A majority of followers commits without waiting for the own disk', async () => {
  const kit = await leader()
  kit.storage.holdsSaves = true
  const committed = watch(kit.node.proposeCommitted(command(), timeoutMs))
  await kit.settle()
  await kit.answer('n2', 'n3')
  assert.equal(committed.state, 'resolved')
})

test('One batch is under way, and everything that arrives meanwhile is the next', async () => {
  const kit = await leader()
  kit.node.proposeCommitted(command(), timeoutMs)
  await kit.settle()
  kit.node.proposeCommitted(command(), timeoutMs)
  await kit.settle()
  kit.node.proposeCommitted(command(), timeoutMs)
  await kit.settle()
  assert.equal(kit.lastIndex, 2)
  await kit.answer('n2')
  assert.deepEqual(
    kit.storage.saves.slice(-2).map(({ entries }) => entries.map(({ index }) => index)),
    [[2], [3, 4]],
  )
})

test('With a deeper window so many batches are under way', async () => {
  const kit = await leader({ raft: { maxInFlightMessages: 2 } })
  for (let i = 0; i < 3; i++) {
    kit.node.proposeCommitted(command(), timeoutMs)
    await kit.settle()
  }
  assert.equal(kit.lastIndex, 3)
  await kit.answer('n2')
  assert.equal(kit.lastIndex, 4)
})

test('A leader with too much uncommitted refuses its own clients', async () => {
  const kit = await leader({ raft: { maxUncommittedBytes: 100, maxInFlightMessages: 8 } })
  watch(kit.node.propose(command(200), timeoutMs))
  await kit.settle()
  const refused = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  assert.equal(refused.state, 'too-many-proposals/not_applied')
})

test('A node that is not a member takes no commands', async () => {
  const kit = await started({ voters: ['n2', 'n3', 'n4'] })
  const refused = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  assert.equal(refused.state, 'not-a-member/not_applied')
})

test('Before its start is done a node takes no commands, and keeps the messages', async () => {
  const starting = new NodeKit()
  const refused = watch(starting.node.propose(command(), timeoutMs))
  const start = starting.node.start()
  starting.transport.events?.received(requestPreVote({ term: 1 }))
  assert.equal(starting.clock.turn(), false)
  await start
  await starting.settle()
  assert.equal(refused.state, 'shutting-down/not_applied')
  assert.equal(starting.sent('RequestPreVoteResponse').length, 1)
})
