// Whether the application says that it is well: asked at the start, after every failure, and about every second, on a connection of its own. Whoever
// delivers looks at the last answer and never waits for one, except where none counts any more.

import type { Clock } from '../node/ports.ts'
import { messageOf } from './error-message.ts'
import { HookClient } from './hook-client.ts'
import type { WebhookSigner } from './webhook-signature.ts'

export type Health =
  | { readonly type: 'healthy' }
  /** It is being asked. */
  | { readonly type: 'unknown'; readonly sentence: string }
  | { readonly type: 'unhealthy'; readonly sentence: string }

/** What delivery is let through by. */
export interface HealthGate {
  readonly health: Health
  /** Begins to ask; `changed` is called whenever `health` is another than before. */
  watch(changed: () => void): void
  /** Delivery failed: the last answer counts no more. */
  doubt(): void
  close(): Promise<void>
}

export interface HealthOptions {
  readonly origin: string
  /** Path, with a query or without. */
  readonly path: string
  readonly clock: Pick<Clock, 'after'>
  readonly timeoutMs: number
  readonly signer: WebhookSigner | null
}

export function createHealthGate(options: HealthOptions): HealthGate {
  return new HealthCheck(options)
}

/** From one answer to the next question. */
const intervalMs = 1000
/** Who takes longer to say that it is well is not. */
const maxTimeoutMs = 5000
const maxResponseBytes = 64 * 1024

const healthy: Health = { type: 'healthy' }

class HealthCheck implements HealthGate {
  readonly #clock: Pick<Clock, 'after'>
  readonly #client: HookClient
  readonly #path: string
  readonly #url: string
  readonly #unknown: Health
  #health: Health
  #changed: () => void = () => {}
  #isAsking = false
  /** What is being asked was asked before the failure: its answer says nothing. */
  #isOutdated = false
  #isClosed = false
  #cancelTimer: () => void = () => {}

  constructor({ origin, path, clock, timeoutMs, signer }: HealthOptions) {
    this.#clock = clock
    this.#path = path
    this.#url = `${origin}${path}`
    this.#unknown = {
      type: 'unknown',
      sentence: `GET ${this.#url} has not yet said whether the application is healthy`,
    }
    this.#health = this.#unknown
    this.#client = new HookClient({
      origin,
      clock,
      timeoutMs: Math.min(timeoutMs, maxTimeoutMs),
      maxResponseBytes,
      signer,
    })
  }

  get health(): Health {
    return this.#health
  }

  watch(changed: () => void): void {
    this.#changed = changed
    this.#ask()
  }

  doubt(): void {
    if (this.#health.type === 'healthy') this.#become(this.#unknown)
    if (this.#isAsking) this.#isOutdated = true
    else this.#ask()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelTimer()
    await this.#client.close()
  }

  #ask(): void {
    if (this.#isClosed) return
    this.#cancelTimer()
    this.#isAsking = true
    this.#answer().then((health) => {
      this.#isAsking = false
      if (this.#isClosed) return
      if (this.#isOutdated) {
        this.#isOutdated = false
        this.#ask()
        return
      }
      this.#cancelTimer = this.#clock.after(intervalMs, () => this.#ask())
      this.#become(health)
    })
  }

  async #answer(): Promise<Health> {
    try {
      const request = { method: 'GET', path: this.#path, name: 'health', isMomentary: true, body: null } as const
      const { status } = await this.#client.request(request)
      if (status >= 200 && status < 300) return healthy
      return unhealthy(`GET ${this.#url} answered ${status}, and delivery waits for 2xx there`)
    } catch (error) {
      return unhealthy(`${messageOf(error)}, and delivery waits for 2xx there`)
    }
  }

  #become(health: Health): void {
    const before = this.#health
    this.#health = health
    if (before.type !== health.type || sentenceOf(before) !== sentenceOf(health)) this.#changed()
  }
}

function unhealthy(why: string): Health {
  return { type: 'unhealthy', sentence: `The application is not healthy: ${why}` }
}

function sentenceOf(health: Health): string {
  return health.type === 'healthy' ? '' : health.sentence
}
