// How a leader feeds its followers: from probing to streaming, under a window, from memory or from disk, and out of every standstill.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { NodeId } from '../../src/raft/entry.ts'
import type { AppendEntries } from '../../src/raft/messages.ts'
import { Cluster } from './cluster.ts'
import { accepted, proposal, rejected } from './entries.ts'
import { leader } from './roles.ts'
import { type TestNode, testTimings } from './test-node.ts'

const { heartbeatIntervalMs } = testTimings

/** A leader of term 1 that streams to n2, nothing under way; n3 is silent. */
function streaming(options: Parameters<typeof leader>[0] = {}): TestNode {
  const node = leader(options)
  node.receive(accepted(1, 1, 'n2'))
  node.takeSent()
  return node
}

function sentTo(node: TestNode, to: NodeId): AppendEntries[] {
  return node.takeSentOf('AppendEntries').filter((message) => message.to === to)
}

function indexes(messages: readonly AppendEntries[]): number[][] {
  return messages.map((message) => message.entries.map((entry) => entry.index))
}

test('While a follower is probed, proposals are not sent to it', () => {
  const node = leader()
  for (let i = 0; i < 3; i++) node.propose(1)
  assert.deepEqual(node.takeSent(), [])
})

test('Its answer opens the stream, with everything that waited', () => {
  const node = leader()
  for (let i = 0; i < 3; i++) node.propose(1)
  node.receive(accepted(1, 0, 'n2'))
  assert.deepEqual(indexes(sentTo(node, 'n2')), [[1, 2, 3, 4]])
})

test('Streaming does not wait for answers, until the window is full; an answer frees it', () => {
  const node = streaming({ options: { maxInFlightMessages: 2 } })
  for (let i = 0; i < 4; i++) node.propose(1)
  assert.deepEqual(indexes(sentTo(node, 'n2')), [[2], [3]])
  node.receive(accepted(1, 2, 'n2'))
  assert.deepEqual(indexes(sentTo(node, 'n2')), [[4, 5]])
})

test('A window of bytes holds as well as one of messages', () => {
  const node = streaming({ options: { maxInFlightMessages: 2, maxMessageBytes: 50 } })
  node.propose(150)
  node.propose(1)
  assert.deepEqual(indexes(sentTo(node, 'n2')), [[2]])
  node.receive(accepted(1, 2, 'n2'))
  assert.deepEqual(indexes(sentTo(node, 'n2')), [[3]])
})

test('Entries are cut into messages of at most so many bytes, one entry at least', () => {
  const node = streaming({ options: { maxMessageBytes: 40 } })
  node.propose(12, 12, 12, 60, 12)
  assert.deepEqual(indexes(sentTo(node, 'n2')), [[2, 3], [4], [5], [6]])
})

test('A full window does not hold back the heartbeat', () => {
  const node = streaming({ options: { maxInFlightMessages: 1 } })
  node.propose(1)
  node.takeSent()
  node.tick(heartbeatIntervalMs)
  assert.deepEqual(
    sentTo(node, 'n2').map(({ prev, entries }) => [prev.index, entries.length]),
    [[2, 0]],
  )
})

test('What was lost under way is found by the next heartbeat and sent again', () => {
  const node = streaming({ options: { maxInFlightMessages: 1 } })
  node.propose(1)
  node.propose(1)
  node.takeSent()
  node.tick(heartbeatIntervalMs)
  node.takeSent()
  node.receive(rejected(1, 2, { term: 1, index: 1 }, 'n2'))
  assert.deepEqual(
    sentTo(node, 'n2').map(({ prev, entries }) => [prev.index, entries.length]),
    [[1, 0]],
  )
  node.receive(accepted(1, 1, 'n2'))
  assert.deepEqual(indexes(sentTo(node, 'n2')), [[2, 3]])
})

test('Lost answers are made good by the answer to the next heartbeat', () => {
  const node = streaming({ options: { maxInFlightMessages: 1 } })
  node.propose(1)
  node.propose(1)
  node.takeSent()
  node.tick(heartbeatIntervalMs)
  node.takeSent()
  node.receive(accepted(1, 2, 'n2'))
  assert.equal(node.raft.commitIndex, 2)
  assert.deepEqual(indexes(sentTo(node, 'n2')), [[3]])
})

test('A probe that was lost is repeated by the next heartbeat', () => {
  const node = leader()
  node.propose(1)
  node.tick(heartbeatIntervalMs)
  assert.equal(sentTo(node, 'n2').length, 1)
  node.receive(accepted(1, 0, 'n2'))
  assert.deepEqual(indexes(sentTo(node, 'n2')), [[1, 2]])
})

test('The refusals of a whole pipeline lead to one probe, not to one each', () => {
  const node = streaming({ options: { maxInFlightMessages: 16 } })
  for (let i = 0; i < 8; i++) node.propose(1)
  node.takeSent()
  for (let prev = 2; prev <= 8; prev++) node.receive(rejected(1, prev, { term: 1, index: 1 }, 'n2'))
  assert.deepEqual(
    sentTo(node, 'n2').map(({ prev, entries }) => [prev.index, entries.length]),
    [[1, 0]],
  )
})

function toldOfCommit(node: TestNode): (readonly [NodeId, number])[] {
  return node.takeSentOf('AppendEntries').map(({ to, leaderCommit }) => [to, leaderCommit] as const)
}

/** Five voters, all streaming, with nothing under way and nothing to tell. */
function settledFive(): TestNode {
  const node = leader({ voters: ['n1', 'n2', 'n3', 'n4', 'n5'] })
  for (const id of ['n2', 'n3', 'n4', 'n5']) node.receive(accepted(1, 1, id))
  node.step({ type: 'announceCommit' })
  node.takeSent()
  return node
}

test('Followers with nothing under way hear of a commit when it is announced, once', () => {
  const node = settledFive()
  node.propose(1)
  node.takeSent()
  node.receive(accepted(1, 2, 'n2'), accepted(1, 2, 'n3'))
  assert.equal(node.raft.commitIndex, 2)
  assert.deepEqual(toldOfCommit(node), [])
  node.step({ type: 'announceCommit' })
  // n4 and n5 still have the entry under way, and hear of the commit when it is announced after their answer.
  assert.deepEqual(toldOfCommit(node), [
    ['n2', 2],
    ['n3', 2],
  ])
  node.receive(accepted(1, 2, 'n4'))
  node.step({ type: 'announceCommit' })
  assert.deepEqual(toldOfCommit(node), [['n4', 2]])
  node.step({ type: 'announceCommit' })
  assert.deepEqual(toldOfCommit(node), [])
})

test('The follower that passed a proposal on hears of its commit at once, and only it', () => {
  const node = settledFive()
  node.step({ type: 'propose', proposals: [proposal(1)], unixMs: 0, forwardedBy: 'n3' })
  node.takeSent()
  node.receive(accepted(1, 2, 'n2'), accepted(1, 2, 'n3'))
  assert.deepEqual(toldOfCommit(node), [['n3', 2]])
  node.receive(accepted(1, 2, 'n3'))
  assert.deepEqual(toldOfCommit(node), [])
})

test('If it still has the entry under way when that commits, it hears with its answer', () => {
  const node = settledFive()
  node.step({ type: 'propose', proposals: [proposal(1)], unixMs: 0, forwardedBy: 'n5' })
  node.takeSent()
  node.receive(accepted(1, 2, 'n2'), accepted(1, 2, 'n3'))
  assert.deepEqual(toldOfCommit(node), [])
  node.receive(accepted(1, 2, 'n5'))
  assert.deepEqual(toldOfCommit(node), [['n5', 2]])
})

describe('Entries that have left memory', () => {
  const cold = () => {
    const node = leader({ log: [1, 1, 1, 1], options: { maxCachedBytes: 0, maxMessageBytes: 16 } })
    node.receive(accepted(2, 0, 'n2'))
    return node
  }

  test('are read from disk, one load at a time, until the follower has them all', () => {
    const node = cold()
    assert.deepEqual(node.loads, [{ to: 'n2', from: 1, through: 5, maxBytes: 16 }])
    node.receive(accepted(2, 0, 'n2'))
    node.propose(1)
    assert.equal(node.loads.length, 1)
    const received: number[] = []
    for (let i = 0; i < 10 && node.completeLoad(); i++) {
      for (const message of sentTo(node, 'n2')) {
        received.push(...message.entries.map((entry) => entry.index))
        node.receive(accepted(2, received.at(-1) ?? 0, 'n2'))
      }
    }
    assert.deepEqual(received, [1, 2, 3, 4, 5, 6])
  })

  test('that come for a follower which fell back to probing meanwhile are not sent', () => {
    const node = cold()
    node.step({ type: 'peerUp', id: 'n2' })
    node.takeSent()
    node.completeLoad()
    assert.deepEqual(indexes(sentTo(node, 'n2')), [[]])
  })

  test('that come after the follower got further by other ways are not sent again', () => {
    const node = cold()
    node.receive(accepted(2, 3, 'n2'))
    node.takeSent()
    node.completeLoad()
    assert.deepEqual(indexes(sentTo(node, 'n2')), [])
    assert.equal(node.loads[0]?.from, 4)
  })

  test('that another leader replaced meanwhile are not sent', () => {
    const node = cold()
    const [load] = node.loads.splice(0)
    const stale = node.disk.read(load?.from ?? 0, 2, 1000).map((entry) => ({ ...entry, term: 7 }))
    node.takeSent()
    node.step({ type: 'loaded', to: 'n2', from: 1, entries: stale })
    assert.deepEqual(indexes(sentTo(node, 'n2')), [])
    assert.equal(node.loads.length, 1)
  })

  test('that come to a leader no more are ignored', () => {
    const node = cold()
    node.tick(5000)
    assert.equal(node.role, 'follower')
    node.completeLoad()
    assert.deepEqual(sentTo(node, 'n2'), [])
  })

  test('and are gone from the disk too are not asked for again before time passes', () => {
    const node = cold()
    const [load] = node.loads.splice(0)
    assert.equal(load?.from, 1)
    node.step({ type: 'loaded', to: 'n2', from: 1, entries: [] })
    assert.deepEqual(node.loads, [], 'a load that finds nothing is repeated at once, and so for ever')
  })
})

describe('A connection that comes up', () => {
  test('repeats at once what may have been lost with the old one', () => {
    const node = streaming()
    node.propose(1)
    node.takeSent()
    node.step({ type: 'peerUp', id: 'n2' })
    assert.deepEqual(
      sentTo(node, 'n2').map(({ prev, entries }) => [prev.index, entries.length]),
      [[1, 0]],
    )
    node.receive(accepted(1, 1, 'n2'))
    assert.deepEqual(indexes(sentTo(node, 'n2')), [[2]])
  })

  test('to a follower that never answered in this term does not begin its log from the first entry', () => {
    const cluster = new Cluster({ voters: 3 })
    cluster.elect('n1')
    cluster.propose('n1', 50)
    cluster.settle()
    cluster.crash('n1')
    cluster.elect('n2')
    cluster.propose('n2')
    cluster.settle()
    cluster.restart('n1')
    const before = cluster.node('n1').raft.log.lastIndex
    cluster.node('n2').step({ type: 'peerUp', id: 'n1' })
    cluster.collect()
    const sent: number[] = []
    for (let i = 0; i < 100; i++) {
      const message = cluster.network.shift()
      if (message === undefined && !cluster.node('n2').completeLoad()) break
      if (message?.type === 'AppendEntries') sent.push(...message.entries.map((entry) => entry.index))
      if (message !== undefined) cluster.deliver(message)
      cluster.collect()
    }
    assert.deepEqual(cluster.node('n1').terms, cluster.node('n2').terms)
    const repeated = sent.filter((index) => index <= before)
    assert.deepEqual(repeated, [], `${repeated.length} entries that the follower has were sent again`)
  })
})
