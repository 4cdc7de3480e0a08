// One application under examination: its hooks, the log that it is fed from, and what it answered to each command the first time.

import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { ApplyOutcome } from '../../src/machine/state-machine.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { Failure, Skip } from './finding.ts'
import type { Hooks, TakenSnapshot } from './hooks.ts'
import type { Log } from './log.ts'

/** What can be seen of an application from outside. */
export interface State {
  /** Null: it does not tell. */
  readonly position: number | null
  /** Digest of its snapshot; null where it offers none, or where two of one state differ. */
  readonly digest: string | null
}

/** What is delivered at once at most. */
const batchCommands = 1000

export class Subject {
  readonly hooks: Hooks
  readonly log: Log
  readonly tellsPosition: boolean
  readonly results = new Map<number, unknown>()
  /** It was seen to restore what it gave: other checks may go by that. */
  restoresWell = false
  /** Null: not known yet. */
  #snapshotsAreRepeatable: boolean | null = null

  constructor(hooks: Hooks, log: Log, tellsPosition: boolean) {
    this.hooks = hooks
    this.log = log
    this.tellsPosition = tellsPosition
  }

  /** Commands that the application does not hold yet, right behind those that it holds; returns what it answers. */
  async take(commands: readonly Entry[]): Promise<readonly unknown[]> {
    const results: unknown[] = []
    for (let from = 0; from < commands.length; from += batchCommands) {
      const batch = commands.slice(from, from + batchCommands)
      const outcome = await this.deliver(batch)
      results.push(...this.resultsOf(outcome, batch))
    }
    return results
  }

  deliver(commands: readonly Entry[]): Promise<ApplyOutcome> {
    return this.hooks.apply(this.log.before(first(commands)), commands)
  }

  /** Throws unless it took them. */
  resultsOf(outcome: ApplyOutcome, commands: readonly Entry[]): readonly unknown[] {
    if (outcome.type !== 'applied') throw new Failure(notTaken(outcome, this.log.before(first(commands)), commands))
    for (const [at, { index }] of commands.entries()) {
      if (!this.results.has(index)) this.results.set(index, outcome.results[at])
    }
    return outcome.results
  }

  /** As a sidecar does before it goes on: whatever the log holds and the application does not is delivered. */
  async settle(): Promise<void> {
    const position = await this.position()
    if (position === null || position === this.log.lastIndex) return
    if (position > this.log.lastIndex) {
      throw new Failure(
        `It says that it is at ${position}, and the last command that there ever was is ${this.log.lastIndex}`,
      )
    }
    await this.take(this.log.behind(position))
  }

  async position(): Promise<number | null> {
    return this.tellsPosition ? await this.hooks.position() : null
  }

  async expectPosition(expected: number, when: string): Promise<void> {
    const position = await this.position()
    if (position === null || position === expected) return
    throw new Failure(
      `${when} it says that it is at ${position}, and not at ${expected}: the position is the index of the last command that is applied, no more and no less`,
    )
  }

  async state(): Promise<State> {
    const position = await this.position()
    return { position, digest: (await this.snapshotsAreRepeatable()) ? await this.#digest() : null }
  }

  /** An application hears that a connection has ended in its own time: questions on connections that come after it give it some. */
  async stateAfterCut(): Promise<State> {
    for (let asked = 0; asked < 3; asked++) await this.hooks.position({ apart: true })
    return await this.state()
  }

  /** Throws Skip where it offers none. */
  async snapshot(): Promise<TakenSnapshot> {
    const snapshot = await this.hooks.snapshot()
    if (snapshot === null) throw new Skip('it offers no snapshots')
    return snapshot
  }

  async restore(snapshot: TakenSnapshot): Promise<void> {
    const outcome = await this.hooks.restore(snapshot)
    switch (outcome.type) {
      case 'restored':
        return
      case 'not-offered':
        throw new Skip('it offers no way to restore a snapshot')
      default:
        throw new Failure(outcome.reason)
    }
  }

  /** Delivers again what is behind a snapshot that was restored; the answers must be those of the first time. */
  async retake(commands: readonly Entry[], why: string): Promise<void> {
    const results = await this.take(commands)
    for (const [at, { index }] of commands.entries()) {
      if (isDeepStrictEqual(results[at], this.results.get(index))) continue
      const [before, after] = [this.results.get(index), results[at]].map((result) => clipped(result))
      throw new Failure(`${why} command ${index} is answered ${after}, and it was ${before} the first time: ${remedy}`)
    }
  }

  /** Whether two snapshots of one state are the same bytes: only then do they tell whether something has changed. */
  async snapshotsAreRepeatable(): Promise<boolean> {
    if (this.#snapshotsAreRepeatable === null) {
      const [first, second] = [await this.#digest(), await this.#digest()]
      this.#snapshotsAreRepeatable = first !== null && first === second
    }
    return this.#snapshotsAreRepeatable
  }

  async #digest(): Promise<string | null> {
    const snapshot = await this.hooks.snapshot()
    return snapshot === null ? null : createHash('sha256').update(snapshot.body).digest('hex')
  }
}

const remedy =
  'a command may depend on the state and on what stands in the command alone, so take the time from its "timestamp", and no random numbers'

export function first(commands: readonly Entry[]): Entry {
  const [command] = commands
  if (command === undefined) throw new Error('A batch holds at least one command')
  return command
}

export function last(commands: readonly Entry[]): Entry {
  return commands.at(-1) ?? first(commands)
}

/** `12`, or `12 to 14`. */
export function range(commands: readonly Entry[]): string {
  const [from, to] = [first(commands).index, last(commands).index]
  return from === to ? String(from) : `${from} to ${to}`
}

/** Fit for a sentence. */
export function clipped(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}

function notTaken(
  outcome: Exclude<ApplyOutcome, { readonly type: 'applied' }>,
  after: number,
  commands: readonly Entry[],
): string {
  switch (outcome.type) {
    case 'elsewhere':
      return (
        `It answered that it is at ${outcome.position} when it got ${range(commands)}, after ${after}: ` +
        `that is where it should be, so that it had to take them`
      )
    case 'poison':
      return `It refuses command ${outcome.index} for good (422 ${outcome.reason}): delivery would stop there`
    default:
      return outcome.reason
  }
}

/** What there is to see of it: a sentence when the two differ. */
export function difference(before: State, after: State): string | null {
  if (before.position !== after.position) return `its position went from ${before.position} to ${after.position}`
  if (before.digest !== after.digest)
    return `its snapshot changed, though its position is ${after.position ?? 'not told'} as before`
  return null
}
