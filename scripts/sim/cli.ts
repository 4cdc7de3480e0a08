// The command line of the simulator. What fails is printed with the one command that replays it.

import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { describeProfile, type FaultKind, faultKinds } from '../../test/sim/profile.ts'
import { shrink } from '../../test/sim/shrink.ts'
import { runHistory } from '../../test/sim/simulation.ts'
import { type Report, reportOf } from '../../test/sim/worker.ts'
import { runSeeds } from './pool.ts'

const usage = `Usage: npm run sim -- [options]
  --seeds N        how many histories to run (default 1000)
  --from N         the first seed (default: drawn)
  --jobs N         how many processes (default: one a core)
  --keep-going     do not stop at the first failure
  --seed N         run one history
  --trace          … and tell its story
  --without KINDS  … without these kinds of fault, comma-separated
  --shrink         … and find the fewest kinds of fault with which it fails`

/** Returns the exit code: 0 when every history kept every invariant. */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string', default: '1000' },
      from: { type: 'string' },
      jobs: { type: 'string', default: String(availableParallelism()) },
      'keep-going': { type: 'boolean', default: false },
      seed: { type: 'string' },
      trace: { type: 'boolean', default: false },
      without: { type: 'string', default: '' },
      shrink: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(usage)
    return 0
  }
  const without = values.without
    .split(',')
    .filter((kind): kind is FaultKind => faultKinds.some((known) => known === kind))
  if (values.seed === undefined) {
    const from = values.from === undefined ? Math.floor(Math.random() * 1_000_000_000) : whole(values.from)
    return runMany({ from, seeds: whole(values.seeds), jobs: whole(values.jobs), keepGoing: values['keep-going'] })
  }
  const seed = whole(values.seed)
  return values.shrink ? runShrink(seed) : runOne(seed, values.trace, without)
}

async function runMany(options: { from: number; seeds: number; jobs: number; keepGoing: boolean }): Promise<number> {
  const { from, seeds } = options
  console.log(`${seeds} histories from seed ${from} on`)
  const startedMs = performance.now()
  const total = {
    histories: 0,
    failed: 0,
    ticks: 0,
    events: 0,
    committed: 0,
    acknowledged: 0,
    reads: 0,
    taken: 0,
    installed: 0,
    duplicates: 0,
    reused: 0,
    resultless: 0,
    skipped: 0,
  }
  await runSeeds({
    ...options,
    onReport: (report) => {
      total.histories++
      total.ticks += report.ticks
      total.events += report.events
      total.committed += report.committed
      total.acknowledged += report.counts.acknowledged
      total.reads += report.counts.reads
      total.taken += report.snapshots.taken
      total.installed += report.snapshots.installed
      total.duplicates += report.counts.duplicates
      total.reused += report.counts.reused
      total.resultless += report.counts.resultless
      total.skipped += report.counts.skipped
      if (report.violation === null) return true
      total.failed++
      describeFailure(report)
      return options.keepGoing
    },
  })
  const seconds = (performance.now() - startedMs) / 1000
  console.log(
    `${total.histories} histories, ${total.failed} failed; ${seconds.toFixed(1)} s, ${(total.histories / seconds).toFixed(1)} histories/s ` +
      `(${(total.ticks / 1000 / seconds).toFixed(1)} of 1,000 ticks); ${total.events} events, ${total.committed} entries committed, ` +
      `${total.acknowledged} writes acknowledged (${total.duplicates} again), ${total.reused} keys reused, ${total.resultless} results unknown, ` +
      `${total.skipped} told of a skip, ${total.reads} reads, ${total.taken} snapshots taken, ${total.installed} installed`,
  )
  return total.failed === 0 ? 0 : 1
}

async function runOne(seed: number, isTold: boolean, without: readonly FaultKind[]): Promise<number> {
  const listener = isTold ? { listener: (line: string) => console.log(line) } : {}
  const result = await inMacrotask(() => runHistory(seed, { without, ...listener }))
  console.log(`seed ${seed}: ${describeProfile(result.profile)}`)
  console.log(
    `${result.ticks} ticks, ${result.events} events, ${result.committed} entries committed, trace ${result.hash}`,
  )
  if (result.violation !== null) describeFailure(reportOf(result))
  return result.violation === null ? 0 : 1
}

async function runShrink(seed: number): Promise<number> {
  const first = await inMacrotask(() => runHistory(seed))
  if (first.violation === null) {
    console.log(`seed ${seed} keeps every invariant: there is nothing to shrink`)
    return 0
  }
  const { without, result } = await inMacrotask(() => shrink(seed, (line) => console.log(line)))
  describeFailure(reportOf(result), without)
  return 1
}

function describeFailure({ seed, violation, profile }: Report, without: readonly FaultKind[] = []): void {
  const option = without.length === 0 ? '' : ` --without ${without.join(',')}`
  console.log(`seed ${seed} FAILS: ${violation?.invariant}\n  ${violation?.message}`)
  console.log(`  at ${violation?.atMs.toFixed(3)} ms, event ${violation?.event}; ${profile}`)
  console.log(`  replay: npm run sim -- --seed ${seed} --trace${option}`)
}

/** A history drains promise reactions by itself, which V8 allows outside of them only. */
function inMacrotask<T>(run: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    setImmediate(() => {
      try {
        resolve(run())
      } catch (error) {
        reject(error)
      }
    })
  })
}

function whole(text: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`Not a whole number: ${text}\n${usage}`)
  return number
}
