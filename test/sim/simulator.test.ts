// Seeded histories of the production code: the same few hundred each time, and a few hundred that nobody has seen before. And the simulator's own
// guarantees: the same seed is the same history, nothing real is reached, and what is broken is caught.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hunt } from '../../scripts/sim/bugs-cli.ts'
import { runSeeds } from '../../scripts/sim/pool.ts'
import { type PlantedBug, plantedBugs } from './bugs/planted-bugs.ts'
import { drawProfile, faultKinds } from './profile.ts'
import type { Report } from './worker.ts'

const jobs = 2

async function reportsOf(from: number, seeds: number, jobCount = jobs): Promise<Report[]> {
  const reports: Report[] = []
  await runSeeds({
    from,
    seeds,
    jobs: jobCount,
    onReport: (report) => {
      reports.push(report)
      return report.violation === null
    },
  })
  return reports
}

function assertKept(reports: readonly Report[], seeds: number): void {
  const failed = reports.find(({ violation }) => violation !== null)
  assert.equal(
    failed,
    undefined,
    `${failed?.violation?.invariant}: ${failed?.violation?.message}\n${failed?.profile}\nreplay: npm run sim -- --seed ${failed?.seed} --trace`,
  )
  assert.equal(reports.length, seeds)
  const committed = reports.reduce((sum, report) => sum + report.committed, 0)
  assert.ok(committed > seeds * 20, `${seeds} histories committed only ${committed} entries: they prove little`)
  const installed = reports.reduce((sum, report) => sum + report.snapshots.installed, 0)
  assert.ok(
    installed > seeds / 8,
    `${seeds} histories installed only ${installed} snapshots: they prove little of them`,
  )
}

test('the same histories as always keep every invariant', async () => {
  assertKept(await reportsOf(1, 250), 250)
})

test('histories that nobody has seen before keep every invariant', async (t) => {
  const from = 1000 + Math.floor(Math.random() * 1_000_000_000)
  t.diagnostic(`250 histories from seed ${from} on`)
  assertKept(await reportsOf(from, 250), 250)
})

test('the same seed is the same history, in whatever process and after whatever others', async () => {
  const hashes = (reports: readonly Report[]) => reports.map(({ seed, hash }) => `${seed} ${hash}`).sort()
  const first = await reportsOf(1, 12, 1)
  const again = await reportsOf(1, 12, 2)
  assert.deepEqual(hashes(first), hashes(again))
  assert.equal(new Set(first.map(({ hash }) => hash)).size, 12)
})

test('over a few hundred seeds, every kind of fault and size of cluster is drawn', () => {
  const profiles = Array.from({ length: 300 }, (_, seed) => drawProfile(seed))
  for (const kind of faultKinds) assert.ok(profiles.filter(({ faults }) => faults.has(kind)).length > 30, kind)
  for (const members of [1, 2, 3, 4, 5, 6, 7]) assert.ok(profiles.some((profile) => profile.members === members))
})

const reaching: Readonly<Record<string, string>> = {
  'Date.now': 'Date.now()',
  'new Date': 'new Date()',
  'Math.random': 'Math.random()',
  'performance.now': 'performance.now()',
  setTimeout: 'setTimeout(() => {}, 1)',
  setImmediate: 'setImmediate(() => {})',
  'a file': "process.getBuiltinModule('node:fs').readFileSync('/etc/hostname')",
  'a socket': "process.getBuiltinModule('node:net').connect(1)",
  'crypto.randomUUID': 'crypto.randomUUID()',
}

for (const [what, reach] of Object.entries(reaching)) {
  test(`production code that reached ${what} would be found out`, async () => {
    const find = 'tickElection(s: RaftState, role: Follower | Precandidate | Candidate): void {'
    const patches = [{ file: 'src/raft/election.ts', find, replace: `${find}\n  try { ${reach} } catch {}` }]
    const { report } = await hunt({ name: what, patches }, { from: 1, seeds: 1, jobs: 1 })
    assert.equal(report?.violation?.invariant, 'nothing real is reached')
  })
}

/** Each by another part of the harness: the disk, the ledger's promises, completeness, reads, proposals, keys, leases, snapshots, memories, delivery, liveness. */
const smoke: Readonly<Record<string, number>> = {
  'double vote after a restart': 20,
  'append not synced': 20,
  'ack before it is synced': 20,
  'up-to-date check missing': 60,
  'older term committed by counting': 60,
  'read answered before the first commit of the term': 60,
  'results answered to the wrong proposer': 20,
  'proposal that may still commit queued again': 20,
  'lost acknowledgement never made up for': 60,
  'compacts past the snapshot': 20,
  'install acknowledged before it is durable': 60,
  'nothing says that the log begins anew': 200,
  'commands lost behind a restore': 20,
  'proposals made again that a snapshot may hold': 60,
  'full disk taken for a write': 200,
  'leads on with a disk that hangs': 200,
  'emptied member let in': 200,
  'proposals taken before every key of the log is known': 20,
  'repeat passed off as the first': 20,
  'ledger not taken from the snapshot': 60,
  'keys never expire by time': 60,
  'skips not taken from the snapshot': 200,
  'acquired before the application has caught up': 20,
  'read before the application has shown what it holds': 20,
  'promises bind nobody': 200,
}

for (const [name, seeds] of Object.entries(smoke)) {
  test(`a planted bug is caught within ${seeds} seeds: ${name}`, async () => {
    const { report } = await hunt(bugNamed(name), { from: 1, seeds, jobs })
    assert.ok(report !== null)
  })
}

test('a bug whose anchor is gone fails loudly', async () => {
  const patches = [{ file: 'src/raft/raft.ts', find: 'this text is not there', replace: '' }]
  await assert.rejects(
    hunt({ name: 'gone', patches }, { from: 1, seeds: 1, jobs: 1 }),
    /its anchor is found 0 times, not once/,
  )
})

function bugNamed(name: string): PlantedBug {
  const found = plantedBugs.find((bug) => bug.name === name)
  assert.ok(found !== undefined, name)
  return found
}
