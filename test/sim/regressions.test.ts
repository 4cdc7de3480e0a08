// What seeds of the simulator found, each told by itself. A seed is a history only as long as nothing that draws from it changes; these stay.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AppendEntries } from '../../src/raft/messages.ts'
import { leader } from '../raft/roles.ts'
import { TestNode } from '../raft/test-node.ts'
import { runHistory } from './simulation.ts'

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

// A false alarm of the checker: n1 was paused, and acknowledged to n2, whom it took for the leader of term 2, what n2 as a follower in term 3 had replaced.
test('Seed 902348: an acknowledgement that reaches a former leader is not held against the log that it has by now', async () => {
  const { violation } = await new Promise<ReturnType<typeof runHistory>>((resolve) => {
    setImmediate(() => resolve(runHistory(902348)))
  })
  assert.equal(violation, null)
})
