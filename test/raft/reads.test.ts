// ReadIndex (§6.4 of Ongaro's thesis): an answer only from a leader that a quorum confirmed after the question came, and only once it has
// committed in its own term.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Cluster } from './cluster.ts'
import { accepted } from './entries.ts'
import { candidate, follower, leader, precandidate } from './roles.ts'
import type { TestNode } from './test-node.ts'
import { testTimings } from './test-node.ts'

/** A leader of term 1 that has committed its no-op. */
function settledLeader(voters = ['n1', 'n2', 'n3']): TestNode {
  const node = leader({ voters })
  for (const id of voters.slice(1)) node.receive(accepted(1, 1, id))
  node.takeSent()
  return node
}

function ask(node: TestNode, ...readIds: readonly number[]): number {
  for (const readId of readIds) node.step({ type: 'readIndex', readId })
  return Math.max(0, ...node.takeSentOf('AppendEntries').map((message) => message.round))
}

test('A read is answered when a quorum has answered a round begun after it', () => {
  const node = settledLeader()
  const round = ask(node, 1)
  assert.deepEqual(node.reads, [])
  node.receive(accepted(1, 1, 'n2', round - 1))
  assert.deepEqual(node.reads, [])
  node.receive(accepted(1, 1, 'n2', round))
  assert.deepEqual(node.reads, [{ readId: 1, index: 1 }])
})

test('Five voters: two answers beside the leader’s own, from different voters', () => {
  const node = settledLeader(['n1', 'n2', 'n3', 'n4', 'n5'])
  const round = ask(node, 1)
  node.receive(accepted(1, 1, 'n2', round), accepted(1, 1, 'n2', round))
  assert.deepEqual(node.reads, [])
  node.receive(accepted(1, 1, 'n5', round))
  assert.deepEqual(node.reads, [{ readId: 1, index: 1 }])
})

test('A learner’s answer confirms nothing', () => {
  const node = leader({ learners: ['n4'] })
  node.receive(accepted(1, 1, 'n2'))
  const round = ask(node, 1)
  node.receive(accepted(1, 1, 'n4', round))
  assert.deepEqual(node.reads, [])
})

test('A refused AppendEntries confirms leadership as well as an accepted one', () => {
  const node = settledLeader()
  const round = ask(node, 1)
  node.receive({
    type: 'AppendEntriesResponse',
    from: 'n3',
    to: 'n1',
    term: 1,
    round,
    leaseMs: 0,
    isStorageFull: false,
    success: false,
    rejectedIndex: 1,
    hint: { term: 0, index: 0 },
  })
  assert.deepEqual(node.reads, [{ readId: 1, index: 1 }])
})

test('Before a commit in its own term a leader answers no read, and afterwards with everything before it', () => {
  const node = leader({ log: [1, 1] })
  let round = ask(node, 1)
  node.receive(accepted(2, 2, 'n2', round))
  assert.deepEqual(node.reads, [])
  node.receive(accepted(2, 3, 'n2', round))
  assert.deepEqual(node.reads, [], 'the round that confirms it must begin after the commit')
  round = Math.max(...node.takeSentOf('AppendEntries').map((message) => message.round))
  node.receive(accepted(2, 3, 'n2', round))
  assert.deepEqual(node.reads, [{ readId: 1, index: 3 }])
})

test('The index is the one of when the question came: what commits later is not waited for', () => {
  const node = settledLeader()
  const round = ask(node, 1)
  node.propose(1)
  node.receive(accepted(1, 2, 'n2'))
  assert.equal(node.raft.commitIndex, 2)
  node.receive(accepted(1, 2, 'n2', round))
  assert.deepEqual(node.reads, [{ readId: 1, index: 1 }])
})

test('Reads share rounds: the answer to the last one answers all, each once', () => {
  const node = settledLeader()
  const round = ask(node, 1, 2, 3)
  node.receive(accepted(1, 1, 'n2', round), accepted(1, 1, 'n2', round), accepted(1, 1, 'n3', round))
  assert.deepEqual(
    node.reads.map((outcome) => outcome.readId),
    [1, 2, 3],
  )
})

test('One number asked twice is answered twice', () => {
  const node = settledLeader()
  node.receive(accepted(1, 1, 'n2', ask(node, 7, 7)))
  assert.deepEqual(node.reads, [
    { readId: 7, index: 1 },
    { readId: 7, index: 1 },
  ])
})

test('Reads that one answer confirms are answered in one piece of work, whoever asked', () => {
  const node = settledLeader()
  node.receive({ type: 'ReadIndexRequest', from: 'n3', to: 'n1', term: 1, readId: 9 })
  const round = ask(node, 1)
  node.receive(accepted(1, 1, 'n2', round))
  assert.deepEqual(node.reads, [{ readId: 1, index: 1 }])
  assert.deepEqual(
    node.takeSentOf('ReadIndexResponse').map(({ to, readId, index }) => [to, readId, index]),
    [['n3', 9, 1]],
  )
})

test('A cluster of one answers at once', () => {
  const node = leader({ voters: ['n1'] })
  ask(node, 1)
  assert.deepEqual(node.reads, [{ readId: 1, index: 1 }])
})

describe('A deposed leader never answers', () => {
  const ends: Readonly<Record<string, (node: TestNode) => void>> = {
    'it lost its quorum': (node) => node.tick(testTimings.electionTimeoutMinMs + 1),
    'it heard of a newer term': (node) =>
      node.receive({ type: 'RequestVoteResponse', from: 'n3', to: 'n1', term: 2, voteGranted: false }),
  }
  for (const [how, end] of Object.entries(ends)) {
    test(how, () => {
      const node = settledLeader()
      const round = ask(node, 1)
      end(node)
      assert.deepEqual(node.reads, [{ readId: 1, index: null }])
      node.receive(accepted(1, 1, 'n2', round))
      assert.equal(node.reads.length, 1)
    })
  }

  test('cut off from the others, who went on without it', () => {
    const cluster = new Cluster({ voters: 3 })
    cluster.elect('n1')
    cluster.isolate('n1')
    const readId = cluster.read('n1')
    cluster.settle()
    cluster.advance(testTimings.electionTimeoutMaxMs)
    cluster.tick('n3')
    cluster.settle()
    cluster.propose('n3')
    cluster.settle()
    assert.equal(cluster.node('n1').role, 'leader', 'it does not know yet')
    cluster.heal()
    cluster.settle()
    cluster.run(1000)
    assert.deepEqual(cluster.node('n1').reads, [{ readId, index: null }])
  })

  test('nor do the reads that followers sent it', () => {
    const node = settledLeader()
    node.receive({ type: 'ReadIndexRequest', from: 'n2', to: 'n1', term: 1, readId: 5 })
    node.tick(testTimings.electionTimeoutMinMs + 1)
    assert.deepEqual(
      node.takeSentOf('ReadIndexResponse').map(({ to, readId, index }) => [to, readId, index]),
      [['n2', 5, null]],
    )
  })
})

describe('Reads on other nodes', () => {
  test('a follower asks its leader, and is answered', () => {
    const cluster = new Cluster({ voters: 3 })
    cluster.elect('n1')
    cluster.propose('n1')
    cluster.settle()
    const readId = cluster.read('n3')
    cluster.settle()
    assert.deepEqual(cluster.node('n3').reads, [{ readId, index: 2 }])
  })

  for (const [name, make] of Object.entries({ precandidate, candidate })) {
    test(`a ${name} has nobody to ask`, () => {
      const node = make()
      ask(node, 1)
      assert.deepEqual(node.reads, [{ readId: 1, index: null }])
    })
  }

  test('a follower that lost its leader has nobody to ask', () => {
    const node = follower()
    node.step({ type: 'peerDown', id: 'n2' })
    ask(node, 1)
    assert.deepEqual(node.reads, [{ readId: 1, index: null }])
  })

  test('a node that leads no more tells who asks it', () => {
    const node = follower()
    node.receive({ type: 'ReadIndexRequest', from: 'n3', to: 'n1', term: 1, readId: 5 })
    assert.deepEqual(
      node.takeSentOf('ReadIndexResponse').map(({ to, readId, index }) => [to, readId, index]),
      [['n3', 5, null]],
    )
  })
})
