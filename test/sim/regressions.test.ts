// What seeds of the simulator found, each told by itself. A seed is a history only as long as nothing that draws from it changes; these stay.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AppendEntries } from '../../src/raft/messages.ts'
import type { Save } from '../../src/raft/work.ts'
import { accepted, appendEntries, logOf } from '../raft/entries.ts'
import { leader } from '../raft/roles.ts'
import { TestNode } from '../raft/test-node.ts'
import { Ledger } from './invariants/ledger.ts'
import { World } from './world/world.ts'

// Seed 288: n1 led term 1 and was elected again in term 3; a heartbeat of term 1 that its own request for votes had overtaken was refused in term 3
// with the round of term 1. Taken for the answer to a round of term 3, it stopped the leader, or confirmed a read that nobody had confirmed.
test('The refusal of a leader’s message of an earlier term confirms no round of the term that it leads now', () => {
  const late: AppendEntries = {
    type: 'AppendEntries',
    from: 'n1',
    to: 'n2',
    term: 1,
    prev: { term: 0, index: 0 },
    entries: [],
    leaderCommit: 0,
    round: 15,
  }
  const voter = new TestNode({ id: 'n2', currentTerm: 3, votedFor: 'n1' })
  voter.receive(late)
  const [refusal] = voter.takeSentOf('AppendEntriesResponse')
  assert.ok(refusal !== undefined && !refusal.success)
  const again = leader({ currentTerm: 2 })
  assert.equal(again.raft.currentTerm, 3)
  again.receive(refusal)
  assert.equal(again.role, 'leader')
  assert.equal(again.raft.holdsQuorum(again.clock.nowMs), false)
})

// Seed 902348, a false alarm of the checker: n1 was paused, and acknowledged to n2, whom it took for the leader of term 2, what n2 as a follower in
// term 3 had replaced.
test('An acknowledgement that reaches a former leader is not held against the log that it has by now', () => {
  const world = new World(1, null)
  const ids = ['n1', 'n2', 'n3']
  const limits = { maxKeys: 1000, maxAnswerBytes: 1000 }
  const ledger = new Ledger(world, { ids, voters: ids, isInMemory: true, limits })
  const save = (id: string, number: number, term: number, votedFor: string | null) => {
    const one: Save = { id: number, hardState: { currentTerm: term, votedFor }, snapshot: null, entries: logOf([term]) }
    ledger.issued(id, one)
    ledger.saved(id, one, null)
  }
  save('n2', 1, 2, 'n2')
  ledger.sent(appendEntries({ from: 'n2', to: 'n1', term: 2, entries: logOf([2]) }))
  save('n1', 1, 2, 'n2')
  const acknowledgement = { ...accepted(2, 1, 'n1'), to: 'n2' }
  ledger.sent(acknowledgement)
  assert.equal(world.violation, null)
  save('n3', 1, 3, 'n3')
  ledger.sent(appendEntries({ from: 'n3', to: 'n2', term: 3, entries: logOf([3]) }))
  save('n2', 2, 3, null)
  ledger.sent(acknowledgement)
  assert.equal(world.violation, null)
})
