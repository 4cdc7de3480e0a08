// A failed disk or a broken invariant ends the node: once, with everybody answered, and with nothing said that could not be trusted.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { appendEntries, encodeEntry, logOf, requestVote } from '../raft/entries.ts'
import { command, follower, forwarded, leader, matched, timeoutMs } from './node-kit.ts'
import { watch } from './watched.ts'

for (const { name, error, exitCode } of [
  {
    name: 'as the storage says it',
    error: new FatalError(exitCodes.ioError, 'fdatasync failed'),
    exitCode: exitCodes.ioError,
  },
  {
    name: 'as a broken invariant when the storage does not say',
    error: new Error('boom'),
    exitCode: exitCodes.software,
  },
]) {
  test(`A save that fails halts the node, once, ${name}`, async () => {
    const kit = await leader()
    kit.storage.holdsSaves = true
    const handed = watch(kit.node.propose(command(), timeoutMs))
    const barrier = watch(kit.node.readBarrier(timeoutMs))
    await kit.settle()
    const queued = watch(kit.node.propose(command(), timeoutMs))
    // Two saves under way: both fail.
    await kit.receive(requestVote({ term: 9, leadershipTransfer: true, lastEntry: { term: 8, index: 9 } }))
    assert.equal(kit.storage.held.length, 2)
    kit.forget()
    for (const { reject } of kit.storage.held.splice(0)) reject(error)
    await kit.settle()
    assert.equal(kit.fatal.length, 1)
    assert(kit.fatal[0] instanceof FatalError, 'It halts with a FatalError')
    assert.equal(kit.fatal[0].exitCode, exitCode)
    assert.deepEqual(
      [handed.state, queued.state, barrier.state],
      ['leadership-lost/unknown', 'shutting-down/not_applied', 'shutting-down'],
    )
    assert.deepEqual(kit.journal, [], 'the vote that rested on the save never leaves')
  })
}

test('Saves that become durable out of order halt the node, and no promise leaves', async () => {
  const kit = await follower()
  kit.storage.holdsSaves = true
  const entries = logOf([1, 1])
  await kit.receive(appendEntries({ term: 1, entries: entries.slice(0, 1) }))
  await kit.receive(appendEntries({ term: 1, prev: { term: 1, index: 1 }, entries: entries.slice(1) }))
  for (const { resolve } of kit.storage.held.splice(0).reverse()) resolve()
  await kit.settle()
  assert.deepEqual(
    kit.fatal.map(({ exitCode, message }) => [exitCode, message]),
    [[exitCodes.software, 'Save 3 became durable after save 1, out of order']],
  )
  assert.deepEqual(kit.sent('AppendEntriesResponse'), [])
})

test('A broken invariant in the core halts the node, and the client learns that nothing is known', async () => {
  const kit = await leader()
  const waiting = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  // Another leader of the same term.
  await kit.receive(appendEntries({ term: 1, from: 'n3' }))
  assert.equal(kit.fatal.length, 1)
  assert.match(kit.fatal[0]?.message ?? '', /broken invariant stops this node: n3 leads term 1, and so does this node/)
  assert.equal(kit.fatal[0]?.exitCode, exitCodes.software)
  assert.equal(waiting.state, 'leadership-lost/unknown')
})

test('A halted node does nothing any more: no turn, no timer, no message, no new work', async () => {
  const kit = await leader()
  kit.node.propose(command(), timeoutMs).catch(() => {})
  await kit.settle()
  await kit.receive(appendEntries({ term: 1, from: 'n3' }))
  kit.forget()
  const refused = watch(kit.node.propose(command(), timeoutMs))
  const read = watch(kit.node.readBarrier(timeoutMs))
  const wait = watch(kit.node.waitApplied(99, timeoutMs))
  await kit.receive(requestVote({ term: 9 }), forwarded([1]))
  kit.transport.events?.peerDown('n2')
  await kit.advance(60_000)
  assert.deepEqual(
    [refused.state, read.state, wait.state],
    ['shutting-down/not_applied', 'shutting-down', 'shutting-down'],
  )
  assert.deepEqual(kit.journal, [])
  assert.deepEqual([kit.fatal.length, kit.clock.timers, kit.node.holdsQuorum()], [1, 0, false])
})

test('A read from storage that fails halts the node', async () => {
  const kit = await leader({ log: [1, 1, 1] }, ['n2'])
  const term = kit.node.currentTerm
  kit.storage.holdsReads = true
  await kit.receive(matched({ from: 'n3', term, matchIndex: 0 }))
  kit.storage.reads[0]?.reject(new FatalError(exitCodes.dataError, 'Entry 2 is damaged'))
  await kit.settle()
  assert.deepEqual(
    kit.fatal.map(({ exitCode }) => exitCode),
    [exitCodes.dataError],
  )
})

test('A command that cannot be encoded halts the node rather than leave a hole', async () => {
  const kit = await leader({
    encodeEntry: (fields) => {
      if (fields.kind === 'json') throw new Error('No record for it')
      return encodeEntry(fields)
    },
  })
  const waiting = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  assert.equal(kit.fatal.length, 1)
  assert.equal(waiting.state, 'leadership-lost/unknown')
})

test('A failure to send what rested on a save halts the node', async () => {
  const kit = await follower()
  const send = kit.transport.send.bind(kit.transport)
  kit.transport.send = (message) => {
    if (message.type === 'AppendEntriesResponse') throw new Error('Cannot encode')
    send(message)
  }
  await kit.receive(appendEntries({ term: 1, entries: logOf([1]) }))
  assert.equal(kit.fatal.length, 1)
})
