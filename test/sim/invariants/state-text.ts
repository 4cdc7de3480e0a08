// A state machine's state as text, which is what snapshots hold: a head that says what it is, then a line for each item. The key-value machine's own
// form is read here a second time; the simulated application has none, and borrows it.

import { type Item, ReferenceMachine } from './reference-machine.ts'

export interface State {
  readonly machine: ReferenceMachine
  /** Index of the last command that it holds. */
  readonly position: number
}

export function encodeState({ machine, position }: State): string {
  const items = [...machine.items].map(
    ([key, { valueJson, createdIndex, modifiedIndex }]) =>
      `${JSON.stringify([key, createdIndex, modifiedIndex])}\t${valueJson}\n`,
  )
  return `${JSON.stringify({ position, count: items.length })}\n${items.join('')}`
}

/** Null: it is no such text. */
export function decodeState(text: string): State | null {
  try {
    const [head, ...lines] = text.split('\n')
    const { position, count } = JSON.parse(head ?? '') as { position: number; count: number }
    const machine = new ReferenceMachine()
    for (const line of lines) {
      const tab = line.indexOf('\t')
      if (tab === -1) continue
      const [key, createdIndex, modifiedIndex] = JSON.parse(line.slice(0, tab)) as [string, number, number]
      machine.put(key, { valueJson: line.slice(tab + 1), createdIndex, modifiedIndex } satisfies Item)
    }
    return machine.items.size === count ? { machine, position } : null
  } catch {
    return null
  }
}
