// The short form of `npm run test:faults`.

import assert from 'node:assert/strict'
import { it } from 'node:test'
import { describeReport } from './report.ts'
import { soak } from './soak.ts'

it('each acknowledged command has its effect exactly once, on all three, in one order, whoever is killed', async (t) => {
  const seed = Math.floor(Math.random() * 1_000_000)
  t.diagnostic(`seed ${seed}`)
  const report = await soak({ seed, kills: 12 })
  t.diagnostic(describeReport(report))
  assert.deepEqual(report.faults, [], `seed ${seed}; the directory is kept: ${report.directory}`)
  assert.ok(report.acknowledged > 0)
})
