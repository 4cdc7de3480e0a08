// What a node tells of itself and its cluster.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { appendEntries } from '../raft/entries.ts'
import { command, follower, leader, started, testTimings, timeoutMs } from './node-kit.ts'
import { watch } from './watched.ts'

test('The status of a leader shows how far each member is', async () => {
  const kit = await leader({ learners: ['n4'] }, ['n2'])
  kit.transport.connected.delete('n3')
  kit.applier.blocked = 'The application answers 503'
  watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const status = kit.node.status()
  assert.deepEqual(
    status.members.map(({ id, role, self, leader, reachable, matchIndex, lag }) => [
      id,
      role,
      self,
      leader,
      reachable,
      matchIndex,
      lag,
    ]),
    [
      ['n1', 'voter', true, true, true, 2, 0],
      ['n2', 'voter', false, false, true, 1, 1],
      ['n3', 'voter', false, false, false, 0, 2],
      ['n4', 'learner', false, false, true, 0, 2],
    ],
  )
  const { id, role, term, commitIndex, lastIndex, durableIndex, firstIndex, pendingProposals, applierBlocked } = status
  assert.deepEqual(
    { id, role, term, commitIndex, lastIndex, durableIndex, firstIndex, pendingProposals, applierBlocked },
    {
      id: 'n1',
      role: 'leader',
      term: 1,
      commitIndex: 1,
      lastIndex: 2,
      durableIndex: 2,
      firstIndex: 1,
      pendingProposals: 1,
      applierBlocked: 'The application answers 503',
    },
  )
  assert.equal(status.observerBlocked, null)
  assert.equal(status.uptimeMs, kit.clock.nowMs)
})

test('The leader as this node sees it: none, another with what it announced, itself', async () => {
  const alone = await started()
  assert.equal(alone.node.leader(), null)
  assert.equal(alone.node.status().leader, null)
  const following = await follower()
  assert.deepEqual(following.node.leader(), { id: 'n2', term: 1, self: false, appUrl: 'http://n2.test' })
  assert.equal(following.node.holdsQuorum(), false)
  const leading = await leader()
  assert.deepEqual(leading.node.leader(), { id: 'n1', term: 1, self: true, appUrl: 'http://n1.test' })
  assert.equal(leading.node.holdsQuorum(), true)
})

test('A learner says that it is one, and the followers do not tell how far the others are', async () => {
  const kit = await follower({ voters: ['n2', 'n3'], learners: ['n1'] })
  const { role, members } = kit.node.status()
  assert.equal(role, 'learner')
  assert.deepEqual(
    members.map(({ matchIndex, lag }) => [matchIndex, lag]),
    [
      [null, null],
      [null, null],
      [null, null],
    ],
  )
})

test('The quorum is held for an election timeout after its last confirmation, without a turn in between', async () => {
  const kit = await leader()
  kit.clock.nowMs += testTimings.electionTimeoutMinMs
  assert.equal(kit.node.holdsQuorum(), false)
})

test('The observer hears of roles, leaders, saves, commits and what was applied', async () => {
  const kit = await started()
  assert.deepEqual(
    kit.events.map(({ type }) => type),
    ['configuration'],
  )
  assert.deepEqual(
    kit.transport.members.map(({ id }) => id),
    ['n1', 'n2', 'n3'],
  )
  await kit.receive(appendEntries({ term: 1 }))
  await kit.receive(appendEntries({ term: 2, from: 'n3' }))
  assert.deepEqual(
    kit.events.filter(({ type }) => type === 'leader'),
    [
      { type: 'leader', leader: 'n2', term: 1 },
      { type: 'leader', leader: 'n3', term: 2 },
    ],
  )
  kit.transport.events?.peerDown('n3')
  await kit.settle()
  assert.deepEqual(kit.events.slice(-2), [
    { type: 'peer', id: 'n3', connected: false },
    { type: 'leader', leader: null, term: 2 },
  ])
  const leading = await leader()
  watch(leading.node.propose(command(), timeoutMs))
  await leading.settle()
  await leading.answer('n2')
  await leading.apply()
  assert.deepEqual(leading.events, [
    { type: 'saved', durationMs: 0, entries: 1 },
    { type: 'committed', proposals: 1, latencyMs: 0 },
    { type: 'applied', commands: 1 },
  ])
})
