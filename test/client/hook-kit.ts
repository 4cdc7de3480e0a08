// Batches as a sidecar sends them, and an application that counts.

import type { HooksOptions } from '../../src/client/client.ts'
import type { HookAnswer, Served } from './hook-servers.ts'

export const timestamp = '2026-11-23T05:00:00.123Z'

/** Each command is its index, unless more is said of it. */
export function batch(after: number, indexes: readonly number[], more: object = {}): string {
  const commands = indexes.map((index) => ({ index, term: 3, timestamp, command: index, ...more }))
  return JSON.stringify({ cluster: 'orders', node: 'n1', after, commands })
}

export function deliver(served: Served, after: number, indexes: readonly number[], more?: object): Promise<HookAnswer> {
  return served.send('POST', '/apply', { body: batch(after, indexes, more) })
}

export async function positionOf(served: Served): Promise<unknown> {
  return ((await served.send('GET', '/position')).json as { position: unknown }).position
}

/** In memory: remembers what it applied, in order. */
export function recorder(): { readonly applied: unknown[]; readonly options: HooksOptions & { apply: object } } {
  const applied: unknown[] = []
  return {
    applied,
    options: {
      apply: (command) => {
        applied.push(command)
        return { count: applied.length }
      },
    },
  }
}
