// A backup as it streams out of the sidecar: whole to its announced length, or an error.

import type { SnapshotResponse } from '../api/schemas.ts'
import type { Caller } from './caller.ts'
import { SidecarError } from './error.ts'
import { malformed } from './read-answer.ts'

export interface SnapshotOptions {
  /** How long the node may take to make it; 600,000 by default. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface Backup extends SnapshotResponse {
  /** A name for the file, with cluster and index. */
  readonly filename: string
  /** Read it to its end, or leave it by `break`. It fails when the connection ends before the last byte, or stands still. */
  readonly body: AsyncIterable<Uint8Array>
}

export const snapshotTimeoutMs = 600_000
/** A download that stands still for so long has broken off. */
const idleTimeoutMs = 60_000

export async function openBackup(
  caller: Caller,
  { timeoutMs = snapshotTimeoutMs, signal }: SnapshotOptions,
): Promise<Backup> {
  const call = { method: 'GET', path: '/v1/snapshot' } as const
  const { status, header, body, leave } = await caller.open(call, { timeoutMs, idleTimeoutMs, signal })
  const number = (name: string) => {
    const value = header(name)
    if (value !== null && /^[0-9]{1,16}$/.test(value)) return Number(value)
    throw malformed(`The sidecar sent a snapshot without the header ${name}`, status, false)
  }
  try {
    const [index, term] = [number('raft-snapshot-index'), number('raft-snapshot-term')]
    const sizeBytes = number('content-length')
    const filename = /filename="([^"/\\]+)"/.exec(header('content-disposition') ?? '')?.[1] ?? `${index}.snapshot`
    return { index, term, sizeBytes, filename, body: whole(body, sizeBytes) }
  } catch (error) {
    leave()
    throw error
  }
}

async function* whole(body: AsyncIterable<Uint8Array>, sizeBytes: number): AsyncGenerator<Uint8Array> {
  let received = 0
  try {
    for await (const chunk of body) {
      received += chunk.length
      yield chunk
    }
  } catch (cause) {
    if (!(cause instanceof SidecarError)) throw cause
    throw brokenOff(`The connection ended after ${received} of the snapshot's ${sizeBytes} bytes`, cause)
  }
  if (received !== sizeBytes) throw brokenOff(`The snapshot has ${sizeBytes} bytes, ${received} came`)
}

function brokenOff(message: string, cause?: unknown): SidecarError {
  return new SidecarError(message, { code: 'no-answer', outcome: null, status: 0, cause })
}
