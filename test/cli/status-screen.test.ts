// The answer of `status` for a person.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { statusScreen } from '../../src/cli/status-screen.ts'
import { member, statusOf } from './status-fixture.ts'

const down = { reachable: false, leader: false }
const self = { id: 'n1', term: 3, self: true, appUrl: null }

describe('the status screen', () => {
  it('shows the leader, the log and the members as the leader sees them', () => {
    const members = [
      member('n1', { leader: true, matchIndex: 42, lag: 0 }),
      member('n2', { leader: false, matchIndex: 41, lag: 1 }),
      member('n3', { ...down, role: 'learner', matchIndex: 2, lag: 40 }),
      member('n4', { ...down, refusal: 'it belongs to another cluster' }),
    ]
    const snapshot = { index: 30, term: 2, sizeBytes: 1_234 }
    const leader = { ...self, appUrl: 'http://10.0.0.1:8080' }
    assert.equal(
      statusScreen(statusOf({ role: 'leader', leader, holdsQuorum: true, members, snapshot, pendingProposals: 1 })),
      `Node      n1 of cluster orders, leader, up 1h 2m, version 0.1.0
Leader    n1 (this node), http://10.0.0.1:8080
Term      3
Log       entries 1 to 42, durable to 42, committed to 41, applied to 41
Snapshot  through entry 30 of term 2, 1234 bytes
Waiting   1 proposal

MEMBER  ROLE     ADDRESS          REACHABLE  MATCH  LAG
n1      leader   n1.example:4000  this node  42     0
n2      voter    n2.example:4000  yes        41     1
n3      learner  n3.example:4000  NO         2      40
n4      voter    n4.example:4000  REFUSED    -      -

n4 and n1 do not speak to each other: it belongs to another cluster.
`,
    )
  })

  it('fits a terminal of 24 lines with seven members, and lets no control character through', () => {
    const members = [1, 2, 3, 4, 5, 6, 7].map((n) => member(`n${n}`))
    const screen = statusScreen(statusOf({ members, applierBlocked: '\u001b[2Jred\u0007' }))
    assert.ok(screen.split('\n').length <= 24)
    assert.match(screen, /Commands are not applied: \ufffd\[2Jred\ufffd\./)
  })
})
