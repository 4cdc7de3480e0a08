// What reaches followers besides new entries: older ones from storage, and the news of a commit.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { appendEntries, logOf } from '../raft/entries.ts'
import { command, follower, forwarded, leader, matched, momentMs, timeoutMs } from './node-kit.ts'
import { watch } from './watched.ts'

test('Entries that left memory are read from storage for a follower that lags, as far as they are durable', async () => {
  const kit = await leader({ log: [1, 1, 1] }, ['n2'])
  const term = kit.node.currentTerm
  kit.storage.holdsSaves = true
  watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  assert.equal(kit.lastIndex, 5)
  kit.forget()
  kit.storage.holdsReads = true
  await kit.receive(matched({ from: 'n3', term, matchIndex: 0 }))
  const [load, ...more] = kit.storage.reads
  assert(load !== undefined && more.length === 0, 'One read from storage was expected')
  assert.deepEqual([load.from, load.through], [1, 4])
  assert.deepEqual(kit.sent('AppendEntries'), [])
  load.resolve(logOf([1, 1, 1]))
  await kit.settle()
  const sent = kit.sent('AppendEntries').filter(({ to }) => to === 'n3')
  assert.deepEqual(
    sent.map(({ entries }) => entries.map(({ index }) => index)),
    [[1, 2, 3]],
  )
})

test('The applier reads committed entries from memory, and older ones from storage', async () => {
  const kit = await follower({ log: [1, 1] }, 1)
  await kit.receive(appendEntries({ term: 1, prev: { term: 1, index: 2 }, entries: logOf([1], 3), leaderCommit: 3 }))
  assert.equal(kit.applier.commitIndex, 3)
  const recent = kit.applier.entries?.read(3, 3, 1000)
  assert(Array.isArray(recent), 'What is in memory is read at once')
  assert.deepEqual(
    recent.map(({ index }) => index),
    [3],
  )
  kit.storage.holdsReads = true
  void kit.applier.entries?.read(1, 3, 1000)
  assert.deepEqual(
    kit.storage.reads.map(({ from, through }) => [from, through]),
    [[1, 3]],
  )
})

test('A commit is announced to an idle follower after a moment', async () => {
  const kit = await leader()
  watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  await kit.answer('n2', 'n3')
  kit.forget()
  await kit.settle()
  assert.deepEqual(kit.sent('AppendEntries'), [])
  await kit.advance(momentMs)
  assert.deepEqual(
    kit.sent('AppendEntries').map(({ to, leaderCommit, entries }) => [to, leaderCommit, entries.length]),
    [
      ['n2', 2, 0],
      ['n3', 2, 0],
    ],
  )
  kit.forget()
  await kit.advance(momentMs)
  assert.deepEqual(kit.sent('AppendEntries'), [], 'once')
})

test('A commit is announced at once to a follower that passed its command on, and to no other', async () => {
  const kit = await leader()
  await kit.receive(forwarded([1], { from: 'n2' }))
  await kit.answer('n2')
  assert.deepEqual(
    kit.sent('AppendEntries').map(({ to, leaderCommit, entries }) => [to, leaderCommit, entries.length]),
    [
      ['n2', 1, 1],
      ['n3', 1, 1],
      ['n2', 2, 0],
    ],
  )
})

test('The next entries announce the commit themselves', async () => {
  const kit = await leader()
  kit.node.proposeCommitted(command(), timeoutMs)
  await kit.settle()
  kit.node.proposeCommitted(command(), timeoutMs)
  await kit.settle()
  kit.forget()
  await kit.receive(matched({ from: 'n2', term: 1, matchIndex: 2 }))
  const sent = () => kit.sent('AppendEntries').filter(({ to }) => to === 'n2')
  assert.deepEqual(
    sent().map(({ leaderCommit, entries }) => [leaderCommit, entries.length]),
    [[2, 1]],
  )
  await kit.advance(momentMs)
  assert.equal(sent().length, 1)
})
