// What the leader knows of keys that are in its log and not committed yet: of its own term only, since what it appended in a former one may be gone.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KeyGuard } from '../../src/node/key-guard.ts'
import { Ledger } from '../../src/node/ledger.ts'
import type { Proposal } from '../../src/raft/work.ts'
import { entryOf, otherOrigin } from './node-kit.ts'

function proposal(key: string, sequence = 1): Proposal {
  return { kind: 'json', origin: 7, sequence, key, traceparent: null, payload: Buffer.from('[1]') }
}

function guardOfNothing(): KeyGuard {
  const ledger = new Ledger({ maxKeys: 100, maxAnswerBytes: 1000 })
  return new KeyGuard(() => ledger)
}

test('What was appended in a former term, and may be gone, keeps no key from being appended again', () => {
  const guard = guardOfNothing()
  assert.equal(guard.sift(1, [proposal('a')]).fresh.length, 1)
  guard.appended([proposal('a')], { term: 1, index: 5 })
  assert.deepEqual(
    guard.sift(1, [proposal('a', 2)]).repeats.map(({ first }) => first),
    [{ term: 1, index: 5 }],
  )
  const { fresh, repeats } = guard.sift(3, [proposal('a', 3)])
  assert.deepEqual([fresh.length, repeats.length], [1, 0])
})

test('What is committed is left to the ledger', () => {
  const guard = guardOfNothing()
  guard.sift(1, [])
  guard.appended([proposal('a')], { term: 1, index: 5 })
  guard.committed([{ ...entryOf(1, 5, otherOrigin, 1), key: 'a' }])
  assert.equal(guard.sift(1, [proposal('a')]).fresh.length, 1)
})
