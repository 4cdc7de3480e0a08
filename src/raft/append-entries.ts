// The follower's half of AppendEntries (§5.3): check, truncate what conflicts, append, follow the leader's commit index.

import { assert } from './assert.ts'
import type { EntryId, NodeId } from './entry.ts'
import { promiseLease } from './lease.ts'
import type { AppendEntries, InstallSnapshot } from './messages.ts'
import { becomeFollower, isHardStateDurable, type RaftState, randomElectionTimeoutMs } from './state.ts'

/** Of the current term: the term rule has run. */
export function handleAppendEntries(s: RaftState, message: AppendEntries): void {
  followSender(s, message)
  const leaseMs = promiseLease(s)
  // What is committed here is in every later leader's log (§5.4.3), so before that point nothing needs a check, nor may be replaced.
  const { commitIndex } = s
  if (message.prev.index >= commitIndex && !s.log.matches(message.prev)) {
    refuse(s, message, conflictHint(s, message.prev), leaseMs)
    return
  }
  for (const entry of message.entries) {
    if (entry.index > commitIndex || entry.index <= s.log.base.index) continue
    assert(
      s.log.matches(entry),
      () => `${message.from} would replace entry ${entry.index}, committed through ${commitIndex}`,
    )
  }
  const firstNew = message.entries.findIndex((entry) => entry.index > commitIndex && !s.log.matches(entry))
  if (firstNew >= 0) s.log.append(message.entries.slice(firstNew))
  const lastNew = message.prev.index + message.entries.length
  // Only what this message vouches for: entries past it may still be another leader's.
  s.commitIndex = Math.max(commitIndex, Math.min(message.leaderCommit, lastNew))
  acknowledge(s, message, Math.max(lastNew, commitIndex), leaseMs)
}

export function followSender(s: RaftState, message: AppendEntries | InstallSnapshot): void {
  const { role } = s
  assert(role.name !== 'leader', () => `${message.from} leads term ${message.term}, and so does this node`)
  if (role.name === 'follower' && role.leader === message.from) {
    role.lastLeaderContactMs = s.nowMs
    role.electionDeadlineMs = s.nowMs + randomElectionTimeoutMs(s.options)
    // They asked because they had lost a leader that is there.
    if (role.askedMeanwhile.size > 0) role.askedMeanwhile = new Map()
    return
  }
  assert(
    role.name !== 'follower' || role.leader === null,
    () => `${message.from} leads term ${message.term}, and so does ${role.name === 'follower' ? role.leader : ''}`,
  )
  becomeFollower(s, message.term, message.from, `${message.from} leads the term`)
}

/** Says what is durable at once; what is not, once it is. */
function acknowledge(s: RaftState, message: AppendEntries, matchIndex: number, leaseMs: number): void {
  if (message.entries.length > 0) {
    s.outbox.promises.push(success(s, message.from, message.round, matchIndex, leaseMs))
    return
  }
  // A heartbeat is answered without waiting for the disk: it must not look as if this node were gone.
  const durable = success(s, message.from, message.round, Math.min(matchIndex, s.log.durableIndex), leaseMs)
  if (isHardStateDurable(s)) s.outbox.send.push(durable)
  else s.outbox.promises.push(durable)
}

/** This log is durable and equal to the leader's through `matchIndex`, once everything is saved that was to be saved by now. */
export function success(s: RaftState, to: NodeId, round: number, matchIndex: number, leaseMs: number) {
  return {
    type: 'AppendEntriesResponse',
    from: s.options.id,
    to,
    term: s.currentTerm,
    round,
    leaseMs,
    isStorageFull: s.storage.isFull,
    success: true,
    matchIndex,
  } as const
}

function refuse(s: RaftState, message: AppendEntries, hint: EntryId, leaseMs: number): void {
  const response = {
    type: 'AppendEntriesResponse',
    from: s.options.id,
    to: message.from,
    term: s.currentTerm,
    round: message.round,
    leaseMs,
    isStorageFull: s.storage.isFull,
    success: false,
    rejectedIndex: message.prev.index,
    hint,
  } as const
  if (isHardStateDurable(s)) s.outbox.send.push(response)
  else s.outbox.promises.push(response)
}

/** The last entry here that the leader's log can contain: not past its `prev`, nor of a later term. */
function conflictHint(s: RaftState, prev: EntryId): EntryId {
  const hint = s.log.lastAtMost(prev.index, prev.term)
  // What lies before the log is committed, and so in the leader's log as well, which is at least as new behind it.
  assert(
    hint !== null,
    () => `Entry ${prev.term}/${prev.index} is refused, the log begins after ${s.log.base.term}/${s.log.base.index}`,
  )
  return hint
}

/**
 * From a leader of an older term: our term makes it step down (and frees a candidate that its stickiness would ignore). Nothing else of the
 * request is repeated, and nothing is promised: the sender may lead our term by now, and its rounds of another term are not to be confirmed in this one.
 */
export function refuseStaleLeader(s: RaftState, message: AppendEntries): void {
  const nowhere: EntryId = { term: 0, index: 0 }
  refuse(s, { ...message, round: 0, prev: nowhere }, nowhere, 0)
}
