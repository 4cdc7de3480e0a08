// GET /v1/status, everything this node knows of itself, and /metrics for Prometheus.

import type { FastifyInstance } from 'fastify'
import { answerJson } from './answer.ts'
import type { ApiContext } from './options.ts'
import { minIndexOf, refuseUnofferedHeaders, timeoutMsOf } from './parameters.ts'
import { waitForMinIndex } from './reads.ts'
import { type StatusResponse, WaitQuery } from './schemas.ts'

export function addStatus(app: FastifyInstance, { node, cluster, version, readyChecks }: ApiContext): void {
  app.get<{ Querystring: WaitQuery }>('/v1/status', { schema: { querystring: WaitQuery } }, async (request, reply) => {
    refuseUnofferedHeaders(request.headers)
    await waitForMinIndex(node, minIndexOf(request.headers), timeoutMsOf(request.query.timeout))
    const { members, configuration, ...status } = node.status()
    const checks = readyChecks().map(({ name, ok, why }) => ({ name, ok, why: ok ? null : why }))
    const body: StatusResponse = {
      cluster,
      version,
      ...status,
      members: [...members],
      configuration: { members: [...configuration.members] },
      checks,
    }
    return answerJson(reply, 200, JSON.stringify(body))
  })
}

/** Prometheus may add parameters of its own (`name[]`), so the query is free. */
export function addMetrics(app: FastifyInstance, { metrics }: ApiContext): void {
  app.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await metrics()
    return reply.header('content-type', contentType).send(body)
  })
}
