// Reads without a round trip (§6.4.1 of Ongaro's thesis): the leader may answer by itself for as long as nobody else can have become leader.
//
// A voter *promises*, in its answer to an AppendEntries: for `leaseMs` from the moment at which the request reached it, it helps nobody else to
// become leader. It grants no pre-vote and no vote, and does not stand for election itself, whatever it hears of its leader meanwhile.
// The leader *counts* a promise from a moment before it sent the request, and holds a lease while those of a majority last, its own included.
//
// Why nobody else can lead then: who wins a later term has the vote of a voter whose promise counts. That voter kept its promise, or the leader voted
// itself and leads no longer, or it voted because a leader asked for that (TimeoutNow). That leader was the one of the term just before, so either it
// is the holder, which gave up its lease for good before it asked; or it is a later one, and this holds of its own election.
//
// Why it is enough to count less: no clock runs faster than 1 + d or slower than 1 - d of true time. A promise of `leaseMs` lasts for
// leaseMs / (1 + d) in truth at least, and when the leader's clock shows e since it sent, e / (1 - d) have passed in truth at most: the promise lasts
// while e < leaseMs (1 - d) / (1 + d), and 1 - 2d is less than that fraction. A machine that stops with its clock keeps to no such d.
//
// That the own disk hangs is no harm to a lease: what it stands for is kept by the majority, and the leader gives way soon (ailing-storage.ts).

import { type IndexedConfiguration, majorityReached, voterIds } from './configuration.ts'
import type { AppendEntriesResponse } from './messages.ts'
import type { Progress } from './progress.ts'
import type { Leader, Round } from './role.ts'
import { type RaftOptions, type RaftState, voters } from './state.ts'

export interface Lease {
  /** For the rest of the term: another was asked to take over, and whoever votes for it breaks no promise. */
  isGivenUp: boolean
  /** Some of the rounds of the last election timeout, oldest first: a round that is not among them began after the one before it. */
  readonly rounds: Round[]
}

/** Rounds that are remembered: with a reader in every turn of the loop, there are many thousands of them within an election timeout. */
const roundsRemembered = 100

/**
 * Until when a node that starts keeps to what it may have promised before. Its promises are not on disk, and it need not know whether leases were in
 * use: a voter that is restarted with LEASE_READS off would else break what it promised while they were on. It costs little: who restarts everything
 * waits for an election timeout anyway, and who hands leadership over in order (TimeoutNow) is voted for at once. A node without a term never promised.
 */
export function boundFromStart(options: RaftOptions, configuration: IndexedConfiguration, nowMs: number): number {
  const { id, waitsAfterRestart, electionTimeoutMinMs, recovered } = options
  if (!waitsAfterRestart || recovered.hardState.currentTerm === 0) return Number.NEGATIVE_INFINITY
  // Who was founded as the only voter never had another leader.
  const [only, ...others] = voterIds(configuration.configuration)
  if (configuration.index === 0 && only === id && others.length === 0) return Number.NEGATIVE_INFINITY
  return nowMs + electionTimeoutMinMs
}

/** It helps nobody to become leader. */
export function isBound(s: RaftState): boolean {
  return s.nowMs < s.boundUntilMs
}

/** What is promised to the leader that was just heard, for `leaseMs` of the answer. */
export function promiseLease(s: RaftState): number {
  if (!s.options.leaseReads) return 0
  s.boundUntilMs = Math.max(s.boundUntilMs, s.nowMs + s.options.electionTimeoutMinMs)
  return Math.floor(s.options.electionTimeoutMinMs)
}

/** Before the round that begins now is sent. */
export function rememberRound(s: RaftState, { lease: { rounds }, round }: Leader): void {
  const { leaseReads, electionTimeoutMinMs } = s.options
  if (!leaseReads) return
  while (rounds[0] !== undefined && s.nowMs - rounds[0].startedMs >= electionTimeoutMinMs) rounds.shift()
  const last = rounds.at(-1)
  if (last !== undefined && s.nowMs - last.startedMs < electionTimeoutMinMs / roundsRemembered) return
  rounds.push({ round, startedMs: s.nowMs })
}

export function countPromise(s: RaftState, role: Leader, progress: Progress, message: AppendEntriesResponse): void {
  if (message.leaseMs === 0) return
  const sent = role.lease.rounds.findLast(({ round }) => round <= message.round)
  if (sent === undefined) return
  const { maxClockDriftPpm, electionTimeoutMinMs } = s.options
  // Past its own election timeout this node steps down without an answer, whatever others promise.
  const leaseMs = Math.min(message.leaseMs, electionTimeoutMinMs) * (1 - (2 * maxClockDriftPpm) / 1_000_000)
  progress.promisedUntilMs = Math.max(progress.promisedUntilMs, sent.startedMs + leaseMs)
}

export function giveUpLease(role: Leader): void {
  role.lease.isGivenUp = true
}

/** Everything that was ever committed by `nowMs` is committed here through this index; null: this node cannot say. */
export function leaseReadIndex(s: RaftState, nowMs: number): number | null {
  const { role, options } = s
  if (role.name !== 'leader' || !options.leaseReads || role.lease.isGivenUp) return null
  // Before the no-op of this term is committed, the commit index may lag behind what an earlier leader acknowledged.
  if (s.commitIndex < role.noopIndex) return null
  const promised = voters(s).map((id) =>
    id === options.id ? Number.POSITIVE_INFINITY : (role.progress.get(id)?.promisedUntilMs ?? Number.NEGATIVE_INFINITY),
  )
  return nowMs < majorityReached(promised) ? s.commitIndex : null
}
