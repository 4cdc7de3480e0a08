// A node's answers, as the tests of this folder want them.

import type { NodeStatus, ProposalCounters } from '../../src/node/contract.ts'

export const status: NodeStatus = {
  id: 'n1',
  role: 'leader',
  term: 3,
  leader: { id: 'n1', term: 3, self: true, appUrl: null },
  holdsQuorum: true,
  commitIndex: 41,
  appliedIndex: 40,
  lastIndex: 42,
  durableIndex: 42,
  firstIndex: 1,
  members: [
    { id: 'n1', peerAddress: 'a:1', role: 'voter', self: true, leader: true, reachable: true, matchIndex: 42, lag: 0 },
    {
      id: 'n2',
      peerAddress: 'b:1',
      role: 'voter',
      self: false,
      leader: false,
      reachable: true,
      matchIndex: 41,
      lag: 1,
    },
    {
      id: 'n3',
      peerAddress: 'c:1',
      role: 'voter',
      self: false,
      leader: false,
      reachable: false,
      matchIndex: 2,
      lag: 40,
    },
  ],
  configuration: { members: [] },
  pendingProposals: 2,
  applierBlocked: null,
  observerBlocked: 'the application answered 503',
  uptimeMs: 1000,
}

export const counters: ProposalCounters = {
  applied: 7,
  committed: 2,
  failed: {
    'command-too-large': 0,
    'too-many-proposals': 3,
    'no-leader': 1,
    'shutting-down': 0,
    'not-a-member': 0,
    'leadership-lost': 0,
    'commit-timeout': 0,
    'apply-pending': 0,
    'storage-full': 0,
  },
}
