// A member is judged by what it shows once for each run of its process, and before anything of that run counts. A greeting of a run that
// was found whole is not judged again: on another link the same process may have acknowledged more since than this greeting, which was
// composed before, can show. A process cannot forget while it lives; only a start can come from an older data directory.

import type { TransportEvents } from '../node/ports.ts'
import type { Hello } from './handshake.ts'

export class Introduction {
  readonly #greeted: TransportEvents['greeted']
  /** The newest run that was found whole. */
  #wholeRun: string | null = null
  /** Under way; every link of this run waits for the same. */
  #pending: { readonly run: string; readonly verdict: Promise<string | null> } | null = null

  constructor(greeted: TransportEvents['greeted']) {
    this.#greeted = greeted
  }

  /** Null: it is whole. A sentence: it has forgotten something. */
  judge(hello: Hello): Promise<string | null> {
    const { id: run } = hello.standing.run
    if (run === this.#wholeRun) return Promise.resolve(null)
    if (this.#pending?.run === run) return this.#pending.verdict
    const pending = { run, verdict: this.#ask(hello) }
    this.#pending = pending
    const done = () => {
      if (this.#pending === pending) this.#pending = null
    }
    pending.verdict.then(done, done)
    return pending.verdict
  }

  async #ask(hello: Hello): Promise<string | null> {
    const sentence = await this.#greeted(hello.id, hello.standing)
    if (sentence === null) this.#wholeRun = hello.standing.run.id
    return sentence
  }
}
