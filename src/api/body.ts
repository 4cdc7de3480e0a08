// Takes a command off the wire, byte for byte and bounded, and calls back in the turn of the event loop in which
// its last byte arrived. It reads the stream itself: Fastify's own body parsing costs 4 µs a request more.

import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { NewCommand, Node } from '../node/contract.ts'
import type { BodyBudget, BodyLease } from './body-budget.ts'
import { idempotencyKeyOf } from './idempotency-key.ts'
import type { Pace } from './pace.ts'
import { fail, Refusal } from './problem.ts'
import { traceparentOf } from './traceparent.ts'

/** Fastify hands requests over with their bodies unread. */
export function leaveBodiesToUs(app: FastifyInstance): void {
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  }
}

export interface BodyLimits {
  readonly node: Pick<Node, 'admit'>
  readonly maxCommandBytes: number
  readonly bodies: BodyBudget
  readonly pace: Pace
}

/** What is refused, here or by `take`, is answered; nothing throws later than this call. */
export function takeCommand(
  request: FastifyRequest,
  reply: FastifyReply,
  { node, maxCommandBytes, bodies, pace }: BodyLimits,
  take: (command: NewCommand) => void,
): void {
  const { raw } = request
  const key = idempotencyKeyOf(raw.headers)
  const traceparent = traceparentOf(raw.headers)
  const kind = kindOf(raw.headers)
  const announcedBytes = announcedBytesOf(raw.headers)
  if (announcedBytes > maxCommandBytes) throw tooLarge(maxCommandBytes)
  const use = (payload: Buffer | Error) => {
    try {
      if (payload instanceof Error) throw payload
      // Others may have come first while it arrived.
      requireRoom(node, payload.length)
      if (payload.length === 0)
        throw new Refusal(400, 'invalid-command', 'The body is empty: it must hold the command.')
      if (kind === null) throw unsupported('The request has no content-type')
      if (kind === 'json' && !isUtf8(payload)) {
        throw new Refusal(400, 'invalid-command', 'The body is not valid UTF-8, so not JSON.')
      }
      take({ kind, payload, key, traceparent })
    } catch (error) {
      fail(reply, error)
    }
  }
  const expectedBytes = Number.isNaN(announcedBytes) ? 0 : announcedBytes
  const isTaken = pace.take(expectedBytes, () => {
    try {
      requireRoom(node, announcedBytes)
      readBody(raw, announcedBytes, maxCommandBytes, tooLarge, bodies, use)
    } catch (error) {
      fail(reply, error)
    }
  })
  if (!isTaken) throw new Refusal(429, 'too-many-proposals', 'Too many commands arrive at once: try again later.', 1)
}

/** Throws ProposalError when a proposal of this size (NaN: it is not said) would be refused anyhow, before it costs more than that. */
export function requireRoom(node: Pick<Node, 'admit'>, sizeBytes: number): void {
  const refusal = node.admit(Number.isNaN(sizeBytes) ? 0 : sizeBytes)
  if (refusal !== null) throw refusal
}

const maxSmallBodyBytes = 4_096

/** The JSON value of a body that holds a few parameters; undefined when there is none. Rejects with Refusal. */
export function takeSmallJson(request: FastifyRequest, bodies: BodyBudget): Promise<unknown> {
  const { raw } = request
  const kind = kindOf(raw.headers)
  return new Promise((resolve, reject) => {
    readBody(raw, announcedBytesOf(raw.headers), maxSmallBodyBytes, notSmall, bodies, (body) => {
      if (body instanceof Error) reject(body)
      else if (body.length === 0) resolve(undefined)
      else if (kind !== 'json') reject(unsupported('The body is not JSON'))
      else if (whyNotJson(body) !== null) reject(new Refusal(400, 'invalid-parameter', 'The body is not valid JSON.'))
      else resolve(JSON.parse(body.toString()))
    })
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

/** NaN when it is not said. */
export function announcedBytesOf(headers: IncomingHttpHeaders): number {
  return Number(headers['content-length'])
}

/**
 * What is refused is read to its end and dropped, so that the client gets to read its answer. A request that breaks off calls nothing: nobody
 * is there to be answered.
 */
function readBody(
  request: IncomingMessage,
  announcedBytes: number,
  limitBytes: number,
  overLimit: (limitBytes: number) => Refusal,
  bodies: BodyBudget,
  done: (body: Buffer | Error) => void,
): void {
  let first: Buffer | null = null
  let chunks: Buffer[] | null = null
  let sizeBytes = 0
  let refused = false
  let lease: BodyLease | null = null
  request.on('data', (chunk: Buffer) => {
    if (refused) return
    sizeBytes += chunk.length
    try {
      if (sizeBytes > limitBytes) throw overLimit(limitBytes)
      // Most bodies are whole in their first chunk, and held by nobody before they are used.
      if (sizeBytes !== announcedBytes) {
        lease ??= openLease(request, bodies)
        lease.add(chunk.length)
      }
    } catch (error) {
      refused = true
      first = null
      chunks = null
      lease?.close()
      done(error as Refusal)
      return
    }
    if (first === null) first = chunk
    else if (chunks === null) chunks = [first, chunk]
    else chunks.push(chunk)
  })
  request.on('end', () => {
    if (refused) return
    lease?.close()
    // A copy, also of a single chunk: the command may live long, and would keep the whole read buffer alive.
    if (chunks === null) done(first === null ? Buffer.alloc(0) : Buffer.from(first))
    else done(Buffer.concat(chunks, sizeBytes))
  })
}

/** Until the request ends, however it does. */
function openLease(request: IncomingMessage, bodies: BodyBudget): BodyLease {
  const lease = bodies.open()
  request.once('close', () => lease.close())
  return lease
}

/** Null when the header is missing, which only matters if there is a body. */
function kindOf(headers: IncomingHttpHeaders): NewCommand['kind'] | null {
  refuseEncoded(headers)
  const { 'content-type': contentType } = headers
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

/** Throws Refusal unless the body is JSON, one value a line. */
export function requireLines(headers: IncomingHttpHeaders): void {
  refuseEncoded(headers)
  const { 'content-type': contentType } = headers
  const [essence = '', ...parameters] = (contentType ?? '').toLowerCase().split(';')
  if (essence.trim() === 'application/x-ndjson' && parameters.every(saysUtf8)) return
  throw new Refusal(
    415,
    'unsupported-media-type',
    `The body is ${contentType === undefined ? 'of no content-type' : JSON.stringify(contentType)}: send a batch as application/x-ndjson in UTF-8, one JSON command a line.`,
  )
}

function refuseEncoded({ 'content-encoding': contentEncoding }: IncomingHttpHeaders): void {
  if (contentEncoding !== undefined && contentEncoding !== 'identity') {
    throw unsupported(`The body has the content-encoding ${JSON.stringify(contentEncoding)}`)
  }
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

function notSmall(limitBytes: number): Refusal {
  return new Refusal(
    400,
    'invalid-parameter',
    `The body is larger than ${limitBytes} bytes, which this path never needs.`,
  )
}

function unsupported(what: string): Refusal {
  return new Refusal(
    415,
    'unsupported-media-type',
    `${what}: send a command as application/json in UTF-8 (any JSON value) or application/octet-stream, not encoded.`,
  )
}
