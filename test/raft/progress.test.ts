// What the leader knows of one follower: probe, replicate, the window.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Progress } from '../../src/raft/progress.ts'

const window = { maxMessages: 2, maxBytes: 100 }

test('A follower is probed with one message at a time, from the end of the log on', () => {
  const progress = new Progress(10, 0, window)
  assert.equal(progress.state, 'probe')
  assert.equal(progress.nextIndex, 10)
  assert.equal(progress.paused, false)
  progress.probeSent()
  assert.equal(progress.paused, true)
})

describe('The window is full', () => {
  const table: readonly [sent: readonly number[], paused: boolean][] = [
    [[], false],
    [[10], false],
    [[99], false],
    [[100], true],
    [[10, 10], true],
  ]
  for (const [sent, paused] of table) {
    test(`after messages of ${sent.join(' and ') || 'no'} bytes: ${paused}`, () => {
      const progress = new Progress(1, 0, window)
      progress.becomeReplicate()
      for (const [i, bytes] of sent.entries()) progress.entriesSent(i + 1, bytes)
      assert.equal(progress.paused, paused)
      assert.equal(progress.nextIndex, sent.length + 1)
    })
  }
})

test('An answer frees every message that it covers', () => {
  const progress = new Progress(1, 0, { maxMessages: 3, maxBytes: 100 })
  progress.becomeReplicate()
  for (const lastIndex of [1, 2, 3]) progress.entriesSent(lastIndex, 10)
  assert.equal(progress.paused, true)
  assert.equal(progress.matched(2), true)
  assert.equal(progress.paused, false)
  assert.equal(progress.idle, false)
  assert.equal(progress.matched(3), true)
  assert.equal(progress.idle, true)
  assert.equal(progress.matched(3), false)
})

test('Nothing is sent while entries are being read from disk', () => {
  const progress = new Progress(1, 0, window)
  progress.becomeReplicate()
  progress.loading = true
  assert.equal(progress.paused, true)
})

describe('Which refusals are heard (matching 3, next 6)', () => {
  const table: readonly [state: 'probe' | 'replicate', rejectedIndex: number, current: boolean][] = [
    ['probe', 5, true],
    ['probe', 4, false],
    ['probe', 6, false],
    ['probe', 3, false],
    ['replicate', 5, true],
    ['replicate', 4, true],
    ['replicate', 3, false],
  ]
  for (const [state, rejectedIndex, current] of table) {
    test(`${state}, refused ${rejectedIndex}: ${current}`, () => {
      const progress = new Progress(1, 0, window)
      progress.matched(3)
      if (state === 'probe') {
        progress.becomeProbe(6)
      } else {
        progress.becomeReplicate()
        progress.entriesSent(5, 1)
      }
      assert.equal(progress.isCurrentRejection(rejectedIndex), current)
    })
  }
})

describe('While it waits for a snapshot through 9 (matching 3)', () => {
  function waiting(): Progress {
    const progress = new Progress(1, 0, window)
    progress.matched(3)
    progress.becomeSnapshot(9)
    return progress
  }

  test('nothing is sent, and no refusal is heard', () => {
    const progress = waiting()
    assert.deepEqual([progress.paused, progress.nextIndex], [true, 10])
    for (const rejectedIndex of [4, 8, 9]) assert.equal(progress.isCurrentRejection(rejectedIndex), false)
  })

  test('what was under way is forgotten, and entries go on behind what matches', () => {
    const progress = new Progress(1, 0, { maxMessages: 1, maxBytes: 100 })
    progress.becomeReplicate()
    progress.entriesSent(3, 50)
    progress.becomeSnapshot(9)
    progress.matched(12)
    progress.becomeReplicate()
    assert.deepEqual([progress.paused, progress.idle, progress.nextIndex], [false, true, 13])
  })

  test('given up, it is probed there', () => {
    const progress = waiting()
    progress.becomeProbe(progress.nextIndex)
    assert.deepEqual([progress.paused, progress.nextIndex, progress.isCurrentRejection(9)], [false, 10, true])
  })

  test('a snapshot of what it has stops the process', () => {
    assert.throws(() => waiting().becomeSnapshot(3), { name: 'InvariantError' })
  })
})

test('A follower has room when it says so', () => {
  assert.equal(new Progress(1, 0, window).hasRoom, false)
})

test('To probe below what is known to match, or to stream before the logs agree, stops the process', () => {
  const progress = new Progress(5, 0, window)
  assert.throws(() => progress.entriesSent(5, 1), { name: 'InvariantError' })
  progress.matched(5)
  assert.throws(() => progress.becomeProbe(5), { name: 'InvariantError' })
})
