// The committed log as clients read it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CompactedError } from '../../src/errors.ts'
import { CommittedLog } from '../../src/node/committed-log.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { command, entryOf, leader, momentMs, started, timeoutMs } from './node-kit.ts'
import { watch } from './watched.ts'

function logOver(entries: readonly Entry[], { committed = entries.length, firstIndex = 1, maxWaiting = 2 } = {}) {
  const state = { committed, firstIndex, reads: 0 }
  const log = new CommittedLog({
    entries: {
      read: async (from, through, maxBytes) => {
        state.reads++
        const wanted = entries.filter(({ index }) => index >= Math.max(from, state.firstIndex) && index <= through)
        return wanted.slice(0, Math.max(1, Math.floor(maxBytes / 10)))
      },
      get firstIndex() {
        return state.firstIndex
      },
      isSkipped: (index) => index === 2,
    },
    committedIndex: () => state.committed,
    maxWaiting,
  })
  return { log, state }
}

function commands(count: number, noops: readonly number[] = []): Entry[] {
  return Array.from({ length: count }, (_, i) => {
    const entry = entryOf(1, i + 1, 7, i)
    return noops.includes(i + 1) ? { ...entry, kind: 'noop' as const } : entry
  })
}

test('Commands come in order, with what they carry, as far as they are committed and wanted', async () => {
  const { log } = logOver(commands(5, [1]), { committed: 4 })
  const { commands: read, through } = await log.read(0, 10, 1000)
  assert.deepEqual(
    read.map(({ index, skipped }) => [index, skipped]),
    [
      [2, true],
      [3, false],
      [4, false],
    ],
  )
  assert.equal(through, 4)
  assert.deepEqual(read[0]?.key, null)
  assert.deepEqual(
    (await log.read(2, 1, 1000)).commands.map(({ index }) => index),
    [3],
  )
  assert.deepEqual(
    (await log.read(2, 10, 10)).commands.map(({ index }) => index),
    [3],
    'at least one',
  )
  assert.deepEqual(await log.read(4, 10, 1000), { commands: [], through: 4 })
  assert.deepEqual(await log.read(99, 10, 1000), { commands: [], through: 99 })
})

test('A stretch without commands is read over, and told of', async () => {
  const { log } = logOver(commands(6, [1, 2, 3, 4, 5]))
  assert.deepEqual(
    (await log.read(0, 1, 10)).commands.map(({ index }) => index),
    [6],
  )
  const none = logOver(commands(3, [1, 2, 3]))
  assert.deepEqual(await none.log.read(0, 10, 1000), { commands: [], through: 3 })
})

test('What the log no longer holds is an error that says from where on it does, also when it goes meanwhile', async () => {
  const { log, state } = logOver(commands(9), { firstIndex: 4 })
  await assert.rejects(log.read(2, 10, 1000), (error) => error instanceof CompactedError && error.firstIndex === 4)
  assert.equal((await log.read(3, 1, 1000)).commands[0]?.index, 4)
  const reading = log.read(4, 1, 1000)
  state.firstIndex = 9
  const { commands: read } = await reading
  assert(read.length === 0 || read[0]?.index === 5)
})

test('Waiting ends with a commit, with the time, or with the node; and not everybody may wait', async () => {
  const { log, state } = logOver(commands(5), { committed: 3 })
  assert.equal(await log.wait(2, 0, 1000), 3)
  const waits = [watch(log.wait(3, 0, 1000)), watch(log.wait(4, 0, 500)), watch(log.wait(3, 0, 1000))]
  assert.equal((await Promise.allSettled([log.wait(3, 0, 1)]))[0]?.status, 'rejected')
  state.committed = 4
  log.wake(100)
  log.wake(500)
  await Promise.resolve()
  assert.deepEqual(
    waits.map(({ value, state: what }) => value ?? what),
    [4, 4, 'read-timeout'],
  )
  const last = watch(log.wait(4, 0, 1000))
  log.abandon()
  await Promise.resolve()
  await Promise.resolve()
  assert.equal(last.state, 'shutting-down')
})

test('A node wakes who waits for the next command', async () => {
  const kit = await leader()
  const waiting = watch(kit.node.waitCommitted(1, timeoutMs))
  void watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  assert.equal(waiting.state, 'pending')
  await kit.answer('n2')
  await kit.advance(momentMs)
  assert.equal(waiting.value, 2)
  const { commands: read } = await kit.node.readCommitted(0, 10, 1000)
  assert.deepEqual(
    read.map(({ index, kind }) => [index, kind]),
    [[2, 'json']],
  )
  const late = watch(kit.node.waitCommitted(2, 100))
  await kit.advance(200)
  assert.equal(late.value, 2)
})

test('A node that is past its snapshot says from where on it holds the log', async () => {
  const kit = await started({ snapshot: { term: 1, index: 10 } })
  await assert.rejects(kit.node.readCommitted(3, 10, 1000), /held from 11 on/)
})
