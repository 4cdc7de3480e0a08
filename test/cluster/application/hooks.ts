// What the sidecar calls: the hooks of the contract over a journal. Written by hand, not with the client's helper, so that it judges the sidecar
// independently of that.

import type { IncomingMessage } from 'node:http'
import type { Delivered, Effect, Journal } from './journal.ts'

export interface Answer {
  readonly status: number
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** What came with a batch besides the commands. */
export interface Delivery {
  readonly indexes: readonly number[]
  readonly headers: Readonly<Record<string, string>>
  /** The commands as they came, but for what the application keeps of them itself. */
  readonly attributes: readonly Readonly<Record<string, unknown>>[]
}

export interface LeadershipEvent {
  readonly event: 'acquired' | 'lost' | 'changed'
  readonly leader: unknown
  readonly term: number
  readonly fencingToken: number
  /** What this application had applied by then. */
  readonly position: number
}

const keptDeliveries = 1000

export class Hooks {
  readonly deliveries: Delivery[] = []
  readonly leadership: LeadershipEvent[] = []
  readonly #journal: Journal
  readonly #applyDelayMs: number

  constructor(journal: Journal, applyDelayMs: number) {
    this.#journal = journal
    this.#applyDelayMs = applyDelayMs
  }

  async answer(request: IncomingMessage, body: Buffer): Promise<Answer> {
    switch (`${request.method} ${request.url}`) {
      case 'GET /raft/position':
        return { status: 200, body: { position: this.#journal.position } }
      case 'POST /raft/apply':
        if (this.#applyDelayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#applyDelayMs))
        return this.#apply(request, JSON.parse(body.toString()))
      case 'POST /raft/snapshot':
        return {
          status: 200,
          body: this.#journal.effects,
          headers: { 'raft-position': String(this.#journal.position) },
        }
      case 'PUT /raft/snapshot':
        this.#journal.restore(JSON.parse(body.toString()) as Effect[], Number(request.headers['raft-position']))
        return { status: 204 }
      case 'POST /raft/leadership':
        this.leadership.push({ ...JSON.parse(body.toString()), position: this.#journal.position })
        return { status: 204 }
      default:
        return { status: 404 }
    }
  }

  #apply(
    request: IncomingMessage,
    { after, commands }: { readonly after: number; readonly commands: readonly Delivered[] },
  ): Answer {
    if (after !== this.#journal.position) return { status: 409, body: { position: this.#journal.position } }
    const results = this.#journal.apply(commands)
    this.deliveries.push({
      indexes: commands.map(({ index }) => index),
      headers: Object.fromEntries(
        Object.entries(request.headers).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
      ),
      attributes: commands.map(({ command: _command, ...attributes }) => ({ ...attributes })),
    })
    if (this.deliveries.length > keptDeliveries) this.deliveries.shift()
    return { status: 200, body: { results } }
  }
}
