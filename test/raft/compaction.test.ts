// §7: what leaves the log, and what is kept: for followers that lag, for one that is being sent a snapshot, for the disk to catch up.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Cluster } from './cluster.ts'
import { accepted, acceptedByFull, appendEntries, logOf, rejected, snapshotOf } from './entries.ts'
import { follower, leader } from './roles.ts'
import { TestNode, type TestNodeSetup, testTimings } from './test-node.ts'

const { electionTimeoutMaxMs, heartbeatIntervalMs } = testTimings

/** Follows n2 with ten entries of term 1, all of them durable and committed. */
function tenCommitted(maxLogEntries: number): TestNode {
  const node = follower({ options: { maxLogEntries } })
  node.receive(appendEntries({ term: 1, entries: logOf(Array<number>(10).fill(1)), leaderCommit: 10 }))
  node.takeSent()
  return node
}

/** Leads term 2 with six entries, on which n3 agrees; n2 holds nothing, and needs the snapshot that was taken of them. */
function withLaggard(setup: TestNodeSetup = {}): TestNode {
  const options = { maxLogEntries: 0, ...setup.options }
  const node = leader({ log: [1, 1, 1, 1, 1], ...setup, options })
  node.receive(accepted(2, 6, 'n3'))
  node.takeSnapshot()
  node.receive(rejected(2, 5, { term: 0, index: 0 }, 'n2'))
  assert.equal(node.isSendingSnapshot('n2'), true)
  node.takeSent()
  return node
}

describe('So many entries stay behind a snapshot through the eighth of ten', () => {
  for (const [maxLogEntries, base] of [
    [0, 8],
    [1, 7],
    [7, 1],
    [8, 0],
    [1000, 0],
  ] as const) {
    test(`${maxLogEntries}: the log begins after ${base}`, () => {
      const node = tenCommitted(maxLogEntries)
      node.beginSnapshot(8)
      node.completeSnapshot()
      assert.equal(node.raft.log.base.index, base)
      assert.deepEqual(node.compactedThrough, base === 0 ? null : { term: 1, index: base })
      assert.equal(node.disk.base.index, base)
      assert.equal(node.raft.log.lastIndex, 10)
      assert.equal(node.raft.log.termAt(base), base === 0 ? 0 : 1)
    })
  }
})

test('What is needed all the same stays, until it is needed no more', () => {
  const node = tenCommitted(0)
  node.beginSnapshot(8)
  node.completeSnapshot({ neededFrom: 5 })
  node.tick()
  assert.equal(node.raft.log.base.index, 4)
  node.step({ type: 'tick', neededFrom: 7 })
  assert.equal(node.raft.log.base.index, 6, 'without another snapshot')
  node.takeSnapshot()
  assert.equal(node.raft.log.base.index, 10)
})

test('The storage is told once', () => {
  const node = tenCommitted(0)
  node.takeSnapshot()
  node.compactedThrough = null
  node.tick()
  node.drain()
  assert.equal(node.compactedThrough, null)
})

test('A snapshot that is older than the newest one changes nothing', () => {
  const node = tenCommitted(2)
  node.takeSnapshot()
  node.step({ type: 'snapshotTaken', snapshot: snapshotOf(1, 4) })
  assert.equal(node.raft.log.base.index, 8)
})

test('A node that goes on from its own snapshot takes the entries behind it, and knows the term at the boundary', () => {
  const node = tenCommitted(0)
  node.takeSnapshot()
  node.receive(appendEntries({ term: 1, prev: { term: 1, index: 10 }, entries: logOf([1], 11), leaderCommit: 11 }))
  assert.equal(node.raft.commitIndex, 11)
  assert.deepEqual(node.disk.base, { term: 1, index: 10 })
})

test('Entries that come again from before the base, or across it, are taken for what they are', () => {
  const node = tenCommitted(0)
  node.takeSnapshot()
  node.receive(appendEntries({ term: 1, prev: { term: 1, index: 4 }, entries: logOf([1, 1], 5) }))
  node.receive(appendEntries({ term: 1, prev: { term: 1, index: 8 }, entries: logOf([1, 1, 1, 1], 9) }))
  assert.deepEqual(
    node.takeSentOf('AppendEntriesResponse').map((answer) => answer.success && answer.matchIndex),
    [10, 12],
  )
  assert.deepEqual(node.terms, [1, 1])
})

for (const [what, snapshot] of [
  ['that is not committed', snapshotOf(1, 11)],
  ['that is of another term than the log', snapshotOf(7, 9)],
] as const) {
  test(`A snapshot of something ${what} stops the process`, () => {
    const node = tenCommitted(0)
    assert.throws(() => node.step({ type: 'snapshotTaken', snapshot }), { name: 'InvariantError' })
  })
}

test('What others made a commit of and this disk does not hold yet stays, until it does', () => {
  const node = leader({ options: { maxLogEntries: 0 } })
  node.holdSaves = true
  node.propose(1, 1, 1)
  node.receive(accepted(1, 4, 'n2'), accepted(1, 4, 'n3'))
  node.takeSnapshot()
  assert.deepEqual([node.raft.commitIndex, node.raft.log.durableIndex, node.raft.log.base.index], [4, 1, 1])
  node.completeSaves()
  node.tick()
  assert.equal(node.raft.log.base.index, 4)
})

describe('While a follower is being sent a snapshot', () => {
  test('the log is kept from there on, whatever newer snapshots are taken, and the follower goes on from it', () => {
    const node = withLaggard()
    node.propose(1, 1)
    node.receive(accepted(2, 8, 'n3'))
    node.takeSnapshot()
    assert.deepEqual([node.raft.commitIndex, node.raft.log.base.index], [8, 6])
    node.takeSent()
    node.receive(accepted(2, 6, 'n2'))
    const [message] = node.takeSentOf('AppendEntries')
    assert.deepEqual([message?.prev.index, message?.entries.length], [6, 2])
    assert.equal(node.isSendingSnapshot('n2'), false)
    node.receive(accepted(2, 8, 'n2'))
    node.tick()
    assert.equal(node.raft.log.base.index, 8)
  })

  const releases: Readonly<Record<string, (node: TestNode) => void>> = {
    'it could not be sent': (node) => node.failSnapshot('n2'),
    'the follower was silent for ten election timeouts': (node) => {
      for (let waitedMs = 0; waitedMs <= 10 * electionTimeoutMaxMs; waitedMs += heartbeatIntervalMs) {
        node.receive(accepted(2, 8, 'n3'))
        node.tick(heartbeatIntervalMs)
      }
    },
    'the node leads no longer': (node) => node.receive(appendEntries({ term: 3, from: 'n3' })),
  }
  for (const [what, release] of Object.entries(releases)) {
    test(`and no longer than until ${what}`, () => {
      const node = withLaggard()
      node.propose(1, 1)
      node.receive(accepted(2, 8, 'n3'))
      node.takeSnapshot()
      node.tick()
      assert.equal(node.raft.log.base.index, 6)
      release(node)
      node.tick()
      assert.equal(node.raft.log.base.index, 8)
    })
  }

  test('a follower that has no room for it is not waited for: in time it is sent a newer one', () => {
    const node = withLaggard()
    node.receive(acceptedByFull(2, 0, 'n2'))
    node.propose(1, 1)
    node.receive(accepted(2, 8, 'n3'))
    node.takeSnapshot()
    assert.equal(node.raft.log.base.index, 8)
    node.takeSent()
    node.receive(accepted(2, 6, 'n2'))
    assert.equal(node.transfers.get('n2')?.snapshot.lastIncluded.index, 8)
    node.tick(heartbeatIntervalMs)
    assert.equal(node.takeSentOf('AppendEntries').find(({ to }) => to === 'n2')?.prev.index, 8)
    node.receive(accepted(2, 8, 'n2'))
    assert.equal(node.isSendingSnapshot('n2'), false)
  })

  test('a follower that answers is waited for, however long it takes', () => {
    const node = withLaggard()
    node.propose(1, 1)
    node.receive(accepted(2, 8, 'n3'))
    node.takeSnapshot()
    for (let waitedMs = 0; waitedMs <= 20 * electionTimeoutMaxMs; waitedMs += heartbeatIntervalMs) {
      node.receive(accepted(2, 8, 'n3'), rejected(2, 6, { term: 0, index: 0 }, 'n2'))
      node.tick(heartbeatIntervalMs)
    }
    assert.equal(node.role, 'leader')
    assert.equal(node.raft.log.base.index, 6)
    assert.equal(node.transfers.size, 1)
  })
})

describe('On a full disk', () => {
  test('nothing stays behind the snapshot, at once', () => {
    const node = tenCommitted(5)
    node.takeSnapshot()
    assert.equal(node.raft.log.base.index, 5)
    node.storage(false, true)
    assert.equal(node.raft.log.base.index, 10)
  })

  test('a snapshot that is taken then leaves nothing either; with room again entries stay as before', () => {
    const node = tenCommitted(5)
    node.storage(false, true)
    node.takeSnapshot()
    assert.equal(node.raft.log.base.index, 10)
    node.storage(false, false)
    const more = logOf(Array<number>(10).fill(1), 11)
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 10 }, entries: more, leaderCommit: 20 }))
    node.takeSnapshot()
    assert.equal(node.raft.log.base.index, 15)
  })

  test('what a follower that is being sent a snapshot will need stays', () => {
    const node = withLaggard()
    node.propose(1)
    node.receive(accepted(2, 7, 'n3'))
    node.takeSnapshot()
    node.storage(false, true)
    assert.equal(node.raft.log.base.index, 6)
  })
})

test('A cluster of one compacts, and starts again from its snapshot', () => {
  const cluster = new Cluster({ voters: 1, options: { maxLogEntries: 2 } })
  cluster.elect('n1')
  const node = cluster.node('n1')
  for (let i = 0; i < 5; i++) {
    cluster.propose('n1', 4)
    node.takeSnapshot()
  }
  assert.deepEqual([node.raft.commitIndex, node.raft.log.base.index, node.disk.entries.length], [21, 19, 2])
  cluster.crash('n1')
  cluster.restart('n1')
  assert.deepEqual([node.raft.commitIndex, node.raft.log.base.index, node.raft.log.lastIndex], [21, 19, 21])
  cluster.elect('n1')
  cluster.propose('n1')
  assert.equal(node.raft.commitIndex, 23)
})

describe('A node that starts', () => {
  test('with a snapshot and nothing else stands behind it, and its cluster time as well', () => {
    const node = new TestNode({ snapshot: snapshotOf(3, 20, { timestampMs: 5000 }) })
    const { commitIndex, log, currentTerm } = node.raft
    assert.deepEqual([commitIndex, log.lastEntry, log.durableIndex], [20, { term: 3, index: 20 }, 20])
    assert.deepEqual([currentTerm, log.lastTimestampMs], [3, 5000])
  })

  test('with more entries behind its snapshot than it needs gives them up at its first tick', () => {
    const node = new TestNode({ log: [1, 1, 1, 1], options: { maxLogEntries: 1 } })
    node.disk.takeSnapshot(snapshotOf(1, 3))
    node.crash()
    node.restart()
    assert.deepEqual([node.raft.commitIndex, node.raft.log.base.index, node.raft.log.lastIndex], [3, 0, 4])
    node.tick()
    assert.equal(node.raft.log.base.index, 2)
  })

  test('with a snapshot past its log’s end, or of another term than its log there, begins anew behind it', () => {
    for (const log of [[1], [1, 1, 1, 1], [1, 2, 2, 2, 2]]) {
      const node = new TestNode({ log, currentTerm: 3 })
      node.disk.takeSnapshot(snapshotOf(3, 3))
      node.crash()
      node.restart()
      assert.deepEqual(node.raft.log.base, { term: 3, index: 3 })
      assert.deepEqual([node.raft.log.lastIndex, node.raft.commitIndex], [3, 3])
    }
  })

  test('with a log whose beginning no snapshot reaches stops', () => {
    const node = new TestNode({ snapshot: snapshotOf(3, 20), log: [3] })
    node.crash()
    node.disk.snapshots = []
    assert.throws(() => node.restart(), { name: 'InvariantError' })
  })
})
