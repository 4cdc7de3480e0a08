// Takes a command off the wire, byte for byte and bounded, and calls back in the turn of the event loop in which
// its last byte arrived. It reads the stream itself: Fastify's own body parsing costs 4 µs a request more.

import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { NewCommand } from '../node/contract.ts'
import { refuseUnofferedHeaders } from './parameters.ts'
import { fail, Refusal } from './problem.ts'

/** Fastify hands requests over with their bodies unread. */
export function leaveBodiesToUs(app: FastifyInstance): void {
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  }
}

/** What is refused, here or by `use`, is answered; nothing throws later than this call. */
export function takeCommand(
  request: FastifyRequest,
  reply: FastifyReply,
  limitBytes: number,
  use: (command: NewCommand) => void,
): void {
  const { raw } = request
  refuseUnofferedHeaders(raw.headers)
  const kind = kindOf(raw.headers)
  const announcedBytes = raw.headers['content-length']
  if (announcedBytes !== undefined && Number(announcedBytes) > limitBytes) throw tooLarge(limitBytes)
  readBody(raw, limitBytes, (payload) => {
    try {
      if (payload === null) throw tooLarge(limitBytes)
      if (payload.length === 0)
        throw new Refusal(400, 'invalid-command', 'The body is empty: it must hold the command.')
      if (kind === null) throw unsupported('The request has no content-type')
      if (kind === 'json' && !isUtf8(payload)) {
        throw new Refusal(400, 'invalid-command', 'The body is not valid UTF-8, so not JSON.')
      }
      use({ kind, payload })
    } catch (error) {
      fail(reply, error)
    }
  })
}

/** Null when it is JSON. */
export function whyNotJson(payload: Uint8Array): string | null {
  try {
    JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString())
    return null
  } catch {
    return 'The body is not valid JSON.'
  }
}

export function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/**
 * Null when there is more than the limit; the rest is then read and dropped, so that the client gets to read its
 * answer. A request that breaks off calls nothing: nobody is there to be answered.
 */
function readBody(request: IncomingMessage, limitBytes: number, done: (body: Buffer | null) => void): void {
  let first: Buffer | null = null
  let chunks: Buffer[] | null = null
  let sizeBytes = 0
  request.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length
    if (sizeBytes > limitBytes) {
      if (sizeBytes - chunk.length <= limitBytes) {
        first = null
        chunks = null
        done(null)
      }
    } else if (first === null) first = chunk
    else if (chunks === null) chunks = [first, chunk]
    else chunks.push(chunk)
  })
  request.on('end', () => {
    if (sizeBytes > limitBytes) return
    // A copy, also of a single chunk: the command may live long, and would keep the whole read buffer alive.
    if (chunks === null) done(first === null ? Buffer.alloc(0) : Buffer.from(first))
    else done(Buffer.concat(chunks, sizeBytes))
  })
}

/** Null when the header is missing, which only matters if there is a body. */
function kindOf(headers: IncomingHttpHeaders): NewCommand['kind'] | null {
  const { 'content-type': contentType, 'content-encoding': contentEncoding } = headers
  if (contentEncoding !== undefined && contentEncoding !== 'identity') {
    throw unsupported(`The body has the content-encoding ${JSON.stringify(contentEncoding)}`)
  }
  if (contentType === undefined) return null
  if (contentType === 'application/json') return 'json'
  const [essence = '', ...parameters] = contentType.toLowerCase().split(';')
  switch (essence.trim()) {
    case 'application/json':
      if (parameters.every(saysUtf8)) return 'json'
      break
    case 'application/octet-stream':
      return 'bytes'
  }
  throw unsupported(`The body is ${JSON.stringify(contentType)}`)
}

function saysUtf8(parameter: string): boolean {
  const [name = '', value = ''] = parameter.split('=')
  return name.trim() !== 'charset' || /^\s*"?utf-?8"?\s*$/.test(value)
}

function tooLarge(limitBytes: number): Refusal {
  return new Refusal(
    413,
    'command-too-large',
    `The command is larger than MAX_COMMAND_BYTES, which is ${limitBytes}: send it in parts, or a reference to it.`,
  )
}

function unsupported(what: string): Refusal {
  return new Refusal(
    415,
    'unsupported-media-type',
    `${what}: send a command as application/json in UTF-8 (any JSON value) or application/octet-stream, not encoded.`,
  )
}
