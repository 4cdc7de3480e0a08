// Leases tasks in batches, does them, and reports each under its lease. A worker that is too late is refused, and goes on.

import { resolve, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileDigest } from './file-digest.ts'
import type { Command, LeasedTask } from './queue.ts'
import type { Replica } from './replica.ts'
import type { Sidecar } from './sidecar.ts'

export interface WorkerOptions {
  readonly name: string
  readonly folder: string
  readonly leaseMs: number
}

const batch = 16
const attempts = 3
const pauseMs = 100

export async function work(
  { name, folder, leaseMs }: WorkerOptions,
  replica: Replica,
  sidecar: Sidecar,
  stop: AbortSignal,
) {
  while (!stop.aborted) {
    const claimable = replica.queue.claimable(Date.now())
    const answer = claimable ? await sidecar.propose({ op: 'lease', worker: name, leaseMs, max: batch }) : null
    const tasks = answer?.ok ? (answer.tasks ?? []) : []
    if (tasks.length === 0) await sleep(pauseMs)
    await Promise.all(tasks.map(async (task) => report(await outcomeOf(task, folder), sidecar, stop)))
  }
}

async function outcomeOf({ id, path, leaseId, attempt }: LeasedTask, folder: string): Promise<Command> {
  try {
    const file = resolve(folder, path)
    if (!file.startsWith(resolve(folder) + sep)) throw new Error('outside the folder')
    return { op: 'complete', id, leaseId, result: await fileDigest(file) }
  } catch (error) {
    const reason = `unreadable: ${error instanceof Error ? error.message : error}`
    return attempt < attempts ? { op: 'retry', id, leaseId, reason } : { op: 'complete', id, leaseId, result: reason }
  }
}

async function report(outcome: Command, sidecar: Sidecar, stop: AbortSignal): Promise<void> {
  while ((await sidecar.propose(outcome)) === null && !stop.aborted) await sleep(pauseMs)
}
