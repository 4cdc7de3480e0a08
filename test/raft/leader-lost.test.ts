// The hint that the leader's connection was closed: it makes a fail-over faster than the election timeout, and is never more than a hint.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster } from './cluster.ts'
import { appendEntries, requestPreVote } from './entries.ts'
import { follower } from './roles.ts'
import { testTimings } from './test-node.ts'

const { electionTimeoutMinMs } = testTimings

function lose(cluster: Cluster, leader: string): void {
  for (const node of cluster.nodes.values()) {
    if (node.alive && node.id !== leader) node.step({ type: 'peerDown', id: leader })
  }
}

test('When the leader dies and all of its connections with it, another leads well within the election timeout', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.propose('n1')
  cluster.settle()
  cluster.crash('n1')
  lose(cluster, 'n1')
  cluster.run(electionTimeoutMinMs / 5)
  assert.notEqual(cluster.leader(), null)
})

test('The pre-vote comes soon after the hint, not in its very moment, so that the survivors do not split the vote', () => {
  const seen = new Set<number>()
  for (const value of [0, 0.25, 0.5, 0.75, 0.999]) {
    const node = follower({ random: () => value })
    node.step({ type: 'peerDown', id: 'n2' })
    assert.equal(node.role, 'follower')
    let waitedMs = 0
    while (node.role === 'follower') {
      node.tick(1)
      waitedMs++
    }
    assert(waitedMs >= electionTimeoutMinMs * 0.01 && waitedMs <= electionTimeoutMinMs * 0.1 + 1, `${waitedMs} ms`)
    seen.add(waitedMs)
  }
  assert.equal(seen.size, 5)
})

test('A node whose own connection broke disturbs nobody: the others still hear the leader', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  const term = cluster.node('n1').raft.currentTerm
  cluster.node('n3').step({ type: 'peerDown', id: 'n1' })
  cluster.advance(150)
  cluster.tick('n3')
  cluster.settle()
  assert.equal(cluster.node('n3').role, 'precandidate')
  cluster.heartbeat()
  assert.equal(cluster.node('n3').raft.leader, 'n1')
  assert.equal(cluster.node('n1').role, 'leader')
  assert.equal(cluster.node('n1').raft.currentTerm, term)
})

test('After the hint it grants pre-votes to others', () => {
  const node = follower()
  node.receive(requestPreVote({ from: 'n3', term: 2 }))
  node.step({ type: 'peerDown', id: 'n2' })
  node.receive(requestPreVote({ from: 'n3', term: 2 }))
  assert.deepEqual(
    node.takeSentOf('RequestPreVoteResponse').map((answer) => answer.voteGranted),
    [false, true],
  )
})

test('A leader that is heard again after the hint is the leader again', () => {
  const node = follower()
  node.step({ type: 'peerDown', id: 'n2' })
  assert.equal(node.raft.leader, null)
  node.receive(appendEntries({ term: 1 }))
  assert.equal(node.raft.leader, 'n2')
  node.tick(electionTimeoutMinMs - 1)
  assert.equal(node.role, 'follower')
})

test('Another peer’s connection is no hint', () => {
  const node = follower()
  node.step({ type: 'peerDown', id: 'n3' })
  assert.equal(node.raft.leader, 'n2')
  node.tick(electionTimeoutMinMs / 5)
  assert.equal(node.role, 'follower')
})

test('Hints that come again and again do not put the pre-vote off', () => {
  const node = follower()
  for (let waitedMs = 0; waitedMs <= electionTimeoutMinMs / 10 && node.role === 'follower'; waitedMs += 5) {
    node.step({ type: 'peerDown', id: 'n2' })
    node.tick(5)
  }
  assert.equal(node.role, 'precandidate')
})

test('A leader that lost all of its connections goes on until its quorum is overdue', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  const node = cluster.node('n1')
  for (const id of ['n2', 'n3']) node.step({ type: 'peerDown', id })
  assert.equal(node.role, 'leader')
  cluster.heartbeat()
  assert.equal(node.role, 'leader')
})

test('A follower that had not lost the leader yet when it was asked does not cost the survivors an election timeout', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.propose('n1')
  // Only n2 gets the last entry, so n3 cannot win; and n2 notices first.
  cluster.deliver(cluster.take('AppendEntries', 'n1', 'n2'))
  cluster.network = []
  cluster.crash('n1')
  cluster.node('n2').step({ type: 'peerDown', id: 'n1' })
  cluster.advance(electionTimeoutMinMs * 0.1)
  cluster.tick('n2')
  cluster.settle()
  assert.equal(cluster.node('n2').role, 'precandidate')
  cluster.node('n3').step({ type: 'peerDown', id: 'n1' })
  cluster.run(electionTimeoutMinMs * 0.4)
  assert.equal(cluster.leader()?.id, 'n2')
})
