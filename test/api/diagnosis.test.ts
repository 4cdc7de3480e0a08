// The sentence that says what is wrong.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { diagnose } from '../../src/api/diagnosis.ts'
import type { StatusResponse } from '../../src/api/schemas.ts'
import { member, statusOf } from '../cli/status-fixture.ts'

const down = { reachable: false, leader: false }
const alone = [member('n1'), member('n2', down), member('n3', down)]
const self = { id: 'n1', term: 3, self: true, appUrl: null }

describe('what is wrong, in one sentence', () => {
  const cases: readonly (readonly [Partial<StatusResponse>, string])[] = [
    [{}, 'All is well: n2 leads, all 3 members are reachable.'],
    [
      { members: [member('n1')], leader: self, holdsQuorum: true, role: 'leader' },
      'All is well: the only member leads.',
    ],
    [{ leader: null, members: alone }, 'No leader: 1 of 3 members reachable, 2 are needed.'],
    [{ leader: null }, 'No leader: 3 of 3 members reachable, 2 are needed; an election is due.'],
    [{ leader: null, members: [member('n1')] }, 'No leader: 1 of 1 member reachable, 1 is needed; an election is due.'],
    [
      { leader: self, role: 'leader', members: alone },
      'No quorum: n1 was elected, but no majority confirms it; 1 of 3 members reachable, 2 are needed.',
    ],
    [{ applierBlocked: 'the application answered 404' }, 'Commands are not applied: the application answered 404.'],
    [
      { poison: { index: 41, reason: 'no such order.' }, applierBlocked: 'it refuses 41' },
      'The application refuses the command at 41 for good (no such order), so delivery stops before it: mend the application, or `raft-sidecar skip 41` leaves it out on every node.',
    ],
    [{ observerBlocked: 'it answered 404.' }, 'The application is not told of commands: it answered 404.'],
    [
      { members: [member('n1'), member('n2'), member('n3', down)] },
      'Not reachable from n1: n3; 2 of 3 members reachable, 2 are needed.',
    ],
    [{ commitIndex: 30_041 }, 'Behind: 30000 committed entries are still to be applied.'],
    [{ checks: [{ name: 'storage', ok: false, why: 'it is slow' }] }, 'Not ready (storage): it is slow.'],
    [{ members: [member('n2'), member('n3')] }, 'Not a member: the cluster goes on without n1.'],
    [
      { isStorageFull: true, applierBlocked: 'also this' },
      'The disk of n1 is full: it takes no commands until there is room; free some space, it goes on by itself.',
    ],
    [
      { isStorageStalled: true, leader: null },
      'The disk of n1 does not answer: a write has been under way for too long.',
    ],
    [
      { members: [member('n1'), member('n2'), member('n3', { ...down, refusal: 'it forgot its votes' })] },
      'n3 and n1 do not speak to each other: it forgot its votes.',
    ],
    [
      {
        leader: null,
        members: [
          member('n1'),
          member('n2', { ...down, refusal: 'it says that n1 forgot its votes.' }),
          member('n3', { ...down, refusal: 'the same' }),
        ],
      },
      'No leader: 1 of 3 members reachable, 2 are needed; n2, n3 and n1 do not speak to each other: it says that n1 forgot its votes.',
    ],
    [
      { compactionBlocked: 'the application offers no snapshots' },
      'The log grows: the application offers no snapshots.',
    ],
  ]
  for (const [change, sentence] of cases) {
    it(sentence, () => assert.equal(diagnose(statusOf(change)), sentence))
  }

  it('does not count learners towards what is needed', () => {
    const members = [member('n1'), member('n2', down), member('n3', { role: 'learner' })]
    assert.equal(diagnose(statusOf({ leader: null, members })), 'No leader: 1 of 2 members reachable, 2 are needed.')
  })
})
