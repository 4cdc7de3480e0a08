// How fast a test lets time go.

import type { ManualTime } from './storage-kit.ts'
import { turn, until } from './storage-kit.ts'

/** Waits for the condition, while time goes on. */
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
