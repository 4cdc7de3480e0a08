// Saves take their time. What a node promises rests on what is durable, and on nothing that a later leader replaced.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { accepted, appendEntries, logOf, requestVote } from './entries.ts'
import { follower, leader, precandidate } from './roles.ts'
import { TestNode, testTimings } from './test-node.ts'

function slow(node: TestNode): TestNode {
  node.holdSaves = true
  return node
}

test('Entries are acknowledged once they are durable, and not before', () => {
  const node = slow(follower())
  node.receive(appendEntries({ term: 1, entries: logOf([1, 1]) }))
  assert.deepEqual(node.takeSent(), [])
  node.completeSave()
  assert.deepEqual(
    node.takeSentOf('AppendEntriesResponse').map((answer) => answer.success && answer.matchIndex),
    [2],
  )
})

test('Entries that came again while their save is under way are acknowledged after it', () => {
  const node = slow(follower())
  const message = appendEntries({ term: 1, entries: logOf([1, 1]) })
  node.receive(message, message)
  assert.equal(node.disk.pending.length, 1)
  assert.deepEqual(node.takeSent(), [])
  node.completeSave()
  assert.equal(node.takeSentOf('AppendEntriesResponse').length, 2)
})

test('Several saves are under way at once, and each frees what rests on it', () => {
  const node = slow(follower())
  for (const index of [1, 2, 3]) {
    const prev = { term: index === 1 ? 0 : 1, index: index - 1 }
    node.receive(appendEntries({ term: 1, prev, entries: logOf([1], index) }))
  }
  for (const index of [1, 2, 3]) {
    node.completeSave()
    assert.deepEqual(
      node.takeSentOf('AppendEntriesResponse').map((answer) => answer.success && answer.matchIndex),
      [index],
    )
  }
})

test('One report may stand for several saves', () => {
  const node = slow(follower())
  node.receive(appendEntries({ term: 1, entries: logOf([1]) }))
  node.receive(appendEntries({ term: 1, prev: { term: 1, index: 1 }, entries: logOf([1], 2) }))
  node.completeSave(false)
  assert.deepEqual(node.takeSent(), [])
  node.completeSave()
  assert.equal(node.raft.log.durableIndex, 2)
  assert.equal(node.takeSent().length, 2)
})

test('A heartbeat is answered at once, for what is durable', () => {
  const node = slow(follower({ log: [1] }))
  node.receive(appendEntries({ term: 1, prev: { term: 1, index: 1 }, entries: logOf([1], 2) }))
  node.receive(appendEntries({ term: 1, prev: { term: 1, index: 2 }, round: 5 }))
  assert.deepEqual(
    node.takeSentOf('AppendEntriesResponse').map((answer) => [answer.success && answer.matchIndex, answer.round]),
    [[1, 5]],
  )
})

test('The first answer to a new leader waits until its term is durable', () => {
  const node = slow(new TestNode({ currentTerm: 1 }))
  node.receive(appendEntries({ term: 2 }))
  assert.deepEqual(node.takeSent(), [])
  node.completeSave()
  assert.equal(node.takeSent().length, 1)
})

test('A refusal waits for its term as well', () => {
  const node = slow(new TestNode({ currentTerm: 1 }))
  node.receive(appendEntries({ term: 2, prev: { term: 2, index: 9 } }))
  assert.deepEqual(node.takeSent(), [])
  node.completeSave()
  assert.equal(node.takeSentOf('AppendEntriesResponse')[0]?.success, false)
})

test('A vote leaves after it is durable', () => {
  const node = slow(new TestNode())
  node.receive(requestVote({ term: 1 }))
  assert.deepEqual(node.takeSent(), [])
  assert.deepEqual(
    node.disk.pending.map((save) => save.hardState),
    [{ currentTerm: 1, votedFor: 'n2' }],
  )
  node.completeSave()
  assert.equal(node.takeSentOf('RequestVoteResponse')[0]?.voteGranted, true)
})

test('A vote that was lost in a crash was never given, and may go to another', () => {
  const node = slow(new TestNode())
  node.receive(requestVote({ term: 1 }))
  node.crash()
  node.restart()
  node.receive(requestVote({ from: 'n3', term: 1 }))
  node.completeSaves()
  assert.deepEqual(
    node.takeSentOf('RequestVoteResponse').map(({ to, voteGranted }) => [to, voteGranted]),
    [['n3', true]],
  )
})

test('A vote that was durable when the node crashed goes to nobody else', () => {
  const node = slow(new TestNode())
  node.receive(requestVote({ term: 1 }))
  node.crash(0.5)
  node.restart()
  node.receive(requestVote({ from: 'n3', term: 1 }))
  node.completeSaves()
  assert.deepEqual(
    node.takeSentOf('RequestVoteResponse').map(({ to, voteGranted }) => [to, voteGranted]),
    [['n3', false]],
  )
})

test('A candidate asks for votes, and counts its own, once its term and vote are durable', () => {
  const node = slow(precandidate({ voters: ['n1', 'n2', 'n3', 'n4', 'n5'] }))
  for (const from of ['n2', 'n3']) {
    node.receive({ type: 'RequestPreVoteResponse', from, to: 'n1', term: 1, voteGranted: true })
  }
  assert.equal(node.role, 'candidate')
  assert.deepEqual(node.takeSent(), [])
  node.completeSave()
  assert.equal(node.takeSentOf('RequestVote').length, 4)
  assert.equal(node.role, 'candidate')
  for (const from of ['n2', 'n3']) {
    node.receive({ type: 'RequestVoteResponse', from, to: 'n1', term: 1, voteGranted: true })
  }
  assert.equal(node.role, 'leader')
})

test('The only voter of a cluster leads once its vote is durable', () => {
  const node = slow(new TestNode({ voters: ['n1'] }))
  node.tick(testTimings.electionTimeoutMaxMs)
  assert.equal(node.role, 'candidate')
  node.completeSave()
  assert.equal(node.role, 'leader')
  assert.equal(node.raft.commitIndex, 0)
  node.completeSave()
  assert.equal(node.raft.commitIndex, 1)
})

test('An earlier save that ends does not make the vote of a later term count', () => {
  const node = slow(new TestNode({ voters: ['n1'] }))
  node.tick(testTimings.electionTimeoutMaxMs)
  node.tick(testTimings.electionTimeoutMaxMs)
  assert.equal(node.raft.currentTerm, 2)
  node.completeSave()
  assert.equal(node.role, 'candidate')
  node.completeSave()
  assert.equal(node.role, 'leader')
})

describe('On the leader', () => {
  test('entries go out beside their save, not after it', () => {
    const node = slow(leader())
    node.receive(accepted(1, 1, 'n2'))
    node.takeSent()
    node.propose(1)
    assert.equal(node.disk.pending.length, 1)
    assert.equal(node.takeSentOf('AppendEntries').length, 1)
  })

  test('its own copy counts only when it is durable', () => {
    const node = slow(leader())
    node.propose(1)
    node.receive(accepted(1, 2, 'n2'))
    assert.equal(node.raft.commitIndex, 1)
    node.completeSave()
    assert.equal(node.raft.commitIndex, 2)
  })

  test('a majority of others is enough, with its own disk far behind', () => {
    const node = slow(leader())
    node.propose(1)
    node.receive(accepted(1, 2, 'n2'), accepted(1, 2, 'n3'))
    assert.equal(node.raft.commitIndex, 2)
    assert.equal(node.raft.log.durableIndex, 1)
  })
})

describe('A save that ends after its entries were replaced', () => {
  /** Follows n2 in term 1 with entries 1 and 2 under way to the disk; then n3 in term 2, which replaces entry 2. */
  function replaced(): TestNode {
    const node = slow(follower())
    node.receive(appendEntries({ term: 1, entries: logOf([1, 1]) }))
    node.receive(appendEntries({ from: 'n3', term: 2, prev: { term: 1, index: 1 }, entries: logOf([2], 2) }))
    return node
  }

  test('vouches for what lies before them only', () => {
    const node = replaced()
    node.completeSave()
    assert.equal(node.raft.log.durableIndex, 1)
    node.completeSave()
    assert.equal(node.raft.log.durableIndex, 2)
  })

  test('frees no acknowledgement of the new ones', () => {
    const node = replaced()
    node.completeSave()
    assert.deepEqual(
      node.takeSentOf('AppendEntriesResponse').map(({ to, term }) => [to, term]),
      [['n2', 1]],
    )
    // A heartbeat in between speaks of what the disk really holds.
    node.receive(appendEntries({ from: 'n3', term: 2, prev: { term: 2, index: 2 } }))
    node.completeSave()
    assert.deepEqual(
      node.takeSentOf('AppendEntriesResponse').map((answer) => [answer.to, answer.success && answer.matchIndex]),
      [
        ['n3', 2],
        ['n3', 1],
      ],
    )
  })

  test('vouches for nothing even if the same entries come back in a third term', () => {
    const node = replaced()
    // n2 leads again: its log holds the very entries of the first save.
    node.receive(appendEntries({ term: 3, prev: { term: 1, index: 1 }, entries: logOf([1, 3], 2) }))
    node.completeSave()
    assert.equal(node.raft.log.durableIndex, 1)
    node.completeSave()
    assert.equal(node.raft.log.durableIndex, 1)
    node.completeSave()
    assert.equal(node.raft.log.durableIndex, 3)
    assert.deepEqual(
      node.disk.entries.map((entry) => entry.term),
      [1, 1, 3],
    )
  })

  test('does not count for the term that the node leads by then', () => {
    const node = slow(leader())
    node.propose(1)
    // Deposed with entry 2 under way to the disk, it is elected again over a log that n3 shortened.
    node.receive(appendEntries({ from: 'n3', term: 2, prev: { term: 0, index: 0 }, entries: logOf([2]) }))
    assert.deepEqual(node.terms, [2])
    node.completeSave()
    assert.equal(node.raft.log.durableIndex, 0)
    node.completeSaves()
    assert.equal(node.raft.log.durableIndex, 1)
  })
})

test('A save that was torn by a crash leaves a log that another leader brings in line', () => {
  const node = slow(follower())
  node.receive(appendEntries({ term: 1, entries: logOf([1, 1, 1, 1]) }))
  node.crash(0.5)
  node.restart()
  assert.deepEqual(node.terms, [1, 1])
  node.receive(appendEntries({ from: 'n3', term: 2, prev: { term: 1, index: 1 }, entries: logOf([2], 2) }))
  node.completeSaves()
  assert.deepEqual(
    node.disk.entries.map((entry) => entry.term),
    [1, 2],
  )
})

test('Saves are numbered from 1 without gaps, and one that ends twice or too soon stops the process', () => {
  const node = slow(follower())
  node.receive(appendEntries({ term: 1, entries: logOf([1]) }))
  node.receive(appendEntries({ term: 1, prev: { term: 1, index: 1 }, entries: logOf([1], 2) }))
  assert.deepEqual(
    node.disk.pending.map((save) => save.id),
    [1, 2],
  )
  assert.throws(() => node.step({ type: 'saved', id: 3 }), { name: 'InvariantError' })
  node.completeSaves()
  assert.throws(() => node.step({ type: 'saved', id: 2 }), { name: 'InvariantError' })
})
