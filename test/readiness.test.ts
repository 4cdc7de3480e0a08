// What /readyz says of a node's disk, and of its application.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeStatus } from '../src/node/contract.ts'
import { readyChecks } from '../src/readiness.ts'
import { FakeNode } from './api/fake-node.ts'

const full = 'the disk is full: free some space, it goes on by itself'
const cases: readonly [name: string, change: Partial<NodeStatus>, ok: boolean, why: string | null][] = [
  ['nothing unusual', {}, true, null],
  ['entries that wait for the disk', { lastIndex: 10_041, durableIndex: 42 }, true, null],
  ['too many of them', { lastIndex: 10_042, durableIndex: 42 }, false, '10000 entries wait for the disk'],
  ['a full disk', { isStorageFull: true }, false, full],
  [
    'a stalled one',
    { isStorageStalled: true },
    false,
    'the disk does not answer: a write has been under way for too long, 1 entries wait for it',
  ],
  ['both', { isStorageFull: true, isStorageStalled: true }, false, full],
]
for (const [name, change, ok, why] of cases) {
  test(`the storage check with ${name}: ${ok ? 'ok' : why}`, () => {
    const node = new FakeNode()
    const status = { ...node.status(), ...change }
    node.status = () => status
    const check = readyChecks(node).find((each) => each.name === 'storage')
    assert.equal(check?.ok, ok)
    if (why !== null) assert.equal(check?.why, why)
  })
}

const poison = { index: 41, reason: '"no such account"' }
const refused =
  'The application refuses the command at 41 for good: "no such account"; `raft-sidecar skip 41` leaves it out'
for (const [name, change, why] of [
  ['takes what it is given', {}, null],
  ['does not answer', { applierBlocked: 'down' }, 'down'],
  ['only observes and does not answer', { observerBlocked: 'down' }, 'down'],
  ['refuses a command', { applierBlocked: refused, poison }, refused],
  ['only observes and refuses a command', { observerBlocked: refused, poison }, refused],
] as const) {
  test(`an application that ${name}: ${why ?? 'ok'}`, () => {
    const node = new FakeNode()
    const status = { ...node.status(), ...change }
    node.status = () => status
    const check = readyChecks(node).find((each) => each.name === 'application')
    assert.equal(check?.ok, why === null)
    if (why !== null) assert.equal(check?.why, why)
  })
}
