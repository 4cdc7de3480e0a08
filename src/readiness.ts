// Whether a node is fit to serve, check by check, for /readyz.

import type { ReadyCheck } from './api/options.ts'
import type { Node, NodeStatus } from './node/contract.ts'

/** A node that has this many committed entries still to apply answers from the past. */
const maxLag = 10_000

export function readyChecks(node: Node): ReadyCheck[] {
  const status = node.status()
  const { leader, term, commitIndex, appliedIndex, applierBlocked, observerBlocked } = status
  const lag = commitIndex - appliedIndex
  const blocked = applierBlocked ?? observerBlocked
  return [
    { name: 'leader', ok: leader !== null, why: `no leader is known in term ${term}` },
    storageCheck(status),
    {
      name: 'caught-up',
      ok: leader !== null && lag < maxLag,
      why: leader === null ? 'nobody says what is committed' : `${lag} committed entries wait to be applied`,
    },
    { name: 'application', ok: blocked === null, why: blocked ?? '' },
  ]
}

function storageCheck({ isStorageFull, isStorageStalled, lastIndex, durableIndex }: NodeStatus): ReadyCheck {
  const waiting = lastIndex - durableIndex
  const why = isStorageFull
    ? 'the disk is full: free some space, it goes on by itself'
    : isStorageStalled
      ? `the disk does not answer: a write has been under way for too long, ${waiting} entries wait for it`
      : `${waiting} entries wait for the disk`
  return { name: 'storage', ok: !isStorageFull && !isStorageStalled && waiting < maxLag, why }
}
