// Handing leadership over (§3.10 of Ongaro's thesis).

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster } from './cluster.ts'
import { accepted } from './entries.ts'
import { candidate, follower, leader, precandidate } from './roles.ts'
import { TestNode, testTimings } from './test-node.ts'

test('To a node that is up to date, at once, with no timeout passing', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.propose('n1')
  cluster.settle()
  const startedMs = cluster.clock.nowMs
  cluster.node('n1').step({ type: 'transferLeadership', to: 'n3' })
  cluster.settle()
  assert.equal(cluster.node('n3').role, 'leader')
  assert.equal(cluster.node('n1').raft.leader, 'n3')
  assert.equal(cluster.clock.nowMs, startedMs)
  cluster.propose('n3')
  cluster.settle()
  assert.equal(cluster.node('n1').raft.commitIndex, cluster.node('n3').raft.log.lastIndex)
})

test('To nobody in particular: to the voter with the longest log', () => {
  const node = leader({ voters: ['n1', 'n2', 'n3', 'n4', 'n5'] })
  node.propose(1)
  node.receive(accepted(1, 1, 'n2'), accepted(1, 2, 'n4'), accepted(1, 1, 'n3'))
  node.takeSent()
  node.step({ type: 'transferLeadership', to: null })
  assert.deepEqual(
    node.takeSentOf('TimeoutNow').map(({ to, term }) => [to, term]),
    [['n4', 1]],
  )
})

test('To nobody in particular: not to one whose connection is closed', () => {
  const node = leader()
  node.propose(1)
  node.receive(accepted(1, 2, 'n2'), accepted(1, 1, 'n3'))
  node.step({ type: 'peerDown', id: 'n2' })
  node.step({ type: 'transferLeadership', to: null })
  node.receive(accepted(1, 2, 'n3'))
  assert.deepEqual(
    node.takeSentOf('TimeoutNow').map(({ to }) => to),
    ['n3'],
  )
})

test('A slow node gets the rest of the log first, and takes no proposals meanwhile', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.isolate('n3')
  cluster.propose('n1', 5)
  cluster.settle()
  cluster.heal()
  const old = cluster.node('n1')
  old.step({ type: 'transferLeadership', to: 'n3' })
  assert.equal(old.takeSentOf('TimeoutNow').length, 0)
  assert.deepEqual(
    old.propose(1).map((outcome) => [outcome.accepted, outcome.refused]),
    [[null, 'transferring']],
  )
  cluster.heartbeat()
  assert.equal(cluster.node('n3').role, 'leader')
  assert.equal(cluster.node('n3').raft.commitIndex, cluster.node('n3').raft.log.lastIndex)
})

test('One that does not come about in time is given up, and proposals are taken again', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.isolate('n3')
  const old = cluster.node('n1')
  old.step({ type: 'transferLeadership', to: 'n3' })
  cluster.run(testTimings.electionTimeoutMaxMs - 50)
  assert.equal(old.propose(1)[0]?.refused, 'transferring')
  cluster.run(100)
  assert.equal(old.role, 'leader')
  assert.equal(old.propose(1)[0]?.refused, null)
})

test('To a node that dies on the way: the others elect one, at the latest when the old leader goes on', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.node('n1').step({ type: 'transferLeadership', to: 'n3' })
  cluster.crash('n3')
  cluster.run(3 * testTimings.electionTimeoutMaxMs)
  const now = cluster.leader() ?? assert.fail('No leader')
  cluster.propose(now.id)
  cluster.settle()
  assert.equal(now.raft.commitIndex, now.raft.log.lastIndex)
})

for (const [what, to] of [
  ['itself', 'n1'],
  ['a learner', 'n4'],
  ['a stranger', 'n9'],
] as const) {
  test(`To ${what}: nothing happens, and proposals are taken`, () => {
    const node = leader({ learners: ['n4'] })
    for (const id of ['n2', 'n3', 'n4']) node.receive(accepted(1, 1, id))
    node.takeSent()
    node.step({ type: 'transferLeadership', to })
    assert.deepEqual(node.takeSentOf('TimeoutNow'), [])
    assert.equal(node.propose(1)[0]?.refused, null)
  })
}

test('TimeoutNow is sent once', () => {
  const node = leader()
  node.receive(accepted(1, 1, 'n2'))
  node.takeSent()
  node.step({ type: 'transferLeadership', to: 'n2' })
  node.receive(accepted(1, 1, 'n2'), accepted(1, 1, 'n3'))
  assert.equal(node.takeSentOf('TimeoutNow').length, 1)
})

test('A second wish for the same node does not make the first one last longer, nor send it a second TimeoutNow', () => {
  const node = leader()
  node.receive(accepted(1, 1, 'n2'))
  node.takeSent()
  node.step({ type: 'transferLeadership', to: 'n2' })
  const answer = () => node.receive(accepted(1, 1, 'n2'), accepted(1, 1, 'n3'))
  for (let waitedMs = 0; waitedMs < testTimings.electionTimeoutMaxMs; waitedMs += 200) {
    node.step({ type: 'transferLeadership', to: 'n2' })
    node.tick(200)
    answer()
  }
  assert.equal(node.takeSentOf('TimeoutNow').length, 1)
  assert.equal(node.propose(1)[0]?.refused, null)
})

test('Who is told to take over stands for election at once, past pre-vote and the stickiness of the voters', () => {
  const node = follower({ currentTerm: 4 })
  node.receive({ type: 'TimeoutNow', from: 'n2', to: 'n1', term: 4 })
  assert.equal(node.role, 'candidate')
  assert.deepEqual(
    node.takeSentOf('RequestVote').map(({ to, term, leadershipTransfer }) => [to, term, leadershipTransfer]),
    [
      ['n2', 5, true],
      ['n3', 5, true],
    ],
  )
})

test('A learner that is told to take over does not', () => {
  const node = new TestNode({ id: 'n4', learners: ['n4'], currentTerm: 4 })
  node.receive({ type: 'TimeoutNow', from: 'n2', to: 'n4', term: 4 })
  assert.equal(node.role, 'follower')
})

for (const [name, make] of Object.entries({ precandidate, candidate, leader })) {
  test(`A ${name} that is told to take over goes on as it is`, () => {
    const node = make({ currentTerm: 4 })
    const { currentTerm } = node.raft
    node.receive({ type: 'TimeoutNow', from: 'n2', to: 'n1', term: currentTerm })
    assert.equal(node.role, name)
    assert.equal(node.raft.currentTerm, currentTerm)
  })
}

test('A node that leads not ignores the wish', () => {
  const node = follower()
  node.step({ type: 'transferLeadership', to: 'n3' })
  assert.deepEqual(node.takeSent(), [])
})
