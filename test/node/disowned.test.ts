// What a node shows of itself to its peers, and what becomes of it when one of them says that it has forgotten.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes } from '../../src/errors.ts'
import type { Standing } from '../../src/node/ports.ts'
import { appendEntries, logOf } from '../raft/entries.ts'
import { command, follower, leader, NodeKit, started, timeoutMs } from './node-kit.ts'
import { watch } from './watched.ts'

const n2: Standing = { incarnation: 'b', run: { number: 3, id: 'r3', former: ['r2'] }, currentTerm: 1, lastIndex: 0 }
const sentence = 'n1 shows term 1, but showed n2 term 5 before. Put it back.'

function standing(kit: NodeKit): Standing {
  assert(kit.transport.events !== null)
  return kit.transport.events.standing()
}

test('A node that a peer disowns ends, once, with who said it and what to do, and says nothing more', async () => {
  const kit = await leader()
  const waiting = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  kit.forget()
  kit.transport.events?.disowned('n2', n2, sentence)
  kit.transport.events?.disowned('n3', n2, sentence)
  await kit.advance(60_000)
  assert.deepEqual(
    kit.fatal.map(({ exitCode, message }) => [exitCode, message]),
    [
      [
        exitCodes.dataError,
        `n2 refuses this node. ${sentence} If it is n2 that does not belong here, stop that one and start n1 again.`,
      ],
    ],
  )
  assert.deepEqual([kit.journal, waiting.state, kit.clock.timers], [[], 'leadership-lost/unknown', 0])
})

test('A node that is disowned while it starts never begins to run', async () => {
  const kit = new NodeKit()
  kit.transport.start = async (events) => events.disowned('n2', n2, sentence)
  await kit.node.start()
  await kit.advance(60_000)
  assert.deepEqual([kit.fatal.length, kit.transport.sent, kit.clock.timers], [1, [], 0])
})

test('One who has itself forgotten disowns nobody: not while it lives, nor after a restart of this node', async () => {
  const kit = await started()
  assert.equal(await kit.transport.events?.greeted('n2', n2), null)
  for (const forgetful of [
    { ...n2, incarnation: 'of another founding' },
    { ...n2, run: { number: 2, id: 'r2', former: [] } },
    { ...n2, run: { number: 4, id: 'copy 4', former: ['copy 3', 'r2'] } },
  ]) {
    kit.transport.events?.disowned('n2', forgetful, sentence)
    const later = await started({ acquaintances: new Map([['n2', { ...n2, lastIndex: 0 }]]) })
    later.transport.events?.disowned('n2', forgetful, sentence)
    assert.deepEqual([kit.fatal, later.fatal], [[], []])
  }
  kit.transport.events?.disowned('n2', { ...n2, currentTerm: 9 }, sentence)
  assert.equal(kit.fatal.length, 1)
})

test('A node shows its run, and a term and the end of a log that belong together on its disk', async () => {
  const kit = await follower({ log: [1, 1, 1, 1] }, 2)
  kit.storage.holdsSaves = true
  const run = { number: 1, id: '8899aabbccddeeff', former: [] }
  assert.deepEqual(standing(kit), { incarnation: '0011223344556677', run, currentTerm: 2, lastIndex: 4 })
  // The leader of the next term replaces entries 2 to 4, which this node may have acknowledged in the term that is still on its disk.
  await kit.receive(appendEntries({ from: 'n3', term: 3, prev: { term: 1, index: 1 }, entries: logOf([3], 2) }))
  const { currentTerm, lastIndex } = standing(kit)
  assert.deepEqual([kit.node.currentTerm, currentTerm, lastIndex], [3, 2, 4])
  await kit.completeSave()
  const after = standing(kit)
  assert.deepEqual([after.currentTerm, after.lastIndex], [3, 2])
})
