// Server-sent events: what one looks like, and an answer that is a stream of them. It ends when the API closes, and is cut when its client
// takes nothing for too long.

import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { Lifecycle } from './answer.ts'

/** A connection over which nothing goes is taken for dead by what lies between. */
export const heartbeatMs = 15_000
export const heartbeat = ':\n\n'

/** `data` is JSON without line breaks. */
export function eventText(event: string, data: string): string {
  return `event: ${event}\ndata: ${data}\n\n`
}

/** Whether a client of a path with two representations asks for this one. */
export function wantsEvents({ accept }: IncomingHttpHeaders): boolean {
  return accept?.toLowerCase().includes('text/event-stream') ?? false
}

/** A stream that the API can bring to its end. */
export interface EndingStream extends Readable {
  finish(): void
}

/** `left` is called once, when it is over. */
export function sendEvents(
  reply: FastifyReply,
  stream: EndingStream,
  lifecycle: Lifecycle,
  idleTimeoutMs: number,
  left: () => void,
): FastifyReply {
  const finish = () => stream.finish()
  lifecycle.onClosing.add(finish)
  stream.once('close', () => {
    lifecycle.onClosing.delete(finish)
    left()
  })
  const response = reply.raw
  // What came before may have lasted longer than the client's patience.
  if (response.destroyed) {
    stream.destroy()
    return reply.hijack()
  }
  response.setTimeout(idleTimeoutMs, () => response.destroy())
  return reply
    .headers({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // It lasts as long as the connection: to keep that would only hold up a close.
      connection: 'close',
      // nginx would collect them.
      'x-accel-buffering': 'no',
    })
    .send(stream)
}
