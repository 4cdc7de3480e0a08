// A process that runs the histories it is sent the seeds of, one after the other, and answers with what became of each.

import { describeProfile, type FaultKind } from './profile.ts'
import { type HistoryResult, runHistory } from './simulation.ts'

export interface Order {
  readonly seeds: readonly number[]
  readonly without: readonly FaultKind[]
}

export interface Report extends Omit<HistoryResult, 'profile'> {
  readonly profile: string
}

if (process.send !== undefined) {
  process.on('message', (order: Order) => {
    setImmediate(() => {
      for (const seed of order.seeds) process.send?.(reportOf(runHistory(seed, { without: order.without })))
    })
  })
}

export function reportOf(result: HistoryResult): Report {
  return { ...result, profile: describeProfile(result.profile) }
}
