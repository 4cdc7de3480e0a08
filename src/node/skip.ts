// The entry by which the cluster leaves out a command that its applications refuse for good. Every node learns of it by the log, at one place.

import type { Entry, EntryId } from '../raft/entry.ts'

export interface Skip {
  /** The command that is left out. */
  readonly index: number
  readonly reason: string
  /** The entry that says so. */
  readonly at: EntryId
}

const maxReasonLength = 1000

export function encodeSkip(index: number, reason: string): Uint8Array {
  return Buffer.from(JSON.stringify({ index, reason: reason.slice(0, maxReasonLength) }))
}

/** Null: it leaves nothing out, since what it names does not stand before it. */
export function decodeSkip({ term, index: at, payload }: Entry): Skip | null {
  const { index, reason } = parse(payload)
  if (typeof index !== 'number' || !Number.isSafeInteger(index) || index < 1 || index >= at) return null
  return { index, reason: typeof reason === 'string' ? reason : '', at: { term, index: at } }
}

function parse(payload: Uint8Array): { readonly index?: unknown; readonly reason?: unknown } {
  try {
    const value: unknown = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString())
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}
