// A soak in a few lines for people.

import type { SoakReport } from './soak.ts'

export function describeReport(report: SoakReport): string {
  const { kills, strikes, acknowledged, duplicates, failures, terms, restores, repeats, unknownResults } = report
  const struck = [...strikes].map(([kind, count]) => `${kind} ${count}`).join(', ')
  return [
    `${kills} SIGKILLs (${struck}); ${terms} terms with writes, ${restores} applications restored from a snapshot`,
    `${acknowledged} writes acknowledged, ${duplicates} of them by a repeat; attempts that failed: ${failures}`,
    `${repeats} repeats at the end, one of each write at each node; ${unknownResults} times nobody knew the result any more`,
  ].join('\n')
}
