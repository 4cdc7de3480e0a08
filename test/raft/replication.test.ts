// §5.3 and §5.4.2 from the leader's side: append, replicate, and what counts as committed.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Cluster } from './cluster.ts'
import { accepted, appendEntries, rejected } from './entries.ts'
import { follower, leader } from './roles.ts'
import { TestNode, testTimings } from './test-node.ts'

const five = ['n1', 'n2', 'n3', 'n4', 'n5']

test('A new leader begins with a no-op of its term', () => {
  const node = leader({ log: [1, 2] })
  assert.deepEqual(node.terms, [1, 2, 3])
  assert.equal(node.disk.entries.at(-1)?.kind, 'noop')
})

test('What a client proposes is appended, saved, and sent to every follower with the entry before it', () => {
  const node = leader()
  node.receive(accepted(1, 1, 'n2'), accepted(1, 1, 'n3'))
  node.takeSent()
  const [outcome] = node.propose(10)
  assert.deepEqual(outcome, { origin: 1, sequence: 1, accepted: { term: 1, index: 2 }, refused: null })
  assert.equal(node.disk.lastIndex, 2)
  const requests = node.takeSentOf('AppendEntries')
  assert.deepEqual(
    requests.map(({ to, prev, entries, leaderCommit }) => [
      to,
      prev,
      entries.map((entry) => entry.index),
      leaderCommit,
    ]),
    [
      ['n2', { term: 1, index: 1 }, [2], 1],
      ['n3', { term: 1, index: 1 }, [2], 1],
    ],
  )
  // Encoded once: the very same record goes to the disk and to everybody.
  for (const { entries } of requests) assert.equal(entries[0]?.record, node.disk.entries[1]?.record)
})

test('A follower never takes a proposal as its own', () => {
  const node = follower()
  assert.deepEqual(
    node.propose(1, 1).map((outcome) => [outcome.sequence, outcome.accepted, outcome.refused]),
    [
      [1, null, 'not-leader'],
      [2, null, 'not-leader'],
    ],
  )
  assert.equal(node.raft.log.lastIndex, 0)
})

describe('An entry commits when a majority holds it', () => {
  const table: readonly [voters: number, acceptors: number, committed: boolean][] = [
    [1, 0, true],
    [2, 0, false],
    [2, 1, true],
    [3, 0, false],
    [3, 1, true],
    [3, 2, true],
    [5, 1, false],
    [5, 2, true],
    [5, 4, true],
    [7, 2, false],
    [7, 3, true],
  ]
  for (const [voters, acceptors, committed] of table) {
    test(`${voters} voters, ${acceptors} beside the leader: ${committed ? 'committed' : 'not yet'}`, () => {
      const node = leader({ voters: Array.from({ length: voters }, (_, i) => `n${i + 1}`) })
      node.propose(1)
      for (let i = 0; i < acceptors; i++) node.receive(accepted(1, 2, `n${i + 2}`))
      assert.equal(node.raft.commitIndex, committed ? 2 : 0)
    })
  }
})

describe('The commit index, from what the others match (the leader, of term 3, holds all)', () => {
  const table: readonly [log: readonly number[], matches: readonly number[], commitIndex: number][] = [
    [[1, 2], [3, 3], 3],
    [[1, 2], [3, 0], 3],
    [[1, 2], [2, 2], 0],
    [[1, 2], [2, 1], 0],
    [[2, 2], [2, 2], 0],
    [[], [1, 1, 0, 0], 1],
    [[], [1, 0, 0, 0], 0],
    [[1, 2], [3, 2, 1, 0], 0],
    [[1, 2], [3, 3, 1, 0], 3],
  ]
  for (const [log, matches, commitIndex] of table) {
    test(`${JSON.stringify(log)} and a no-op; the others match ${matches.join(' ')}: ${commitIndex}`, () => {
      const node = leader({ log, currentTerm: 2, voters: five.slice(0, matches.length + 1) })
      for (const [i, match] of matches.entries()) node.receive(accepted(3, match, `n${i + 2}`))
      assert.equal(node.raft.commitIndex, commitIndex)
    })
  }
})

test('Everything before a committed entry is committed with it, older terms included', () => {
  const node = leader({ log: [1, 2, 2] })
  node.receive(accepted(3, 3, 'n2'), accepted(3, 3, 'n3'))
  assert.equal(node.raft.commitIndex, 0)
  node.receive(accepted(3, 4, 'n2'))
  assert.equal(node.raft.commitIndex, 4)
})

test('A new leader that reaches nobody with its no-op commits nothing, and what it does commit brings the rest along', () => {
  const cluster = new Cluster({ voters: 5 })
  cluster.elect('n1')
  cluster.isolate('n1', 'n2')
  cluster.propose('n1', 2)
  cluster.settle()
  assert.equal(cluster.node('n1').raft.commitIndex, 1)
  cluster.heal()
  // n2 holds both, and leads now; its no-op reaches nobody at first.
  cluster.advance(testTimings.electionTimeoutMaxMs)
  cluster.tick('n1', 'n2')
  while (cluster.node('n2').role !== 'leader') {
    const message = cluster.network.shift() ?? assert.fail('n2 did not win')
    cluster.deliver(message)
  }
  cluster.network = []
  assert.deepEqual(cluster.node('n2').terms, [1, 1, 1, 2])
  assert.equal(cluster.node('n2').raft.commitIndex, 1)
  cluster.heartbeat()
  assert.equal(cluster.node('n2').raft.commitIndex, 4)
})

test('Followers hear of a commit without waiting for the next heartbeat', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.propose('n1')
  cluster.settle()
  for (const node of cluster.nodes.values()) assert.equal(node.raft.commitIndex, 2)
})

test('Messages of an older leader change nothing after a newer one was followed', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.propose('n1')
  const old = cluster.take('AppendEntries', 'n1', 'n3')
  cluster.settle()
  cluster.elect('n2')
  cluster.propose('n2')
  cluster.settle()
  const { terms } = cluster.node('n3')
  cluster.deliver(old)
  assert.deepEqual(cluster.node('n3').terms, terms)
  assert.equal(cluster.node('n3').raft.leader, 'n2')
})

test('Answers to entries of an earlier term of the same leader do not count in its new one', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.isolate('n1')
  cluster.propose('n1')
  cluster.settle()
  cluster.heal()
  cluster.elect('n1')
  const node = cluster.node('n1')
  const commit = node.raft.commitIndex
  cluster.isolate('n1')
  cluster.propose('n1')
  node.receive(accepted(node.raft.currentTerm - 1, node.raft.log.lastIndex, 'n2'))
  assert.equal(node.raft.commitIndex, commit)
})

test('Messages that come reordered and twice lead to the same logs', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  for (let i = 0; i < 4; i++) cluster.propose('n1')
  cluster.network = [...cluster.network, ...cluster.network].reverse()
  cluster.settle()
  cluster.heartbeat()
  for (const node of cluster.nodes.values()) {
    assert.deepEqual(node.terms, [1, 1, 1, 1, 1])
    assert.equal(node.raft.commitIndex, 5)
  }
})

test('A refusal that comes late, below what is known to match, is ignored', () => {
  const node = leader({ log: [1, 1, 1] })
  node.receive(accepted(2, 4, 'n2'))
  node.takeSent()
  node.receive(rejected(2, 3, { term: 1, index: 1 }, 'n2'))
  assert.deepEqual(node.takeSent(), [])
})

test('Conflicts are found in one round trip a term, not one an entry', () => {
  const cluster = new Cluster({
    voters: 3,
    logs: {
      n1: [1, ...Array<number>(50).fill(4), ...Array<number>(50).fill(6)],
      n2: [1, ...Array<number>(60).fill(2), ...Array<number>(60).fill(3)],
      n3: [1],
    },
    currentTerms: { n1: 6, n2: 6, n3: 6 },
  })
  cluster.elect('n1')
  assert.deepEqual(cluster.node('n2').terms, cluster.node('n1').terms)
  const answers = countRefusals({
    leaderLog: [1, ...Array<number>(50).fill(4), ...Array<number>(50).fill(6)],
    followerLog: [1, ...Array<number>(60).fill(2), ...Array<number>(60).fill(3)],
  })
  assert(answers <= 3, `${answers} refusals`)
})

test('A follower that merely lacks the end is found in one refusal', () => {
  assert.equal(countRefusals({ leaderLog: Array<number>(100).fill(1), followerLog: Array<number>(40).fill(1) }), 1)
  assert.equal(countRefusals({ leaderLog: [1, 1, 2, 2, 3, 3], followerLog: [1, 1, 2] }), 1)
})

function countRefusals(logs: {
  readonly leaderLog: readonly number[]
  readonly followerLog: readonly number[]
}): number {
  const node = leader({ log: logs.leaderLog })
  const other = new TestNode({ id: 'n2', log: logs.followerLog, currentTerm: node.raft.currentTerm })
  node.tick(testTimings.heartbeatIntervalMs)
  let refusals = 0
  for (let trips = 0; trips < 300; trips++) {
    const requests = node.takeSentOf('AppendEntries').filter((message) => message.to === 'n2')
    if (requests.length === 0) break
    other.receive(...requests)
    const answers = other.takeSentOf('AppendEntriesResponse')
    refusals += answers.filter((answer) => !answer.success).length
    node.receive(...answers)
    while (node.completeLoad()) {}
  }
  assert.deepEqual(other.terms, node.terms)
  return refusals
}

test('A heartbeat never carries a commit index past what it vouches for', () => {
  const node = follower({ log: [1, 1, 1] })
  node.receive(appendEntries({ term: 1, prev: { term: 1, index: 2 }, leaderCommit: 9 }))
  assert.equal(node.raft.commitIndex, 2)
})
