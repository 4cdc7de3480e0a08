// §5.1: terms, and which role may follow which.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Message } from '../../src/raft/messages.ts'
import { assertLegalTransition } from '../../src/raft/role.ts'
import type { RoleName } from '../../src/raft/work.ts'
import { accepted, appendEntries, requestPreVote, requestVote } from './entries.ts'
import { makeRole } from './roles.ts'
import { TestNode } from './test-node.ts'

const roles = Object.keys(makeRole) as RoleName[]
const envelope = { from: 'n2', to: 'n1' } as const

describe('A higher term is adopted, and the node becomes a follower', () => {
  for (const role of roles) {
    test(`as ${role}`, () => {
      const node = makeRole[role]({ currentTerm: 4 })
      assert.equal(node.role, role)
      node.receive(appendEntries({ term: 9 }))
      assert.equal(node.role, 'follower')
      assert.equal(node.raft.currentTerm, 9)
      assert.equal(node.raft.votedFor, null)
      assert.equal(node.raft.leader, 'n2')
      assert.equal(node.disk.hardState.currentTerm, 9)
    })
  }
})

describe('A lower term never reaches the logic of a role', () => {
  const stale: readonly Message[] = [
    appendEntries({ term: 1, leaderCommit: 3 }),
    accepted(1, 3, 'n2'),
    requestVote({ term: 1, lastEntry: { term: 9, index: 9 } }),
    { type: 'RequestVoteResponse', ...envelope, term: 1, voteGranted: true },
    { type: 'RequestPreVoteResponse', ...envelope, term: 1, voteGranted: false },
    { type: 'TimeoutNow', ...envelope, term: 1 },
    { type: 'ReadIndexResponse', ...envelope, term: 1, readId: 1, index: 3 },
  ]
  for (const role of roles) {
    for (const message of stale) {
      test(`${message.type} to a ${role}`, () => {
        const node = makeRole[role]({ currentTerm: 4, log: [1, 2, 3] })
        const before = [node.role, node.raft.currentTerm, node.raft.votedFor, node.raft.commitIndex, node.terms]
        node.receive(message)
        assert.deepEqual(
          [node.role, node.raft.currentTerm, node.raft.votedFor, node.raft.commitIndex, node.terms],
          before,
        )
        assert.deepEqual(node.reads, [])
        // The sender learns the newer term from whatever answer it gets.
        for (const answer of node.takeSent()) assert.equal(answer.term, node.raft.currentTerm)
      })
    }
  }
})

test('A leader of an older term is told of the newer one, and steps down', () => {
  const old = makeRole.leader({ currentTerm: 4 })
  const node = new TestNode({ id: 'n2', currentTerm: 9 })
  node.receive(appendEntries({ from: 'n1', to: 'n2', term: old.raft.currentTerm }))
  old.receive(...node.takeSent())
  assert.equal(old.role, 'follower')
  assert.equal(old.raft.currentTerm, 9)
})

describe('A node of any role grants a vote in a higher term that its leader asked for', () => {
  for (const role of roles) {
    test(`as ${role}`, () => {
      const node = makeRole[role]({ currentTerm: 4 })
      const lastEntry = { term: 9, index: 9 }
      node.receive(requestVote({ term: 9, lastEntry, leadershipTransfer: true }))
      assert.equal(node.raft.votedFor, 'n2')
      assert.deepEqual(
        node.takeSentOf('RequestVoteResponse').map(({ term, voteGranted }) => [term, voteGranted]),
        [[9, true]],
      )
    })
  }
})

describe('Which role may follow which', () => {
  const legal: Record<RoleName, readonly RoleName[]> = {
    follower: ['follower', 'precandidate', 'candidate'],
    precandidate: ['follower', 'precandidate', 'candidate'],
    candidate: ['follower', 'precandidate', 'leader'],
    leader: ['follower'],
  }
  for (const from of roles) {
    for (const to of roles) {
      const isLegal = legal[from].includes(to)
      test(`${from} to ${to}: ${isLegal ? 'legal' : 'never'}`, () => {
        if (isLegal) assertLegalTransition(from, to)
        else assert.throws(() => assertLegalTransition(from, to), { name: 'InvariantError' })
      })
    }
  }
})

test('A second leader in one term stops the process', () => {
  const node = makeRole.follower({ currentTerm: 4 })
  assert.throws(() => node.receive(appendEntries({ from: 'n3', term: 4 })), { name: 'InvariantError' })
  const leader = makeRole.leader()
  assert.throws(() => leader.receive(appendEntries({ term: leader.raft.currentTerm })), { name: 'InvariantError' })
})

test('Time that goes back, or a message for another node, stops the process', () => {
  const node = makeRole.follower()
  assert.throws(() => node.tick(-1), { name: 'InvariantError' })
  assert.throws(() => node.receive(requestPreVote({ term: 2, to: 'n3' })), { name: 'InvariantError' })
})
