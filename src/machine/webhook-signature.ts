// Signs what the application is sent, by Standard Webhooks: HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<content>`, one signature a secret, so
// that the application may know the old one or the new one while a secret is changed. A message has its id through all its tries.

import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import type { Clock } from '../node/ports.ts'

export interface SignerOptions {
  /** Each `whsec_` and base64; one at least. */
  readonly secrets: readonly string[]
  readonly cluster: string
  readonly node: string
  readonly clock: Pick<Clock, 'unixMs'>
}

export type SignatureHeaders = Readonly<Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>>

const prefix = 'whsec_'

export class WebhookSigner {
  readonly #keys: readonly KeyObject[]
  readonly #sender: string
  readonly #clock: Pick<Clock, 'unixMs'>
  #lastMoment = 0

  constructor({ secrets, cluster, node, clock }: SignerOptions) {
    this.#keys = secrets.map((secret) => createSecretKey(secret.slice(prefix.length), 'base64'))
    this.#sender = `${cluster}-${node}`
    this.#clock = clock
  }

  /** `name` tells the messages of this node apart; `content` is the body, or what stands for it. */
  sign(name: string, content: Uint8Array | string): SignatureHeaders {
    const id = `${this.#sender}-${name}`
    const timestamp = String(Math.floor(this.#clock.unixMs() / 1000))
    const head = `${id}.${timestamp}.`
    const signatures = this.#keys.map(
      (key) => `v1,${createHmac('sha256', key).update(head).update(content).digest('base64')}`,
    )
    return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
  }

  /** Unix time in ms, never the same twice: names a message that has nothing else to be named by. */
  moment(): number {
    this.#lastMoment = Math.max(Math.floor(this.#clock.unixMs()), this.#lastMoment + 1)
    return this.#lastMoment
  }
}
