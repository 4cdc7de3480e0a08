// The way of a command to the sidecar and back. Every command of this queue may be proposed twice, so one without an answer is just repeated.

import type { Answer, Command } from './queue.ts'

export class Sidecar {
  readonly #url: string

  constructor(url: string) {
    this.#url = `${url}/v1/commands`
  }

  /** Null when there was no answer: no leader, no sidecar, or a command that may yet commit. */
  async propose(command: Command): Promise<Answer | null> {
    const body = JSON.stringify(command)
    const headers = { 'content-type': 'application/json' }
    try {
      const response = await fetch(this.#url, { method: 'POST', headers, body, signal: AbortSignal.timeout(10_000) })
      const answer = (await response.json()) as { readonly result?: Answer | null }
      return response.ok ? (answer.result ?? null) : null
    } catch {
      return null
    }
  }
}
