// Check-quorum (§6.2 of Ongaro's thesis): a leader that a majority does not answer is none.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster } from './cluster.ts'
import { accepted } from './entries.ts'
import { leader } from './roles.ts'
import { testTimings } from './test-node.ts'

const { electionTimeoutMinMs, heartbeatIntervalMs } = testTimings

test('A leader whose quorum is silent for an election timeout steps down, in its own term', () => {
  const node = leader()
  node.tick(electionTimeoutMinMs)
  assert.equal(node.role, 'leader')
  node.tick(1)
  assert.equal(node.role, 'follower')
  assert.equal(node.raft.currentTerm, 1)
  assert.equal(node.raft.leader, null)
})

test('One answer in three is a quorum with its own, and keeps it in place', () => {
  const node = leader()
  for (let i = 0; i < 20; i++) {
    node.tick(heartbeatIntervalMs)
    node.receive(accepted(1, 1, 'n3'))
  }
  assert.equal(node.role, 'leader')
})

test('One answer in five is not', () => {
  const node = leader({ voters: ['n1', 'n2', 'n3', 'n4', 'n5'] })
  for (let i = 0; i < 4; i++) {
    node.tick(heartbeatIntervalMs)
    node.receive(accepted(1, 1, 'n3'))
  }
  assert.equal(node.role, 'follower')
})

test('The answers of a learner do not keep a leader in place', () => {
  const node = leader({ learners: ['n4'] })
  for (let i = 0; i < 4; i++) {
    node.tick(heartbeatIntervalMs)
    node.receive(accepted(1, 1, 'n4'))
  }
  assert.equal(node.role, 'follower')
})

test('A leader that slept through an election timeout steps down before it does anything else', () => {
  const node = leader()
  node.tick(60_000)
  assert.equal(node.role, 'follower')
  assert.deepEqual(node.takeSent(), [])
})

test('An isolated leader steps down, and the others elect one of theirs', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.isolate('n1')
  cluster.run(electionTimeoutMinMs + 50)
  assert.notEqual(cluster.node('n1').role, 'leader')
  cluster.run(2 * testTimings.electionTimeoutMaxMs)
  assert.notEqual(cluster.leader()?.id ?? 'n1', 'n1')
})

test('A leader that is heard but hears nobody gives way', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.cut('n2', 'n1')
  cluster.cut('n3', 'n1')
  cluster.run(electionTimeoutMinMs + 3 * testTimings.electionTimeoutMaxMs)
  assert.notEqual(cluster.leader()?.id ?? 'n1', 'n1')
})

test('A new leader supersedes the old one as soon as the old one is lost, not before', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.advance(electionTimeoutMinMs - 1)
  cluster.tick('n3')
  cluster.settle()
  assert.equal(cluster.leader()?.id, 'n1')
  cluster.elect('n3')
  assert.equal(cluster.node('n1').role, 'follower')
  assert.equal(cluster.node('n1').raft.leader, 'n3')
})

test('A bridge: the node that both sides reach keeps the cluster going', () => {
  const cluster = new Cluster({ voters: 5 })
  cluster.elect('n1')
  for (const left of ['n1', 'n2']) {
    for (const right of ['n4', 'n5']) {
      cluster.cut(left, right)
      cluster.cut(right, left)
    }
  }
  cluster.run(10_000)
  const leader = cluster.leader() ?? assert.fail('No leader')
  cluster.propose(leader.id)
  cluster.settle()
  assert.equal(leader.raft.commitIndex, leader.raft.log.lastIndex)
})

test('holdsQuorum is true from the first answered round, and ends an election timeout after a round was sent', () => {
  const node = leader()
  assert.equal(node.raft.holdsQuorum(node.clock.nowMs), false)
  node.tick(heartbeatIntervalMs)
  const sentMs = node.clock.nowMs
  const round = node.takeSentOf('AppendEntries')[0]?.round ?? 0
  node.clock.nowMs += 200
  node.receive(accepted(1, 1, 'n2', round))
  assert.equal(node.raft.holdsQuorum(node.clock.nowMs), true)
  assert.equal(node.raft.holdsQuorum(sentMs + electionTimeoutMinMs - 1), true)
  assert.equal(node.raft.holdsQuorum(sentMs + electionTimeoutMinMs), false)
})

test('holdsQuorum is false while the connections to a majority are closed, until they answer again', () => {
  const node = leader()
  node.tick(heartbeatIntervalMs)
  const round = node.takeSentOf('AppendEntries')[0]?.round ?? 0
  node.receive(accepted(1, 1, 'n2', round), accepted(1, 1, 'n3', round))
  node.step({ type: 'peerDown', id: 'n2' })
  assert.equal(node.raft.holdsQuorum(node.clock.nowMs), true)
  node.step({ type: 'peerDown', id: 'n3' })
  assert.equal(node.raft.holdsQuorum(node.clock.nowMs), false)
  node.receive(accepted(1, 1, 'n3', round))
  assert.equal(node.raft.holdsQuorum(node.clock.nowMs), true)
})

test('holdsQuorum is false once leadership was handed over: voters do not hold on to a leader that asked them not to', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.heartbeat()
  const old = cluster.node('n1')
  assert.equal(old.raft.holdsQuorum(cluster.clock.nowMs), true)
  old.step({ type: 'transferLeadership', to: 'n2' })
  cluster.collect()
  cluster.cut('n2', 'n1')
  cluster.cut('n3', 'n1')
  cluster.settle()
  cluster.advance(heartbeatIntervalMs)
  cluster.tick('n2')
  cluster.settle()
  assert.equal(cluster.node('n2').raft.holdsQuorum(cluster.clock.nowMs), true)
  assert.equal(old.raft.holdsQuorum(cluster.clock.nowMs), false, 'two nodes hold a quorum at one moment')
})
