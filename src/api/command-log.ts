// GET /v1/commands: committed commands in order, a page at a time, by long poll, or as a stream.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { CommittedRead } from '../node/contract.ts'
import { answerBytes, type Lifecycle } from './answer.ts'
import { CommandStream } from './command-stream.ts'
import { sendEvents, wantsEvents } from './event-stream.ts'
import { loggedCommandJson } from './logged-command.ts'
import type { ApiContext } from './options.ts'
import { indexOf, limitOf, waitMsOf } from './parameters.ts'
import { Refusal } from './problem.ts'
import { beginRead } from './reads.ts'
import { ReadQuery } from './schemas.ts'

/** One command may be larger, and comes alone then. */
const pageBytes = 1024 * 1024

interface Route {
  Querystring: ReadQuery
}

export function addCommandLog(
  app: FastifyInstance,
  context: ApiContext,
  lifecycle: Lifecycle,
  streamIdleTimeoutMs: number,
): void {
  const { node, logger, streams } = context

  async function stream(request: FastifyRequest<Route>, reply: FastifyReply): Promise<FastifyReply> {
    const { limit, wait } = request.query
    if (limit !== undefined || wait !== undefined) {
      throw new Refusal(
        400,
        'invalid-parameter',
        'A stream takes neither `limit` nor `wait`: it goes on until it is ended.',
      )
    }
    const after = startOf(request)
    const leave = streams.take()
    try {
      const commands = await CommandStream.open(node, logger, after)
      return sendEvents(reply, commands, lifecycle, streamIdleTimeoutMs, leave)
    } catch (error) {
      leave()
      throw error
    }
  }

  async function page({ query }: FastifyRequest<Route>, reply: FastifyReply): Promise<FastifyReply> {
    const after = query.after === undefined ? 0 : indexOf('after', query.after)
    const limit = limitOf(query.limit)
    const waitMs = waitMsOf(query.wait)
    // Held until the wait is over, though the client may have left: what it costs the node lasts as long.
    const leave = waitMs === 0 ? () => {} : streams.take()
    try {
      return answerBytes(reply, pageOf(await poll(context, lifecycle, reply, after, limit, waitMs)))
    } finally {
      leave()
    }
  }

  // A HEAD would read all of it, and a stream has no end.
  app.get<Route>(
    '/v1/commands',
    { schema: { querystring: ReadQuery }, exposeHeadRoute: false },
    async (request, reply) => {
      await beginRead(node, request.headers, request.query.timeout)
      return wantsEvents(request.headers) ? await stream(request, reply) : await page(request, reply)
    },
  )
}

/** As a browser resumes: by the id of the last event, whatever the URL said at first. */
function startOf({ headers, query }: FastifyRequest<Route>): number {
  const lastEventId = headers['last-event-id']
  if (lastEventId !== undefined) return indexOf('Last-Event-ID', String(lastEventId))
  return query.after === undefined ? 0 : indexOf('after', query.after)
}

/** Resolves as soon as there is a command, or when the time is over. */
async function poll(
  { node }: ApiContext,
  lifecycle: Lifecycle,
  { raw: response }: FastifyReply,
  after: number,
  limit: number,
  waitMs: number,
): Promise<CommittedRead> {
  const deadlineMs = performance.now() + waitMs
  for (let at = after; ; ) {
    const { commands, through } = await node.readCommitted(at, limit, pageBytes)
    at = Math.max(at, through)
    const leftMs = Math.ceil(deadlineMs - performance.now())
    if (commands.length > 0 || leftMs <= 0 || lifecycle.closing || response.destroyed) return { commands, through: at }
    await orClosing(lifecycle, node.waitCommitted(at, leftMs))
  }
}

/** A race, but one that leaves nothing behind at what outlives it. */
function orClosing(lifecycle: Lifecycle, waiting: Promise<unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = () => resolve()
    lifecycle.onClosing.add(done)
    waiting.then(done, reject).finally(() => lifecycle.onClosing.delete(done))
  })
}

function pageOf({ commands, through }: CommittedRead): Buffer {
  const parts: Uint8Array[] = []
  for (const command of commands) {
    parts.push(Buffer.from(parts.length === 0 ? '{"commands":[' : ','), loggedCommandJson(command))
  }
  if (parts.length === 0) parts.push(Buffer.from('{"commands":['))
  parts.push(Buffer.from(`],"through":${through}}`))
  return Buffer.concat(parts)
}
