// Linearizable reads: which question answers whom, and that everybody gets an answer in time.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Reads } from '../../src/node/reads.ts'
import { type Watched, watch } from './watched.ts'

const firstReadId = 1000
const repeatAfterMs = 300
const timeoutMs = 5000

function newReads(maxWaiting = 100): Reads {
  return new Reads({ firstReadId, maxWaiting, repeatAfterMs })
}

function barrier(reads: Reads, nowMs = 0, withinMs = timeoutMs): Watched<number> {
  return watch(reads.barrier(nowMs, withinMs))
}

/** Puts the question that is due, which there must be. */
function ask(reads: Reads, nowMs = 0): number {
  const readId = reads.takeQuestion(nowMs)
  assert(readId !== null, 'No question is due')
  return readId
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

test('Without a reader there is no question', () => {
  assert.equal(newReads().takeQuestion(0), null)
})

test('One question at a time: those that arrive meanwhile share the next', async () => {
  const reads = newReads()
  const first = barrier(reads)
  const question = ask(reads)
  const second = barrier(reads)
  const third = barrier(reads)
  assert.equal(reads.takeQuestion(0), null)
  reads.answered(question, 7, 7)
  await settled()
  // They arrived after the question had been put: what was committed in between they must see.
  assert.deepEqual([first.state, second.state, third.state], ['resolved', 'pending', 'pending'])
  const next = ask(reads)
  assert.notEqual(next, question)
  reads.answered(next, 9, 9)
  await settled()
  assert.deepEqual([first.value, second.value, third.value], [7, 9, 9])
  assert.equal(reads.takeQuestion(0), null)
})

test('The numbers of the questions go on from a random start, so that answers to a former process answer nobody', async () => {
  const reads = newReads()
  const waiting = barrier(reads)
  const question = ask(reads)
  assert.equal(question, firstReadId + 1)
  for (const former of [1, firstReadId, question + 1]) reads.answered(former, 3, 3)
  await settled()
  assert.equal(waiting.state, 'pending')
})

test('A late answer to a question that was put again since is one for those who had asked it, and for nobody else', async () => {
  const reads = newReads()
  const first = barrier(reads)
  const older = ask(reads)
  const second = barrier(reads)
  reads.repeat()
  const newer = ask(reads)
  reads.answered(older, 3, 3)
  await settled()
  assert.deepEqual([first.value, second.state], [3, 'pending'])
  reads.answered(older, 4, 4)
  await settled()
  assert.equal(second.state, 'pending')
  const third = barrier(reads)
  assert.equal(reads.takeQuestion(0), null, 'the newer one is still under way')
  reads.answered(newer, 5, 5)
  await settled()
  assert.deepEqual([second.value, third.state], [5, 'pending'])
  reads.answered(ask(reads), 6, 6)
  await settled()
  assert.equal(third.value, 6)
})

test('Where every answer takes longer than the patience for it, everybody is answered all the same', async () => {
  const reads = newReads()
  const tripMs = 2.5 * repeatAfterMs
  const underWay: { readonly readId: number; readonly atMs: number }[] = []
  const waiting: Watched<number>[] = []
  for (let nowMs = 0; nowMs < 3000; nowMs += 50) {
    if (nowMs < 1500) waiting.push(barrier(reads, nowMs))
    reads.tick(nowMs, true, 0)
    const readId = reads.takeQuestion(nowMs)
    if (readId !== null) underWay.push({ readId, atMs: nowMs + tripMs })
    while (underWay[0] !== undefined && underWay[0].atMs <= nowMs) reads.answered(underWay.shift()?.readId ?? 0, 1, 1)
  }
  await settled()
  assert(waiting.every(({ state }) => state === 'resolved'))
  assert.equal(reads.takeQuestion(3000), null)
})

test('A question whose askers are all answered by an older one holds nobody up', async () => {
  const reads = newReads()
  barrier(reads)
  const older = ask(reads)
  reads.repeat()
  ask(reads)
  reads.answered(older, 3, 3)
  const next = barrier(reads)
  reads.answered(ask(reads), 4, 4)
  await settled()
  assert.equal(next.value, 4)
})

test('A second answer to the same question answers nobody', async () => {
  const reads = newReads()
  barrier(reads)
  const question = ask(reads)
  reads.answered(question, 3, 3)
  const later = barrier(reads)
  reads.answered(question, 3, 3)
  await settled()
  assert.equal(later.state, 'pending')
})

for (const { name, answer } of [
  { name: 'that nobody could answer', answer: (reads: Reads, question: number) => reads.answered(question, null, 0) },
  { name: 'whose answer was lost', answer: () => {} },
]) {
  test(`A question ${name} is put again, after a while, with those who came meanwhile`, async () => {
    const reads = newReads()
    const first = barrier(reads)
    const question = ask(reads)
    answer(reads, question)
    const second = barrier(reads)
    assert.equal(reads.takeQuestion(0), null, 'not at once: that would be for ever')
    reads.tick(repeatAfterMs - 1, true, 0)
    assert.equal(reads.takeQuestion(repeatAfterMs - 1), null)
    reads.tick(repeatAfterMs, true, 0)
    const again = ask(reads, repeatAfterMs)
    assert.equal(again, question + 1)
    reads.answered(again, 4, 4)
    await settled()
    assert.deepEqual([first.value, second.value], [4, 4])
  })
}

test('When another leader is known, the question is put to it at once', async () => {
  const reads = newReads()
  const waiting = barrier(reads)
  ask(reads)
  reads.repeat()
  reads.answered(ask(reads), 4, 4)
  await settled()
  assert.equal(waiting.value, 4)
})

test('With no question under way there is nothing to put again', () => {
  const reads = newReads()
  reads.repeat()
  assert.equal(reads.takeQuestion(0), null)
})

test('The answer waits until this node has applied it', async () => {
  const reads = newReads()
  const waiting = barrier(reads)
  reads.answered(ask(reads), 10, 8)
  reads.applied(9)
  await settled()
  assert.equal(waiting.state, 'pending')
  // The next question does not wait for that.
  const next = barrier(reads)
  assert.notEqual(reads.takeQuestion(0), null)
  reads.applied(12)
  await settled()
  assert.deepEqual([waiting.value, next.state], [10, 'pending'])
})

test('A read at an index that is known waits for no answer, only until that is applied', async () => {
  const reads = newReads()
  const there = watch(reads.barrierAt(5, 5, 0, timeoutMs))
  const ahead = watch(reads.barrierAt(7, 5, 0, timeoutMs))
  const late = watch(reads.barrierAt(9, 5, 0, timeoutMs))
  assert.equal(reads.takeQuestion(0), null)
  reads.applied(7)
  reads.tick(timeoutMs, true, 7)
  await settled()
  assert.deepEqual([there.value, ahead.value, late.state], [5, 7, 'read-timeout'])
})

test('A wait for an index is over when it is applied, at once when it is already', async () => {
  const reads = newReads()
  const there = watch(reads.waitApplied(5, 5, 0, timeoutMs))
  const past = watch(reads.waitApplied(4, 5, 0, timeoutMs))
  const ahead = watch(reads.waitApplied(7, 5, 0, timeoutMs))
  const further = watch(reads.waitApplied(9, 5, 0, timeoutMs))
  reads.applied(7)
  await settled()
  assert.deepEqual(
    [there, past, ahead, further].map(({ state }) => state),
    ['resolved', 'resolved', 'resolved', 'pending'],
  )
})

for (const { name, leaderKnown, prepare, expected } of [
  { name: 'no leader is known', leaderKnown: false, prepare: barrier, expected: 'no-leader' },
  { name: 'no quorum confirmed the leader', leaderKnown: true, prepare: barrier, expected: 'read-timeout' },
  {
    name: 'the question got no answer',
    leaderKnown: true,
    prepare: (reads: Reads) => {
      const waiting = barrier(reads)
      ask(reads)
      return waiting
    },
    expected: 'read-timeout',
  },
  {
    name: 'the answer was not applied, leader or none',
    leaderKnown: false,
    prepare: (reads: Reads) => {
      const waiting = barrier(reads)
      reads.answered(ask(reads), 10, 8)
      return waiting
    },
    expected: 'read-timeout',
  },
  {
    name: 'the index that was waited for was not applied',
    leaderKnown: true,
    prepare: (reads: Reads) => watch(reads.waitApplied(10, 8, 0, timeoutMs)),
    expected: 'index-not-reached',
  },
]) {
  test(`A read whose time is over says why: ${name}`, async () => {
    const reads = newReads()
    const waiting: Watched<number> = prepare(reads)
    reads.tick(timeoutMs - 1, leaderKnown, 8)
    await settled()
    assert.equal(waiting.state, 'pending')
    reads.tick(timeoutMs, leaderKnown, 8)
    await settled()
    assert.equal(waiting.state, expected)
    assert.equal(reads.takeQuestion(timeoutMs), null, 'nobody waits for it any more')
  })
}

test('Only those whose time is over are given up', async () => {
  const reads = newReads()
  const hasty = barrier(reads, 0, 100)
  const patient = barrier(reads, 0, 1000)
  reads.tick(100, true, 0)
  await settled()
  assert.deepEqual([hasty.state, patient.state], ['read-timeout', 'pending'])
  reads.answered(ask(reads), 1, 1)
  await settled()
  assert.equal(patient.state, 'resolved')
})

test('Those who wait for a question, for its answer and for an index count together, and are bounded', async () => {
  const reads = newReads(3)
  const asked = barrier(reads)
  const question = ask(reads)
  const waiting = barrier(reads)
  const applying = watch(reads.waitApplied(10, 0, 0, timeoutMs))
  const refused = barrier(reads)
  const refusedToo = watch(reads.waitApplied(10, 0, 0, timeoutMs))
  await settled()
  assert.deepEqual([refused.state, refusedToo.state], ['read-timeout', 'read-timeout'])
  reads.answered(question, 1, 1)
  const fits = barrier(reads)
  await settled()
  assert.deepEqual(
    [asked, waiting, applying, fits].map(({ state }) => state),
    ['resolved', 'pending', 'pending', 'pending'],
  )
})

test('A wait for what is applied already is never refused', async () => {
  const there = watch(newReads(0).waitApplied(5, 5, 0, timeoutMs))
  await settled()
  assert.equal(there.state, 'resolved')
})

test('A node that stops answers everybody, and asks nothing any more', async () => {
  const reads = newReads()
  const asked = barrier(reads)
  const question = ask(reads)
  const waiting = barrier(reads)
  const applying = watch(reads.waitApplied(10, 0, 0, timeoutMs))
  reads.abandon()
  reads.answered(question, 1, 1)
  await settled()
  for (const { state } of [asked, waiting, applying]) assert.equal(state, 'shutting-down')
  assert.equal(reads.takeQuestion(0), null)
})

test('A read whose question is under way is given up when its time is over, not when the question is put again', async () => {
  const reads = new Reads({ firstReadId: 1, maxWaiting: 10, repeatAfterMs: 300 })
  const hasty = watch(reads.barrier(0, 100))
  const question = reads.takeQuestion(0)
  assert(question !== null, 'No question is due')
  const patient = watch(reads.barrier(0, 1000))
  reads.tick(100, true, 0)
  reads.answered(question, 1, 1)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([hasty.state, patient.state], ['read-timeout', 'pending'])
})
