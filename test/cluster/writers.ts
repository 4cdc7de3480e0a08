// Clients that write one thing after the other, each under an idempotency key of its own, and try every failure again under the same key until it is
// answered. They remember what they were told.

import type { Write, WriteResult } from './application/journal.ts'
import type { Machine, Machines } from './machines.ts'
import { until } from './processes.ts'

/** What an answer of 200 says. */
export interface Answered {
  readonly index: number
  readonly term: number
  /** Null: it was applied, and nobody knows any more what it answered. */
  readonly result: WriteResult | null
  readonly duplicate: boolean
  /** Whose application proposed it, when one did. */
  readonly by: string | null
}

export interface Acknowledged extends Answered {
  readonly write: Write
  /** Which of the clients; each has one write under way at a time. */
  readonly client: number
  readonly attempts: number
}

/** One attempt; a failure to be tried again is told by its code. */
export type Attempt = (write: Write) => Promise<Answered | string>

const pauseMs = 15

export class Writers {
  readonly acknowledged: Acknowledged[] = []
  /** Everything that was proposed under these keys, acknowledged or not. */
  readonly proposed = new Map<string, Write>()
  /** Attempts that failed, by code. */
  readonly failures = new Map<string, number>()
  readonly #machines: Machines
  readonly #name: string
  readonly #attempt: Attempt
  /** What ended them; null: nothing did. */
  failure: unknown = null
  #isStopping = false
  #running: Promise<unknown> = Promise.resolve()

  /** `name` begins every key. The key of the write is its idempotency key. They give up when the machines are closed. */
  constructor(machines: Machines, name: string, attempt: Attempt) {
    this.#machines = machines
    this.#name = name
    this.#attempt = attempt
  }

  start(clients: number): this {
    this.#running = Promise.all(Array.from({ length: clients }, (_, client) => this.#write(client)))
    this.#running.catch((error) => {
      this.failure = error
    })
    return this
  }

  /** Waits for so many more writes to be acknowledged from now on. */
  async acknowledges(more: number, withinMs = 30_000): Promise<void> {
    const goal = this.acknowledged.length + more
    const reached = async () => (this.acknowledged.length >= goal || this.#isStopping ? true : null)
    try {
      await Promise.race([this.#running, until(`${more} more acknowledged writes`, withinMs, reached)])
    } catch (cause) {
      throw new Error(`${this.acknowledged.length} writes were acknowledged; failures: ${this.failureText}`, { cause })
    }
  }

  /** Waits until twenty writes in a row were proposed by the application beside the leader, and returns that machine. */
  async followTheLeader(): Promise<Machine> {
    return await until('twenty writes in a row through the application of the leader', 30_000, async () => {
      if (this.failure !== null) throw this.failure
      const leader = await this.#machines.leader()
      const last = this.acknowledged.slice(-20)
      return last.length === 20 && last.every(({ by }) => by === leader.id) ? leader : null
    })
  }

  /** Lets every write that is under way be answered first. Rejects with what an attempt threw. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#running
  }

  get failureText(): string {
    return [...this.failures].map(([code, count]) => `${count} × ${code}`).join(', ') || 'none'
  }

  async #write(client: number): Promise<void> {
    for (let number = 1; !this.#isStopping; number++) {
      const write: Write = { key: `${this.#name}-${client}-${number}`, value: { client, number } }
      this.proposed.set(write.key, write)
      await this.#insist(write, client)
    }
  }

  async #insist(write: Write, client: number): Promise<void> {
    const deadlineMs = performance.now() + 60_000
    for (let attempts = 1; performance.now() < deadlineMs && !this.#machines.cluster.isClosed; attempts++) {
      const answer = await this.#attempt(write)
      if (typeof answer !== 'string') {
        this.acknowledged.push({ ...answer, write, client, attempts })
        return
      }
      this.failures.set(answer, (this.failures.get(answer) ?? 0) + 1)
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
    throw new Error(`${write.key} was not acknowledged, within a minute or before the end (${this.failureText})`)
  }
}

/** What is wrong with these a repeat does not mend. */
const hopeless: ReadonlySet<number> = new Set([400, 401, 403, 404, 405, 413, 415, 422])

/** POSTs a write, and knows the answers of sidecars and of applications alike. Throws at what is not worth another attempt. */
export async function post(url: string, write: Write, timeoutMs = 10_000): Promise<Answered | string> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': write.key },
    body: JSON.stringify(write),
    signal: AbortSignal.timeout(timeoutMs),
  })
    .then(async (response) => ({ status: response.status, text: await response.text() }))
    .catch(() => null)
  if (answer === null) return 'no answer'
  const { status, text } = answer
  const body = text.startsWith('{') ? (JSON.parse(text) as Partial<Answered> & { readonly code?: string }) : {}
  const { index, term, result, code, duplicate = false, by = null } = body
  const isPlaced = index !== undefined && term !== undefined
  if (status === 200 && isPlaced && result !== undefined) return { index, term, result, duplicate, by }
  // It is in the log, once, and applied: what it answered died with those who knew.
  if (code === 'result-unknown' && isPlaced) return { index, term, result: null, duplicate: true, by }
  if (status === 200 || hopeless.has(status)) throw new Error(`${write.key} was answered with ${status} ${text}`)
  return `${status} ${code ?? text.slice(0, 40)}`
}
