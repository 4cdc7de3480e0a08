// Exactly once, judged from the outside: what clients were told against what the applications hold.

import type { Write } from './application/journal.ts'
import type { ApplicationState } from './application/main.ts'
import type { Acknowledged } from './writers.ts'

const shown = 10

/** Everything that is wrong, in sentences, but no more than a screen of them. Nothing: each acknowledged write has its effect once, everywhere, in one order. */
export function faultsOf(
  states: readonly ApplicationState[],
  acknowledged: readonly Acknowledged[],
  proposed: ReadonlyMap<string, Write>,
): readonly string[] {
  const [first] = states
  if (first === undefined) return ['there is no application']
  const faults: string[] = []
  states.forEach((state, i) => {
    faults.push(...differences(first, state).map((fault) => `application ${i + 1}: ${fault}`))
  })
  const byKey = new Map<string, ApplicationState['effects'][number]>()
  let last = { index: 0, timestamp: '' }
  for (const effect of first.effects) {
    const { index, timestamp, write, idempotencyKey } = effect
    if (byKey.has(write.key)) faults.push(`${write.key} has effects at ${byKey.get(write.key)?.index} and ${index}`)
    byKey.set(write.key, effect)
    if (index <= last.index) faults.push(`index ${index} comes after ${last.index}`)
    if (timestamp < last.timestamp) faults.push(`the time ${timestamp} comes after ${last.timestamp}`)
    last = { index, timestamp }
    if (idempotencyKey !== write.key) faults.push(`${write.key} was delivered under the key ${idempotencyKey}`)
    if (JSON.stringify(proposed.get(write.key)) !== JSON.stringify(write)) {
      faults.push(`${write.key} has an effect that nobody proposed: ${JSON.stringify(write)}`)
    }
  }
  const lastOfClient = new Map<number, number>()
  for (const { write, client, index, term, result } of acknowledged) {
    const effect = byKey.get(write.key)
    if (effect === undefined) {
      faults.push(`${write.key} was acknowledged at ${index} and has no effect`)
      continue
    }
    const told = JSON.stringify([index, term, result ?? 'unknown'])
    const { count, digest } = effect
    const held = JSON.stringify([effect.index, effect.term, result === null ? 'unknown' : { count, digest }])
    if (told !== held) faults.push(`${write.key} was acknowledged as ${told}, and the applications hold ${held}`)
    // A client proposes its next write when this one was acknowledged.
    if (index <= (lastOfClient.get(client) ?? 0)) {
      faults.push(`${write.key} stands at ${index}, before an earlier write of the same client`)
    }
    lastOfClient.set(client, index)
  }
  return faults.length > shown ? [...faults.slice(0, shown), `… and ${faults.length - shown} more`] : faults
}

function differences(first: ApplicationState, other: ApplicationState): string[] {
  const faults: string[] = []
  if (first.effects.length !== other.effects.length) {
    faults.push(`it has ${other.effects.length} effects, not ${first.effects.length}`)
  }
  const at = first.effects.findIndex((effect, i) => JSON.stringify(effect) !== JSON.stringify(other.effects[i]))
  if (at >= 0) {
    const [expected, found] = [first.effects[at], other.effects[at]].map((effect) => JSON.stringify(effect))
    faults.push(`its effect ${at + 1} is ${found}, not ${expected}`)
  }
  return faults
}
