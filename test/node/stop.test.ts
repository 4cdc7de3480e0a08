// An orderly end: leadership is handed over, what is under way comes to its end, and the grace bounds the waiting.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { appendEntries } from '../raft/entries.ts'
import { command, entryOf, follower, leader, passedOn, tickMs, timeoutMs } from './node-kit.ts'
import { watch } from './watched.ts'

test('A stopping leader refuses new commands, hands leadership over, and waits until the other leads and for what is under way', async () => {
  const kit = await leader()
  const handed = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const queued = watch(kit.node.propose(command(), timeoutMs))
  const stop = watch(kit.node.stop(10_000))
  const late = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  assert.deepEqual([queued.state, late.state], ['shutting-down/not_applied', 'shutting-down/not_applied'])
  assert.deepEqual(kit.sent('TimeoutNow'), [], 'not before the other has everything')
  await kit.answer('n2')
  assert.deepEqual(
    kit.sent('TimeoutNow').map(({ to }) => to),
    ['n2'],
  )
  await kit.advance(tickMs)
  assert.equal(stop.state, 'pending', 'its client waits')
  await kit.apply()
  assert.equal(handed.state, 'resolved')
  const told: string[] = []
  kit.node.subscribe((change) => {
    if (change.type === 'leadership') told.push(change.leadership.event)
  })
  await kit.advance(tickMs)
  assert.equal(stop.state, 'pending', 'its application still believes that it leads')
  await kit.receive(appendEntries({ from: 'n2', term: 2 }))
  await kit.advance(tickMs)
  assert.deepEqual([stop.state, told], ['resolved', ['lost']])
  assert.deepEqual(kit.journal.slice(-3), ['close applier', 'close transport', 'close storage'])
  assert.deepEqual([kit.clock.timers, kit.fatal.length], [0, 0])
})

test('A leader that can hand over to nobody, with clients that wait, stops when the grace is over', async () => {
  const kit = await leader()
  kit.storage.holdsSaves = true
  const handed = watch(kit.node.propose(command(), timeoutMs))
  const committed = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const barrier = watch(kit.node.readBarrier(timeoutMs))
  const stop = watch(kit.node.stop(500))
  await kit.advance(470)
  assert.equal(stop.state, 'pending')
  await kit.advance(60)
  assert.equal(stop.state, 'resolved')
  assert.deepEqual(
    [handed.state, committed.state, barrier.state],
    ['leadership-lost/unknown', 'leadership-lost/unknown', 'shutting-down'],
  )
  assert.equal(kit.clock.timers, 0)
})

for (const { name, prepare } of [
  { name: 'A follower', prepare: () => follower() },
  { name: 'The only member', prepare: () => leader({ voters: ['n1'] }, []) },
]) {
  test(`${name} for whose answer nobody waits stops at once`, async () => {
    const kit = await prepare()
    const stop = watch(kit.node.stop(10_000))
    await kit.settle()
    assert.equal(stop.state, 'resolved')
  })
}

test('A stopping follower waits for the answers that its clients wait for', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.proposeCommitted(command(), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  const stop = watch(kit.node.stop(10_000))
  await kit.advance(tickMs)
  assert.equal(stop.state, 'pending')
  const entries = [entryOf(1, 1, origin, 1)]
  await kit.receive(appendEntries({ term: 1, entries, leaderCommit: 1 }))
  await kit.advance(tickMs)
  assert.deepEqual([waiting.state, stop.state], ['resolved', 'resolved'])
})

test('A disk that fails while the node stops ends the stopping', async () => {
  const kit = await leader()
  kit.storage.holdsSaves = true
  watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const stop = watch(kit.node.stop(10_000))
  await kit.settle()
  kit.storage.held.splice(0)[0]?.reject(new FatalError(exitCodes.ioError, 'fdatasync failed'))
  await kit.advance(tickMs)
  assert.deepEqual([stop.state, kit.fatal.length], ['resolved', 1])
})

test('A second stop waits for the first, and both end with everything closed', async () => {
  const kit = await leader()
  const handed = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  watch(kit.node.stop(10_000))
  watch(kit.node.stop(10_000))
  await kit.settle()
  assert.equal(handed.state, 'pending')
})
