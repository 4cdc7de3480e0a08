// Many short random histories. A failure names its seed: RAFT_SEED=<seed> runs that one alone.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type RunSummary, randomRun } from './random-run.ts'

const seeds = 300
const steps = 600

function runSeed(seed: number): RunSummary {
  try {
    return randomRun(seed, steps)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`RAFT_SEED=${seed}: ${reason}`, { cause: error })
  }
}

test('Random histories keep every invariant, and heal', () => {
  const only = process.env.RAFT_SEED
  if (only !== undefined) {
    runSeed(Number(only))
    return
  }
  const summaries = Array.from({ length: seeds }, (_, i) => runSeed(i + 1))
  // The runs would prove nothing if nothing happened in them.
  const total = (of: (summary: RunSummary) => number) => summaries.reduce((sum, summary) => sum + of(summary), 0)
  assert(total((summary) => summary.committed) > seeds * 15, 'Too little was committed')
  assert(total((summary) => summary.highestTerm) > seeds * 3, 'There were too few elections')
  assert(total((summary) => summary.crashes) > seeds, 'There were too few crashes')
  assert(total((summary) => summary.truncations) > seeds / 4, 'Too few logs were truncated')
  assert(total((summary) => summary.compactions) > seeds * 2, 'Too few logs were compacted')
  assert(total((summary) => summary.installs) > seeds / 4, 'Too few snapshots were installed')
  assert(total((summary) => summary.leases) > seeds * 50, 'Too few leases were held')
})
