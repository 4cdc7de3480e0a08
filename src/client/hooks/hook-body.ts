// The body of a request to the hooks: its bytes off the wire, bounded; or what a body parser that ran before has left of them.

import type { IncomingMessage } from 'node:http'

/** What Express and its like leave behind. */
interface Parsed {
  readonly body?: unknown
  readonly rawBody?: unknown
}

/** `value`: parsed by somebody else, and the bytes are gone. */
export type HookBody =
  | { readonly type: 'bytes'; readonly bytes: Uint8Array }
  | { readonly type: 'value'; readonly value: unknown }
  | { readonly type: 'too-large' }

export class BodyConsumed extends Error {
  constructor(wanted: string) {
    super(
      `A body parser ran before the hooks, and ${wanted}: mount the hooks before it, or let it keep the bytes as req.rawBody`,
    )
  }
}

export class RequestBrokenOff extends Error {}

/** Rejects with RequestBrokenOff, or with BodyConsumed when nothing is left of its body. */
export async function readHookBody(request: IncomingMessage, limitBytes: number): Promise<HookBody> {
  if (!isConsumed(request)) {
    const bytes = await readBytes(request, limitBytes)
    return bytes === null ? { type: 'too-large' } : { type: 'bytes', bytes }
  }
  const bytes = keptBytes(request) ?? keptText(request)
  if (bytes !== null) return bytes.length > limitBytes ? { type: 'too-large' } : { type: 'bytes', bytes }
  const { body } = request as Parsed
  if (body === undefined) throw new BodyConsumed('the body of the request is gone')
  return { type: 'value', value: body }
}

/** In parts, as they come; they may be left before their end. Throws when the request breaks off. */
export function openHookBody(request: IncomingMessage): AsyncIterable<Uint8Array> {
  if (!isConsumed(request)) return request.iterator({ destroyOnReturn: false })
  const bytes = keptBytes(request)
  if (bytes === null) throw new BodyConsumed('the snapshot in the request is gone')
  return (async function* () {
    yield bytes
  })()
}

function isConsumed(request: IncomingMessage): boolean {
  return request.readableDidRead || request.readableEnded
}

function keptBytes(request: IncomingMessage): Uint8Array | null {
  const { rawBody, body } = request as Parsed
  return [rawBody, body].find((kept) => kept instanceof Uint8Array) ?? null
}

/** Of what a text parser has decoded, nothing is lost if it is JSON. */
function keptText(request: IncomingMessage): Uint8Array | null {
  const { rawBody, body } = request as Parsed
  const text = [rawBody, body].find((kept) => typeof kept === 'string')
  return text === undefined ? null : Buffer.from(text)
}

/** Null when there is more than the limit: the rest is read and dropped, so that the sender gets to read its answer. */
function readBytes(request: IncomingMessage, limitBytes: number): Promise<Uint8Array | null> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let sizeBytes = 0
    request.on('data', (chunk: Uint8Array) => {
      sizeBytes += chunk.length
      if (sizeBytes <= limitBytes) chunks.push(chunk)
      else {
        chunks.length = 0
        resolve(null)
      }
    })
    request.on('end', () => resolve(Buffer.concat(chunks)))
    const brokeOff = () => reject(new RequestBrokenOff('The request broke off'))
    request.on('error', brokeOff)
    request.on('close', brokeOff)
  })
}
