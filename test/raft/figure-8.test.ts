// Figure 8 of the paper, step by step: why an entry of an older term never commits by counting (§5.4.2).

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeId } from '../../src/raft/entry.ts'
import { Cluster } from './cluster.ts'

/** At (c): n1 led term 2 and got entry 2 to n2; n5 led term 3 and wrote another entry 2 to itself; n1 leads term 4 now. */
function atStepC(): Cluster {
  const cluster = new Cluster({
    voters: 5,
    logs: { n1: [1, 2], n2: [1, 2], n3: [1], n4: [1], n5: [1, 3] },
    currentTerms: { n1: 3, n2: 3, n3: 3, n4: 3, n5: 3 },
  })
  cluster.crash('n5')
  electSilently(cluster, 'n1')
  return cluster
}

/** Wins the election, but what it sends as a leader reaches nobody yet. */
function electSilently(cluster: Cluster, id: NodeId): void {
  cluster.advance(4000)
  for (const node of cluster.nodes.values()) if (node.alive && node.role === 'leader') cluster.tick(node.id)
  cluster.tick(id)
  while (cluster.node(id).role !== 'leader') {
    const message = cluster.network.shift() ?? assert.fail(`${id} did not win`)
    cluster.deliver(message)
  }
  cluster.network = []
}

/** n1 brings n3 up to entry 2, of term 2, but not to its own no-op of term 4. */
function replicateEntryTwo(cluster: Cluster): void {
  const leader = cluster.node('n1')
  const noop = leader.raft.log.lastIndex
  cluster.advance(300)
  cluster.tick('n1')
  for (let delivered = 0; delivered < 100; delivered++) {
    const message = cluster.network.shift()
    if (message === undefined) {
      if (!leader.completeLoad()) break
      cluster.collect()
    } else if (message.type === 'AppendEntries') {
      const entries = message.entries.filter((entry) => entry.index < noop)
      if (message.entries.length > 0 && entries.length === 0) continue
      if (message.to === 'n2' || message.to === 'n3') cluster.deliver({ ...message, entries })
    } else {
      cluster.deliver(message)
    }
  }
}

test('(c) entry 2 of term 2 stands on a majority, and is not committed by the leader of term 4', () => {
  const cluster = atStepC()
  replicateEntryTwo(cluster)
  const leader = cluster.node('n1')
  assert.equal(leader.raft.currentTerm, 4)
  for (const id of ['n1', 'n2', 'n3']) assert.equal(cluster.node(id).disk.termAt(2), 2, id)
  assert.equal(leader.raft.commitIndex, 0)
})

test('(d) so n5 may still win with term 3’s entry, and overwrite it everywhere', () => {
  const cluster = atStepC()
  replicateEntryTwo(cluster)
  cluster.network = []
  cluster.crash('n1')
  cluster.restart('n5')
  // n2 and n3 hold an older last term than n5, n4 a shorter log: all of them may vote for it.
  cluster.advance(4000)
  cluster.tick('n5')
  cluster.settle()
  cluster.elect('n5')
  cluster.restart('n1')
  cluster.run(1000)
  for (const node of cluster.nodes.values()) {
    assert.deepEqual(node.terms.slice(0, 2), [1, 3], node.id)
    assert(node.raft.commitIndex >= 3)
  }
})

test('(e) once an entry of term 4 stands on a majority, entry 2 is committed with it and n5 cannot win any more', () => {
  const cluster = atStepC()
  cluster.heartbeat()
  assert.equal(cluster.node('n1').raft.commitIndex, 3)
  assert.deepEqual(cluster.node('n1').terms, [1, 2, 4])
  cluster.crash('n1')
  cluster.restart('n5')
  cluster.advance(4000)
  for (let attempt = 0; attempt < 3; attempt++) {
    cluster.advance(4000)
    cluster.tick('n5')
    cluster.settle()
    assert.notEqual(cluster.node('n5').role, 'leader')
  }
  cluster.elect('n3')
  assert.deepEqual(cluster.node('n5').terms.slice(0, 3), [1, 2, 4])
})
