// Reads by lease (§6.4.1 of Ongaro's thesis): what a voter promises it keeps, whatever happens to it; and what a leader counts ends before that.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { NodeId } from '../../src/raft/entry.ts'
import type { RaftOptions } from '../../src/raft/state.ts'
import { Cluster } from './cluster.ts'
import { accepted, appendEntries, installSnapshot, requestPreVote, requestVote, snapshotOf } from './entries.ts'
import { follower, leader, precandidate } from './roles.ts'
import { TestNode, testTimings } from './test-node.ts'

const { electionTimeoutMinMs, electionTimeoutMaxMs, heartbeatIntervalMs } = testTimings
const leases = { leaseReads: true, waitsAfterRestart: true } as const
const lastEntry = { term: 9, index: 9 }

/** Follows n2 in term 1, unless set up otherwise, and is bound by its promise alone. */
function boundFollower(setup: { readonly currentTerm?: number; readonly options?: Partial<RaftOptions> } = {}) {
  return follower({ ...setup, options: { leaseReads: true, ...setup.options } })
}

function lastPreVote(node: TestNode): boolean | undefined {
  return node.takeSentOf('RequestPreVoteResponse').at(-1)?.voteGranted
}

/** Asks for a vote in a later term, as who won a pre-vote does. */
function askVote(node: TestNode, term: number, leadershipTransfer = false): boolean {
  node.receive(requestVote({ from: 'n3', term, lastEntry, leadershipTransfer }))
  return node.takeSentOf('RequestVoteResponse').some(({ voteGranted }) => voteGranted)
}

describe('What a follower promises', () => {
  const rejectable = { term: 7, index: 7 }
  for (const [what, prev] of [
    ['accepts', undefined],
    ['refuses', rejectable],
  ] as const) {
    test(`an election timeout, to the leader whose entries it ${what}`, () => {
      const node = boundFollower({ options: { electionTimeoutMinMs: 1000.5 } })
      node.receive(appendEntries({ term: 1, round: 3, ...(prev === undefined ? {} : { prev }) }))
      assert.deepEqual(
        node.takeSentOf('AppendEntriesResponse').map(({ success, round, leaseMs }) => [success, round, leaseMs]),
        [[prev === undefined, 3, 1000]],
      )
    })
  }

  test('nothing without LEASE_READS', () => {
    const node = boundFollower({ options: { leaseReads: false } })
    node.receive(appendEntries({ term: 1, round: 3 }))
    assert.deepEqual(
      node.takeSentOf('AppendEntriesResponse').map(({ leaseMs }) => leaseMs),
      [0],
    )
    node.step({ type: 'peerDown', id: 'n2' })
    assert.equal(askVote(node, 2), true)
  })

  test('nothing to a leader of an older term, nor for a snapshot', () => {
    const node = boundFollower({ currentTerm: 4 })
    node.receive(appendEntries({ from: 'n3', term: 3, round: 3 }), installSnapshot(4, snapshotOf(2, 5)))
    assert.deepEqual(
      node.takeSentOf('AppendEntriesResponse').map(({ round, leaseMs }) => [round, leaseMs]),
      [
        [0, 0],
        [0, 0],
      ],
    )
  })
})

describe('A promise is kept', () => {
  const events: Readonly<Record<string, (node: TestNode) => void>> = {
    'when the connection to the leader is closed': (node) => node.step({ type: 'peerDown', id: 'n2' }),
    'when it hears of a newer term': (node) =>
      node.receive({ type: 'RequestPreVoteResponse', from: 'n3', to: 'n1', term: 5, voteGranted: false }),
    'when both happen': (node) => {
      node.step({ type: 'peerDown', id: 'n2' })
      node.receive({ type: 'ReadIndexResponse', from: 'n3', to: 'n1', term: 5, readId: 1, index: null })
    },
  }
  for (const [when, happens] of Object.entries(events)) {
    test(`${when}: no pre-vote, no vote, no candidacy, until its time is over`, () => {
      const node = boundFollower({ currentTerm: 4 })
      happens(node)
      const { currentTerm } = node.raft
      for (const atMs of [0, electionTimeoutMinMs - 1]) {
        node.tick(atMs)
        node.receive(requestPreVote({ from: 'n3', term: 6, lastEntry }))
        assert.equal(lastPreVote(node), false)
        assert.equal(askVote(node, 6), false)
        assert.equal(node.raft.currentTerm, currentTerm, 'the term of such a candidate is not even adopted')
        assert.equal(node.role, 'follower')
      }
      node.tick(1)
      assert.equal(askVote(node, 6), true)
    })
  }

  test('when the term of the candidate is its own by now', () => {
    const node = boundFollower({ currentTerm: 4 })
    node.receive({ type: 'RequestPreVoteResponse', from: 'n3', to: 'n1', term: 5, voteGranted: false })
    assert.equal(node.raft.currentTerm, 5)
    assert.equal(askVote(node, 5), false)
    node.clock.nowMs += electionTimeoutMinMs
    assert.equal(askVote(node, 5), true)
  })

  test('from when the last request reached it, not from the first', () => {
    const node = boundFollower()
    node.clock.nowMs += electionTimeoutMinMs - 1
    node.receive(appendEntries({ term: 1 }))
    node.step({ type: 'peerDown', id: 'n2' })
    node.clock.nowMs += electionTimeoutMinMs - 1
    assert.equal(askVote(node, 2), false)
    node.clock.nowMs += 1
    assert.equal(askVote(node, 2), true)
  })

  test('when the connection to the leader is closed: it stands for election soon after its promise, and not before', () => {
    for (const value of [0, 0.5, 0.999]) {
      const node = boundFollower({ options: { random: () => value } })
      node.step({ type: 'peerDown', id: 'n2' })
      let waitedMs = 0
      while (node.role === 'follower') {
        node.tick(1)
        waitedMs++
      }
      assert(
        waitedMs >= electionTimeoutMinMs && waitedMs <= 1.1 * electionTimeoutMinMs + 1,
        `It stood for election after ${waitedMs} ms`,
      )
    }
  })

  test('and whoever asked meanwhile is answered when it is over', () => {
    const node = boundFollower()
    node.step({ type: 'peerDown', id: 'n2' })
    node.receive(requestPreVote({ from: 'n3', term: 2, lastEntry }))
    assert.equal(lastPreVote(node), false)
    node.tick(electionTimeoutMinMs - 1)
    assert.deepEqual(node.takeSent(), [])
    node.tick(1)
    assert.deepEqual(
      node.takeSentOf('RequestPreVoteResponse').map(({ to, term, voteGranted }) => [to, term, voteGranted]),
      [['n3', 2, true]],
    )
    node.tick(1)
    assert.deepEqual(node.takeSent(), [], 'once')
  })

  test('and whoever asked before the leader was heard again is not answered any more', () => {
    const node = boundFollower()
    node.receive(requestPreVote({ from: 'n3', term: 2, lastEntry }), appendEntries({ term: 1 }))
    node.takeSent()
    node.tick(electionTimeoutMinMs)
    assert.deepEqual(node.takeSent(), [])
  })

  test('but not against the leader itself, when it hands over: its heir stands for election and is voted for at once', () => {
    const heir = boundFollower({ currentTerm: 4 })
    heir.receive({ type: 'TimeoutNow', from: 'n2', to: 'n1', term: 4 })
    assert.equal(heir.role, 'candidate')
    const voter = boundFollower({ currentTerm: 4 })
    assert.equal(askVote(voter, 5, true), true)
  })
})

describe('A node that was restarted', () => {
  const options = { leaseReads: true, waitsAfterRestart: true }

  for (const leaseReads of [true, false]) {
    test(`keeps to what it may have promised before, with LEASE_READS ${leaseReads ? 'on' : 'off by now'}`, () => {
      const node = boundFollower({ currentTerm: 4 })
      node.clock.nowMs += 100
      node.crash()
      node.restart({ leaseReads, waitsAfterRestart: true })
      for (const afterMs of [0, electionTimeoutMinMs - 1]) {
        node.tick(afterMs)
        node.receive(requestPreVote({ from: 'n3', term: 5, lastEntry }))
        assert.equal(lastPreVote(node), false)
        assert.equal(askVote(node, 5), false)
        assert.equal(node.role, 'follower')
      }
      node.tick(1)
      assert.equal(lastPreVote(node), true, 'and who asked meanwhile is answered')
      assert.equal(askVote(node, 5), true)
    })
  }

  test('votes at once when a leader hands over', () => {
    const node = new TestNode({ options, currentTerm: 4, log: [4] })
    assert.equal(askVote(node, 5, true), true)
    const heir = new TestNode({ options, currentTerm: 4, log: [4] })
    heir.receive({ type: 'TimeoutNow', from: 'n2', to: 'n1', term: 4 })
    assert.equal(heir.role, 'candidate')
  })

  test('does not wait when it never had a term, and so never promised', () => {
    const node = new TestNode({ options })
    node.receive(requestPreVote({ from: 'n3', term: 1 }))
    assert.equal(lastPreVote(node), true)
    assert.equal(askVote(node, 1), true)
  })

  test('does not wait when it was founded as the only voter', () => {
    const node = new TestNode({ options, voters: ['n1'], currentTerm: 4 })
    node.tick()
    assert.equal(node.role, 'leader')
  })

  test('waits when it is the only voter that is left', () => {
    const configuration = { ...snapshotOf(4, 5).configuration, index: 3 }
    const alone = { index: 3, configuration: { members: configuration.configuration.members.slice(0, 1) } }
    const snapshot = snapshotOf(4, 5, { configuration: alone })
    const node = new TestNode({ options, snapshot, voters: ['n1'], currentTerm: 4 })
    node.tick(electionTimeoutMinMs - 1)
    assert.equal(node.role, 'follower')
    node.tick(0.1 * electionTimeoutMinMs + 1)
    assert.equal(node.role, 'leader')
  })

  test('elects with others that were restarted in its first election, as soon as the last of them is free', () => {
    const cluster = new Cluster({ voters: 3, logs: { n1: [1], n2: [1], n3: [1] }, committed: [1], options })
    cluster.crash('n3')
    for (const id of ['n1', 'n2']) cluster.crash(id)
    cluster.restart('n1')
    cluster.advance(electionTimeoutMinMs - 1)
    cluster.restart('n2')
    cluster.run(electionTimeoutMinMs - 50)
    assert.equal(cluster.leader(), null)
    cluster.run(100)
    assert.notEqual(cluster.leader(), null)
  })
})

/** Of term 1, its no-op committed by answers without a promise; nothing is under way. */
function settledLeader(options: Partial<RaftOptions> = {}, voters: readonly NodeId[] = ['n1', 'n2', 'n3']): TestNode {
  const node = leader({ voters, options: { ...leases, ...options } })
  for (const id of voters.slice(1)) node.receive(accepted(1, 1, id))
  node.takeSent()
  return node
}

/** Lets the heartbeat go out, and returns its round. */
function beat(node: TestNode): number {
  node.tick(heartbeatIntervalMs)
  return Math.max(...node.takeSentOf('AppendEntries').map(({ round }) => round))
}

function promise(node: TestNode, round: number, from: NodeId, leaseMs = electionTimeoutMinMs): void {
  node.receive({ ...accepted(node.raft.currentTerm, node.raft.log.lastIndex, from, round), leaseMs })
}

function leaseAt(node: TestNode, nowMs = node.clock.nowMs): number | null {
  return node.raft.leaseReadIndex(nowMs)
}

describe('A leader holds a lease', () => {
  test('from when it sent what a majority answered, for as long as they promised, less the drift of two clocks', () => {
    const node = settledLeader({ maxClockDriftPpm: 10_000 })
    const round = beat(node)
    const sentMs = node.clock.nowMs
    assert.equal(leaseAt(node), null)
    node.clock.nowMs += 500
    promise(node, round, 'n2')
    assert.equal(leaseAt(node), 1)
    assert.equal(leaseAt(node, sentMs + 979.9), 1)
    assert.equal(leaseAt(node, sentMs + 980), null)
  })

  test('with the index that is committed by then', () => {
    const node = settledLeader()
    promise(node, beat(node), 'n2')
    node.propose(1)
    assert.equal(leaseAt(node), 1)
    node.receive(accepted(1, 2, 'n3'))
    assert.equal(leaseAt(node), 2)
  })

  test('of five voters, by the promises of two others', () => {
    const node = settledLeader({}, ['n1', 'n2', 'n3', 'n4', 'n5'])
    const round = beat(node)
    promise(node, round, 'n2')
    promise(node, round, 'n2')
    assert.equal(leaseAt(node), null)
    promise(node, round, 'n5')
    assert.equal(leaseAt(node), 1)
  })

  test('as long as the second longest promise of others lasts, each from its own round', () => {
    const node = settledLeader({ maxClockDriftPpm: 1 }, ['n1', 'n2', 'n3', 'n4', 'n5'])
    const firstMs = node.clock.nowMs + heartbeatIntervalMs
    promise(node, beat(node), 'n2')
    promise(node, beat(node), 'n3')
    promise(node, beat(node), 'n4', 100)
    assert.equal(leaseAt(node, firstMs + electionTimeoutMinMs - 1), 1)
    assert.equal(leaseAt(node, firstMs + electionTimeoutMinMs), null)
  })

  test('for no longer than its own election timeout', () => {
    const node = settledLeader({ maxClockDriftPpm: 1 })
    promise(node, beat(node), 'n2', 60_000)
    assert.equal(leaseAt(node, node.clock.nowMs + electionTimeoutMinMs - 1), 1)
    assert.equal(leaseAt(node, node.clock.nowMs + electionTimeoutMinMs), null)
  })

  test('alone, as the only voter', () => {
    const node = leader({ voters: ['n1'], options: leases })
    assert.equal(leaseAt(node), 1)
  })

  test('while its disk hangs, until it gives way', () => {
    const node = settledLeader()
    promise(node, beat(node), 'n2')
    node.holdSaves = true
    node.propose(1)
    node.receive(accepted(1, 2, 'n2'), accepted(1, 2, 'n3'))
    assert.equal(leaseAt(node), 2, 'the majority has it')
    node.storage(true, false)
    node.tick(electionTimeoutMinMs / 2)
    assert.equal(leaseAt(node), null)
  })

  test('whatever its connections say', () => {
    const node = settledLeader()
    promise(node, beat(node), 'n2')
    node.step({ type: 'peerDown', id: 'n2' })
    assert.equal(leaseAt(node), 1)
  })

  test('and remembers no more rounds than it needs, however many there are', () => {
    const node = settledLeader({ maxClockDriftPpm: 1 })
    let round = 0
    for (let n = 0; n < 30_000; n++) {
      node.clock.nowMs += 0.1
      node.step({ type: 'readIndex', readId: n })
      round = Math.max(round, ...node.takeSentOf('AppendEntries').map((message) => message.round))
      if (n % 1000 === 0) promise(node, round, 'n2')
    }
    assert(node.raft.role.name === 'leader')
    assert(node.raft.role.lease.rounds.length <= 101, `${node.raft.role.lease.rounds.length}`)
    // Of a round that is not remembered, one that began up to a hundredth of the election timeout before it is counted.
    promise(node, round, 'n2')
    assert.equal(leaseAt(node, node.clock.nowMs + 0.99 * electionTimeoutMinMs - 1), 1)
    assert.equal(leaseAt(node, node.clock.nowMs + electionTimeoutMinMs), null)
  })
})

describe('No lease', () => {
  const cases: Readonly<Record<string, () => TestNode>> = {
    'without LEASE_READS on the leader': () => {
      const node = settledLeader({ leaseReads: false })
      promise(node, beat(node), 'n2')
      return node
    },
    'of voters without LEASE_READS': () => {
      const node = settledLeader()
      const round = beat(node)
      promise(node, round, 'n2', 0)
      promise(node, round, 'n3', 0)
      return node
    },
    'of a learner': () => {
      const node = leader({ learners: ['n4'], options: leases })
      node.receive(accepted(1, 1, 'n2'))
      node.takeSent()
      promise(node, beat(node), 'n4')
      return node
    },
    'before the no-op of the term is committed': () => {
      const node = leader({ log: [1, 1], options: leases })
      node.receive({ ...accepted(2, 2, 'n2', 1), leaseMs: 1000 })
      return node
    },
    'of a round that began an election timeout ago': () => {
      const node = settledLeader()
      const round = beat(node)
      for (let n = 0; n < 4; n++) promise(node, beat(node), 'n3', 0)
      promise(node, round, 'n2')
      return node
    },
    'on a follower': () => boundFollower(),
    'on a precandidate': () => precandidate({ options: { leaseReads: true } }),
    'once it has heard of a newer term': () => {
      const node = settledLeader()
      promise(node, beat(node), 'n2')
      node.receive({ type: 'RequestVoteResponse', from: 'n3', to: 'n1', term: 2, voteGranted: false })
      return node
    },
  }
  for (const [why, make] of Object.entries(cases)) {
    test(why, () => assert.equal(leaseAt(make()), null))
  }

  test('of mixed voters, when those with LEASE_READS are no majority', () => {
    const node = settledLeader({}, ['n1', 'n2', 'n3', 'n4', 'n5'])
    const round = beat(node)
    for (const id of ['n2', 'n3', 'n4']) promise(node, round, id, id === 'n2' ? electionTimeoutMinMs : 0)
    assert.equal(leaseAt(node), null)
    promise(node, round, 'n5')
    assert.equal(leaseAt(node), 1)
  })
})

describe('A leader that hands over', () => {
  test('gives up its lease with the word to its heir, and for the rest of its term', () => {
    const node = settledLeader()
    promise(node, beat(node), 'n2')
    node.propose(1)
    node.step({ type: 'transferLeadership', to: 'n2' })
    assert.equal(leaseAt(node), 1, 'the heir has not the whole log yet, and no word')
    promise(node, 1, 'n2')
    assert.equal(node.takeSentOf('TimeoutNow').length, 1)
    assert.equal(leaseAt(node), null)
    for (let waitedMs = 0; waitedMs <= electionTimeoutMaxMs + heartbeatIntervalMs; waitedMs += heartbeatIntervalMs) {
      const round = beat(node)
      promise(node, round, 'n2')
      promise(node, round, 'n3')
      assert.equal(leaseAt(node), null)
    }
    assert.equal(node.role, 'leader')
    assert.equal(node.propose(1)[0]?.refused, null, 'it leads on')
  })

  test('is no leader by lease any more when its heir commits, though it has not heard of it', () => {
    const cluster = new Cluster({ voters: 3, options: leases })
    cluster.elect('n1')
    cluster.heartbeat()
    assert.equal(leaseAt(cluster.node('n1')), 1)
    cluster.node('n1').step({ type: 'transferLeadership', to: 'n3' })
    cluster.deliver(cluster.node('n1').takeSentOf('TimeoutNow')[0] ?? assert.fail('no word'))
    cluster.isolate('n1')
    cluster.settle()
    assert.equal(cluster.node('n3').role, 'leader')
    cluster.propose('n3')
    cluster.settle()
    assert(cluster.invariants.committedIndex > cluster.node('n1').raft.commitIndex)
    assert.equal(cluster.node('n1').role, 'leader')
  })
})

describe('A leader that is cut off loses its lease before another can be elected', () => {
  const drifts = [500, 50_000, 100_000]
  const others = ['n2', 'n3'] as const

  /**
   * Cuts the leader off and lets the others do what they can to replace it. True time from its last word until its lease ended, and until another
   * led. `forgets`: n2 is restarted, and n3 has promised nothing.
   */
  function contest(maxClockDriftPpm: number, rates: Readonly<Record<NodeId, number>>, forgets: boolean) {
    const cluster = new Cluster({
      voters: 3,
      options: { ...leases, maxClockDriftPpm },
      optionsOf: { n3: { leaseReads: !forgets } },
      clockRates: rates,
    })
    cluster.elect('n1')
    cluster.run(electionTimeoutMaxMs)
    const old = cluster.node('n1')
    cluster.advance(heartbeatIntervalMs / (rates.n1 ?? 1))
    cluster.tick('n1')
    const sentMs = cluster.clock.nowMs
    cluster.settle()
    assert.notEqual(leaseAt(old), null)
    cluster.isolate('n1')
    for (const id of others) cluster.node(id).step({ type: 'peerDown', id: 'n1' })
    if (forgets) {
      cluster.crash('n2')
      cluster.restart('n2')
    }
    const elapsedMs = () => cluster.clock.nowMs - sentMs
    let leaseEndedMs: number | null = null
    while (cluster.leader()?.id === 'n1' && elapsedMs() < 10 * electionTimeoutMaxMs) {
      cluster.advance(1)
      // The clock alone, before anybody moves.
      if (leaseAt(old) === null) leaseEndedMs ??= elapsedMs()
      cluster.tick(...others)
      cluster.settle()
    }
    const now = cluster.leader() ?? assert.fail('nobody leads')
    cluster.propose(now.id)
    cluster.settle()
    return { leaseEndedMs, electedMs: elapsedMs() }
  }

  for (const ppm of drifts) {
    for (const forgets of [false, true]) {
      const what = forgets ? ', and the only one that promised is restarted' : ''
      test(`with clocks that run apart by ${ppm} millionths each${what}`, () => {
        const drift = ppm / 1_000_000
        // The leader's as slow, and the others' as fast, as they may be.
        const worst = { n1: 1 - drift, n2: 1 + drift, n3: 1 + drift }
        const { leaseEndedMs, electedMs } = contest(ppm, worst, forgets)
        assert(leaseEndedMs !== null && leaseEndedMs <= electedMs, `${leaseEndedMs} of ${electedMs} ms`)
        // The slow clock of the leader stretches what it counts, and no more is taken off than that.
        const expectedMs = (electionTimeoutMinMs * (1 - 2 * drift)) / (1 - drift)
        assert(Math.abs(leaseEndedMs - expectedMs) <= 1, `The lease ended after ${leaseEndedMs}, not ${expectedMs} ms`)
      })
    }
  }

  test('with one of them on LEASE_READS, it has none', () => {
    const cluster = new Cluster({
      voters: 3,
      options: { waitsAfterRestart: true },
      optionsOf: { n1: { leaseReads: true } },
    })
    cluster.elect('n1')
    cluster.heartbeat()
    assert.equal(leaseAt(cluster.node('n1')), null)
  })

  test('with two of them on LEASE_READS, the third does not bring another to power against the second', () => {
    const cluster = new Cluster({
      voters: 3,
      options: { waitsAfterRestart: true },
      optionsOf: { n1: { leaseReads: true }, n2: { leaseReads: true } },
    })
    cluster.elect('n1')
    cluster.heartbeat()
    const old = cluster.node('n1')
    assert.equal(leaseAt(old), 1)
    cluster.isolate('n1')
    for (const id of others) cluster.node(id).step({ type: 'peerDown', id: 'n1' })
    for (let waitedMs = 0; leaseAt(old) !== null; waitedMs += 10) {
      assert(waitedMs < electionTimeoutMinMs)
      cluster.advance(10)
      cluster.tick(...others)
      cluster.settle()
      if (leaseAt(old) !== null) assert.equal(cluster.leader()?.id, 'n1')
    }
    cluster.run(electionTimeoutMaxMs)
    assert.notEqual(cluster.leader()?.id, 'n1')
  })
})

test('When the leader dies and all of its connections with it, another leads soon after the promises to it are over', () => {
  const cluster = new Cluster({ voters: 3, options: leases })
  cluster.elect('n1')
  cluster.heartbeat()
  cluster.crash('n1')
  for (const id of ['n2', 'n3']) cluster.node(id).step({ type: 'peerDown', id: 'n1' })
  let waitedMs = 0
  for (; cluster.leader() === null && waitedMs < electionTimeoutMaxMs; waitedMs += 5) {
    cluster.advance(5)
    cluster.tickAll()
    cluster.settle()
  }
  assert(waitedMs >= electionTimeoutMinMs && waitedMs <= 1.2 * electionTimeoutMinMs, `It took ${waitedMs} ms`)
})
