// GET /v1/events: leader, membership, snapshot and health of this node, as server-sent events.

import type { FastifyInstance } from 'fastify'
import type { Lifecycle } from './answer.ts'
import { sendEvents } from './event-stream.ts'
import { NodeEvents } from './node-events.ts'
import type { ApiContext } from './options.ts'
import { beginRead } from './reads.ts'
import { WaitQuery } from './schemas.ts'

export function addEvents(
  app: FastifyInstance,
  context: ApiContext,
  lifecycle: Lifecycle,
  streamIdleTimeoutMs: number,
): void {
  const { node, streams } = context
  const events = new NodeEvents(context)
  const schema = { querystring: WaitQuery }

  // A HEAD would never be answered to its end.
  app.get<{ Querystring: WaitQuery }>('/v1/events', { schema, exposeHeadRoute: false }, async (request, reply) => {
    await beginRead(node, request.headers, request.query.timeout)
    const leave = streams.take()
    return sendEvents(reply, events.open(), lifecycle, streamIdleTimeoutMs, leave)
  })
}
