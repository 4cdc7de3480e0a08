// Elections (§5.2, §5.4.1) with pre-vote (§9.6 of Ongaro's thesis): nobody raises its term before a majority says that it would win.

import { assert } from './assert.ts'
import { quorum } from './configuration.ts'
import { isUpToDate, type NodeId } from './entry.ts'
import { becomeLeader } from './leader.ts'
import { isBound } from './lease.ts'
import type {
  RequestPreVote,
  RequestPreVoteResponse,
  RequestVote,
  RequestVoteResponse,
  TimeoutNow,
} from './messages.ts'
import type { Candidate, Follower, Precandidate, Role } from './role.ts'
import { becomeFollower, becomeRole, isSelfVoter, type RaftState, randomElectionTimeoutMs, voters } from './state.ts'

export function tickElection(s: RaftState, role: Follower | Precandidate | Candidate): void {
  if (role.name === 'follower') answerAgain(s, role)
  if (s.nowMs < role.electionDeadlineMs) return
  if (isBound(s)) {
    role.electionDeadlineMs = s.boundUntilMs + spreadMs(s)
    return
  }
  if (!mayCampaign(s)) {
    // A learner, or a node that no configuration names yet, waits for a leader for ever.
    role.electionDeadlineMs = s.nowMs + randomElectionTimeoutMs(s.options)
    return
  }
  startPreVote(
    s,
    role.name === 'follower' ? 'the election timeout passed without a leader' : 'the last election had no winner',
  )
}

/** With a disk that hangs, no vote would leave this node: to stand for election would only disturb the others. */
function mayCampaign(s: RaftState): boolean {
  return isSelfVoter(s) && s.storage.stalledSinceMs === null
}

function startPreVote(s: RaftState, reason: string): void {
  const votes = new Map([[s.options.id, true]])
  becomeRole(
    s,
    { name: 'precandidate', votes, electionDeadlineMs: s.nowMs + randomElectionTimeoutMs(s.options) },
    reason,
  )
  for (const to of voters(s)) {
    if (to !== s.options.id) askPreVote(s, to)
  }
  countPreVotes(s, votes)
}

function askPreVote(s: RaftState, to: NodeId): void {
  s.outbox.send.push({
    type: 'RequestPreVote',
    from: s.options.id,
    to,
    term: s.currentTerm + 1,
    lastEntry: s.log.lastEntry,
  })
}

function countPreVotes(s: RaftState, votes: ReadonlyMap<string, boolean>): void {
  const result = tally(s, votes)
  if (result === 'won' && mayCampaign(s)) startElection(s, false, 'a majority would vote for this node')
  // Lost: keep waiting as we are. The term was not raised, so nobody was disturbed.
}

/** Raises the term and votes for itself. `leadershipTransfer`: the leader asked for it, so voters need not have lost it. */
export function startElection(s: RaftState, leadershipTransfer: boolean, reason: string): void {
  assert(
    leadershipTransfer || !isBound(s),
    () => `It stands for election, and is bound for ${s.boundUntilMs - s.nowMs} ms`,
  )
  s.currentTerm += 1
  s.votedFor = s.options.id
  // The own vote joins in `countOwnVote`, once it is on disk.
  becomeRole(
    s,
    { name: 'candidate', votes: new Map(), electionDeadlineMs: s.nowMs + randomElectionTimeoutMs(s.options) },
    reason,
  )
  for (const to of voters(s)) {
    if (to === s.options.id) continue
    // A promise: it claims a log end, and that must survive a crash as well as the vote must.
    s.outbox.promises.push({
      type: 'RequestVote',
      from: s.options.id,
      to,
      term: s.currentTerm,
      lastEntry: s.log.lastEntry,
      leadershipTransfer,
    })
  }
}

/** Called when hard state became durable: a candidate's vote for itself counts from then on. */
export function countOwnVote(s: RaftState): void {
  if (s.role.name !== 'candidate') return
  if (s.durable.currentTerm !== s.currentTerm || s.durable.votedFor !== s.options.id) return
  countVote(s, s.role, s.options.id, true)
}

function countVote(s: RaftState, role: Candidate, from: string, granted: boolean): void {
  if (!role.votes.has(from)) role.votes.set(from, granted)
  const result = tally(s, role.votes)
  if (result === 'won') becomeLeader(s)
  if (result === 'lost') becomeFollower(s, s.currentTerm, null, 'a majority refused its vote')
}

function tally(s: RaftState, votes: ReadonlyMap<string, boolean>): 'won' | 'lost' | 'undecided' {
  const ids = voters(s)
  const needed = quorum(ids.length)
  const granted = ids.filter((id) => votes.get(id) === true).length
  const refused = ids.filter((id) => votes.get(id) === false).length
  if (granted >= needed) return 'won'
  return refused > ids.length - needed ? 'lost' : 'undecided'
}

/** Grants change nothing here: several nodes may be told that they would win. */
export function handleRequestPreVote(s: RaftState, message: RequestPreVote): void {
  const isFree = !hearsLeader(s) && !isBound(s)
  const voteGranted = message.term > s.currentTerm && isFree && isUpToDate(message.lastEntry, s.log.lastEntry)
  if (s.role.name === 'follower' && isBound(s)) s.role.askedMeanwhile.set(message.from, message)
  s.outbox.send.push({
    type: 'RequestPreVoteResponse',
    from: s.options.id,
    to: message.from,
    // A grant speaks of the term that it was asked for, a refusal tells the own one, which may be news to the asker.
    term: voteGranted ? message.term : s.currentTerm,
    voteGranted,
  })
  // It asks with the shorter log, so by now it has lost the leader too: what it answered to our own pre-vote no longer holds.
  if (!voteGranted && message.term > s.currentTerm && s.role.name === 'precandidate') {
    s.role.votes.delete(message.from)
    askPreVote(s, message.from)
  }
}

/** The promise is over: who lost the leader before need not wait for its next election to be told so. */
function answerAgain(s: RaftState, role: Follower): void {
  if (role.askedMeanwhile.size === 0 || isBound(s)) return
  const asked = role.askedMeanwhile
  role.askedMeanwhile = new Map()
  for (const message of asked.values()) handleRequestPreVote(s, message)
}

export function handleRequestPreVoteResponse(s: RaftState, message: RequestPreVoteResponse): void {
  if (s.role.name !== 'precandidate') return
  // A grant for an earlier pre-vote of ours came late.
  if (message.voteGranted && message.term !== s.currentTerm + 1) return
  // A refusal may be an old one that came late; a grant of this term never is.
  if (message.voteGranted || !s.role.votes.has(message.from)) s.role.votes.set(message.from, message.voteGranted)
  countPreVotes(s, s.role.votes)
}

/** Of the current term, or of an older one that is refused. */
export function handleRequestVote(s: RaftState, message: RequestVote): void {
  // The candidate's configuration decides whom it asks. A learner here that it counts as a voter has merely not heard of its promotion yet.
  const mayVote = s.votedFor === message.from || (s.votedFor === null && leaderOf(s.role) === null)
  // The term may be the own one by now because another message brought it: that ends no promise.
  const isFree = message.leadershipTransfer || !isBound(s)
  const isWanted = message.term === s.currentTerm && mayVote && isFree
  const voteGranted = isWanted && isUpToDate(message.lastEntry, s.log.lastEntry)
  const response: RequestVoteResponse = {
    type: 'RequestVoteResponse',
    from: s.options.id,
    to: message.from,
    term: s.currentTerm,
    voteGranted,
  }
  if (!voteGranted) {
    s.outbox.send.push(response)
    return
  }
  s.votedFor = message.from
  if (s.role.name === 'precandidate') becomeFollower(s, s.currentTerm, null, `it voted for ${message.from}`)
  if (s.role.name === 'follower') s.role.electionDeadlineMs = s.nowMs + randomElectionTimeoutMs(s.options)
  s.outbox.promises.push(response)
}

export function handleRequestVoteResponse(s: RaftState, message: RequestVoteResponse): void {
  if (s.role.name === 'candidate') countVote(s, s.role, message.from, message.voteGranted)
}

/** No promise stands against it: it was made to this leader, which has given up its lease, or to one that this one has followed. */
export function handleTimeoutNow(s: RaftState, message: TimeoutNow): void {
  if (s.role.name !== 'follower' || !mayCampaign(s)) return
  startElection(s, true, `${message.from} handed leadership over`)
}

function leaderOf(role: Role): NodeId | null {
  return role.name === 'follower' ? role.leader : null
}

/** Leader stickiness: while a leader is heard, nobody helps to replace it. */
export function hearsLeader(s: RaftState): boolean {
  if (s.role.name === 'leader') return true
  if (s.role.name !== 'follower' || s.role.leader === null) return false
  return s.nowMs - s.role.lastLeaderContactMs < s.options.electionTimeoutMinMs
}

/**
 * The connection to the leader was closed or refused, as the kernel does when its process dies. A hint, not a proof: it brings the
 * pre-vote forward, and voters grant that only if they too have lost the leader. What was promised to it holds.
 */
export function handleLeaderLost(s: RaftState, role: Follower): void {
  role.leader = null
  role.lastLeaderContactMs = Number.NEGATIVE_INFINITY
  role.electionDeadlineMs = Math.min(role.electionDeadlineMs, Math.max(s.nowMs, s.boundUntilMs) + spreadMs(s))
}

/** All survivors get that hint at one moment, and their promises end at one: spread over a tenth of the timeout they do not split the vote. */
function spreadMs(s: RaftState): number {
  return s.options.electionTimeoutMinMs * (0.01 + 0.09 * s.options.random())
}
