// What the application's own clients call: POST /writes proposes to the sidecar beside it, whoever leads; POST /routed-writes passes the write on
// to the application beside the leader, which alone proposes it.

import type { Answer } from './hooks.ts'
import type { Write } from './journal.ts'

interface Leader {
  readonly id: string
  readonly self: boolean
  readonly appUrl: string | null
  readonly fencingToken: number
}

/** Between two looks at who leads while nobody does. */
const patienceMs = 20
const routingTimeoutMs = 10_000

export class Writes {
  readonly #name: string
  readonly #sidecarUrl: string
  /** Tokens of GET /v1/leader in the order in which this application was given them. */
  readonly fencingTokens: number[] = []

  constructor(name: string, sidecarUrl: string) {
    this.#name = name
    this.#sidecarUrl = sidecarUrl
  }

  /** Every failure of the sidecar is the client's to try again, with the same key. */
  async propose(key: string, write: Write): Promise<Answer> {
    try {
      const response = await fetch(`${this.#sidecarUrl}/v1/commands?timeout=2s`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': key },
        body: JSON.stringify(write),
        signal: AbortSignal.timeout(5_000),
      })
      const body = (await response.json()) as Readonly<Record<string, unknown>>
      return { status: response.status, body: { ...body, by: this.#name } }
    } catch (error) {
      return { status: 503, body: { code: 'no-sidecar', detail: String(error), by: this.#name } }
    }
  }

  /** Until it is applied, or the time is over. */
  async route(key: string, write: Write, isPassedOn: boolean): Promise<Answer> {
    const deadlineMs = performance.now() + routingTimeoutMs
    for (;;) {
      const leader = await this.#leader()
      if (leader?.self) {
        const answer = await this.propose(key, write)
        if (answer.status === 200) return answer
      } else if (leader?.appUrl != null && !isPassedOn) {
        const answer = await passOn(leader.appUrl, key, write)
        if (answer !== null) return answer
      }
      // Who has passed it on knew another leader, and asks again.
      if (isPassedOn || performance.now() > deadlineMs) return { status: 503, body: { code: 'no-leader' } }
      await new Promise((resolve) => setTimeout(resolve, patienceMs))
    }
  }

  async #leader(): Promise<Leader | null> {
    try {
      const response = await fetch(`${this.#sidecarUrl}/v1/leader`, { signal: AbortSignal.timeout(1_000) })
      if (response.status !== 200) return null
      const leader = (await response.json()) as Leader
      this.fencingTokens.push(leader.fencingToken)
      return leader
    } catch {
      return null
    }
  }
}

/** Null: it did not take it, or may have; either way the same write goes to whoever leads next, under the same key. */
async function passOn(appUrl: string, key: string, write: Write): Promise<Answer | null> {
  try {
    const response = await fetch(`${appUrl}/routed-writes`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key, 'passed-on': 'true' },
      body: JSON.stringify(write),
      signal: AbortSignal.timeout(5_000),
    })
    const body = await response.json()
    return response.status === 200 ? { status: 200, body } : null
  } catch {
    return null
  }
}
