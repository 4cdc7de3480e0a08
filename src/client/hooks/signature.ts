// Whether a request comes from the sidecar: Standard Webhooks, HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<content>`. The content is the
// body; without one it is empty, and for a state that is restored, which is read as it comes, it is the text of `raft-position`.

import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

const toleranceSeconds = 5 * 60
/** While a secret is changed there are two; nobody needs more. */
const maxSignatures = 16

export class SignatureCheck {
  readonly #keys: readonly KeyObject[]

  /** `whsec_` and base64, one or several, also in one string with spaces or commas between them. Throws TypeError. */
  constructor(secrets: string | readonly string[]) {
    const each = (typeof secrets === 'string' ? [secrets] : secrets).flatMap((text) => text.split(/[ ,]+/))
    this.#keys = each.filter((text) => text !== '').map(keyOf)
    if (this.#keys.length === 0) throw new TypeError('`secret` is empty: give whsec_ and base64, or leave it out')
  }

  /** Null when it is signed, and lately; else what is wrong, in a sentence. */
  whyNot(headers: IncomingHttpHeaders, content: Uint8Array | string): string | null {
    const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures } = headers
    if (typeof id !== 'string' || typeof timestamp !== 'string' || typeof signatures !== 'string')
      return 'The request is not signed: is APP_SECRET set for the sidecar?'
    if (!/^[0-9]{1,12}$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > toleranceSeconds)
      return 'The request was not signed within the last five minutes: are the clocks right?'
    const given = signatures
      .split(' ', maxSignatures)
      .filter((signature) => signature.startsWith('v1,'))
      .map((signature) => Buffer.from(signature.slice('v1,'.length), 'base64'))
    const isSigned = this.#keys.some((key) => {
      const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(content).digest()
      return given.some((each) => each.length === expected.length && timingSafeEqual(each, expected))
    })
    return isSigned ? null : 'The signature is not one by this secret'
  }
}

function keyOf(secret: string): KeyObject {
  const base64 = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret)?.[1]
  // What is wrong with it may not be shown.
  if (base64 === undefined) throw new TypeError('`secret` is not whsec_ and base64')
  return createSecretKey(base64, 'base64')
}
