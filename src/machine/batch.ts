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

/** The entries from `from` on, as they were read; `commands` is empty when none of them is one. Throws when they are not those asked for. */
export function toBatch(after: number, entries: readonly Entry[], from: number, through: number): Batch {
  const first = entries[0]?.index
  const lastIndex = entries.at(-1)?.index
  if (first !== from || lastIndex !== from + entries.length - 1 || lastIndex > through) {
    throw new Error(`Reading the committed entries ${from} to ${through} gave ${first} to ${lastIndex}`)
  }
  return { after, commands: entries.every(isCommand) ? entries : entries.filter(isCommand), lastIndex }
}

function isCommand(entry: Entry): boolean {
  return entry.kind === 'json' || entry.kind === 'bytes'
}
