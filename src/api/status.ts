// GET /v1/status, everything this node knows of itself; GET /v1/members, what it knows of the others; and /metrics for Prometheus.

import type { FastifyInstance } from 'fastify'
import { answerJson } from './answer.ts'
import { diagnose } from './diagnosis.ts'
import type { ApiContext, ReadyCheck } from './options.ts'
import { beginRead } from './reads.ts'
import { type HealthEvent, type MembersResponse, type StatusResponse, WaitQuery } from './schemas.ts'

export function addStatus(app: FastifyInstance, { node, cluster, version, readyChecks }: ApiContext): void {
  const schema = { querystring: WaitQuery }

  app.get<{ Querystring: WaitQuery }>('/v1/status', { schema }, async (request, reply) => {
    await beginRead(node, request.headers, request.query.timeout)
    const { members, configuration, ...status } = node.status()
    const known: Omit<StatusResponse, 'diagnosis'> = {
      cluster,
      version,
      ...status,
      members: [...members],
      configuration: { members: [...configuration.members] },
      checks: checksOf(readyChecks()),
    }
    const body: StatusResponse = { ...known, diagnosis: diagnose(known) }
    return answerJson(reply, 200, JSON.stringify(body))
  })

  app.get<{ Querystring: WaitQuery }>('/v1/members', { schema }, async (request, reply) => {
    await beginRead(node, request.headers, request.query.timeout)
    const body: MembersResponse = { members: [...node.status().members] }
    return answerJson(reply, 200, JSON.stringify(body))
  })
}

export function checksOf(checks: readonly ReadyCheck[]): HealthEvent['checks'] {
  return checks.map(({ name, ok, why }) => ({ name, ok, why: ok ? null : why }))
}

/** Prometheus may add parameters of its own (`name[]`), so the query is free. */
export function addMetrics(app: FastifyInstance, { metrics }: ApiContext): void {
  app.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await metrics()
    return reply.header('content-type', contentType).send(body)
  })
}
