// Pre-vote and leader stickiness (§9.6 and §4.2.3 of Ongaro's thesis): who cannot win disturbs nobody.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Cluster } from './cluster.ts'
import { appendEntries, logOf, requestPreVote, requestVote } from './entries.ts'
import { candidate, follower, leader, precandidate } from './roles.ts'
import { TestNode, testTimings } from './test-node.ts'

describe('A pre-vote is granted to who would win, and changes nothing here', () => {
  const table: readonly [what: string, term: number, lastEntry: { term: number; index: number }, granted: boolean][] = [
    ['a later term and the same log', 5, { term: 2, index: 2 }, true],
    ['a later term and a newer log', 5, { term: 3, index: 1 }, true],
    ['a later term and a shorter log', 5, { term: 2, index: 1 }, false],
    ['the same term', 4, { term: 2, index: 2 }, false],
    ['an older term', 3, { term: 9, index: 9 }, false],
  ]
  for (const [what, term, lastEntry, granted] of table) {
    test(`${what}: ${granted ? 'granted' : 'refused'}`, () => {
      const node = new TestNode({ log: [1, 2], currentTerm: 4, votedFor: 'n3' })
      node.receive(requestPreVote({ term, lastEntry }))
      assert.deepEqual(
        node.takeSentOf('RequestPreVoteResponse').map((answer) => [answer.voteGranted, answer.term]),
        [[granted, granted ? term : 4]],
      )
      assert.equal(node.raft.currentTerm, 4)
      assert.equal(node.raft.votedFor, 'n3')
    })
  }
})

test('Several nodes may be told that they would win', () => {
  const node = new TestNode()
  for (const from of ['n2', 'n3']) node.receive(requestPreVote({ from, term: 1 }))
  assert.deepEqual(
    node.takeSentOf('RequestPreVoteResponse').map((answer) => answer.voteGranted),
    [true, true],
  )
})

describe('While the leader is heard nobody helps to replace it', () => {
  const lastEntry = { term: 9, index: 9 }
  for (const [name, make] of Object.entries({ follower, leader })) {
    test(`a ${name} refuses pre-votes and does not even hear a vote's term`, () => {
      const node = make({ currentTerm: 4 })
      const { currentTerm } = node.raft
      node.receive(requestPreVote({ from: 'n3', term: 9, lastEntry }))
      assert.deepEqual(
        node.takeSentOf('RequestPreVoteResponse').map((answer) => answer.voteGranted),
        [false],
      )
      node.receive(requestVote({ from: 'n3', term: 9, lastEntry }))
      assert.deepEqual(node.takeSent(), [])
      assert.equal(node.raft.currentTerm, currentTerm)
      assert.equal(node.role, name)
    })
  }

  test('once an election timeout has passed in silence, it does', () => {
    const node = follower({ currentTerm: 4 })
    node.clock.nowMs += testTimings.electionTimeoutMinMs
    node.receive(requestPreVote({ from: 'n3', term: 5, lastEntry }))
    node.receive(requestVote({ from: 'n3', term: 5, lastEntry }))
    assert.equal(node.raft.votedFor, 'n3')
  })
})

test('A pre-vote that fails raises no term, however often it is tried', () => {
  const node = precandidate({ currentTerm: 4 })
  for (let i = 0; i < 5; i++) {
    node.receive({ type: 'RequestPreVoteResponse', from: 'n2', to: 'n1', term: 4, voteGranted: false })
    node.tick(testTimings.electionTimeoutMaxMs)
  }
  assert.equal(node.role, 'precandidate')
  assert.equal(node.raft.currentTerm, 4)
  assert.equal(node.disk.hardState.currentTerm, 4)
})

test('A grant for the pre-vote of an earlier term does not count', () => {
  const node = precandidate({ currentTerm: 4 })
  node.receive({ type: 'RequestPreVoteResponse', from: 'n2', to: 'n1', term: 4, voteGranted: true })
  assert.equal(node.role, 'precandidate')
})

test('A refusal tells the newer term, and the next pre-vote is for the one after it', () => {
  const node = precandidate({ currentTerm: 4 })
  node.receive({ type: 'RequestPreVoteResponse', from: 'n2', to: 'n1', term: 9, voteGranted: false })
  assert.equal(node.role, 'follower')
  assert.equal(node.raft.currentTerm, 9)
  node.tick(testTimings.electionTimeoutMaxMs)
  assert.deepEqual(
    node.takeSentOf('RequestPreVote').map((request) => request.term),
    [10, 10],
  )
})

test('Two nodes that pre-vote at once elect one leader at the latest in the following term', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.advance(testTimings.electionTimeoutMaxMs)
  cluster.tick('n1', 'n2')
  cluster.settle()
  if (cluster.leader() === null) cluster.run(2 * testTimings.electionTimeoutMaxMs)
  assert.notEqual(cluster.leader(), null)
})

test('Of two that would split the vote, the one with the shorter log cannot win', () => {
  const cluster = new Cluster({ voters: 3, logs: { n1: [1, 1], n2: [1], n3: [1, 1] } })
  cluster.advance(testTimings.electionTimeoutMaxMs)
  cluster.tick('n2')
  cluster.settle()
  assert.equal(cluster.node('n2').role, 'precandidate')
  cluster.elect('n1')
  assert.deepEqual(cluster.node('n2').terms, [1, 1, 2])
})

test('A node with a smaller term and the longer log completes an election', () => {
  // n2 raised its term again and again in the past, with a log that cannot win; n3 is down.
  const cluster = new Cluster({ voters: 3, logs: { n1: [1, 1], n2: [1], n3: [1, 1] }, currentTerms: { n2: 7 } })
  cluster.crash('n3')
  cluster.run(4 * testTimings.electionTimeoutMaxMs)
  assert.equal(cluster.leader()?.id, 'n1')
  assert.equal(cluster.node('n2').raft.commitIndex, 3)
})

test('A node that comes back from a partition does not disturb the leader', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  const term = cluster.node('n1').raft.currentTerm
  cluster.isolate('n3')
  cluster.run(10_000)
  assert.equal(cluster.node('n3').role, 'precandidate')
  cluster.propose('n1')
  cluster.heal()
  cluster.run(3000)
  assert.equal(cluster.node('n1').role, 'leader')
  for (const node of cluster.nodes.values()) {
    assert.equal(node.raft.currentTerm, term)
    assert.equal(node.raft.commitIndex, 2)
  }
})

test('A node that hears nothing but can be heard does not disturb the leader', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  const term = cluster.node('n1').raft.currentTerm
  cluster.cut('n1', 'n3')
  cluster.cut('n2', 'n3')
  cluster.run(10_000)
  assert.equal(cluster.leader()?.id, 'n1')
  assert.equal(cluster.leader()?.raft.currentTerm, term)
})

test('A candidate whose newer term stickiness would ignore for ever frees itself by answering the leader', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  const term = cluster.node('n1').raft.currentTerm
  // A transfer makes n3 a candidate, and its requests are lost.
  cluster.node('n1').step({ type: 'transferLeadership', to: 'n3' })
  cluster.collect()
  cluster.deliver(cluster.take('TimeoutNow', 'n1', 'n3'))
  cluster.network = []
  assert.equal(cluster.node('n3').raft.currentTerm, term + 1)
  cluster.heartbeat()
  assert.equal(cluster.leader(), null)
  cluster.run(2 * testTimings.electionTimeoutMaxMs)
  const { raft } = cluster.leader() ?? assert.fail('No leader')
  assert.equal(raft.currentTerm, term + 2)
  cluster.run(3000)
  for (const node of cluster.nodes.values()) assert.equal(node.raft.commitIndex, 2)
})

test('A node at a newer term refuses the entries of an older leader and tells it so', () => {
  const stuck = candidate({ currentTerm: 4 })
  stuck.receive(appendEntries({ term: 4, entries: logOf([4]) }))
  assert.deepEqual(
    stuck.takeSentOf('AppendEntriesResponse').map(({ success, term }) => [success, term]),
    [[false, 5]],
  )
  assert.deepEqual(stuck.terms, [])
})
