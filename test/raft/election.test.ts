// §5.2 and §5.4.1: who starts an election, who votes, who wins.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Cluster } from './cluster.ts'
import { appendEntries, requestVote } from './entries.ts'
import { Random } from './random.ts'
import { candidate, follower, leader, precandidate } from './roles.ts'
import { TestNode, testTimings } from './test-node.ts'

test('A node starts as a follower without a leader, in the term that its disk holds', () => {
  const node = new TestNode({ log: [1, 3], currentTerm: 5, votedFor: 'n3' })
  assert.equal(node.role, 'follower')
  assert.equal(node.raft.currentTerm, 5)
  assert.equal(node.raft.votedFor, 'n3')
  assert.equal(node.raft.leader, null)
  assert.equal(node.raft.commitIndex, 0)
})

test('A leader sends heartbeats to all at the interval, and not before', () => {
  const node = leader()
  node.tick(testTimings.heartbeatIntervalMs - 1)
  assert.deepEqual(node.takeSent(), [])
  node.tick(1)
  assert.deepEqual(
    node.takeSentOf('AppendEntries').map(({ to, term, entries }) => [to, term, entries.length]),
    [
      ['n2', 1, 0],
      ['n3', 1, 0],
    ],
  )
})

test('A follower whose election timeout passes asks everybody for a pre-vote, and raises no term yet', () => {
  const node = follower({ currentTerm: 4, log: [1, 2] })
  node.tick(testTimings.electionTimeoutMinMs - 1)
  assert.equal(node.role, 'follower')
  node.tick(testTimings.electionTimeoutMaxMs)
  assert.equal(node.role, 'precandidate')
  assert.equal(node.raft.currentTerm, 4)
  assert.deepEqual(
    node.takeSentOf('RequestPreVote').map(({ to, term, lastEntry }) => [to, term, lastEntry]),
    [
      ['n2', 5, { term: 2, index: 2 }],
      ['n3', 5, { term: 2, index: 2 }],
    ],
  )
})

test('With the pre-votes of a majority it raises the term, votes for itself, and asks everybody with its log’s end', () => {
  const node = precandidate({ currentTerm: 4, log: [1, 2] })
  node.receive({ type: 'RequestPreVoteResponse', from: 'n3', to: 'n1', term: 5, voteGranted: true })
  assert.equal(node.role, 'candidate')
  assert.equal(node.raft.currentTerm, 5)
  assert.equal(node.raft.votedFor, 'n1')
  assert.deepEqual(
    node.takeSentOf('RequestVote').map(({ to, term, lastEntry }) => [to, term, lastEntry]),
    [
      ['n2', 5, { term: 2, index: 2 }],
      ['n3', 5, { term: 2, index: 2 }],
    ],
  )
})

test('A candidate whose election has no winner tries again after another timeout', () => {
  const node = candidate({ currentTerm: 4 })
  node.tick(testTimings.electionTimeoutMaxMs)
  assert.equal(node.role, 'precandidate')
  node.receive({ type: 'RequestPreVoteResponse', from: 'n2', to: 'n1', term: 6, voteGranted: true })
  assert.equal(node.role, 'candidate')
  assert.equal(node.raft.currentTerm, 6)
})

describe('An election in one round', () => {
  const table: readonly [voters: number, granted: number, refused: number, role: string][] = [
    [1, 0, 0, 'leader'],
    [3, 2, 0, 'leader'],
    [3, 1, 0, 'leader'],
    [3, 0, 0, 'candidate'],
    [3, 0, 1, 'candidate'],
    [3, 0, 2, 'follower'],
    [5, 4, 0, 'leader'],
    [5, 2, 0, 'leader'],
    [5, 2, 2, 'leader'],
    [5, 1, 2, 'candidate'],
    [5, 1, 0, 'candidate'],
    [5, 1, 3, 'follower'],
    [5, 0, 3, 'follower'],
    [7, 3, 0, 'leader'],
    [7, 2, 3, 'candidate'],
  ]
  for (const [voters, granted, refused, role] of table) {
    test(`${voters} voters, ${granted} grant, ${refused} refuse: ${role}`, () => {
      const ids = Array.from({ length: voters }, (_, i) => `n${i + 1}`)
      const node = candidate({ voters: ids })
      for (let i = 0; i < granted + refused; i++) {
        if (node.role !== 'candidate') break
        const from = `n${i + 2}`
        node.receive({ type: 'RequestVoteResponse', from, to: 'n1', term: 1, voteGranted: i < granted })
      }
      assert.equal(node.role, role)
      assert.equal(node.raft.currentTerm, 1)
    })
  }
})

test('One voter’s answer counts once, and its first answer stands', () => {
  const node = candidate({ voters: ['n1', 'n2', 'n3', 'n4', 'n5'] })
  const answer = (voteGranted: boolean) =>
    ({ type: 'RequestVoteResponse', from: 'n2', to: 'n1', term: 1, voteGranted }) as const
  node.receive(answer(true), answer(true), answer(true), answer(false))
  assert.equal(node.role, 'candidate')
})

test('Votes from those who are not voters count for nothing', () => {
  const node = candidate()
  for (const from of ['n7', 'n8']) {
    node.receive({ type: 'RequestVoteResponse', from, to: 'n1', term: 1, voteGranted: true })
  }
  assert.equal(node.role, 'candidate')
})

describe('One vote a term, first come, first served', () => {
  const table: readonly [votedFor: string | null, candidateId: string, granted: boolean][] = [
    [null, 'n2', true],
    [null, 'n3', true],
    ['n2', 'n2', true],
    ['n2', 'n3', false],
    ['n1', 'n2', false],
  ]
  for (const [votedFor, from, granted] of table) {
    test(`voted for ${votedFor ?? 'nobody'}, ${from} asks: ${granted ? 'granted' : 'refused'}`, () => {
      const node = new TestNode({ currentTerm: 1, votedFor })
      node.receive(requestVote({ from, term: 1 }))
      assert.deepEqual(
        node.takeSentOf('RequestVoteResponse').map(({ to, voteGranted }) => [to, voteGranted]),
        [[from, granted]],
      )
    })
  }
})

describe('A vote goes only to a log that is as up to date as the voter’s', () => {
  const table: readonly [mine: readonly number[], term: number, index: number, granted: boolean][] = [
    [[1], 1, 1, true],
    [[1], 1, 2, true],
    [[1, 1], 1, 1, false],
    [[1], 2, 1, true],
    [[1, 1], 2, 1, true],
    [[2], 1, 1, false],
    [[2], 1, 9, false],
    [[2, 2], 2, 1, false],
    [[1, 1], 2, 2, true],
    [[], 0, 0, true],
    [[1], 0, 0, false],
  ]
  for (const [log, term, index, granted] of table) {
    test(`mine ${JSON.stringify(log)}, its last entry ${term}/${index}: ${granted ? 'granted' : 'refused'}`, () => {
      const node = new TestNode({ log, currentTerm: 2 })
      node.receive(requestVote({ term: 3, lastEntry: { term, index } }))
      assert.deepEqual(
        node.takeSentOf('RequestVoteResponse').map((answer) => answer.voteGranted),
        [granted],
      )
    })
  }
})

describe('A candidate that hears the leader of its term or a newer one follows it', () => {
  for (const [name, make] of Object.entries({ precandidate, candidate })) {
    for (const ahead of [0, 1]) {
      test(`a ${name}, the leader's term ${ahead === 0 ? 'is the same' : 'is newer'}`, () => {
        const node = make({ currentTerm: 4 })
        const term = node.raft.currentTerm + ahead
        node.receive(appendEntries({ term }))
        assert.equal(node.role, 'follower')
        assert.equal(node.raft.leader, 'n2')
        assert.equal(node.raft.currentTerm, term)
      })
    }
  }
})

test('Election timeouts vary over the whole range', () => {
  const random = new Random(7)
  const seen = new Set<number>()
  for (let i = 0; i < 200; i++) {
    const node = new TestNode({ random: random.next })
    let waitedMs = 0
    while (node.role === 'follower') {
      node.tick(50)
      waitedMs += 50
    }
    seen.add(waitedMs)
    assert(waitedMs >= testTimings.electionTimeoutMinMs && waitedMs <= testTimings.electionTimeoutMaxMs)
  }
  assert(seen.size >= 15, `Only ${seen.size} different timeouts`)
})

test('Two followers rarely time out within one heartbeat of each other’s round trip', () => {
  const random = new Random(11)
  const timeout = () => {
    const { role } = new TestNode({ random: random.next }).raft
    return role.name === 'follower' ? role.electionDeadlineMs : 0
  }
  let collisions = 0
  for (let i = 0; i < 500; i++) {
    const [first = 0, second = 0] = [timeout(), timeout(), timeout(), timeout()].sort((a, b) => a - b)
    if (second - first < 10) collisions++
  }
  assert(collisions < 50, `${collisions} collisions in 500 elections`)
})

test('Every node can win', () => {
  const cluster = new Cluster({ voters: 3 })
  for (const id of ['n1', 'n2', 'n3', 'n1', 'n3']) {
    cluster.elect(id)
    cluster.propose(id)
    cluster.settle()
    for (const node of cluster.nodes.values()) assert.equal(node.raft.leader, id)
  }
})

test('Of two candidates that split the vote, the one that times out first wins the next term', () => {
  const cluster = new Cluster({ voters: 4 })
  cluster.advance(testTimings.electionTimeoutMaxMs)
  cluster.tick('n1', 'n2')
  // n1 gets the promises of n3, n2 those of n4, and each raises the term before it hears of the other.
  cluster.cut('n1', 'n4')
  cluster.cut('n2', 'n3')
  cluster.settle()
  assert.equal(cluster.leader(), null)
  const term = cluster.node('n1').raft.currentTerm
  cluster.heal()
  cluster.elect('n2')
  assert.equal(cluster.node('n2').raft.currentTerm, term + 1)
})

test('A candidate that was cut off concedes to the leader, and its log is brought in line', () => {
  const cluster = new Cluster({ voters: 3 })
  cluster.elect('n1')
  cluster.isolate('n1')
  cluster.propose('n1')
  cluster.elect('n3')
  cluster.propose('n3')
  cluster.settle()
  cluster.heal()
  cluster.heartbeat()
  assert.equal(cluster.node('n1').role, 'follower')
  for (const node of cluster.nodes.values()) {
    assert.deepEqual(node.terms, cluster.node('n3').terms)
    assert.equal(node.raft.commitIndex, 3)
  }
})

test('A leader overwrites newer entries that were never committed', () => {
  // n1 and n2 each led once and reached nobody: n1 in term 1 replicated to n3, n2 in term 2 did not; n4 and n5 saw nothing but voted in 2.
  const cluster = new Cluster({
    voters: 5,
    logs: { n1: [1], n2: [2], n3: [1] },
    currentTerms: { n4: 2, n5: 2 },
  })
  cluster.advance(testTimings.electionTimeoutMaxMs)
  cluster.tick('n1')
  cluster.settle()
  // The first pre-vote met the newer term, the next one is for the term after it.
  cluster.elect('n1')
  assert.equal(cluster.node('n1').raft.currentTerm, 3)
  for (const node of cluster.nodes.values()) assert.deepEqual(node.terms, [1, 3], node.id)
})

test('A candidate that lost ignores its own vote when that becomes durable late', () => {
  const node = precandidate({ currentTerm: 4 })
  node.holdSaves = true
  node.receive({ type: 'RequestPreVoteResponse', from: 'n2', to: 'n1', term: 5, voteGranted: true })
  for (const from of ['n2', 'n3']) {
    node.receive({ type: 'RequestVoteResponse', from, to: 'n1', term: 5, voteGranted: false })
  }
  assert.equal(node.role, 'follower')
  node.completeSaves()
  assert.equal(node.role, 'follower')
})
