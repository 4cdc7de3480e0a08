// How long is waited before the next attempt.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backoffMs, Patience } from '../../src/client/patience.ts'

test('the wait doubles to two seconds, with full jitter, behind what Retry-After asks for', () => {
  const most = (failures: number) => backoffMs(failures, null, () => 1)
  assert.deepEqual([0, 1, 2, 5, 6, 100].map(most), [50, 100, 200, 1_600, 2_000, 2_000])
  assert.equal(
    backoffMs(7, null, () => 0),
    0,
  )
  assert.equal(
    backoffMs(1, 3_000, () => 0.5),
    3_050,
  )
})

test('what works again begins anew', async () => {
  const draws: number[] = []
  const patience = new Patience({ timeoutMs: Number.POSITIVE_INFINITY, random: () => draws.push(0) && 0 })
  assert.equal(patience.attemptMs, 10_000)
  for (let n = 0; n < 3; n++) assert.equal(await patience.again(null), true)
  patience.reset()
  assert.equal(await patience.again(null), true)
  assert.equal(draws.length, 4)
})

test('there is no attempt behind the deadline', async () => {
  const patience = new Patience({ timeoutMs: 60_000 })
  assert.equal(await patience.again(60_000), false)
})
