// A disk that hangs or is full: its node gives leadership away while it can, and goes on with all that needs no room.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { NodeId } from '../../src/raft/entry.ts'
import { Cluster } from './cluster.ts'
import { accepted, acceptedByFull, appendEntries, logOf, requestPreVote, requestVote } from './entries.ts'
import { candidate, follower, leader, precandidate } from './roles.ts'
import { TestNode, testTimings } from './test-node.ts'

const { electionTimeoutMinMs, electionTimeoutMaxMs, heartbeatIntervalMs } = testTimings

function told(node: TestNode): NodeId[] {
  return node.takeSentOf('TimeoutNow').map(({ to }) => to)
}

/** Leads three voters; both others have its log. */
function settledLeader(): TestNode {
  const node = leader()
  node.receive(accepted(1, 1, 'n2'), accepted(1, 1, 'n3'))
  node.takeSent()
  return node
}

describe('A leader whose disk hangs', () => {
  test('hands over at once to one who has the whole log', () => {
    const node = settledLeader()
    node.holdSaves = true
    node.propose(1)
    node.receive(accepted(1, 2, 'n3'))
    node.storage(true, false)
    assert.deepEqual(told(node), ['n3'])
    assert.equal(node.role, 'leader')
  })

  test('hands over to one who gets the rest of the log meanwhile', () => {
    const node = settledLeader()
    node.holdSaves = true
    node.propose(1)
    node.storage(true, false)
    assert.deepEqual(told(node), [])
    assert.equal(node.propose(1)[0]?.refused, 'transferring')
    node.receive(accepted(1, 2, 'n2'))
    node.receive(accepted(1, 2, 'n3'))
    assert.equal(told(node).length, 1)
  })

  test('steps down half an election timeout later when nobody took over, and not before', () => {
    const node = settledLeader()
    node.storage(true, false)
    node.tick(electionTimeoutMinMs / 2 - 1)
    assert.equal(node.role, 'leader')
    node.tick(1)
    assert.equal(node.role, 'follower')
    assert.equal(node.raft.leader, null)
    assert.equal(node.raft.roleReason, 'its disk hangs')
    node.takeSent()
    node.tick(heartbeatIntervalMs)
    assert.deepEqual(node.takeSent(), [])
  })

  test('steps down as well when it has nobody to hand over to', () => {
    const node = new TestNode({ voters: ['n1'] })
    node.tick(electionTimeoutMaxMs)
    node.storage(true, false)
    assert.equal(node.role, 'leader')
    node.tick(electionTimeoutMinMs / 2)
    assert.equal(node.role, 'follower')
  })

  test('goes on when the disk does: what is said of it again later begins anew', () => {
    const node = settledLeader()
    for (let i = 0; i < 4; i++) {
      node.storage(true, false)
      node.tick(electionTimeoutMinMs / 2 - 1)
      node.storage(false, false)
      node.tick(1)
      node.receive(accepted(1, 1, 'n2'), accepted(1, 1, 'n3'))
    }
    assert.equal(node.role, 'leader')
  })

  test('does not count from each time that it is told', () => {
    const node = settledLeader()
    for (let waitedMs = 0; waitedMs < electionTimeoutMinMs / 2; waitedMs += 100) {
      node.storage(true, false)
      node.tick(100)
    }
    assert.equal(node.role, 'follower')
  })

  test('and is full, too, gives way to one that is full rather than to none', () => {
    const node = leader()
    node.receive(acceptedByFull(1, 1, 'n2'))
    node.storage(true, true)
    assert.deepEqual(told(node), ['n2'])
  })

  test('in a cluster: another one leads within an election timeout, and commits', () => {
    const cluster = new Cluster({ voters: 3 })
    cluster.elect('n1')
    const old = cluster.node('n1')
    old.holdSaves = true
    cluster.propose('n1')
    cluster.settle()
    const startedMs = cluster.clock.nowMs
    old.storage(true, false)
    cluster.settle()
    const now = cluster.leader() ?? assert.fail('No leader')
    assert.notEqual(now.id, 'n1')
    assert(cluster.clock.nowMs - startedMs < electionTimeoutMinMs)
    cluster.propose(now.id)
    cluster.settle()
    assert.equal(now.raft.commitIndex, now.raft.log.lastIndex)
    old.storage(false, false)
    old.completeSaves()
    old.holdSaves = false
    cluster.heartbeat()
    assert.equal(old.raft.commitIndex, now.raft.log.lastIndex)
  })
})

describe('While its disk hangs', () => {
  test('a node does not stand for election, and does when it goes on', () => {
    const node = follower()
    node.storage(true, false)
    for (let i = 0; i < 5; i++) node.tick(electionTimeoutMaxMs)
    assert.deepEqual([node.role, node.takeSent()], ['follower', []])
    node.storage(false, false)
    node.tick(electionTimeoutMaxMs)
    assert.equal(node.role, 'precandidate')
  })

  for (const [name, make] of Object.entries({ precandidate, candidate })) {
    test(`a ${name} begins no other election`, () => {
      const node = make()
      node.storage(true, false)
      const { currentTerm } = node.raft
      for (let i = 0; i < 5; i++) node.tick(electionTimeoutMaxMs)
      assert.deepEqual([node.role, node.raft.currentTerm, node.takeSent()], [name, currentTerm, []])
      node.storage(false, false)
      node.tick(electionTimeoutMaxMs)
      assert.deepEqual([node.role, node.takeSent().length], ['precandidate', 2])
    })
  }

  test('a majority that would vote for it does not make it a candidate', () => {
    const node = precandidate()
    node.storage(true, false)
    node.receive({ type: 'RequestPreVoteResponse', from: 'n2', to: 'n1', term: 1, voteGranted: true })
    assert.deepEqual([node.role, node.raft.currentTerm], ['precandidate', 0])
  })

  test('it does not take leadership over', () => {
    const node = follower()
    node.storage(true, false)
    node.receive({ type: 'TimeoutNow', from: 'n2', to: 'n1', term: 1 })
    assert.deepEqual([node.role, node.raft.currentTerm], ['follower', 1])
  })

  test('it answers heartbeats', () => {
    const node = follower({ log: [1] })
    node.storage(true, false)
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 1 } }))
    assert.equal(node.takeSentOf('AppendEntriesResponse')[0]?.success, true)
  })
})

describe('A leader whose disk is full', () => {
  test('refuses proposals, and takes them again when there is room', () => {
    const node = leader()
    node.storage(false, true)
    assert.deepEqual(
      node.propose(1, 1).map(({ accepted, refused }) => [accepted, refused]),
      [
        [null, 'storage-full'],
        [null, 'storage-full'],
      ],
    )
    assert.equal(node.raft.log.lastIndex, 1)
    node.storage(false, false)
    assert.equal(node.propose(1)[0]?.refused, null)
  })

  test('answers reads', () => {
    const node = settledLeader()
    node.receive(acceptedByFull(1, 1, 'n2'), acceptedByFull(1, 1, 'n3'))
    node.storage(false, true)
    node.step({ type: 'readIndex', readId: 1 })
    const round = Math.max(...node.takeSentOf('AppendEntries').map((message) => message.round))
    node.receive(accepted(1, 1, 'n2', round))
    assert.deepEqual(node.reads, [{ readId: 1, index: 1 }])
  })

  test('hands over to the voter with room, though another one has the longer log', () => {
    const node = settledLeader()
    node.propose(1)
    node.receive(acceptedByFull(1, 2, 'n2'), accepted(1, 1, 'n3'))
    node.takeSent()
    node.storage(false, true)
    assert.deepEqual(told(node), [])
    node.receive(accepted(1, 2, 'n3'))
    assert.deepEqual(told(node), ['n3'])
  })

  test('stays when none has room, and gives way as soon as one has', () => {
    const node = settledLeader()
    node.receive(acceptedByFull(1, 1, 'n2'), acceptedByFull(1, 1, 'n3'))
    node.storage(false, true)
    const beat = () => {
      node.receive(acceptedByFull(1, 1, 'n2'), acceptedByFull(1, 1, 'n3'))
      node.tick(heartbeatIntervalMs)
    }
    for (let waitedMs = 0; waitedMs < 3 * electionTimeoutMaxMs; waitedMs += heartbeatIntervalMs) beat()
    assert.deepEqual([node.role, told(node)], ['leader', []])
    node.receive(accepted(1, 1, 'n2'))
    node.tick()
    assert.deepEqual(told(node), ['n2'])
  })

  test('hands over to nobody of whom it does not know whether there is room, nor who was not heard for long', () => {
    const unheard = leader()
    unheard.storage(false, true)
    unheard.receive(acceptedByFull(1, 1, 'n2'))
    unheard.tick()
    assert.deepEqual(told(unheard), [])
    const silent = settledLeader()
    silent.tick(electionTimeoutMinMs)
    silent.receive(acceptedByFull(1, 1, 'n2'))
    silent.tick(heartbeatIntervalMs)
    silent.storage(false, true)
    assert.deepEqual(told(silent), [])
  })

  test('hands over to no learner', () => {
    const node = leader({ learners: ['n4'] })
    node.receive(acceptedByFull(1, 1, 'n2'), acceptedByFull(1, 1, 'n3'), accepted(1, 1, 'n4'))
    node.storage(false, true)
    assert.deepEqual(told(node), [])
  })

  test('tries again when the other does not take over in time', () => {
    const node = settledLeader()
    node.storage(false, true)
    const first = told(node)
    for (let waitedMs = 0; waitedMs <= electionTimeoutMaxMs; waitedMs += heartbeatIntervalMs) {
      node.receive(accepted(1, 1, 'n2'), accepted(1, 1, 'n3'))
      node.tick(heartbeatIntervalMs)
    }
    assert.deepEqual([first.length, told(node).length], [1, 1])
  })
})

describe('A follower whose disk is full', () => {
  function fullFollower(): TestNode {
    const node = follower({ log: [1] })
    node.storage(false, true)
    return node
  }

  test('says so in every answer, and appends all the same', () => {
    const node = fullFollower()
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 1 }, entries: logOf([1], 2) }))
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 2 } }))
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 9 } }))
    assert.deepEqual(
      node.takeSentOf('AppendEntriesResponse').map(({ success, isStorageFull }) => [success, isStorageFull]),
      [
        [true, true],
        [true, true],
        [false, true],
      ],
    )
    assert.equal(node.disk.lastIndex, 2)
    node.storage(false, false)
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 2 } }))
    assert.equal(node.takeSentOf('AppendEntriesResponse')[0]?.isStorageFull, false)
  })

  test('votes', () => {
    const node = fullFollower()
    node.step({ type: 'peerDown', id: 'n2' })
    node.receive(requestPreVote({ from: 'n3', term: 2, lastEntry: { term: 1, index: 1 } }))
    node.receive(requestVote({ from: 'n3', term: 2, lastEntry: { term: 1, index: 1 } }))
    assert.deepEqual(
      node.takeSent().map((message) => 'voteGranted' in message && message.voteGranted),
      [true, true],
    )
  })
})

describe('In a cluster', () => {
  function leads(cluster: Cluster): NodeId {
    return (cluster.leader() ?? assert.fail('No leader')).id
  }

  test('leadership goes to the one node that has room, wherever it was, and stays there', () => {
    const cluster = new Cluster({ voters: 3 })
    cluster.elect('n1')
    for (const id of ['n1', 'n2']) cluster.node(id).storage(false, true)
    cluster.run(electionTimeoutMaxMs)
    assert.equal(leads(cluster), 'n3')
    const { currentTerm } = cluster.node('n3').raft
    cluster.run(5 * electionTimeoutMaxMs)
    assert.deepEqual([leads(cluster), cluster.node('n3').raft.currentTerm], ['n3', currentTerm])
    cluster.propose('n3')
    cluster.settle()
    assert.equal(cluster.node('n1').disk.lastIndex, cluster.node('n3').raft.log.lastIndex)
  })

  test('when all are full nobody is passed leadership from hand to hand; with room again all goes on', () => {
    const cluster = new Cluster({ voters: 3 })
    for (const id of cluster.voters) cluster.node(id).storage(false, true)
    cluster.elect('n1')
    cluster.run(5 * electionTimeoutMaxMs)
    assert.deepEqual([leads(cluster), cluster.node('n1').raft.currentTerm], ['n1', 1])
    cluster.propose('n1')
    assert.equal(cluster.node('n1').raft.log.lastIndex, 1)
    for (const id of cluster.voters) cluster.node(id).storage(false, false)
    cluster.propose('n1')
    cluster.settle()
    assert.equal(cluster.node('n2').raft.commitIndex, 2)
  })
})
