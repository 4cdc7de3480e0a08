// A node whose disk hangs or has no room cannot be a good leader: it gives way while it still can, and before anybody has to time out.

import { compact } from './compaction.ts'
import type { NodeId } from './entry.ts'
import type { Leader } from './role.ts'
import { becomeFollower, type RaftState } from './state.ts'
import { handleTransferLeadership, mostAdvanced } from './transfer.ts'

export function handleStorage(
  s: RaftState,
  isStalled: boolean,
  isFull: boolean,
  neededFrom: number = s.neededFrom,
): void {
  s.neededFrom = neededFrom
  const stalledSinceMs = isStalled ? (s.storage.stalledSinceMs ?? s.nowMs) : null
  s.storage = { stalledSinceMs, isFull }
  if (isFull) compact(s)
  if (s.role.name === 'leader') giveWay(s, s.role)
}

/** False: it leads no longer. */
export function giveWay(s: RaftState, role: Leader): boolean {
  const { stalledSinceMs, isFull } = s.storage
  if (stalledSinceMs !== null) {
    // Somebody who has the whole log takes over at once; else, half an election timeout later, whoever times out.
    if (s.nowMs - stalledSinceMs >= s.options.electionTimeoutMinMs / 2) {
      becomeFollower(s, s.currentTerm, null, 'its disk hangs')
      return false
    }
    handOver(s, role, mostAdvanced(s, role))
  } else if (isFull) {
    handOver(
      s,
      role,
      mostAdvanced(s, role, ({ hasRoom }) => hasRoom),
    )
  }
  return true
}

function handOver(s: RaftState, role: Leader, to: NodeId | null): void {
  if (to !== null) handleTransferLeadership(s, role, to)
}
