// Leases tasks in batches, does them, and reports each under its lease. A worker that is too late is refused, and goes on.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { resolve, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, SidecarError } from '../../../src/client/client.ts'
import type { Answer, Command, Queue } from './queue.ts'

/** `queue`: as this instance has it, by which it sees whether there is work. */
export async function work(
  { name: worker, folder, leaseMs }: Record<'name' | 'folder', string> & { readonly leaseMs: number },
  queue: () => Queue,
  sidecar: Client,
  signal: AbortSignal,
) {
  // What gets no answer within the time of a lease is worth nothing any more: the task comes back by itself.
  const propose = (command: Command) => sidecar.propose<Answer>(command, { timeoutMs: leaseMs, signal })
  while (!signal.aborted) {
    try {
      const isIdle = queue().free(Date.now()).length === 0
      const { tasks = [] } = isIdle ? {} : (await propose({ op: 'lease', worker, leaseMs, max: 16 })).result
      const reports = tasks.map(async ({ id, leaseId, path }) => {
        return await propose({ op: 'complete', id, leaseId, result: await digestOf(folder, path) })
      })
      await Promise.all(tasks.length === 0 ? [sleep(100)] : reports)
    } catch (error) {
      if (!(error instanceof SidecarError || signal.aborted)) throw error
    }
  }
}

async function digestOf(folder: string, path: string): Promise<string> {
  const file = resolve(folder, path)
  if (!file.startsWith(resolve(folder) + sep)) return 'unreadable: outside the folder'
  return await fileDigest(file).catch((error: Error) => `unreadable: ${error.message}`)
}

export async function fileDigest(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}
