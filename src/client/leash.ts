// One signal that aborts with any of several others, or when a time is over, and lets go of them all by `release`: AbortSignal.any would
// keep what hangs on a signal that lives as long as the application.

export class Leash {
  readonly #abort = new AbortController()
  readonly #parents: readonly AbortSignal[]
  #timer: NodeJS.Timeout | undefined
  readonly #follow = (event: Event) => this.#abort.abort((event.target as AbortSignal).reason)

  constructor(...parents: readonly (AbortSignal | undefined)[]) {
    this.#parents = parents.filter((parent) => parent !== undefined)
    for (const parent of this.#parents) {
      if (parent.aborted) this.#abort.abort(parent.reason)
      else parent.addEventListener('abort', this.#follow)
    }
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** Aborts after this time; a time that was set before counts no more. */
  limit(timeoutMs: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#abort.abort(new Error(`Nothing came for ${timeoutMs} ms`)), timeoutMs)
  }

  unlimit(): void {
    clearTimeout(this.#timer)
  }

  /** Gives up what is under way. */
  cut(): void {
    this.#abort.abort(new Error('It was left'))
    this.release()
  }

  release(): void {
    clearTimeout(this.#timer)
    for (const parent of this.#parents) parent.removeEventListener('abort', this.#follow)
  }
}
