// Nothing grows without end: a leader that cannot commit refuses what it could not keep.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster } from './cluster.ts'
import { accepted, proposal } from './entries.ts'
import { leader } from './roles.ts'
import { testTimings } from './test-node.ts'

const options = { maxUncommittedBytes: 100 }

test('Proposals are refused while too much is appended and not committed, and taken again when it is', () => {
  const node = leader({ options })
  node.receive(accepted(1, 1, 'n2'))
  assert.equal(node.propose(60)[0]?.refused, null)
  assert.equal(node.propose(60)[0]?.refused, null)
  assert.deepEqual(
    node.propose(1, 1).map((outcome) => [outcome.accepted, outcome.refused]),
    [
      [null, 'tail-full'],
      [null, 'tail-full'],
    ],
  )
  assert.equal(node.raft.log.lastIndex, 3)
  node.receive(accepted(1, 2, 'n2'))
  assert.equal(node.propose(1)[0]?.refused, null)
})

test('A command larger than the limit is taken when nothing waits', () => {
  const node = leader({ options })
  node.receive(accepted(1, 1, 'n2'))
  assert.equal(node.propose(500)[0]?.refused, null)
  assert.equal(node.propose(1)[0]?.refused, 'tail-full')
})

test('Proposals of one input are taken in order, together', () => {
  const node = leader()
  assert.deepEqual(
    node.propose(1, 1, 1).map((outcome) => [outcome.sequence, outcome.accepted?.index]),
    [
      [1, 2],
      [2, 3],
      [3, 4],
    ],
  )
  assert.equal(node.disk.lastIndex, 4)
})

test('An isolated leader’s tail stays bounded, however much is proposed to it', () => {
  const cluster = new Cluster({ voters: 3, options })
  cluster.elect('n1')
  cluster.isolate('n1')
  for (let i = 0; i < 1000; i++) cluster.propose('n1')
  assert(cluster.node('n1').raft.log.lastIndex < 30)
})

test('What a new leader did not append itself does not count against its clients', () => {
  const node = leader({ log: Array<number>(50).fill(1), options })
  assert.equal(node.propose(1)[0]?.refused, null)
})

test('Cluster time never goes back along the log, whatever the clocks of its leaders say', () => {
  const node = leader()
  const clocks = [1000, 500, 2000, 0]
  for (const unixMs of clocks) node.step({ type: 'propose', proposals: [proposal(1)], unixMs })
  assert.deepEqual(
    node.disk.entries.map((entry) => entry.timestampMs),
    [0, 1000, 1000, 2000, 2000],
  )
  node.crash()
  node.restart()
  assert.equal(node.raft.log.lastTimestampMs, 2000)
})

test('A leader whose rounds nobody answers keeps no more of them than fit an election timeout', () => {
  const node = leader()
  let most = 0
  for (let i = 0; i < 100 && node.raft.role.name === 'leader'; i++) {
    most = Math.max(most, node.raft.role.rounds.length)
    node.tick(testTimings.heartbeatIntervalMs)
  }
  assert.equal(node.role, 'follower')
  assert(most <= 5, `${most} rounds`)
})
