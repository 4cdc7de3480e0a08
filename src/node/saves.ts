// Saves under way to the disk, and the promises that rest on them: votes and acknowledgements leave only when what they promise is durable.

import { exitCodes, FatalError } from '../errors.ts'
import type { Message } from '../raft/messages.ts'
import type { Save } from '../raft/work.ts'
import type { Clock, NodeObserver, Storage, Transport } from './ports.ts'

export interface SavesOptions {
  readonly storage: Pick<Storage, 'save'>
  readonly transport: Pick<Transport, 'send'>
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly observer: NodeObserver
  /** Another save is durable. */
  readonly onSaved: (save: Save) => void
  readonly onFailure: (error: unknown) => void
}

export class Saves {
  readonly #options: SavesOptions
  /** The newest save that is durable. */
  #savedId = 0
  #isNews = false
  #isStopped = false
  /** When each save under way was begun, oldest first. */
  #begunMs: number[] = []
  /** Messages that rest on a save under way, oldest first. */
  #promises: { readonly after: number; readonly messages: readonly Message[] }[] = []

  constructor(options: SavesOptions) {
    this.#options = options
  }

  begin(save: Save, nowMs: number): void {
    const { storage, onFailure } = this.#options
    this.#begunMs.push(nowMs)
    // A microtask later: what was sent in this turn is on its way when the disk is written, so that peers write while we do.
    const durable = Promise.resolve().then(() => storage.save(save))
    durable.then(
      () => {
        if (!this.#isStopped) this.#saved(save, nowMs)
      },
      (error) => onFailure(error),
    )
  }

  /** They leave when the save of this number is durable, which may be now. */
  promise(after: number, messages: readonly Message[]): void {
    if (after > this.#savedId) this.#promises.push({ after, messages })
    else for (const message of messages) this.#options.transport.send(message)
  }

  /** The newest save that is durable, if that is news since the last call. */
  takeSaved(): number | null {
    if (!this.#isNews) return null
    this.#isNews = false
    return this.#savedId
  }

  /** How long the oldest save has been under way; 0 when none is. */
  oldestMs(nowMs: number): number {
    const oldest = this.#begunMs[0]
    return oldest === undefined ? 0 : nowMs - oldest
  }

  stop(): void {
    this.#isStopped = true
  }

  #saved(save: Save, begunMs: number): void {
    const { clock, observer, transport, onSaved, onFailure } = this.#options
    try {
      if (save.id !== this.#savedId + 1) {
        throw new FatalError(
          exitCodes.software,
          `Save ${save.id} became durable after save ${this.#savedId}, out of order`,
        )
      }
      observer.event({ type: 'saved', durationMs: clock.monotonicMs() - begunMs, entries: save.entries.length })
      this.#begunMs.shift()
      this.#savedId = save.id
      this.#isNews = true
      let oldest = this.#promises[0]
      while (oldest !== undefined && oldest.after <= save.id) {
        for (const message of oldest.messages) transport.send(message)
        this.#promises.shift()
        oldest = this.#promises[0]
      }
      onSaved(save)
    } catch (error) {
      onFailure(error)
    }
  }
}
