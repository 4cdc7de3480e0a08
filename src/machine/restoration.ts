// Brings a state machine to the newest snapshot: one that the log no longer reaches back to, or that begins from nothing. One try, with a snapshot
// that is opened for it; whatever goes wrong, the machine has taken nothing, and by the next try a newer snapshot may be there.

import { FatalError } from '../errors.ts'
import type { CommittedEntries, StoredSnapshot } from '../node/ports.ts'
import { messageOf } from './error-message.ts'
import { boundedWish, type ObstacleKind, slowRetryMs } from './obstacle.ts'
import type { RestoreOutcome, StateMachine } from './state-machine.ts'

export interface RestorationOptions {
  readonly machine: StateMachine
  readonly entries: CommittedEntries
  /** Every entry through here is in the machine. */
  readonly appliedIndex: number
  /** Index of the last command that the machine holds. */
  readonly after: number
  /** The machine is being brought to a snapshot, and this sentence says so. */
  readonly begun: (sentence: string) => void
  /** This process has no use for it any more: the rest of the snapshot is not read. */
  readonly isOver: () => boolean
}

export type Restoration =
  | { readonly type: 'restored'; readonly appliedIndex: number; readonly position: number }
  /** The machine holds everything that the snapshot holds. */
  | { readonly type: 'held'; readonly appliedIndex: number }
  /** There is nothing to restore, or no way to, and no need: the log reaches back to the machine. */
  | { readonly type: 'replay' }
  /** `retryAfterMs` null: by the backoff. */
  | {
      readonly type: 'obstacle'
      readonly kind: ObstacleKind
      readonly sentence: string
      readonly retryAfterMs: number | null
    }
  | { readonly type: 'fatal'; readonly error: FatalError }

export async function restoreNewest(options: RestorationOptions): Promise<Restoration> {
  try {
    const stored = await options.entries.openSnapshot()
    if (stored === null) return withoutSnapshot(options, 'there is no snapshot for it')
    try {
      return await restoreFrom(stored, options)
    } finally {
      await stored.close()
    }
  } catch (error) {
    return unreadable('Cannot open the newest snapshot', error)
  }
}

/** For a machine that the log does not reach back to, and that nothing brings forward. */
export function outOfReachSentence(appliedIndex: number, firstIndex: number, why: string): string {
  return (
    `The state machine needs the entries from ${appliedIndex + 1} on, the log no longer holds those before ${firstIndex}, and ${why}: ` +
    `bring it to the state at ${firstIndex - 1} or later, such as that of another instance`
  )
}

async function restoreFrom(stored: StoredSnapshot, options: RestorationOptions): Promise<Restoration> {
  const { machine, entries, after, begun, isOver } = options
  const { lastIncluded, machinePosition: position } = stored.header
  const appliedIndex = lastIncluded.index
  if (appliedIndex < entries.firstIndex - 1) {
    return withoutSnapshot(options, `the newest snapshot reaches to ${appliedIndex} only`)
  }
  if (position <= after) return { type: 'held', appliedIndex }
  begun(`The state machine is being restored from the snapshot at ${appliedIndex}`)
  const body = new WatchedBody(stored, isOver)
  let outcome: RestoreOutcome
  try {
    outcome = await machine.restore({ position, body: body.chunks() })
  } catch (error) {
    if (body.hasFailed) return unreadable(`Cannot read the snapshot at ${appliedIndex}`, body.failure)
    return unreadable(`The state machine does not take the snapshot at ${appliedIndex}`, error)
  }
  if (body.hasFailed) return unreadable(`Cannot read the snapshot at ${appliedIndex}`, body.failure)
  switch (outcome.type) {
    case 'restored':
      return await confirm(machine, appliedIndex, position)
    case 'not-offered':
      return withoutSnapshot(options, `it offers no way to restore it from the snapshot at ${appliedIndex}`)
    case 'retry':
      return {
        type: 'obstacle',
        kind: 'unavailable',
        sentence: outcome.reason,
        retryAfterMs: boundedWish(outcome.afterMs),
      }
    case 'malformed':
      return { type: 'obstacle', kind: 'malformed', sentence: outcome.reason, retryAfterMs: null }
    case 'misconfigured':
      return { type: 'obstacle', kind: 'misconfigured', sentence: outcome.reason, retryAfterMs: slowRetryMs }
    default:
      return outcome satisfies never
  }
}

/** Something that answers "done" to any request would otherwise be fed from an index that it never was at. */
async function confirm(machine: StateMachine, appliedIndex: number, position: number): Promise<Restoration> {
  let told: number | null
  try {
    told = await machine.position()
  } catch (error) {
    const sentence = `Cannot learn whether the state machine took the snapshot at ${appliedIndex}: ${messageOf(error)}`
    return { type: 'obstacle', kind: 'unavailable', sentence, retryAfterMs: null }
  }
  if (told === null || told === position) return { type: 'restored', appliedIndex, position }
  const sentence = `The state machine was restored to ${position}, and answers that it is at ${told}`
  return { type: 'obstacle', kind: 'malformed', sentence, retryAfterMs: null }
}

function withoutSnapshot({ appliedIndex, entries }: RestorationOptions, why: string): Restoration {
  if (appliedIndex + 1 >= entries.firstIndex) return { type: 'replay' }
  const sentence = outOfReachSentence(appliedIndex, entries.firstIndex, why)
  return { type: 'obstacle', kind: 'unreadable', sentence, retryAfterMs: slowRetryMs }
}

function unreadable(what: string, error: unknown): Restoration {
  if (error instanceof FatalError) return { type: 'fatal', error }
  return { type: 'obstacle', kind: 'unreadable', sentence: `${what}: ${messageOf(error)}`, retryAfterMs: null }
}

/** The body as it is read; remembers why it broke off, whatever the machine makes of that. */
class WatchedBody {
  readonly #stored: StoredSnapshot
  readonly #isOver: () => boolean
  hasFailed = false
  failure: unknown = null

  constructor(stored: StoredSnapshot, isOver: () => boolean) {
    this.#stored = stored
    this.#isOver = isOver
  }

  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const chunk of this.#stored.body()) {
        if (this.#isOver()) throw new Error('this node is closing')
        yield chunk
      }
    } catch (error) {
      this.hasFailed = true
      this.failure = error
      throw error
    }
  }
}
