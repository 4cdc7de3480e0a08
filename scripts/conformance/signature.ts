// Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over id, time and body, by a key that stands in base64 behind `whsec_`.

import { createHmac } from 'node:crypto'

export interface Signed {
  readonly id: string
  /** Unix seconds. */
  readonly seconds: number
  readonly body: Uint8Array
}

export function sign(secret: string, { id, seconds, body }: Signed): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const digest = createHmac('sha256', key).update(`${id}.${seconds}.`).update(body).digest('base64')
  return `v1,${digest}`
}

export function signatureHeaders(id: string, seconds: number, signatures: readonly string[]): Record<string, string> {
  return { 'webhook-id': id, 'webhook-timestamp': String(seconds), 'webhook-signature': signatures.join(' ') }
}
