// Leadership is handed over at somebody's wish: to whom it may go, and when it has.

import { TransferError } from '../errors.ts'
import type { Member } from '../raft/configuration.ts'
import type { NodeId } from '../raft/entry.ts'
import type { LeaderView, Node } from './contract.ts'
import type { Clock } from './ports.ts'

export interface Around {
  readonly node: Pick<Node, 'id' | 'leader' | 'subscribe'>
  readonly members: readonly Member[]
  readonly clock: Pick<Clock, 'after'>
  /** Asks the core for it. */
  readonly begin: () => void
}

/** Resolves with the new leader. Rejects with TransferError. */
export async function handLeadershipOver(to: NodeId | null, timeoutMs: number, around: Around): Promise<LeaderView> {
  const { node, members, begin } = around
  const before = node.leader()
  if (before?.self !== true) {
    throw cannot('not-leader', before === null ? `${node.id} does not lead` : `${before.id} leads, ask that one`)
  }
  if (to !== null && !members.some(({ id, role }) => id === to && role === 'voter')) {
    throw cannot('unknown-member', `${to} is no voter of this cluster`)
  }
  if (to === node.id) return before
  const other = waitForOther(before, timeoutMs, around)
  begin()
  const next = await other
  if (next === null) throw cannot('transfer-failed', `no other member took over within ${timeoutMs} ms`)
  return next
}

/** Resolves with the leader that follows; null when the time is over, or the one before is elected again. */
function waitForOther(before: LeaderView, timeoutMs: number, { node, clock }: Around): Promise<LeaderView | null> {
  return new Promise((resolve) => {
    const done = (next: LeaderView | null) => {
      cancel()
      unsubscribe()
      resolve(next)
    }
    const cancel = clock.after(timeoutMs, () => done(null))
    const unsubscribe = node.subscribe((change) => {
      if (change.type !== 'leader' || change.leader === null) return
      if (change.leader.id !== before.id) done(change.leader)
      else if (change.term > before.term) done(null)
    })
  })
}

function cannot(code: TransferError['code'], why: string): TransferError {
  return new TransferError(code, `Cannot hand leadership over: ${why}`)
}
