// A leader's term from its first moment: the no-op, proposals, heartbeats, and stepping down when the quorum is gone.

import { giveWay } from './ailing-storage.ts'
import { assert } from './assert.ts'
import { majorityReached } from './configuration.ts'
import type { Entry, NodeId } from './entry.ts'
import { countPromise } from './lease.ts'
import type { AppendEntriesResponse } from './messages.ts'
import { Progress } from './progress.ts'
import { confirmRounds, releaseEarlyReads, startRound } from './reads.ts'
import { advanceCommit, giveUpSnapshot, isSilent, recordAnswer, replicate, replicateTo } from './replication.ts'
import type { Leader } from './role.ts'
import { becomeFollower, becomeRole, type RaftState, voters } from './state.ts'
import { continueTransfer, expireTransfer } from './transfer.ts'
import type { Proposal, ProposalOutcome } from './work.ts'

const noop: Proposal = {
  kind: 'noop',
  origin: 0,
  sequence: 0,
  key: null,
  traceparent: null,
  payload: new Uint8Array(0),
}

export function becomeLeader(s: RaftState): void {
  const { id, maxInFlightMessages, maxMessageBytes } = s.options
  const noopIndex = s.log.lastIndex + 1
  const window = { maxMessages: maxInFlightMessages, maxBytes: maxInFlightMessages * maxMessageBytes }
  const progress = new Map(
    s.log.configuration.configuration.members
      .filter((member) => member.id !== id)
      .map((member) => [member.id, new Progress(noopIndex, s.nowMs, window)]),
  )
  const role: Leader = {
    name: 'leader',
    progress,
    noopIndex,
    heartbeatDueMs: s.nowMs,
    round: 0,
    rounds: [],
    quorumConfirmedMs: Number.NEGATIVE_INFINITY,
    lease: { isGivenUp: false, rounds: [] },
    reads: [],
    transfer: null,
    uncommitted: [],
    uncommittedBytes: 0,
  }
  becomeRole(s, role, `a majority of ${voters(s).length} voters granted its vote`)
  // §8: an entry of the own term, so that everything before it can commit.
  appendToLog(s, role, [noop], s.log.lastTimestampMs)
  tickLeader(s, role)
}

export function tickLeader(s: RaftState, role: Leader): void {
  if (!heardQuorum(s, role)) {
    becomeFollower(s, s.currentTerm, null, 'no quorum answered for an election timeout')
    return
  }
  expireTransfer(s, role)
  if (!giveWay(s, role)) return
  releasePins(s, role)
  if (s.nowMs < role.heartbeatDueMs) return
  role.heartbeatDueMs = s.nowMs + s.options.heartbeatIntervalMs
  startRound(s, role)
  confirmRounds(s, role)
}

/** For a follower that is silent, the log behind the snapshot that it was being sent is kept no longer. */
function releasePins(s: RaftState, role: Leader): void {
  for (const progress of role.progress.values()) {
    if (isSilent(s, progress)) giveUpSnapshot(progress)
  }
}

/** Check-quorum (§6.2 of Ongaro's thesis): a leader that a majority has not answered for an election timeout is none. */
function heardQuorum(s: RaftState, role: Leader): boolean {
  const contacts = voters(s).map((id) =>
    id === s.options.id ? s.nowMs : (role.progress.get(id)?.lastContactMs ?? Number.NEGATIVE_INFINITY),
  )
  return s.nowMs - majorityReached(contacts) <= s.options.electionTimeoutMinMs
}

export function handlePropose(
  s: RaftState,
  proposals: readonly Proposal[],
  unixMs: number,
  forwardedBy: NodeId | undefined,
): void {
  const refused = refusal(s)
  if (refused !== null || s.role.name !== 'leader') {
    for (const { origin, sequence } of proposals) {
      s.outbox.proposals.push({ origin, sequence, accepted: null, refused: refused ?? 'not-leader' })
    }
    return
  }
  for (const entry of appendToLog(s, s.role, proposals, unixMs)) {
    const { origin, sequence, term, index } = entry
    s.outbox.proposals.push({ origin, sequence, accepted: { term, index }, refused: null })
  }
  const forwarder = forwardedBy === undefined ? undefined : s.role.progress.get(forwardedBy)
  if (forwarder !== undefined) forwarder.awaitsCommitOf = s.log.lastIndex
  replicate(s, s.role)
}

export function handleAppendEntriesResponse(s: RaftState, role: Leader, message: AppendEntriesResponse): void {
  const progress = role.progress.get(message.from)
  if (progress === undefined) return
  if (recordAnswer(s, progress, message)) handleProgress(s, role)
  if (message.round > progress.answeredRound) {
    assert(
      message.round <= role.round,
      () => `${message.from} answered round ${message.round}, the last one is ${role.round}`,
    )
    progress.answeredRound = message.round
    countPromise(s, role, progress, message)
    confirmRounds(s, role)
  }
  replicateTo(s, role, message.from, progress)
  continueTransfer(s, role)
}

/** More is durable, here or on a follower. */
export function handleProgress(s: RaftState, role: Leader): void {
  if (advanceCommit(s, role)) releaseEarlyReads(s, role)
}

function refusal(s: RaftState): ProposalOutcome['refused'] {
  if (s.role.name !== 'leader') return 'not-leader'
  // Somebody with room may be about to take over: that is a pause, and not an error.
  if (s.role.transfer !== null) return 'transferring'
  if (s.storage.isFull) return 'storage-full'
  return s.role.uncommittedBytes >= s.options.maxUncommittedBytes ? 'tail-full' : null
}

function appendToLog(s: RaftState, role: Leader, proposals: readonly Proposal[], unixMs: number): readonly Entry[] {
  // Cluster time never goes back along the log, whatever the clocks of its leaders say.
  const timestampMs = Math.max(unixMs, s.log.lastTimestampMs)
  const first = s.log.lastIndex + 1
  let bytes = 0
  const entries = proposals.map(({ kind, origin, sequence, key, traceparent, payload }, i) => {
    const entry = s.options.encodeEntry({
      term: s.currentTerm,
      index: first + i,
      kind,
      timestampMs,
      origin,
      sequence,
      key,
      traceparent,
      payload,
    })
    bytes += entry.record.length
    return entry
  })
  s.log.append(entries)
  role.uncommitted.push({ lastIndex: s.log.lastIndex, bytes })
  role.uncommittedBytes += bytes
  return entries
}
