// §7 from the follower's side. What a snapshot replaces is gone only with the save that carries it; what it does not have to replace stays.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { NodeId } from '../../src/raft/entry.ts'
import {
  appendEntries,
  configurationEntry,
  entry,
  founding,
  installSnapshot,
  logOf,
  requestVote,
  snapshotOf,
} from './entries.ts'
import { candidate, follower, precandidate } from './roles.ts'
import { TestNode, testTimings } from './test-node.ts'

function slow(node: TestNode): TestNode {
  node.holdSaves = true
  return node
}

/** To whom, how far, and in answer to which round. */
function acknowledged(node: TestNode): (readonly [NodeId, number | false, number])[] {
  return node
    .takeSentOf('AppendEntriesResponse')
    .map((answer) => [answer.to, answer.success && answer.matchIndex, answer.round] as const)
}

describe('A log that lacks the snapshot’s last entry begins anew behind it (snapshot: through 3/5)', () => {
  const logs: Readonly<Record<string, readonly number[]>> = {
    'is empty': [],
    'is shorter': [1, 1, 3],
    'conflicts there': [1, 1, 2, 2, 2],
    'conflicts there and beyond': [1, 1, 2, 2, 2, 2, 2, 2],
    'conflicts from its first entry on': [2, 2, 2, 2, 2, 2],
  }
  for (const [what, log] of Object.entries(logs)) {
    test(`when it ${what}`, () => {
      const node = follower({ log, currentTerm: 4 })
      node.receive(installSnapshot(4, snapshotOf(3, 5)))
      assert.deepEqual(
        [node.raft.log.base, node.raft.log.lastEntry],
        [
          { term: 3, index: 5 },
          { term: 3, index: 5 },
        ],
      )
      assert.equal(node.raft.commitIndex, 5)
      assert.deepEqual([node.disk.base, node.disk.entries.length], [{ term: 3, index: 5 }, 0])
      assert.deepEqual(node.disk.snapshot, snapshotOf(3, 5))
      assert.deepEqual(acknowledged(node), [['n2', 5, 0]])
      node.receive(appendEntries({ term: 4, prev: { term: 3, index: 5 }, entries: logOf([4], 6), leaderCommit: 6 }))
      assert.deepEqual([node.terms, node.raft.commitIndex], [[4], 6])
    })
  }
})

describe('A log that has the snapshot’s last entry needs none', () => {
  test('nothing is replaced, everything through it is committed, and what lies behind stays', () => {
    const node = follower({ log: [1, 1, 3, 3, 3, 4, 4], currentTerm: 4 })
    node.receive(installSnapshot(4, snapshotOf(3, 5)))
    assert.deepEqual(node.terms, [1, 1, 3, 3, 3, 4, 4])
    assert.equal(node.raft.commitIndex, 5)
    assert.equal(node.disk.snapshot, null)
    assert.deepEqual(acknowledged(node), [['n2', 5, 0]])
  })

  test('it is acknowledged when the entries are durable, and not before', () => {
    const node = slow(follower())
    node.receive(appendEntries({ term: 1, entries: logOf([1, 1, 1]) }))
    node.receive(installSnapshot(1, snapshotOf(1, 2)))
    assert.equal(node.raft.commitIndex, 2)
    assert.deepEqual(acknowledged(node), [])
    node.completeSaves()
    assert.deepEqual(acknowledged(node), [
      ['n2', 3, 0],
      ['n2', 2, 0],
    ])
    assert.equal(node.disk.lastIndex, 3)
  })

  for (const [what, index] of [
    ['older than what is committed', 3],
    ['that reaches to what is committed', 5],
  ] as const) {
    test(`one ${what} changes nothing, and is answered for all that is committed`, () => {
      const node = follower({ log: [1, 1, 1, 1, 1, 1] })
      node.receive(appendEntries({ term: 1, prev: { term: 1, index: 6 }, leaderCommit: 5 }))
      node.takeSent()
      node.receive(installSnapshot(1, snapshotOf(1, index)))
      assert.deepEqual([node.terms.length, node.raft.commitIndex, node.disk.snapshot], [6, 5, null])
      assert.deepEqual(acknowledged(node), [['n2', 5, 0]])
    })
  }
})

describe('Until the save of a snapshot is durable', () => {
  test('nothing acknowledges it: no answer to it, none to a heartbeat, none to the entries right behind it', () => {
    const node = slow(follower({ log: [1, 1, 1] }))
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 3 }, leaderCommit: 2 }))
    node.takeSent()
    node.receive(installSnapshot(1, snapshotOf(1, 9)))
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 9 }, entries: logOf([1, 1], 10) }))
    assert.deepEqual(acknowledged(node), [])
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 9 }, round: 4 }))
    // Of the old log, which a crash would bring back, only what is committed is in the snapshot too.
    assert.deepEqual(acknowledged(node), [['n2', 2, 4]])
    node.completeSave()
    assert.deepEqual(acknowledged(node), [['n2', 9, 0]])
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 11 }, round: 5 }))
    assert.deepEqual(acknowledged(node), [['n2', 9, 5]])
    node.completeSave()
    assert.deepEqual(acknowledged(node), [['n2', 11, 0]])
  })

  test('a save that was under way vouches for nothing of the new log', () => {
    const node = slow(follower())
    // n1 has entries 1 to 8 of n2 under way to its disk, of which the first two are committed; n3 leads next, and they are not in its log.
    node.receive(appendEntries({ term: 1, entries: logOf([1, 1]), leaderCommit: 2 }))
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 2 }, entries: logOf([1, 1, 1, 1, 1, 1], 3) }))
    node.receive(installSnapshot(2, snapshotOf(2, 5), 'n3'))
    node.receive(
      appendEntries({
        from: 'n3',
        term: 2,
        prev: { term: 2, index: 5 },
        entries: logOf([2, 2, 2], 6),
        leaderCommit: 5,
      }),
    )
    const durable: number[] = []
    while (node.completeSave()) durable.push(node.raft.log.durableIndex)
    assert.deepEqual(durable, [2, 2, 5, 8])
    assert.deepEqual(acknowledged(node), [
      ['n2', 2, 0],
      ['n2', 8, 0],
      ['n3', 5, 0],
      ['n3', 8, 0],
    ])
  })

  test('the next one, right behind it, waits for its own save', () => {
    const node = slow(follower())
    node.receive(installSnapshot(1, snapshotOf(1, 5)))
    node.receive(installSnapshot(1, snapshotOf(1, 9)))
    node.completeSave()
    assert.deepEqual([acknowledged(node), node.raft.log.durableIndex], [[['n2', 5, 0]], 5])
    node.completeSave()
    assert.deepEqual([acknowledged(node), node.raft.log.durableIndex], [[['n2', 9, 0]], 9])
    assert.deepEqual(
      node.disk.snapshots.map(({ lastIncluded }) => lastIncluded.index),
      [9, 5],
    )
  })

  test('it is not compacted to, even with room for nothing else', () => {
    const node = slow(follower({ log: [1, 1, 1], options: { maxLogEntries: 0 } }))
    node.receive(installSnapshot(1, snapshotOf(1, 9)))
    node.storage(false, true)
    node.tick()
    assert.equal(node.compactedThrough, null)
    node.completeSaves()
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 9 }, entries: logOf([1, 1], 10), leaderCommit: 11 }))
    node.completeSaves()
    node.takeSnapshot()
    assert.deepEqual(node.compactedThrough, { term: 1, index: 11 })
  })
})

describe('In one turn with', () => {
  test('the entries right behind it: one save holds both', () => {
    const node = slow(follower({ log: [1] }))
    node.step({ type: 'receive', message: installSnapshot(1, snapshotOf(1, 5)) }, false)
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 5 }, entries: logOf([1, 1], 6) }))
    const [save, ...more] = node.disk.pending
    assert.deepEqual([save?.snapshot?.lastIncluded.index, save?.entries.map(({ index }) => index)], [5, [6, 7]])
    assert.deepEqual(more, [])
    node.completeSave()
    assert.deepEqual(acknowledged(node), [
      ['n2', 5, 0],
      ['n2', 7, 0],
    ])
  })

  test('a newer one: only that is saved, and both are acknowledged', () => {
    const node = slow(follower({ log: [1] }))
    node.step({ type: 'receive', message: installSnapshot(1, snapshotOf(1, 5)) }, false)
    node.step(
      { type: 'receive', message: appendEntries({ term: 1, prev: { term: 1, index: 5 }, entries: logOf([1], 6) }) },
      false,
    )
    node.receive(installSnapshot(1, snapshotOf(1, 9)))
    assert.deepEqual(
      node.disk.pending.map((save) => [save.snapshot?.lastIncluded.index, save.entries.length]),
      [[9, 0]],
    )
    node.completeSave()
    assert.deepEqual(acknowledged(node), [
      ['n2', 5, 0],
      ['n2', 6, 0],
      ['n2', 9, 0],
    ])
  })

  test('itself again: one save, and an answer to each', () => {
    const node = slow(follower())
    node.step({ type: 'receive', message: installSnapshot(1, snapshotOf(1, 5)) }, false)
    node.receive(installSnapshot(1, snapshotOf(1, 5)))
    assert.equal(node.disk.pending.length, 1)
    node.completeSave()
    assert.equal(acknowledged(node).length, 2)
  })

  test('an older one that was overtaken: the newer one stays', () => {
    const node = follower()
    node.step({ type: 'receive', message: installSnapshot(1, snapshotOf(1, 9)) }, false)
    node.receive(installSnapshot(1, snapshotOf(1, 5)))
    assert.deepEqual(node.raft.log.base.index, 9)
    assert.deepEqual(acknowledged(node), [
      ['n2', 9, 0],
      ['n2', 9, 0],
    ])
  })

  test('entries before it that are in no save: they never reach the disk', () => {
    const node = slow(follower())
    node.step({ type: 'receive', message: appendEntries({ term: 1, entries: logOf([1, 1]) }) }, false)
    node.receive(installSnapshot(1, snapshotOf(1, 5)))
    assert.deepEqual(
      node.disk.pending.map((save) => [save.snapshot?.lastIncluded.index, save.entries.length]),
      [[5, 0]],
    )
  })
})

describe('A crash while it is being saved, with two entries behind it (log: 1 1 1)', () => {
  const table: readonly [torn: number, what: string, base: number, lastIndex: number, commitIndex: number][] = [
    [0, 'nothing of it', 0, 3, 0],
    [0.1, 'the term', 0, 3, 0],
    [0.3, 'the snapshot, and the old log', 5, 5, 5],
    [0.5, 'the snapshot, and the log begun anew', 5, 5, 5],
    [0.7, 'one entry too', 5, 6, 5],
    [0.9, 'all of it', 5, 7, 5],
  ]
  for (const [torn, what, base, lastIndex, commitIndex] of table) {
    test(`leaves ${what}: the node goes on from there`, () => {
      const node = slow(new TestNode({ log: [1, 1, 1] }))
      node.step({ type: 'receive', message: installSnapshot(2, snapshotOf(2, 5)) }, false)
      node.receive(appendEntries({ term: 2, prev: { term: 2, index: 5 }, entries: logOf([2, 2], 6) }))
      assert.deepEqual(node.takeSent(), [])
      node.crash(torn)
      node.restart()
      assert.deepEqual(
        [node.raft.log.base.index, node.raft.log.lastIndex, node.raft.commitIndex],
        [base, lastIndex, commitIndex],
      )
      assert.equal(node.raft.currentTerm, torn === 0 ? 1 : 2)
      node.receive(installSnapshot(2, snapshotOf(2, 5)))
      node.receive(appendEntries({ term: 2, prev: { term: 2, index: 5 }, entries: logOf([2, 2], 6), leaderCommit: 7 }))
      node.completeSaves()
      assert.deepEqual([node.disk.base.index, node.disk.lastIndex, node.raft.commitIndex], [5, 7, 7])
    })
  }
})

describe('The term of its leader', () => {
  test('when older than the own: nothing happens', () => {
    const node = follower({ log: [1], currentTerm: 3 })
    node.receive(installSnapshot(2, snapshotOf(2, 9), 'n3'))
    assert.deepEqual([node.raft.log.lastIndex, node.raft.leader, node.takeSent()], [1, 'n2', []])
  })

  for (const [name, make] of Object.entries({ follower, precandidate, candidate })) {
    test(`when newer: a ${name} follows it, and acknowledges once that is durable as well`, () => {
      const node = slow(make({ currentTerm: 1 }))
      node.receive(installSnapshot(5, snapshotOf(4, 9), 'n3'))
      assert.deepEqual([node.role, node.raft.currentTerm, node.raft.leader], ['follower', 5, 'n3'])
      assert.deepEqual(node.takeSent(), [])
      assert.deepEqual(node.disk.pending.at(-1)?.hardState, { currentTerm: 5, votedFor: null })
      node.completeSaves()
      assert.deepEqual(acknowledged(node), [['n3', 9, 0]])
    })
  }

  test('it counts as hearing from the leader', () => {
    const node = follower()
    for (let i = 0; i < 10; i++) {
      node.tick(testTimings.electionTimeoutMinMs - 1)
      node.receive(installSnapshot(1, snapshotOf(1, 5)))
    }
    assert.equal(node.role, 'follower')
  })
})

test('A snapshot counts in an election as the log that it stands for', () => {
  const table = [
    [{ term: 3, index: 9 }, true],
    [{ term: 3, index: 8 }, false],
    [{ term: 2, index: 50 }, false],
    [{ term: 4, index: 1 }, true],
  ] as const
  for (const [lastEntry, voteGranted] of table) {
    const node = follower({ log: Array<number>(20).fill(1), currentTerm: 4 })
    node.receive(installSnapshot(4, snapshotOf(3, 9)))
    node.step({ type: 'peerDown', id: 'n2' })
    node.takeSent()
    node.receive(requestVote({ from: 'n3', term: 5, lastEntry }))
    assert.equal(node.takeSentOf('RequestVoteResponse')[0]?.voteGranted, voteGranted, JSON.stringify(lastEntry))
  }
})

test('Whoever conflicts right behind the snapshot is told where to look: at its last entry', () => {
  const node = follower({ currentTerm: 4 })
  node.receive(installSnapshot(4, snapshotOf(3, 5)))
  node.receive(appendEntries({ term: 4, prev: { term: 3, index: 5 }, entries: logOf([3, 3], 6) }))
  node.takeSent()
  node.receive(appendEntries({ from: 'n3', term: 6, prev: { term: 5, index: 7 } }))
  node.receive(appendEntries({ from: 'n3', term: 6, prev: { term: 5, index: 30 } }))
  node.receive(installSnapshot(6, snapshotOf(5, 12), 'n3'))
  node.takeSent()
  node.receive(appendEntries({ from: 'n3', term: 6, prev: { term: 6, index: 30 } }))
  const [answer] = node.takeSentOf('AppendEntriesResponse')
  assert.deepEqual(answer?.success === false && answer.hint, { term: 5, index: 12 })
})

describe('The configuration', () => {
  const four = founding(['n1', 'n2', 'n3', 'n4']).configuration
  const five = founding(['n1', 'n2', 'n3', 'n4', 'n5']).configuration
  const snapshot = snapshotOf(1, 9, { configuration: { index: 7, configuration: four } })

  test('comes with it, replaces what the log held, and is told', () => {
    const node = follower()
    node.receive(appendEntries({ term: 1, entries: [entry(1, 1), configurationEntry(1, 2, five)] }))
    node.receive(installSnapshot(1, snapshot))
    assert.deepEqual(node.raft.log.configuration, snapshot.configuration)
    assert.deepEqual(node.configurations.at(-1), snapshot.configuration)
  })

  test('of a later entry takes its place, and goes back to it when that entry is truncated', () => {
    const node = follower()
    node.receive(installSnapshot(1, snapshot))
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 9 }, entries: [configurationEntry(1, 10, five)] }))
    assert.deepEqual(node.raft.log.configuration, { index: 10, configuration: five })
    node.receive(appendEntries({ from: 'n3', term: 2, prev: { term: 1, index: 9 }, entries: logOf([2], 10) }))
    assert.deepEqual(node.raft.log.configuration, snapshot.configuration)
  })

  test('is there after a restart, with those of the log behind it', () => {
    const node = follower()
    node.receive(installSnapshot(1, snapshot))
    node.crash()
    node.restart()
    assert.deepEqual(node.raft.log.configuration, snapshot.configuration)
    node.receive(appendEntries({ term: 1, prev: { term: 1, index: 9 }, entries: [configurationEntry(1, 10, five)] }))
    node.crash()
    node.restart()
    assert.deepEqual(node.raft.log.configuration, { index: 10, configuration: five })
    assert.deepEqual(node.raft.log.configurationAt(9), snapshot.configuration)
  })
})

test('Cluster time goes on behind it', () => {
  const node = new TestNode({
    voters: ['n1'],
    snapshot: snapshotOf(1, 9, { timestampMs: 7000, configuration: founding(['n1']) }),
  })
  node.tick(testTimings.electionTimeoutMaxMs)
  node.propose(1)
  assert.deepEqual(
    node.disk.entries.map(({ index, timestampMs }) => [index, timestampMs]),
    [
      [10, 7000],
      [11, 7000],
    ],
  )
})
