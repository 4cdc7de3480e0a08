// Linearizable reads through the loop and the core.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { appendEntries } from '../raft/entries.ts'
import { command, follower, leader, tickMs, timeoutMs } from './node-kit.ts'
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
