// What is delivered in one step: how large it may be, and how it is made from entries of the log.

import type { Entry } from '../raft/entry.ts'

export interface Batch {
  /** The command that was delivered before the first one. */
  readonly after: number
  readonly commands: readonly Entry[]
  /** Of the entries that were read, commands or not. */
  readonly lastIndex: number
}

export interface BatchLimits {
  readonly commands: number
  readonly bytes: number
}

// A machine that answers at once works on the loop itself: less than 5 ms of it at a time.
const slice: BatchLimits = { commands: 500, bytes: 128 * 1024 }

export function sliceOf({ commands, bytes }: BatchLimits): BatchLimits {
  return { commands: Math.min(commands, slice.commands), bytes: Math.min(bytes, slice.bytes) }
}

type IsSkipped = (index: number) => boolean

/**
 * The entries from `from` on, as they were read, without those that are no commands or are to be left out; `commands` is empty when nothing is left.
 * Throws when they are not those asked for.
 */
export function toBatch(
  after: number,
  entries: readonly Entry[],
  from: number,
  through: number,
  isSkipped: IsSkipped,
): Batch {
  const first = entries[0]?.index
  const lastIndex = entries.at(-1)?.index
  if (first !== from || lastIndex !== from + entries.length - 1 || lastIndex > through) {
    throw new Error(`Reading the committed entries ${from} to ${through} gave ${first} to ${lastIndex}`)
  }
  const isDelivered = ({ kind, index }: Entry) => (kind === 'json' || kind === 'bytes') && !isSkipped(index)
  return { after, commands: entries.every(isDelivered) ? entries : entries.filter(isDelivered), lastIndex }
}

/** For a batch that is to be sent again: without what is to be left out by now. */
export function withoutSkipped(batch: Batch, isSkipped: IsSkipped): Batch {
  if (!batch.commands.some(({ index }) => isSkipped(index))) return batch
  return { ...batch, commands: batch.commands.filter(({ index }) => !isSkipped(index)) }
}
