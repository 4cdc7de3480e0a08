// Handing leadership over (§3.10 of Ongaro's thesis): the leader takes no more proposals, waits until the other's log is as long as
// its own, and tells it to stand for election at once.

import { isVoter } from './configuration.ts'
import type { NodeId } from './entry.ts'
import { giveUpLease } from './lease.ts'
import type { Progress } from './progress.ts'
import type { Leader } from './role.ts'
import { type RaftState, voters } from './state.ts'

export function handleTransferLeadership(s: RaftState, role: Leader, wanted: NodeId | null): void {
  // One at a time, and each within its own time: or wishes that are repeated would keep proposals out for ever.
  if (role.transfer !== null) return
  const to = wanted ?? mostAdvanced(s, role)
  if (to === null || to === s.options.id || !isVoter(s.log.configuration.configuration, to)) return
  role.transfer = { to, deadlineMs: s.nowMs + s.options.electionTimeoutMaxMs, timeoutNowSent: false }
  continueTransfer(s, role)
}

export function continueTransfer(s: RaftState, role: Leader): void {
  const transfer = role.transfer
  if (transfer === null || transfer.timeoutNowSent) return
  if (role.progress.get(transfer.to)?.matchIndex !== s.log.lastIndex) return
  transfer.timeoutNowSent = true
  giveUpLease(role)
  s.outbox.send.push({ type: 'TimeoutNow', from: s.options.id, to: transfer.to, term: s.currentTerm })
}

/** The other did not take over within an election timeout: go on leading. */
export function expireTransfer(s: RaftState, role: Leader): void {
  if (role.transfer !== null && s.nowMs >= role.transfer.deadlineMs) role.transfer = null
}

/** The voter that answered most recently among those with the longest log, of those that are there and would do. */
export function mostAdvanced(
  s: RaftState,
  role: Leader,
  wouldDo: (progress: Progress) => boolean = () => true,
): NodeId | null {
  let best: { readonly id: NodeId; readonly matchIndex: number; readonly lastContactMs: number } | null = null
  for (const id of voters(s)) {
    const progress = role.progress.get(id)
    if (progress === undefined || progress.lost || !wouldDo(progress)) continue
    if (s.nowMs - progress.lastContactMs > s.options.electionTimeoutMinMs) continue
    const { matchIndex, lastContactMs } = progress
    const isBetter =
      best === null ||
      matchIndex > best.matchIndex ||
      (matchIndex === best.matchIndex && lastContactMs > best.lastContactMs)
    if (isBetter) best = { id, matchIndex, lastContactMs }
  }
  return best?.id ?? null
}
