// The leader's half of AppendEntries (§5.3): what each follower is sent, and when an entry counts as committed.

import { assert } from './assert.ts'
import { majorityReached } from './configuration.ts'
import type { Entry, EntryId, NodeId } from './entry.ts'
import type { AppendEntriesResponse } from './messages.ts'
import type { Progress } from './progress.ts'
import type { Leader } from './role.ts'
import { type RaftState, voters } from './state.ts'

/** Sends every follower what its window has room for. */
export function replicate(s: RaftState, role: Leader): void {
  for (const [id, progress] of role.progress) replicateTo(s, role, id, progress)
}

export function replicateTo(s: RaftState, role: Leader, to: NodeId, progress: Progress): void {
  if (needsSnapshot(s, progress)) sendSnapshot(s, to, progress)
  if (progress.state === 'probe') {
    if (progress.paused) return
    progress.probeSent()
    sendEntries(s, role, to, progress, [])
    return
  }
  while (!progress.paused && progress.nextIndex <= s.log.lastIndex) {
    const entries = s.log.slice(progress.nextIndex, s.log.lastIndex, s.options.maxMessageBytes)
    if (entries === null) {
      requestLoad(s, to, progress)
      return
    }
    sendLogged(s, role, to, progress, entries)
  }
}

/** Entries that were asked from storage for this follower have come. */
export function handleLoaded(s: RaftState, role: Leader, to: NodeId, from: number, entries: readonly Entry[]): void {
  const progress = role.progress.get(to)
  if (progress === undefined) return
  progress.loading = false
  const last = entries.at(-1)
  if (last === undefined && progress.state === 'replicate' && !needsSnapshot(s, progress)) {
    // They are gone from storage too: to ask again at once would be to ask for ever. The next heartbeat finds out where the follower is.
    progress.becomeProbe(progress.nextIndex)
    progress.probeSent()
    return
  }
  // Meanwhile the follower may have fallen back to probing, the log may begin later, or another leader's term replaced what was read.
  const isCurrent = progress.state === 'replicate' && progress.nextIndex === from && !needsSnapshot(s, progress)
  const stillWanted = isCurrent && last !== undefined && s.log.matches(last)
  if (stillWanted && !progress.paused) sendLogged(s, role, to, progress, entries)
  replicateTo(s, role, to, progress)
}

/** What it needs next, or the entry before that, is no longer in the log. */
function needsSnapshot(s: RaftState, progress: Progress): boolean {
  return progress.nextIndex <= s.log.base.index
}

function sendSnapshot(s: RaftState, to: NodeId, progress: Progress): void {
  const { snapshot, log } = s
  if (isSilent(s, progress)) {
    // Nobody is there to take it, and the log would be kept for nobody: it is asked now and then whether it is back.
    progress.becomeProbe(log.base.index + 1)
    return
  }
  assert(
    snapshot !== null && snapshot.lastIncluded.index >= log.base.index,
    () => `The log begins after ${log.base.index}, and no snapshot reaches so far`,
  )
  progress.becomeSnapshot(snapshot.lastIncluded.index)
  s.outbox.snapshots.push({ to, lastIncluded: snapshot.lastIncluded })
}

/** Not heard for so long that nothing is kept for it: a short while once its connection is closed, longer when it may be merely slow. */
export function isSilent(s: RaftState, progress: Progress): boolean {
  const patienceMs = (progress.lost ? 1 : 10) * s.options.electionTimeoutMaxMs
  return s.nowMs - progress.lastContactMs > patienceMs
}

/** The snapshot could not be sent, or the follower is not heard any more: the log is not kept for it any longer. The next heartbeat asks again. */
export function giveUpSnapshot(progress: Progress): void {
  if (progress.state !== 'snapshot') return
  progress.becomeProbe(progress.nextIndex)
  progress.probeSent()
}

function requestLoad(s: RaftState, to: NodeId, progress: Progress): void {
  progress.loading = true
  s.outbox.loads.push({
    to,
    from: progress.nextIndex,
    through: s.log.lastIndex,
    maxBytes: s.options.maxMessageBytes,
  })
}

function sendLogged(s: RaftState, role: Leader, to: NodeId, progress: Progress, entries: readonly Entry[]): void {
  sendEntries(s, role, to, progress, entries)
  const last = entries.at(-1)
  if (last === undefined) return
  let bytes = 0
  for (const entry of entries) bytes += entry.record.length
  progress.entriesSent(last.index, bytes)
}

function sendEntries(s: RaftState, role: Leader, to: NodeId, progress: Progress, entries: readonly Entry[]): void {
  progress.sentCommitIndex = s.commitIndex
  s.outbox.send.push({
    type: 'AppendEntries',
    from: s.options.id,
    to,
    term: s.currentTerm,
    prev: entryBefore(s, progress.nextIndex),
    entries,
    leaderCommit: s.commitIndex,
    round: role.round,
  })
}

function entryBefore(s: RaftState, index: number): EntryId {
  const term = s.log.termAt(index - 1)
  assert(
    term !== null,
    () => `Cannot send entry ${index}: the log begins after ${s.log.base.index} and ends at ${s.log.lastIndex}`,
  )
  return { index: index - 1, term }
}

/** Empty AppendEntries to all, whatever is under way: they carry the round, the commit index, and find out what was lost. */
export function sendHeartbeats(s: RaftState, role: Leader): void {
  for (const [to, progress] of role.progress) {
    if (needsSnapshot(s, progress)) sendSnapshot(s, to, progress)
    if (progress.state === 'probe') progress.probeSent()
    sendEntries(s, role, to, progress, [])
  }
}

/** What an answer says of the follower's log; true when more of it is durable than was known. */
export function recordAnswer(s: RaftState, progress: Progress, message: AppendEntriesResponse): boolean {
  progress.lastContactMs = s.nowMs
  progress.lost = false
  progress.hasRoom = !message.isStorageFull
  if (message.success) return handleMatch(s, progress, message.matchIndex)
  handleRejection(s, progress, message.rejectedIndex, message.hint)
  return false
}

function handleMatch(s: RaftState, progress: Progress, matchIndex: number): boolean {
  assert(
    matchIndex <= s.log.lastIndex,
    () => `A follower matches through ${matchIndex}, past the leader's last index ${s.log.lastIndex}`,
  )
  const isNews = progress.matched(matchIndex)
  // A probe was answered; a snapshot has come, or was not needed after all. What is durable there may still end before our log begins, though
  // the follower holds more: that is no reason to send it a snapshot, and the next heartbeat asks again.
  if (progress.state !== 'replicate' && progress.matchIndex >= s.log.base.index) progress.becomeReplicate()
  return isNews
}

function handleRejection(s: RaftState, progress: Progress, rejectedIndex: number, hint: EntryId): void {
  if (!progress.isCurrentRejection(rejectedIndex)) return
  // The last entry of ours that can agree with the hint: one round trip a term, not one an entry.
  const agreed = s.log.lastAtMost(Math.min(hint.index, rejectedIndex - 1), hint.term)
  // Before the log's base there is only a snapshot: `nextIndex` says where it is, and what is done about it is decided when something is sent.
  progress.becomeProbe(Math.max(progress.matchIndex, agreed?.index ?? 0) + 1)
}

/** §5.3, §5.4: an entry of the own term that a majority holds on disk is committed, and so is everything before it. True when that is news. */
export function advanceCommit(s: RaftState, role: Leader): boolean {
  const matched = voters(s).map((id) =>
    id === s.options.id ? s.log.durableIndex : (role.progress.get(id)?.matchIndex ?? 0),
  )
  const index = majorityReached(matched)
  if (index <= s.commitIndex) return false
  // §5.4.2: older terms never commit by counting.
  if (s.log.termAt(index) !== s.currentTerm) return false
  s.commitIndex = index
  let oldest = role.uncommitted[0]
  while (oldest !== undefined && oldest.lastIndex <= index) {
    role.uncommittedBytes -= oldest.bytes
    role.uncommitted.shift()
    oldest = role.uncommitted[0]
  }
  return true
}

/**
 * Followers with nothing under way would hear of the commit only at the next heartbeat. Whoever waits for it is told at once; the others when
 * `all` is asked for, a moment later: under load the next entries have told them by then, for nothing.
 */
export function announceCommit(s: RaftState, role: Leader, who: 'all' | 'waiting'): void {
  for (const [to, progress] of role.progress) {
    const isWaiting = progress.sentCommitIndex < progress.awaitsCommitOf && progress.awaitsCommitOf <= s.commitIndex
    const isDue = who === 'all' ? progress.sentCommitIndex < s.commitIndex : isWaiting
    const isReady = progress.state === 'replicate' && progress.idle && !needsSnapshot(s, progress)
    if (isDue && isReady) sendEntries(s, role, to, progress, [])
  }
}
