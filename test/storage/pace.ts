// How fast a test lets the disk and time go: operations held until they are let go, and conditions waited for.

import assert from 'node:assert/strict'
import type { MemoryDisk, Operation } from './memory-disk.ts'
import type { ManualTime } from './storage-kit.ts'
import { turn } from './storage-kit.ts'

/** Holds the operations that are chosen until they are let go, in order. */
export function hold(
  disk: MemoryDisk,
  chosen: (operation: Operation) => boolean,
): { readonly held: number; release(): void } {
  const waiting: (() => void)[] = []
  disk.turn = (operation) => (chosen(operation) ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve())
  return {
    get held() {
      return waiting.length
    },
    release: () => waiting.shift()?.(),
  }
}

export async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    assert(turns < 10_000, 'the condition never came true')
    await turn()
  }
}

/** The same, while time goes on. */
export function untilInTime(time: ManualTime, condition: () => boolean): Promise<void> {
  return until(() => {
    if (condition()) return true
    time.fire()
    return false
  })
}

/** Lets everything come to rest that would, with time going on or without. */
export async function rest(time?: ManualTime): Promise<void> {
  for (let turns = 0; turns < 100; turns++) {
    time?.fire()
    await turn()
  }
}
