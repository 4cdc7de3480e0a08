// Where delivery stands, for an application that does not remember it itself. Never ahead of what was acknowledged: after a
// crash, commands may come again, and none is left out.

import type { Clock } from '../node/ports.ts'

export interface CursorStore {
  /** What was last saved; 0 when nothing was. */
  load(): number
  /** Resolves once it is durable. One call at a time. */
  save(position: number): Promise<void>
}

/** At most one save in this time: a cursor that lags costs repeated commands after a crash, a sync for each batch costs the disk. */
const restMs = 1000

/** Saves the newest position, one at a time, and leaves out those that newer ones overtook. */
export class CursorSaver {
  readonly #store: CursorStore
  readonly #clock: Pick<Clock, 'after'>
  readonly #failed: (error: unknown) => void
  #latest: number
  #unsaved = false
  #urgent = false
  #saving: Promise<void> | null = null
  #cancelRest: (() => void) | null = null

  constructor(store: CursorStore, clock: Pick<Clock, 'after'>, failed: (error: unknown) => void) {
    this.#store = store
    this.#clock = clock
    this.#failed = failed
    this.#latest = store.load()
  }

  /** What was loaded, or noted since. */
  get position(): number {
    return this.#latest
  }

  note(position: number): void {
    if (position === this.#latest) return
    // A cursor that is too high would leave commands out, so that one way it does not wait.
    if (position < this.#latest) {
      this.#urgent = true
      this.#stopRest()
    }
    this.#latest = position
    this.#unsaved = true
    if (this.#saving === null && this.#cancelRest === null) this.#save()
  }

  /** Resolves when the latest position is saved, or could not be. */
  async flush(): Promise<void> {
    if (this.#saving !== null) await this.#saving
    this.#stopRest()
    if (!this.#unsaved) return
    this.#save()
    await this.#saving
    this.#stopRest()
  }

  #save(): void {
    this.#unsaved = false
    this.#urgent = false
    this.#saving = this.#store.save(this.#latest).then(
      () => this.#saved(),
      (error: unknown) => {
        this.#unsaved = true
        this.#failed(error)
        this.#saved()
      },
    )
  }

  #saved(): void {
    this.#saving = null
    if (this.#urgent) {
      this.#save()
      return
    }
    this.#cancelRest = this.#clock.after(restMs, () => {
      this.#cancelRest = null
      if (this.#unsaved) this.#save()
    })
  }

  #stopRest(): void {
    this.#cancelRest?.()
    this.#cancelRest = null
  }
}
