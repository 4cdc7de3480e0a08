// One connection to the application, kept alive, one request at a time: a request goes out, signed where there is a secret, and a whole answer comes
// back, bounded in time and in size.

import { Client, errors } from 'undici'
import type { Clock } from '../node/ports.ts'
import type { AppAnswer } from './app-answer.ts'
import { messageOf } from './error-message.ts'
import type { WebhookSigner } from './webhook-signature.ts'

export interface HookClientOptions {
  readonly origin: string
  readonly clock: Pick<Clock, 'after'>
  /** From sending a request to the last byte of its answer. */
  readonly timeoutMs: number
  readonly maxResponseBytes: number
  readonly signer: WebhookSigner | null
}

export interface HookRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Tells the message from every other one in its signature. */
  readonly name: string
  /** Each try is a message of its own: its moment becomes part of its name. */
  readonly isMomentary?: boolean
  /** JSON text; null: none, and the empty one is signed. */
  readonly body: Buffer | null
  readonly traceparent?: string | null
}

// Below the 5 s after which a Node server closes an idle connection, so that neither side writes into one that the other just closed.
const keepAliveMs = 3500

const json = { accept: 'application/json' }
const jsonBoth = { ...json, 'content-type': 'application/json' }

export class HookClient {
  readonly #client: Client
  readonly #origin: string
  readonly #clock: Pick<Clock, 'after'>
  readonly #timeoutMs: number
  readonly #signer: WebhookSigner | null
  readonly #aborts = new Set<AbortController>()

  constructor({ origin, clock, timeoutMs, maxResponseBytes, signer }: HookClientOptions) {
    this.#origin = origin
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#signer = signer
    this.#client = new Client(origin, {
      pipelining: 1,
      keepAliveTimeout: keepAliveMs,
      // What the application announces may shorten it, never lengthen it.
      keepAliveMaxTimeout: keepAliveMs,
      connect: { timeout: Math.min(timeoutMs, 5000) },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      maxResponseSize: maxResponseBytes,
    })
  }

  /** Rejects, with a sentence, when there is no whole answer in time. */
  async request(request: HookRequest): Promise<AppAnswer> {
    const { method, path, body } = request
    const abort = new AbortController()
    // undici's own limits start anew with every part of an answer; this one bounds the whole.
    const cancel = this.#clock.after(this.#timeoutMs, () =>
      abort.abort(new Error(`no whole answer within ${this.#timeoutMs} ms`)),
    )
    this.#aborts.add(abort)
    try {
      const headers = this.#headers(request)
      const response = await this.#client.request({ method, path, headers, body, signal: abort.signal })
      const retryAfter = response.headers['retry-after']
      return {
        status: response.statusCode,
        retryAfter: typeof retryAfter === 'string' ? retryAfter : null,
        body: await response.body.text().catch(nullIfTooLong),
      }
    } catch (error) {
      const why = abort.signal.aborted ? messageOf(abort.signal.reason) : messageOf(error)
      throw new Error(`${method} ${this.#origin}${path} got no answer: ${why}`, { cause: error })
    } finally {
      cancel()
      this.#aborts.delete(abort)
    }
  }

  /** Ends what is under way, which then counts as not answered. */
  async close(): Promise<void> {
    for (const abort of this.#aborts) abort.abort(new Error('this node is closing'))
    await this.#client.destroy()
  }

  #headers({ name, isMomentary, body, traceparent = null }: HookRequest): Record<string, string> {
    const plain = body === null ? json : jsonBoth
    const traced = traceparent === null ? plain : { ...plain, traceparent }
    if (this.#signer === null) return traced
    const fullName = isMomentary === true ? `${name}-${this.#signer.moment()}` : name
    return { ...traced, ...this.#signer.sign(fullName, body ?? '') }
  }
}

function nullIfTooLong(error: unknown): null {
  if (error instanceof errors.ResponseExceededMaxSizeError) return null
  throw error
}
