// Linearizable reads through the loop and the core.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { appendEntries } from '../raft/entries.ts'
import { command, follower, leader, matched, type NodeKit, testTimings, tickMs, timeoutMs } from './node-kit.ts'
import { watch } from './watched.ts'

test('A read is answered once the quorum has confirmed the leader and this node has applied so far', async () => {
  const kit = await leader()
  const committed = watch(kit.node.proposeCommitted(command(), timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  assert.equal(committed.state, 'resolved')
  const barrier = watch(kit.node.readBarrier(timeoutMs))
  await kit.settle()
  assert.equal(barrier.state, 'pending')
  await kit.answer('n2')
  assert.equal(barrier.state, 'pending', 'confirmed, and not applied yet')
  await kit.apply()
  assert.equal(barrier.value, 2)
})

test('A follower asks the leader for the index to read at, and only the answer to this very question counts', async () => {
  const kit = await follower()
  const barrier = watch(kit.node.readBarrier(timeoutMs))
  await kit.settle()
  const [request] = kit.sent('ReadIndexRequest')
  assert(request !== undefined && request.to === 'n2', 'The leader was not asked')
  const answer = { type: 'ReadIndexResponse', from: 'n2', to: 'n1', term: 1, index: 0 } as const
  await kit.receive({ ...answer, readId: request.readId - 1 }, { ...answer, readId: 1 })
  assert.equal(barrier.state, 'pending')
  await kit.receive({ ...answer, readId: request.readId })
  assert.equal(barrier.value, 0)
})

test('A read under way is put to the new leader at once', async () => {
  const kit = await follower()
  watch(kit.node.readBarrier(timeoutMs))
  await kit.settle()
  kit.forget()
  await kit.receive(appendEntries({ term: 2, from: 'n3' }))
  assert.deepEqual(
    kit.sent('ReadIndexRequest').map(({ to, term }) => [to, term]),
    [['n3', 2]],
  )
})

test('A wait for an index is over when it is applied', async () => {
  const kit = await leader()
  const committed = watch(kit.node.proposeCommitted(command(), timeoutMs))
  const waiting = watch(kit.node.waitApplied(2, timeoutMs))
  const further = watch(kit.node.waitApplied(3, timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  assert.deepEqual([committed.state, waiting.state], ['resolved', 'pending'])
  await kit.apply()
  assert.deepEqual([waiting.state, further.state], ['resolved', 'pending'])
  await kit.advance(timeoutMs + tickMs)
  assert.equal(further.state, 'index-not-reached')
})

/** n2 answers the next heartbeat with a promise, which is counted from when that was sent. */
async function promised(kit: NodeKit, leaseMs: number): Promise<void> {
  await kit.advance(testTimings.heartbeatIntervalMs)
  const sent = kit.sent('AppendEntries').findLast(({ to }) => to === 'n2')
  assert(sent !== undefined, 'n2 was sent no heartbeat')
  const { term, round, prev } = sent
  await kit.receive(matched({ from: 'n2', term, round, matchIndex: prev.index, leaseMs }))
  kit.forget()
}

test('Under a lease a read is answered without a round trip, once this node has applied so far', async () => {
  const kit = await leader({ raft: { leaseReads: true } })
  watch(kit.node.proposeCommitted(command(), timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  await promised(kit, testTimings.electionTimeoutMinMs)
  const barrier = watch(kit.node.readBarrier(timeoutMs, 'lease'))
  await kit.settle()
  assert.equal(barrier.state, 'pending')
  await kit.apply()
  assert.equal(barrier.value, 2, 'and nobody has answered anything since')
  const again = watch(kit.node.readBarrier(timeoutMs, 'lease'))
  await kit.microtasks()
  assert.equal(again.value, 2, 'at once')
})

test('A lease is judged by the clock of the moment in which the read is asked for, not by that of the last turn', async () => {
  const kit = await leader({ raft: { leaseReads: true } })
  await promised(kit, testTimings.electionTimeoutMinMs)
  await kit.apply()
  kit.clock.nowMs += testTimings.electionTimeoutMinMs
  const barrier = watch(kit.node.readBarrier(timeoutMs, 'lease'))
  await kit.microtasks()
  assert.equal(barrier.state, 'pending')
})

for (const [who, mode, setup] of [
  ['who did not ask for it', 'read-index', { raft: { leaseReads: true } }],
  ['a node without LEASE_READS', 'lease', {}],
] as const) {
  test(`A lease is of no use to ${who}: the quorum is asked`, async () => {
    const kit = await leader(setup)
    await promised(kit, testTimings.electionTimeoutMinMs)
    await kit.apply()
    const barrier = watch(kit.node.readBarrier(timeoutMs, mode))
    await kit.settle()
    assert.equal(barrier.state, 'pending')
    await kit.answer('n2')
    assert.equal(barrier.value, 1)
  })
}

test('Without a lease, a read that asked for one is put to the leader as any other', async () => {
  const kit = await follower({ raft: { leaseReads: true } })
  watch(kit.node.readBarrier(timeoutMs, 'lease'))
  await kit.settle()
  assert.deepEqual(
    kit.sent('ReadIndexRequest').map(({ to }) => to),
    ['n2'],
  )
})

test('A node that was stopped answers no read, by lease or not', async () => {
  const kit = await leader({ voters: ['n1'], raft: { leaseReads: true } })
  await kit.node.stop(0)
  const barrier = watch(kit.node.readBarrier(timeoutMs, 'lease'))
  await kit.microtasks()
  assert.equal(barrier.state, 'shutting-down')
})

test('A barrier waits until the application has shown that it holds what it was given, and until it has again what it lost', async () => {
  const kit = await leader()
  await kit.apply()
  let show = () => {}
  kit.applier.confirm = () => new Promise((resolve) => (show = resolve))
  const barrier = watch(kit.node.readBarrier(timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  assert.equal(barrier.state, 'pending')
  kit.applier.appliedIndex = 0
  show()
  await kit.settle()
  assert.equal(barrier.state, 'pending', 'it had lost its state')
  await kit.apply()
  assert.equal(barrier.value, 1)
})

test('A barrier is not answered when the application does not show it in time', async () => {
  const kit = await leader()
  await kit.apply()
  kit.applier.blocked = 'it is away'
  kit.applier.confirm = () => new Promise(() => {})
  const barrier = watch(kit.node.readBarrier(timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  await kit.advanceAnswered(timeoutMs + 100, 'n2')
  assert.equal(barrier.state, 'read-timeout')
  assert.match(String(barrier.error), /it is away/)
})
