// The fewest kinds of fault with which a seed still breaks the same invariant: each is taken away in turn, and stays away when the failure stays.

import type { FaultKind } from './profile.ts'
import { type HistoryResult, runHistory } from './simulation.ts'

/** `seed` fails; must be called from a macrotask. */
export function shrink(seed: number, told: (line: string) => void): { without: FaultKind[]; result: HistoryResult } {
  let result = runHistory(seed)
  const invariant = result.violation?.invariant
  const without: FaultKind[] = []
  for (const kind of result.profile.faults) {
    const attempt = runHistory(seed, { without: [...without, kind] })
    const stays = attempt.violation?.invariant === invariant
    told(`without ${kind}: ${stays ? 'still fails' : (attempt.violation?.invariant ?? 'passes')}`)
    if (!stays) continue
    without.push(kind)
    result = attempt
  }
  return { without, result }
}
