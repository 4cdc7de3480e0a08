// Brings a lone node into a role by the messages that would, with everything saved and nothing left to send.

import type { NodeId } from '../../src/raft/entry.ts'
import { TestNode, type TestNodeSetup, testTimings } from './test-node.ts'

const others: readonly NodeId[] = ['n2', 'n3']

/** Follows n2 in `currentTerm` (1 unless set up otherwise). */
export function follower(setup: TestNodeSetup = {}): TestNode {
  const node = new TestNode({ currentTerm: 1, ...setup })
  const term = node.raft.currentTerm
  node.receive({
    type: 'AppendEntries',
    from: 'n2',
    to: node.id,
    term,
    prev: { term: 0, index: 0 },
    entries: [],
    leaderCommit: 0,
    round: 0,
  })
  node.takeSent()
  return node
}

export function precandidate(setup: TestNodeSetup = {}): TestNode {
  const node = new TestNode(setup)
  node.tick(testTimings.electionTimeoutMaxMs)
  node.takeSent()
  return node
}

/** Of the term after `currentTerm`. */
export function candidate(setup: TestNodeSetup = {}): TestNode {
  const node = precandidate(setup)
  const term = node.raft.currentTerm + 1
  for (const from of setup.voters?.slice(1) ?? others) {
    if (node.role !== 'precandidate') break
    node.receive({ type: 'RequestPreVoteResponse', from, to: node.id, term, voteGranted: true })
  }
  node.takeSent()
  return node
}

/** Of the term after `currentTerm`; its no-op is the last entry, saved, and nobody has answered yet. */
export function leader(setup: TestNodeSetup = {}): TestNode {
  const node = candidate(setup)
  const term = node.raft.currentTerm
  for (const from of setup.voters?.slice(1) ?? others) {
    if (node.role !== 'candidate') break
    node.receive({ type: 'RequestVoteResponse', from, to: node.id, term, voteGranted: true })
  }
  node.takeSent()
  return node
}

export const makeRole = { follower, precandidate, candidate, leader }
