// Linearizable reads without a log entry (ReadIndex, §6.4 of Ongaro's thesis): the leader notes its commit index, and answers once
// a quorum has confirmed, in a round begun after the question came, that it still leads.

import { majorityReached } from './configuration.ts'
import type { NodeId } from './entry.ts'
import { rememberRound } from './lease.ts'
import type { ReadIndexRequest, ReadIndexResponse } from './messages.ts'
import { sendHeartbeats } from './replication.ts'
import type { Leader, PendingRead } from './role.ts'
import { type RaftState, voters } from './state.ts'

export function handleReadIndex(s: RaftState, readId: number): void {
  if (s.role.name === 'leader') {
    askQuorum(s, s.role, readId, s.options.id)
    return
  }
  const leader = s.role.name === 'follower' ? s.role.leader : null
  if (leader === null) {
    s.outbox.reads.push({ readId, index: null })
    return
  }
  s.outbox.send.push({ type: 'ReadIndexRequest', from: s.options.id, to: leader, term: s.currentTerm, readId })
}

export function handleReadIndexRequest(s: RaftState, message: ReadIndexRequest): void {
  if (s.role.name === 'leader') askQuorum(s, s.role, message.readId, message.from)
  else respond(s, message.from, message.readId, null)
}

export function handleReadIndexResponse(s: RaftState, message: ReadIndexResponse): void {
  s.outbox.reads.push({ readId: message.readId, index: message.index })
}

function askQuorum(s: RaftState, role: Leader, readId: number, from: NodeId): void {
  // Before the no-op of this term is committed, the commit index may lag behind what an earlier leader acknowledged.
  if (s.commitIndex < role.noopIndex) {
    role.reads.push({ readId, from, ready: null })
    return
  }
  startRound(s, role)
  role.reads.push({ readId, from, ready: { index: s.commitIndex, round: role.round } })
  confirmRounds(s, role)
}

/** Begins a round of confirmation: a heartbeat to every member that carries its number. */
export function startRound(s: RaftState, role: Leader): void {
  role.round += 1
  role.rounds.push({ round: role.round, startedMs: s.nowMs })
  rememberRound(s, role)
  sendHeartbeats(s, role)
}

/** The commit index moved: reads that waited for the first commit of the term can be asked for. */
export function releaseEarlyReads(s: RaftState, role: Leader): void {
  if (s.commitIndex < role.noopIndex || !role.reads.some((read) => read.ready === null)) return
  startRound(s, role)
  for (const read of role.reads) read.ready ??= { index: s.commitIndex, round: role.round }
  confirmRounds(s, role)
}

/** A member answered a round: answers the reads of every round that a quorum has answered. */
export function confirmRounds(s: RaftState, role: Leader): void {
  const answered = voters(s).map((id) =>
    id === s.options.id ? role.round : (role.progress.get(id)?.answeredRound ?? 0),
  )
  const confirmed = majorityReached(answered)
  let oldest = role.rounds[0]
  while (oldest !== undefined && oldest.round <= confirmed) {
    role.quorumConfirmedMs = oldest.startedMs
    role.rounds.shift()
    oldest = role.rounds[0]
  }
  if (role.reads.length === 0) return
  const waiting: PendingRead[] = []
  for (const read of role.reads) {
    if (read.ready === null || read.ready.round > confirmed) waiting.push(read)
    else answer(s, read, read.ready.index)
  }
  role.reads = waiting
}

function answer(s: RaftState, read: PendingRead, index: number): void {
  if (read.from === s.options.id) s.outbox.reads.push({ readId: read.readId, index })
  else respond(s, read.from, read.readId, index)
}

function respond(s: RaftState, to: NodeId, readId: number, index: number | null): void {
  s.outbox.send.push({ type: 'ReadIndexResponse', from: s.options.id, to, term: s.currentTerm, readId, index })
}
