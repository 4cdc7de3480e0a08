// How many seeds each planted bug takes to be caught, and by which invariant: the measure of the simulator's teeth.

import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { type PlantedBug, plantedBugs } from '../../test/sim/bugs/planted-bugs.ts'
import type { Report } from '../../test/sim/worker.ts'
import { runSeeds } from './pool.ts'

export interface Catch {
  readonly histories: number
  readonly report: Report | null
}

/** Runs seeds from `from` on until one of them fails. Rejects when the bug cannot be planted. */
export async function hunt(bug: PlantedBug, options: { from: number; seeds: number; jobs: number }): Promise<Catch> {
  let histories = 0
  let caught: Report | null = null
  await runSeeds({
    ...options,
    patches: bug.patches,
    onReport: (report) => {
      histories++
      if (report.violation !== null) caught = report
      return caught === null
    },
  })
  return { histories, report: caught }
}

/** Returns the exit code: 0 when every bug was caught by seeds, or has a directed test. */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string', default: '3000' },
      from: { type: 'string', default: '1' },
      jobs: { type: 'string', default: String(availableParallelism()) },
      only: { type: 'string', default: '' },
    },
  })
  const options = { from: Number(values.from), seeds: Number(values.seeds), jobs: Number(values.jobs) }
  const chosen = plantedBugs.filter(({ name }) => name.includes(values.only))
  let missed = 0
  for (const bug of chosen) {
    const verdict = await hunt(bug, options).then(
      (caught) => describe(bug, caught),
      (error: unknown) => ({ text: `CANNOT BE PLANTED: ${String(error)}`, isMissed: true }),
    )
    console.log(`${bug.name.padEnd(52)} ${verdict.text}`)
    if (verdict.isMissed) missed++
  }
  console.log(`${chosen.length} planted bugs, ${missed} caught by nobody`)
  return missed === 0 ? 0 : 1
}

function describe({ directed }: PlantedBug, { histories, report }: Catch): { text: string; isMissed: boolean } {
  if (report !== null) {
    const text = `${String(histories).padStart(4)} seeds  (seed ${report.seed})  ${report.violation?.invariant}`
    return { text, isMissed: false }
  }
  if (directed === undefined)
    return { text: `missed by ${histories} seeds, and NOBODY else catches it`, isMissed: true }
  return { text: `missed by ${histories} seeds; directed test: ${directed}`, isMissed: false }
}
