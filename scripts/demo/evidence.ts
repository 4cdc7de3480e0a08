// Collects what the proofs are made of: the applications' own histories, and the digests of the files, computed again.

import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Task } from '../../test/apps/task-queue/queue.ts'
import { fileDigest } from '../../test/apps/task-queue/worker.ts'
import type { Machine } from './cluster.ts'
import { getJson } from './http.ts'
import type { Testimony } from './proofs.ts'

const timeoutMs = 10_000

export async function testimonyOf({ id, appUrl }: Machine): Promise<Testimony> {
  type History = { readonly position: number; readonly tasks: readonly Task[] }
  const history = await getJson<History>(`${appUrl}/history`, timeoutMs)
  if (history === null) throw new Error(`The application of ${id} does not tell its history`)
  const digest = createHash('sha256').update(JSON.stringify(history.tasks)).digest('hex')
  return { node: id, digest, ...history }
}

/** By path; null for a file that was changed, or taken away, after `sinceMs`. */
export async function digestsOf(
  folder: string,
  paths: Iterable<string>,
  sinceMs: number,
): Promise<Map<string, string | null>> {
  const digests = new Map<string, string | null>()
  for (const path of new Set(paths)) digests.set(path, await digestUnlessChanged(join(folder, path), sinceMs))
  return digests
}

async function digestUnlessChanged(file: string, sinceMs: number): Promise<string | null> {
  try {
    const digest = await fileDigest(file)
    const { ctimeMs } = await stat(file)
    return ctimeMs >= sinceMs ? null : digest
  } catch {
    return null
  }
}
