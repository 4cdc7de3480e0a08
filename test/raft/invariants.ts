// What must hold after every step of every node (Figure 3 of the paper), seen from outside with everybody's memory and disk in view.

import assert from 'node:assert/strict'
import { majorityReached, quorum } from '../../src/raft/configuration.ts'
import type { EntryId, NodeId } from '../../src/raft/entry.ts'
import type { AppendEntriesResponse, Message } from '../../src/raft/messages.ts'
import type { ReadOutcome } from '../../src/raft/work.ts'
import type { TestNode, Watcher } from './test-node.ts'

interface Seen {
  readonly role: string
  readonly term: number
  readonly commitIndex: number
  /** What lies behind it only can be compared; what lies before it is committed. */
  readonly base: EntryId
  readonly terms: readonly number[]
}

function lastIndex({ base, terms }: Seen): number {
  return base.index + terms.length
}

function termAt({ base, terms }: Seen, index: number): number | undefined {
  return index === base.index ? base.term : terms[index - base.index - 1]
}

export class Invariants implements Watcher {
  /** How many times a log lost entries to another leader's. */
  truncations = 0
  /** How many times a log began anew behind a snapshot that another node had sent. */
  installs = 0
  compactions = 0
  /** How many times it was looked, and a node held a lease. */
  leases = 0
  readonly #nodes: ReadonlyMap<NodeId, TestNode>
  readonly #voters: readonly NodeId[]
  readonly #leaders = new Map<number, NodeId>()
  /** Term of every committed entry; index 0 is unused. */
  readonly #committed: number[]
  readonly #votes = new Map<string, NodeId>()
  readonly #seen = new Map<NodeId, Seen>()
  readonly #reads = new Map<number, number>()

  constructor(nodes: ReadonlyMap<NodeId, TestNode>, voters: readonly NodeId[], committed: readonly number[] = []) {
    this.#committed = [0, ...committed]
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
      base: node.raft.log.base,
      terms: node.terms,
    }
    const before = this.#seen.get(node.id)
    if (before !== undefined) this.#checkProgress(node, before, now)
    this.#checkElectionSafety(node, now)
    this.#checkLogMatching(node, now)
    this.#checkCommitted(node, now)
    this.#seen.set(node.id, now)
    this.#checkLeases()
  }

  /** Whatever is on the disks now: what was committed would survive if every node crashed. */
  diskChanged(node: TestNode): void {
    const { disk } = node
    assert(
      disk.base.index <= (disk.snapshot?.lastIncluded.index ?? 0),
      `${node.id} gave up its log through ${disk.base.index}, and no snapshot on its disk reaches so far`,
    )
    const reached = majorityReached(this.#voters.map((id) => this.#committedOnDisk(id)))
    assert(reached >= this.committedIndex, `A majority holds ${reached}, ${this.committedIndex} was committed`)
  }

  #committedOnDisk(id: NodeId): number {
    const disk = this.#nodes.get(id)?.disk
    let index = disk?.snapshot?.lastIncluded.index ?? 0
    while (index < this.committedIndex && disk?.termAt(index + 1) === this.#committed[index + 1]) index++
    return index
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
    const inSnapshot = node.disk.snapshot?.lastIncluded.index ?? 0
    const reached = Math.max(node.disk.lastIndex, inSnapshot)
    assert(reached >= message.matchIndex, `${what} while its disk ends at ${reached}`)
    const leader = this.#nodes.get(message.to)
    if (leader === undefined || !leader.alive || leader.role !== 'leader' || leader.raft.currentTerm !== message.term) {
      return
    }
    for (let index = Math.max(leader.raft.log.base.index, 1); index <= message.matchIndex; index++) {
      const term = leader.raft.log.termAt(index)
      assert(
        term !== null && node.disk.holds({ index, term }),
        `${what}, but entry ${index} is of term ${node.disk.termAt(index)} on disk, not ${term}`,
      )
    }
  }

  #checkProgress(node: TestNode, before: Seen, now: Seen): void {
    assert(now.term >= before.term, `${node.id} went back from term ${before.term} to ${now.term}`)
    assert(now.commitIndex >= before.commitIndex, `${node.id} went back from commit ${before.commitIndex}`)
    assert(now.base.index >= before.base.index, `${node.id} has again what it gave up, before ${before.base.index}`)
    const replaced = differsFrom(before, now)
    if (replaced !== null) this.truncations++
    if (termAt(before, now.base.index) !== now.base.term) this.installs++
    else if (now.base.index > before.base.index) this.compactions++
    if (before.role !== 'leader' || now.role !== 'leader' || before.term !== now.term) return
    assert.equal(replaced, null, `Leader ${node.id} replaced its entry ${replaced}`)
    assert(
      now.base.index <= (node.disk.snapshot?.lastIncluded.index ?? 0),
      `Leader ${node.id} gave up entries through ${now.base.index}, past its snapshot`,
    )
  }

  #checkElectionSafety(node: TestNode, now: Seen): void {
    if (now.role !== 'leader') return
    const known = this.#leaders.get(now.term) ?? node.id
    assert.equal(known, node.id, `Two leaders of term ${now.term}`)
    if (this.#leaders.has(now.term)) return
    this.#leaders.set(now.term, node.id)
    for (const [index, term] of this.#committed.entries()) {
      if (index < now.base.index) continue
      assert.equal(termAt(now, index), term, `Leader ${node.id} of term ${now.term} lacks committed entry ${index}`)
    }
  }

  /** Whoever would answer a read by its lease now knows of everything that anybody has committed by now. */
  #checkLeases(): void {
    for (const { id, alive, raft, clock } of this.#nodes.values()) {
      const index = alive ? raft.leaseReadIndex(clock.nowMs) : null
      if (index === null) continue
      this.leases++
      assert(
        index >= this.committedIndex,
        `${id} answers by its lease at ${index}, and ${this.committedIndex} is committed`,
      )
    }
  }

  #checkLogMatching(node: TestNode, now: Seen): void {
    for (const [id, other] of this.#seen) {
      if (id === node.id) continue
      const from = Math.max(now.base.index, other.base.index)
      let agree = Math.min(lastIndex(now), lastIndex(other))
      while (agree >= from && termAt(now, agree) !== termAt(other, agree)) agree--
      for (let index = agree; index >= from; index--) {
        if (termAt(now, index) !== termAt(other, index)) {
          assert.fail(`The logs of ${node.id} and ${id} agree at ${agree} and differ at ${index}`)
        }
      }
    }
  }

  #checkCommitted(node: TestNode, now: Seen): void {
    assert(now.commitIndex <= lastIndex(now), `${node.id} commits ${now.commitIndex}, past its log`)
    assert(now.commitIndex >= now.base.index, `${node.id} gave up ${now.base.index}, past its commit index`)
    for (let index = now.base.index; index <= now.commitIndex; index++) {
      const term = termAt(now, index) ?? -1
      const known = this.#committed[index]
      if (known !== undefined) {
        if (known !== term) assert.fail(`${node.id} holds ${term}/${index}, committed was ${known}/${index}`)
        continue
      }
      assert.equal(index, this.#committed.length, `${node.id} commits ${term}/${index}, past what was committed`)
      const holders = this.#voters.filter((id) => this.#nodes.get(id)?.disk.holds({ term, index }))
      assert(
        holders.length >= quorum(this.#voters.length),
        `${node.id} commits ${term}/${index}, which is on the disks of ${holders.join(' ') || 'nobody'} only`,
      )
      this.#committed.push(term)
    }
  }
}

/** The first entry that both logs may hold, and only the earlier one does, or with another term; null: there is none. */
function differsFrom(before: Seen, now: Seen): number | null {
  for (let index = Math.max(before.base.index, now.base.index); index <= lastIndex(before); index++) {
    if (termAt(now, index) !== termAt(before, index)) return index
  }
  return null
}

function withoutEntries(key: string, value: unknown): unknown {
  return key === 'entries' && Array.isArray(value) ? value.length : value
}
