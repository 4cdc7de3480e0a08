// What must hold after every step of every node (Figure 3 of the paper), seen from outside with everybody's memory and disk in view.

import assert from 'node:assert/strict'
import { quorum } from '../../src/raft/configuration.ts'
import type { NodeId } from '../../src/raft/entry.ts'
import type { AppendEntriesResponse, Message } from '../../src/raft/messages.ts'
import type { ReadOutcome } from '../../src/raft/work.ts'
import type { TestNode, Watcher } from './test-node.ts'

interface Seen {
  readonly role: string
  readonly term: number
  readonly commitIndex: number
  readonly terms: readonly number[]
}

export class Invariants implements Watcher {
  /** How many times a log lost entries to another leader's. */
  truncations = 0
  readonly #nodes: ReadonlyMap<NodeId, TestNode>
  readonly #voters: readonly NodeId[]
  readonly #leaders = new Map<number, NodeId>()
  /** Term of every committed entry; index 0 is unused. */
  readonly #committed: number[] = [0]
  readonly #votes = new Map<string, NodeId>()
  readonly #seen = new Map<NodeId, Seen>()
  readonly #reads = new Map<number, number>()

  constructor(nodes: ReadonlyMap<NodeId, TestNode>, voters: readonly NodeId[]) {
    this.#nodes = nodes
    this.#voters = voters
  }

  get committedIndex(): number {
    return this.#committed.length - 1
  }

  readBegins(readId: number): void {
    this.#reads.set(readId, this.committedIndex)
  }

  readAnswered(node: TestNode, outcome: ReadOutcome): void {
    const committed = this.#reads.get(outcome.readId)
    assert(committed !== undefined, `${node.id} answers read ${outcome.readId}, which nobody asked for`)
    if (outcome.index === null) return
    assert(
      outcome.index >= committed,
      `${node.id} answers read ${outcome.readId} at ${outcome.index}; ${committed} was committed when it began`,
    )
  }

  restarted(node: TestNode): void {
    this.#seen.delete(node.id)
    this.stepped(node)
  }

  stepped(node: TestNode): void {
    const now: Seen = {
      role: node.raft.role.name,
      term: node.raft.currentTerm,
      commitIndex: node.raft.commitIndex,
      terms: node.terms,
    }
    const before = this.#seen.get(node.id)
    if (before !== undefined) this.#checkProgress(node, before, now)
    this.#checkElectionSafety(node, now)
    this.#checkLogMatching(node, now)
    this.#checkCommitted(node, now)
    this.#seen.set(node.id, now)
  }

  /** A message may leave only when what it promises would survive a crash right now. */
  leaving(node: TestNode, message: Message): void {
    const { currentTerm, votedFor } = node.disk.hardState
    const what = `${node.id} sends ${JSON.stringify(message, withoutEntries)}`
    if (message.type === 'AppendEntries') {
      assert(currentTerm >= message.term, `${what} while its disk is at term ${currentTerm}`)
    }
    if (message.type === 'AppendEntriesResponse') {
      assert(currentTerm >= message.term, `${what} while its disk is at term ${currentTerm}`)
      if (message.success && currentTerm === message.term) this.#checkAcknowledgement(node, message, what)
    }
    if (message.type === 'RequestVote' || (message.type === 'RequestVoteResponse' && message.voteGranted)) {
      const choice = message.type === 'RequestVote' ? node.id : message.to
      assert(
        currentTerm > message.term || (currentTerm === message.term && votedFor === choice),
        `${what} while its disk holds term ${currentTerm}, vote ${votedFor}`,
      )
      const key = `${node.id} in term ${message.term}`
      assert.equal(this.#votes.get(key) ?? choice, choice, `Two votes of ${key}`)
      this.#votes.set(key, choice)
    }
  }

  #checkAcknowledgement(
    node: TestNode,
    message: AppendEntriesResponse & { readonly success: true },
    what: string,
  ): void {
    assert(node.disk.lastIndex >= message.matchIndex, `${what} while its disk ends at ${node.disk.lastIndex}`)
    const leader = this.#nodes.get(message.to)
    if (leader === undefined || !leader.alive || leader.role !== 'leader' || leader.raft.currentTerm !== message.term) {
      return
    }
    for (let index = 1; index <= message.matchIndex; index++) {
      assert.equal(
        node.disk.termAt(index),
        leader.raft.log.termAt(index),
        `${what}, but entry ${index} differs on disk`,
      )
    }
  }

  #checkProgress(node: TestNode, before: Seen, now: Seen): void {
    assert(now.term >= before.term, `${node.id} went back from term ${before.term} to ${now.term}`)
    assert(now.commitIndex >= before.commitIndex, `${node.id} went back from commit ${before.commitIndex}`)
    if (before.terms.some((term, i) => now.terms[i] !== term)) this.truncations++
    if (before.role !== 'leader' || now.role !== 'leader' || before.term !== now.term) return
    assert(now.terms.length >= before.terms.length, `Leader ${node.id} truncated its log`)
    for (const [i, term] of before.terms.entries()) {
      assert.equal(now.terms[i], term, `Leader ${node.id} replaced its entry ${i + 1}`)
    }
  }

  #checkElectionSafety(node: TestNode, now: Seen): void {
    if (now.role !== 'leader') return
    const known = this.#leaders.get(now.term) ?? node.id
    assert.equal(known, node.id, `Two leaders of term ${now.term}`)
    if (this.#leaders.has(now.term)) return
    this.#leaders.set(now.term, node.id)
    for (const [index, term] of this.#committed.entries()) {
      if (index === 0) continue
      assert.equal(now.terms[index - 1], term, `Leader ${node.id} of term ${now.term} lacks committed entry ${index}`)
    }
  }

  #checkLogMatching(node: TestNode, now: Seen): void {
    for (const [id, other] of this.#seen) {
      if (id === node.id) continue
      let agree = Math.min(now.terms.length, other.terms.length) - 1
      while (agree >= 0 && now.terms[agree] !== other.terms[agree]) agree--
      for (let i = agree; i >= 0; i--) {
        if (now.terms[i] !== other.terms[i]) {
          assert.fail(`The logs of ${node.id} and ${id} agree at ${agree + 1} and differ at ${i + 1}`)
        }
      }
    }
  }

  #checkCommitted(node: TestNode, now: Seen): void {
    assert(now.commitIndex <= now.terms.length, `${node.id} commits ${now.commitIndex}, past its log`)
    for (let index = 1; index <= now.commitIndex; index++) {
      const term = now.terms[index - 1] ?? -1
      const known = this.#committed[index]
      if (known !== undefined) {
        if (known !== term) assert.fail(`${node.id} holds ${term}/${index}, committed was ${known}/${index}`)
        continue
      }
      const holders = this.#voters.filter((id) => this.#nodes.get(id)?.disk.termAt(index) === term)
      assert(
        holders.length >= quorum(this.#voters.length),
        `${node.id} commits ${term}/${index}, which is on the disks of ${holders.join(' ') || 'nobody'} only`,
      )
      this.#committed.push(term)
    }
  }
}

function withoutEntries(key: string, value: unknown): unknown {
  return key === 'entries' && Array.isArray(value) ? value.length : value
}
