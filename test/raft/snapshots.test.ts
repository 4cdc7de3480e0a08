// The leader's half of §7: who is sent a snapshot instead of entries, what happens until it has come, and how the two logs meet behind it.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { NodeId } from '../../src/raft/entry.ts'
import type { Received } from '../../src/raft/messages.ts'
import { Cluster, type ClusterSetup } from './cluster.ts'
import { accepted, appendEntries, logOf, rejected, snapshotOf } from './entries.ts'
import { leader } from './roles.ts'
import { type TestNode, type TestNodeSetup, testTimings } from './test-node.ts'

const { electionTimeoutMaxMs, electionTimeoutMinMs, heartbeatIntervalMs } = testTimings
const nowhere = { term: 0, index: 0 }

/** Leads term 2; entries 1 to 6 are committed, and only a snapshot holds them. n3 has it all, of n2 nothing is known. */
function compacted(setup: TestNodeSetup = {}): TestNode {
  const node = leader({ log: [1, 1, 1, 1, 1], ...setup, options: { maxLogEntries: 0, ...setup.options } })
  node.receive(accepted(2, 6, 'n3'))
  node.takeSnapshot()
  assert.equal(node.raft.log.base.index, 6)
  node.takeSent()
  return node
}

/** As above; the log of n2 is empty, and the snapshot is on its way to it. */
function sending(setup: TestNodeSetup = {}): TestNode {
  const node = compacted(setup)
  node.receive(rejected(2, 5, nowhere, 'n2'))
  assert.equal(node.isSendingSnapshot('n2'), true)
  node.takeSent()
  return node
}

function sentTo(node: TestNode, to: NodeId): (readonly [prev: number, entries: number])[] {
  return node
    .takeSentOf('AppendEntries')
    .filter((message) => message.to === to)
    .map(({ prev, entries }) => [prev.index, entries.length] as const)
}

describe('A follower is sent the snapshot', () => {
  test('when it refuses a probe, and its log ends before this one begins', () => {
    const node = compacted()
    node.receive(rejected(2, 5, { term: 1, index: 3 }, 'n2'))
    assert.deepEqual(node.transfers.get('n2')?.snapshot.lastIncluded, { term: 2, index: 6 })
    assert.deepEqual(sentTo(node, 'n2'), [])
  })

  test('when it refuses a probe, and what it holds is older than where this log begins', () => {
    const node = compacted()
    node.propose(1)
    node.tick(heartbeatIntervalMs)
    node.receive(rejected(2, 6, { term: 1, index: 6 }, 'n2'))
    assert.equal(node.transfers.has('n2'), true)
  })

  test('when it was still probed at an entry that is gone', () => {
    const node = compacted()
    node.tick(heartbeatIntervalMs)
    assert.equal(node.transfers.has('n2'), true)
    // And asked at once, by the heartbeat, whether it has by any chance what the snapshot stands for.
    assert.deepEqual(sentTo(node, 'n2'), [[6, 0]])
  })

  test('when entries are gone that it was about to be sent', () => {
    const node = leader({ options: { maxLogEntries: 0, maxInFlightMessages: 1 } })
    node.receive(accepted(1, 1, 'n2'), accepted(1, 1, 'n3'))
    node.propose(1)
    node.propose(1)
    node.propose(1)
    node.receive(accepted(1, 2, 'n3'), accepted(1, 4, 'n3'))
    node.takeSnapshot()
    node.takeSent()
    assert.equal(node.raft.log.base.index, 4)
    node.receive(accepted(1, 2, 'n2'))
    assert.deepEqual(node.transfers.get('n2')?.snapshot.lastIncluded, { term: 1, index: 4 })
  })

  test('as a learner, too', () => {
    const cluster = new Cluster({ voters: 3, learners: 1, options: { maxLogEntries: 0 } })
    cluster.elect('n1')
    cluster.isolate('n4')
    cluster.propose('n1', 10)
    cluster.settle()
    cluster.node('n1').takeSnapshot()
    cluster.heal()
    cluster.run(2 * heartbeatIntervalMs)
    assert.deepEqual(cluster.node('n4').raft.log.base, cluster.node('n1').raft.log.base)
    assert.equal(cluster.node('n4').raft.commitIndex, 11)
  })
})

describe('While a snapshot is on its way', () => {
  test('the follower gets heartbeats at the snapshot’s last entry, and nothing else', () => {
    const node = sending()
    node.propose(1, 1)
    assert.deepEqual(sentTo(node, 'n2'), [])
    node.tick(heartbeatIntervalMs)
    assert.deepEqual(sentTo(node, 'n2'), [[6, 0]])
    node.receive(accepted(2, 8, 'n3'))
    node.step({ type: 'announceCommit' })
    node.step({ type: 'peerUp', id: 'n2' })
    assert.deepEqual(sentTo(node, 'n2'), [])
  })

  test('its refusals of those change nothing', () => {
    const node = sending()
    node.transfers.clear()
    for (let i = 0; i < 5; i++) {
      node.tick(heartbeatIntervalMs)
      node.receive(rejected(2, 6, nowhere, 'n2'), rejected(2, 5, { term: 1, index: 2 }, 'n2'), accepted(2, 6, 'n3'))
    }
    assert.equal(node.isSendingSnapshot('n2'), true)
    assert.equal(node.transfers.size, 0)
  })

  test('an old answer that comes late, of what it held before the snapshot, changes nothing', () => {
    const node = sending()
    node.receive(accepted(2, 0, 'n2'), accepted(2, 3, 'n2'))
    assert.equal(node.isSendingSnapshot('n2'), true)
    assert.deepEqual(sentTo(node, 'n2'), [])
  })

  test('others commit, and nobody stands for election', () => {
    const cluster = new Cluster({ voters: 3, options: { maxLogEntries: 0 } })
    cluster.elect('n1')
    cluster.isolate('n3')
    cluster.propose('n1', 10)
    cluster.settle()
    cluster.node('n1').takeSnapshot()
    cluster.holdSnapshots = true
    cluster.heal()
    const term = cluster.node('n1').raft.currentTerm
    for (let i = 0; i < 20; i++) {
      cluster.propose('n1')
      cluster.run(electionTimeoutMinMs)
    }
    assert.equal(cluster.node('n1').raft.commitIndex, 31)
    assert.deepEqual([cluster.node('n1').role, cluster.node('n1').raft.currentTerm], ['leader', term])
    assert.equal(cluster.node('n3').raft.log.lastIndex, 1)
    cluster.holdSnapshots = false
    cluster.run(2 * heartbeatIntervalMs)
    assert.deepEqual([cluster.node('n3').raft.log.base.index, cluster.node('n3').raft.commitIndex], [11, 31])
  })
})

describe('It ends', () => {
  test('when the follower has it: entries go on right behind', () => {
    const node = sending()
    node.propose(1, 1)
    node.receive(accepted(2, 6, 'n2'))
    assert.deepEqual(sentTo(node, 'n2'), [[6, 2]])
    assert.equal(node.isSendingSnapshot('n2'), false)
  })

  test('when it could not be sent: the next heartbeat asks anew what the follower needs', () => {
    const node = sending()
    node.failSnapshot('n2')
    assert.deepEqual([sentTo(node, 'n2'), node.transfers.size], [[], 0])
    node.tick(heartbeatIntervalMs)
    assert.deepEqual(sentTo(node, 'n2'), [[6, 0]])
    node.receive(rejected(2, 6, nowhere, 'n2'))
    assert.equal(node.transfers.size, 1)
  })

  test('when it could not be sent and the follower has it all the same: entries go on', () => {
    const node = sending()
    node.failSnapshot('n2')
    node.propose(1)
    node.tick(heartbeatIntervalMs)
    node.receive(accepted(2, 6, 'n2'))
    assert.deepEqual(sentTo(node, 'n2').at(-1), [6, 1])
    assert.equal(node.transfers.size, 0)
  })

  test('when a late answer shows that it was not needed', () => {
    const node = sending()
    node.propose(1, 1)
    node.receive(accepted(2, 7, 'n2'))
    assert.equal(node.isSendingSnapshot('n2'), false)
    assert.deepEqual(sentTo(node, 'n2'), [[7, 1]])
  })

  test('with the leadership', () => {
    const node = sending()
    node.receive(appendEntries({ from: 'n3', term: 3 }))
    node.step({ type: 'snapshotFailed', to: 'n2' })
    node.receive(accepted(2, 6, 'n2'))
    assert.equal(node.role, 'follower')
  })

  for (const to of ['n1', 'n3', 'n9']) {
    test(`and a failure that is told of ${to}, to which none is sent, is none`, () => {
      const node = sending()
      node.step({ type: 'snapshotFailed', to })
      node.propose(1)
      assert.deepEqual(sentTo(node, 'n3'), [[6, 1]])
    })
  }
})

describe('A follower that is gone', () => {
  /** n3 answers meanwhile. */
  function pass(node: TestNode, ms: number): void {
    for (let passedMs = 0; passedMs < ms; passedMs += heartbeatIntervalMs) {
      node.tick(heartbeatIntervalMs)
      node.receive(accepted(2, node.raft.log.lastIndex, 'n3'))
    }
  }

  for (const [what, isLost, patienceMs] of [
    ['and whose connection is closed, for an election timeout', true, electionTimeoutMaxMs],
    ['for ten election timeouts', false, 10 * electionTimeoutMaxMs],
  ] as const) {
    test(`${what}, is sent no snapshot, and asked at each heartbeat whether it is back`, () => {
      const node = sending()
      if (isLost) node.step({ type: 'peerDown', id: 'n2' })
      pass(node, patienceMs - heartbeatIntervalMs)
      assert.equal(node.isSendingSnapshot('n2'), true)
      pass(node, 2 * heartbeatIntervalMs)
      assert.equal(node.isSendingSnapshot('n2'), false)
      node.transfers.clear()
      for (let i = 0; i < 3; i++) {
        node.propose(1)
        node.receive(accepted(2, node.raft.log.lastIndex, 'n3'))
        node.takeSnapshot()
        assert.equal(node.raft.log.base.index, node.raft.commitIndex)
        node.takeSent()
        node.tick(heartbeatIntervalMs)
        assert.deepEqual(sentTo(node, 'n2'), [[node.raft.commitIndex, 0]])
        assert.equal(node.transfers.size, 0)
      }
      node.step({ type: 'peerUp', id: 'n2' })
      assert.deepEqual(sentTo(node, 'n2'), [[9, 0]])
      node.receive(rejected(2, 9, nowhere, 'n2'))
      assert.equal(node.transfers.get('n2')?.snapshot.lastIncluded.index, 9)
    })
  }
})

test('What was to be sent by a leader that was deposed in the same turn is not sent under the next term', () => {
  const node = compacted()
  node.step({ type: 'receive', message: rejected(2, 5, nowhere, 'n2') }, false)
  node.receive(appendEntries({ from: 'n3', term: 3 }))
  assert.equal(node.transfers.size, 0)
})

describe('A follower that has what it needs, and has not made all of it durable yet, is sent no snapshot', () => {
  /** n2 has everything in memory; on its disk are the first three entries only, and this log begins after the sixth. */
  function behindOnDisk(): TestNode {
    const node = compacted()
    node.tick(heartbeatIntervalMs)
    assert.equal(node.transfers.delete('n2'), true)
    node.failSnapshot('n2')
    node.tick(heartbeatIntervalMs)
    node.takeSent()
    node.receive(accepted(2, 3, 'n2'))
    return node
  }

  test('when it is probed: the next heartbeat asks again', () => {
    const node = behindOnDisk()
    assert.deepEqual([sentTo(node, 'n2'), node.transfers.size], [[], 0])
    node.tick(heartbeatIntervalMs)
    assert.deepEqual([sentTo(node, 'n2'), node.transfers.size], [[[6, 0]], 0])
    node.propose(1)
    node.receive(accepted(2, 6, 'n2'))
    assert.deepEqual(sentTo(node, 'n2'), [[6, 1]])
  })

  test('when it was streamed to, and a new connection asks where it is', () => {
    const node = leader({ options: { maxLogEntries: 0 } })
    node.receive(accepted(1, 1, 'n2'), accepted(1, 1, 'n3'))
    node.propose(1, 1, 1)
    node.receive(accepted(1, 4, 'n3'))
    node.takeSnapshot()
    assert.equal(node.raft.log.base.index, 4)
    node.takeSent()
    node.step({ type: 'peerUp', id: 'n2' })
    assert.deepEqual([sentTo(node, 'n2'), node.transfers.size], [[[4, 0]], 0])
    node.propose(1)
    node.receive(accepted(1, 4, 'n2'))
    assert.deepEqual([sentTo(node, 'n2'), node.transfers.size], [[[4, 1]], 0])
  })

  test('and if it lost them with the old connection, it is', () => {
    const node = leader({ options: { maxLogEntries: 0 } })
    node.receive(accepted(1, 1, 'n2'), accepted(1, 1, 'n3'))
    node.propose(1, 1, 1)
    node.receive(accepted(1, 4, 'n3'))
    node.takeSnapshot()
    node.step({ type: 'peerUp', id: 'n2' })
    node.receive(rejected(1, 4, { term: 1, index: 1 }, 'n2'))
    assert.equal(node.transfers.size, 1)
  })
})

describe('Entries that were being read from the disk when they left the log', () => {
  /** n2 is to be sent entries 1 to 5, which are in memory no longer; before they were read, a snapshot took their place. */
  function overtaken(): TestNode {
    const node = leader({ log: [1, 1, 1, 1], options: { maxCachedBytes: 0, maxLogEntries: 0, maxMessageBytes: 1000 } })
    node.receive(accepted(2, 0, 'n2'), accepted(2, 5, 'n3'))
    assert.deepEqual(
      node.loads.map(({ to, from }) => [to, from]),
      [['n2', 1]],
    )
    node.takeSent()
    node.takeSnapshot()
    assert.equal(node.raft.log.base.index, 5)
    return node
  }

  test('are not sent, though they came', () => {
    const node = overtaken()
    const entries = logOf([1, 1, 1, 1, 2])
    node.step({ type: 'loaded', to: 'n2', from: 1, entries })
    assert.deepEqual(sentTo(node, 'n2'), [])
    assert.equal(node.transfers.size, 1)
  })

  test('are not asked for again when they are gone: a snapshot is sent', () => {
    const node = overtaken()
    node.completeLoad()
    assert.deepEqual([node.loads, node.transfers.size], [[], 1])
  })

  test('do not end a snapshot that is on its way', () => {
    const node = overtaken()
    node.tick(heartbeatIntervalMs)
    assert.equal(node.transfers.size, 1)
    node.completeLoad()
    assert.equal(node.isSendingSnapshot('n2'), true)
    node.receive(accepted(2, 5, 'n2'))
    node.propose(1)
    assert.deepEqual(sentTo(node, 'n2').at(-1), [5, 1])
  })

  test('do not make the leader tell it of a commit that it could not understand', () => {
    const node = overtaken()
    node.step({ type: 'announceCommit' })
    node.step({ type: 'propose', proposals: [], unixMs: 0, forwardedBy: 'n2' })
    assert.deepEqual(sentTo(node, 'n2'), [])
  })
})

describe('Between whole nodes', () => {
  function lagging(setup: Partial<ClusterSetup> = {}): Cluster {
    const cluster = new Cluster({ voters: 3, options: { maxLogEntries: 0 }, ...setup })
    cluster.elect('n1')
    cluster.propose('n1', 3)
    cluster.settle()
    cluster.isolate('n3')
    cluster.propose('n1', 10)
    cluster.settle()
    for (const id of ['n1', 'n2']) cluster.node(id).takeSnapshot()
    cluster.heal()
    return cluster
  }

  /** How many messages of each type pass until all are silent. */
  function traffic(cluster: Cluster): Map<Received['type'], number> {
    const counts = new Map<Received['type'], number>()
    const deliver = cluster.deliver.bind(cluster)
    cluster.deliver = (message, drain) => {
      counts.set(message.type, (counts.get(message.type) ?? 0) + 1)
      deliver(message, drain)
    }
    cluster.heartbeat()
    cluster.deliver = deliver
    return counts
  }

  function assertConverged(cluster: Cluster): void {
    const { lastIndex, lastEntry } = (cluster.leader() ?? assert.fail('No leader')).raft.log
    for (const { id, raft, disk } of cluster.nodes.values()) {
      assert.deepEqual([raft.log.lastEntry, raft.commitIndex, disk.lastIndex], [lastEntry, lastIndex, lastIndex], id)
    }
  }

  test('one that was away for longer than the log reaches back gets the snapshot and the rest, within one heartbeat', () => {
    const cluster = lagging()
    cluster.propose('n1', 2)
    assert.equal(traffic(cluster).get('InstallSnapshot'), 1)
    assertConverged(cluster)
    assert.equal(cluster.node('n3').raft.log.base.index, 14)
  })

  test('one that is within the entries kept behind the snapshot gets entries', () => {
    const cluster = lagging({ options: { maxLogEntries: 10 } })
    assert.equal(cluster.node('n1').raft.log.base.index, 4)
    assert.equal(traffic(cluster).get('InstallSnapshot'), undefined)
    assertConverged(cluster)
    assert.equal(cluster.node('n3').raft.log.base.index, 0)
  })

  const conflicting: Readonly<Record<string, readonly number[]>> = {
    'before the snapshot': [1, 1, 1],
    'up to the snapshot’s last entry': [1, 1, 1, 2, 2, 2],
    'beyond it': [1, 1, 1, 2, 2, 2, 2, 2, 2, 2],
    'from the first entry on': [2, 2, 2, 2, 2, 2, 2, 2],
    'right behind it only': [1, 1, 1, 3, 3, 3, 4, 4],
  }
  for (const [what, log] of Object.entries(conflicting)) {
    // hashicorp/raft#697: a follower whose log conflicted was sent the snapshot over and over.
    test(`one whose log is another leader’s, ${what}, is brought in line without a round too many`, () => {
      const snapshot = snapshotOf(3, 6)
      const cluster = new Cluster({
        voters: 3,
        snapshots: { n1: snapshot, n2: snapshot },
        logs: { n1: [5], n2: [5], n3: log },
        currentTerms: { n1: 5, n2: 5, n3: 5 },
        // What the snapshot stands for, and who voted for it, was before this run.
        committed: [1, 1, 1, 3, 3, 3],
      })
      cluster.isolate('n3')
      cluster.elect('n1')
      cluster.heal()
      const counts = traffic(cluster)
      assertConverged(cluster)
      const held = log[5] === 3
      assert.equal(counts.get('InstallSnapshot') ?? 0, held ? 0 : 1)
      assert((counts.get('AppendEntries') ?? 0) <= 8, `${counts.get('AppendEntries')} messages to two followers`)
      cluster.propose('n1')
      cluster.settle()
      assertConverged(cluster)
    })
  }

  test('a new leader whose log begins later goes on with its own', () => {
    const cluster = lagging()
    cluster.isolate('n1')
    cluster.elect('n2')
    cluster.propose('n2')
    cluster.settle()
    cluster.node('n2').takeSnapshot()
    cluster.heal()
    cluster.run(electionTimeoutMaxMs)
    assertConverged(cluster)
    const { base } = cluster.node('n2').raft.log
    assert.deepEqual(cluster.node('n3').raft.log.base, cluster.node('n3').disk.base)
    assert(base.index > 14)
  })

  test('one that arrives when its leader was deposed meanwhile is not taken, and the new leader’s is', () => {
    const cluster = lagging()
    cluster.holdSnapshots = true
    cluster.heartbeat()
    cluster.arrive('n1', 'n3')
    const late = cluster.take('InstallSnapshot', 'n1', 'n3')
    cluster.isolate('n1')
    cluster.elect('n2')
    assert.equal(cluster.node('n3').raft.currentTerm, cluster.node('n2').raft.currentTerm)
    cluster.deliver(late)
    assert.equal(cluster.node('n3').raft.log.base.index, 0)
    cluster.holdSnapshots = false
    cluster.heal()
    cluster.run(electionTimeoutMaxMs)
    assertConverged(cluster)
    cluster.deliver(late)
    assertConverged(cluster)
  })

  test('one whose save is under way when the leader is lost votes when that is durable, and not before', () => {
    const cluster = lagging()
    const slow = cluster.node('n3')
    slow.holdSaves = true
    cluster.heartbeat()
    assert.deepEqual([slow.raft.log.base.index, slow.disk.base.index], [14, 0])
    cluster.isolate('n1')
    cluster.advance(electionTimeoutMaxMs)
    cluster.tick('n2')
    cluster.settle()
    assert.equal(cluster.node('n2').role, 'candidate')
    slow.completeSave()
    cluster.settle()
    assert.deepEqual([slow.disk.base.index, cluster.node('n2').role], [14, 'candidate'])
    slow.completeSave()
    cluster.settle()
    assert.equal(cluster.node('n2').role, 'leader')
    slow.holdSaves = false
    cluster.heal()
    cluster.run(electionTimeoutMaxMs)
    assertConverged(cluster)
  })

  test('an arrival that is lost is repeated, one that comes twice does no harm', () => {
    const cluster = lagging()
    cluster.holdSnapshots = true
    cluster.heartbeat()
    cluster.arrive('n1', 'n3')
    const arrival = cluster.take('InstallSnapshot', 'n1', 'n3')
    cluster.propose('n1', 2)
    cluster.deliver(arrival)
    cluster.deliver(arrival)
    cluster.settle()
    cluster.deliver(arrival)
    cluster.settle()
    assertConverged(cluster)
  })

  test('a follower that crashes with the snapshot on its way to the disk gets it again', () => {
    for (const torn of [0, 0.4, 0.7, 0.9]) {
      const cluster = lagging()
      cluster.node('n3').holdSaves = true
      cluster.heartbeat()
      cluster.crash('n3', torn)
      cluster.restart('n3')
      cluster.node('n3').holdSaves = false
      cluster.run(electionTimeoutMaxMs)
      assertConverged(cluster)
      assert.equal(cluster.node('n3').raft.log.base.index, 14)
    }
  })

  test('every node is killed, and starts from its snapshot', () => {
    const cluster = lagging()
    cluster.heartbeat()
    for (const id of cluster.voters) cluster.crash(id)
    for (const id of cluster.voters) cluster.restart(id)
    for (const id of cluster.voters) assert.equal(cluster.node(id).raft.commitIndex, 14)
    cluster.elect('n3')
    cluster.propose('n3')
    cluster.heartbeat()
    assertConverged(cluster)
  })
})
