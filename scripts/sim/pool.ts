// Histories on several processes at once, for as long as their reports are wanted.

import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Patch } from '../../test/sim/bugs/planted-bugs.ts'
import type { FaultKind } from '../../test/sim/profile.ts'
import type { Order, Report } from '../../test/sim/worker.ts'

export interface PoolOptions {
  readonly from: number
  readonly seeds: number
  readonly jobs: number
  readonly without?: readonly FaultKind[]
  /** Changes to production code, for these processes alone. */
  readonly patches?: readonly Patch[]
  /** Returns false when it has seen enough. */
  readonly onReport: (report: Report) => boolean
}

/** Few enough that an early end wastes little, enough that nobody waits. */
const seedsPerOrder = 4

/** Rejects when a process ends by itself. */
export function runSeeds(options: PoolOptions): Promise<void> {
  let next = options.from
  const end = options.from + options.seeds
  const workers = new Set<ChildProcess>()
  return new Promise((resolve, reject) => {
    const finish = (error: Error | null) => {
      for (const worker of workers) worker.kill('SIGKILL')
      workers.clear()
      if (error === null) resolve()
      else reject(error)
    }
    for (let job = 0; job < options.jobs; job++) {
      const worker = startWorker(options.patches ?? [])
      workers.add(worker)
      let stderr = ''
      let pending = 0
      const order = () => {
        const seeds: number[] = []
        while (seeds.length < seedsPerOrder && next < end) seeds.push(next++)
        pending = seeds.length
        if (seeds.length > 0) {
          worker.send({ seeds, without: options.without ?? [] } satisfies Order)
          return
        }
        workers.delete(worker)
        worker.disconnect()
        if (workers.size === 0) finish(null)
      }
      worker.stderr?.on('data', (data: Buffer) => {
        stderr = `${stderr}${data}`.slice(-4000)
      })
      worker.on('message', (report: Report) => {
        if (!workers.has(worker)) return
        if (!options.onReport(report)) finish(null)
        else if (--pending === 0) order()
      })
      worker.on('exit', (code) => {
        if (workers.has(worker)) finish(new Error(`A process of the simulator ended with ${code}:\n${stderr}`))
      })
      order()
    }
  })
}

function startWorker(patches: readonly Patch[]): ChildProcess {
  const plant = patches.length === 0 ? [] : ['--import', new URL('../../test/sim/bugs/plant.mjs', import.meta.url).href]
  return fork(fileURLToPath(new URL('../../test/sim/worker.ts', import.meta.url)), [], {
    execArgv: [...plant, '--import', 'tsx'],
    env: { ...process.env, PLANTED_BUG: JSON.stringify(patches) },
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  })
}
