// Clusters of 1, 3, 5 and 7 voters, and learners.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { majorityReached, quorum } from '../../src/raft/configuration.ts'
import { Cluster } from './cluster.ts'
import { TestNode, testTimings } from './test-node.ts'

describe('A majority of N is N/2 + 1', () => {
  for (const [voters, expected] of [
    [1, 1],
    [2, 2],
    [3, 2],
    [4, 3],
    [5, 3],
    [7, 4],
  ] as const) {
    test(`${voters}: ${expected}`, () => assert.equal(quorum(voters), expected))
  }
})

describe('What a majority has reached', () => {
  const table: readonly [values: readonly number[], reached: number][] = [
    [[], 0],
    [[7], 7],
    [[7, 3], 3],
    [[7, 3, 5], 5],
    [[1, 2, 3, 4], 2],
    [[9, 0, 0, 9, 8], 8],
    [[10, 9, 100], 10],
  ]
  for (const [values, reached] of table) {
    test(`${JSON.stringify(values)}: ${reached}`, () => assert.equal(majorityReached(values), reached))
  }
})

for (const voters of [1, 3, 5, 7]) {
  const minority = Math.ceil(voters / 2) - 1

  test(`${voters} voters elect, commit everywhere, and go on without ${minority} of them`, () => {
    const cluster = new Cluster({ voters })
    cluster.run(3 * testTimings.electionTimeoutMaxMs)
    const first = cluster.leader() ?? assert.fail('No leader')
    cluster.propose(first.id, 3)
    cluster.settle()
    for (const node of cluster.nodes.values()) assert.equal(node.raft.commitIndex, first.raft.log.lastIndex)
    const others = cluster.voters.filter((id) => id !== first.id)
    const down = minority === 0 ? [] : [first.id, ...others.slice(0, minority - 1)]
    for (const id of down) cluster.crash(id)
    cluster.run(4 * testTimings.electionTimeoutMaxMs)
    const second = cluster.leader() ?? assert.fail('No leader without the minority')
    cluster.propose(second.id)
    cluster.settle()
    const { lastIndex } = second.raft.log
    assert.equal(second.raft.commitIndex, lastIndex)
    for (const id of down) cluster.restart(id)
    cluster.run(2000)
    for (const node of cluster.nodes.values()) assert.equal(node.raft.commitIndex, lastIndex)
  })

  if (voters > 1) {
    test(`${voters} voters commit nothing without ${minority + 1} of them, and do when one comes back`, () => {
      const cluster = new Cluster({ voters })
      cluster.elect('n1')
      const down = cluster.voters.slice(1, minority + 2)
      for (const id of down) cluster.crash(id)
      cluster.propose('n1')
      cluster.run(10_000)
      assert.equal(cluster.leader(), null)
      for (const node of cluster.nodes.values()) assert(node.raft.commitIndex <= 1)
      cluster.restart(down[0] ?? '')
      cluster.run(4 * testTimings.electionTimeoutMaxMs)
      const leader = cluster.leader() ?? assert.fail('No leader')
      assert.equal(leader.raft.commitIndex, leader.raft.log.lastIndex)
    })
  }
}

test('Every node killed at once: what was acknowledged is there when they come back', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.propose('n1', 5)
  cluster.settle()
  for (const id of cluster.voters) cluster.crash(id)
  for (const id of cluster.voters) cluster.restart(id)
  cluster.run(4 * testTimings.electionTimeoutMaxMs)
  for (const node of cluster.nodes.values()) assert.equal(node.raft.commitIndex, 7)
})

describe('A learner', () => {
  test('gets the log and its commits', () => {
    const cluster = new Cluster({ voters: 1, learners: 1 })
    cluster.elect('n1')
    cluster.propose('n1', 3)
    cluster.settle()
    assert.deepEqual(cluster.node('n2').terms, [1, 1, 1, 1])
    assert.equal(cluster.node('n2').raft.commitIndex, 4)
  })

  test('never campaigns', () => {
    const node = new TestNode({ id: 'n4', learners: ['n4'] })
    node.tick(60_000)
    node.tick(60_000)
    assert.equal(node.role, 'follower')
    assert.deepEqual(node.takeSent(), [])
  })

  test('is never asked for a pre-vote or a vote', () => {
    const cluster = new Cluster({ voters: 3, learners: 1 })
    const asked = new Set<string>()
    cluster.advance(testTimings.electionTimeoutMaxMs)
    cluster.tick('n1')
    for (let message = cluster.network.shift(); message !== undefined; message = cluster.network.shift()) {
      if (message.type === 'RequestPreVote' || message.type === 'RequestVote') asked.add(message.to)
      cluster.deliver(message)
    }
    assert.equal(cluster.node('n1').role, 'leader')
    assert.deepEqual([...asked].sort(), ['n2', 'n3'])
  })

  test('does not count towards a majority', () => {
    const cluster = new Cluster({ voters: 2, learners: 3 })
    cluster.elect('n1')
    cluster.isolate('n2')
    cluster.propose('n1')
    cluster.settle()
    assert.equal(cluster.node('n3').disk.lastIndex, 2)
    assert.equal(cluster.node('n1').raft.commitIndex, 1)
  })

  test('that does not hear the leader for long is brought up to date, and nobody noticed', () => {
    const cluster = new Cluster({ voters: 3, learners: 1 })
    cluster.elect('n1')
    cluster.isolate('n4')
    cluster.propose('n1', 20)
    cluster.run(10_000)
    cluster.heal()
    cluster.run(1000)
    assert.equal(cluster.node('n4').raft.commitIndex, 21)
    assert.equal(cluster.node('n1').raft.currentTerm, 1)
  })
})

test('A node that no configuration names waits, and follows whoever leads', () => {
  const node = new TestNode({ id: 'n9', voters: ['n1', 'n2', 'n3'] })
  node.tick(60_000)
  assert.equal(node.role, 'follower')
})
