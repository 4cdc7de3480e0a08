// Whether a node is fit to serve, check by check, for /readyz.

import type { ReadyCheck } from './api/options.ts'
import type { Node } from './node/contract.ts'

/** A node that has this many committed entries still to apply answers from the past. */
const maxLag = 10_000

export function readyChecks(node: Node): ReadyCheck[] {
  const { leader, term, commitIndex, appliedIndex, durableIndex, lastIndex, applierBlocked, observerBlocked } =
    node.status()
  const lag = commitIndex - appliedIndex
  const blocked = applierBlocked ?? observerBlocked
  return [
    { name: 'leader', ok: leader !== null, why: `no leader is known in term ${term}` },
    {
      name: 'storage',
      ok: lastIndex - durableIndex < maxLag,
      why: `${lastIndex - durableIndex} entries wait for the disk`,
    },
    {
      name: 'caught-up',
      ok: leader !== null && lag < maxLag,
      why: leader === null ? 'nobody says what is committed' : `${lag} committed entries wait to be applied`,
    },
    { name: 'application', ok: blocked === null, why: blocked ?? '' },
  ]
}
