// Applies what is delivered: each command once, in order, against the position of that very moment. Its caller sees to it that nothing else
// happens to the state meanwhile.

import type { Batch, CommandMeta, DeliveredCommand } from './batch.ts'
import { PoisonCommand } from './poison.ts'

/** One command after the other; what it returns is the result, a JSON value. */
export type Apply = (command: unknown, meta: CommandMeta) => unknown

/** All of them or none, as in a transaction; returns one result a command, or nothing for `null` each. */
export type ApplyBatch = (
  commands: readonly DeliveredCommand[],
  after: number,
) => readonly unknown[] | undefined | Promise<readonly unknown[] | undefined>

export type ApplyAnswer =
  /** JSON texts, one a command; null: all of them are null. */
  | { readonly type: 'applied'; readonly results: readonly string[] | null }
  | { readonly type: 'elsewhere'; readonly position: number }
  | { readonly type: 'poison'; readonly index: number; readonly reason: string }

export interface DeliveryOptions {
  /** One of the two. */
  readonly apply: Apply | null
  readonly applyBatch: ApplyBatch | null
  /** Null: the state is in memory and begins empty, and its position is kept here. */
  readonly position: (() => number | Promise<number>) | null
  /** Told of a result that has no JSON form: the command is applied all the same. */
  readonly onError: (error: unknown) => void
}

/** What `apply` had done of a batch before it failed: its results, for when the batch, or the part before the failure, comes again. */
interface Unfinished {
  readonly after: number
  readonly indexes: readonly number[]
  readonly results: readonly string[]
}

export class Delivery {
  readonly #options: DeliveryOptions
  #position = 0
  #unfinished: Unfinished | null = null

  constructor(options: DeliveryOptions) {
    this.#options = options
  }

  async position(): Promise<number> {
    if (this.#options.position === null) return this.#position
    const position = await this.#options.position()
    if (Number.isSafeInteger(position) && position >= 0) return position
    throw new TypeError(
      `position() gave ${String(position)}: it gives the index of the last command in the state, or 0`,
    )
  }

  restored(position: number): void {
    this.#position = position
    this.#unfinished = null
  }

  /** Throws what `apply` threw. */
  async take(batch: Batch): Promise<ApplyAnswer> {
    const position = await this.position()
    const known = position === batch.after ? [] : this.#resultsUpTo(position, batch)
    if (known === null) return { type: 'elsewhere', position }
    try {
      return await this.#apply(batch, known)
    } catch (error) {
      if (error instanceof PoisonCommand) return poisonOf(error, batch)
      throw error
    }
  }

  /** Null: the state is not one that this batch goes on from, or what the first of its commands answered is not known. */
  #resultsUpTo(position: number, { after, commands }: Batch): readonly string[] | null {
    const unfinished = this.#unfinished
    if (unfinished === null || unfinished.after !== after || unfinished.indexes.at(-1) !== position) return null
    const isSame = unfinished.indexes.every((index, at) => commands[at]?.index === index)
    return isSame ? unfinished.results : null
  }

  async #apply(batch: Batch, known: readonly string[]): Promise<ApplyAnswer> {
    const { apply, applyBatch } = this.#options
    if (apply !== null) return { type: 'applied', results: await this.#oneByOne(apply, batch, known) }
    const { commands, after } = batch
    const results = (await applyBatch?.(commands, after)) ?? null
    // It returned, so it is done, whatever it returned.
    this.#advance(commands)
    if (results === null) return { type: 'applied', results: null }
    if (!Array.isArray(results) || results.length !== commands.length)
      throw new TypeError(`applyBatch did not return one result for each of ${commands.length} commands`)
    return { type: 'applied', results: results.map((result) => this.#jsonOf(result)) }
  }

  async #oneByOne(apply: Apply, { after, commands }: Batch, known: readonly string[]): Promise<readonly string[]> {
    const results = [...known]
    try {
      while (results.length < commands.length) {
        const next = commands[results.length] as DeliveredCommand
        const { command, ...meta } = next
        const result = await apply(command, meta)
        this.#advance([next])
        results.push(this.#jsonOf(result))
      }
      return results
    } catch (error) {
      if (error instanceof PoisonCommand && error.index === null) {
        const { message, cause } = error
        throw new PoisonCommand(message, commands[results.length]?.index ?? null, { cause })
      }
      throw error
    } finally {
      const indexes = commands.slice(0, results.length).map((command) => command.index)
      if (results.length < commands.length) this.#unfinished = { after, indexes, results }
    }
  }

  #advance(commands: readonly DeliveredCommand[]): void {
    this.#position = commands.at(-1)?.index ?? this.#position
  }

  #jsonOf(result: unknown): string {
    try {
      return JSON.stringify(result) ?? 'null'
    } catch (error) {
      this.#options.onError(error)
      return 'null'
    }
  }
}

function poisonOf(error: PoisonCommand, { commands }: Batch): ApplyAnswer {
  const index = error.index ?? (commands.length === 1 ? commands[0]?.index : undefined)
  if (index !== undefined && commands.some((command) => command.index === index))
    return { type: 'poison', index, reason: error.message }
  throw new TypeError('A PoisonCommand thrown by applyBatch names the index of one of its commands', { cause: error })
}
