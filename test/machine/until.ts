// Waits for what goes over sockets, with a bound.

import assert from 'node:assert/strict'

const boundMs = 60_000

export async function until(condition: () => boolean): Promise<void> {
  const startedMs = performance.now()
  for (let turns = 0; performance.now() - startedMs < boundMs; turns++) {
    if (condition()) return
    // What takes longer than that takes no more of the processor.
    await new Promise((resolve) => (turns < 1000 ? setImmediate(resolve) : setTimeout(resolve, 1)))
  }
  assert.fail(`Waited in vain for ${condition}`)
}
