// Health checks for load balancers (200 or 503 by role), for supervisors (/livez) and for whoever asks what is
// wrong (/readyz, in etcd's form).

import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Node } from '../node/contract.ts'
import { answerJson } from './answer.ts'
import type { ApiContext, ReadyCheck } from './options.ts'
import { Refusal } from './problem.ts'
import { type HealthResponse, NoQuery, ReadyQuery } from './schemas.ts'

const healthy: Readonly<Record<string, (node: Node) => boolean>> = {
  leader: (node) => node.holdsQuorum(),
  follower: (node) => node.status().role === 'follower' && node.leader() !== null,
  learner: (node) => node.status().role === 'learner' && node.leader() !== null,
}

export function addHealth(app: FastifyInstance, { node, readyChecks }: ApiContext): void {
  for (const [role, isHealthy] of Object.entries(healthy)) {
    app.route({
      method: ['GET', 'HEAD', 'OPTIONS'],
      url: `/health/${role}`,
      schema: { querystring: NoQuery },
      handler: (_request, reply) => {
        const ok = isHealthy(node)
        const body: HealthResponse = { ok, role: node.status().role, term: node.currentTerm }
        answerJson(reply, ok ? 200 : 503, JSON.stringify(body))
      },
    })
  }

  app.get('/livez', { schema: { querystring: ReadyQuery } }, (_request, reply) => {
    answerText(reply, 200, 'ok\n')
  })

  app.get<{ Querystring: ReadyQuery }>('/readyz', { schema: { querystring: ReadyQuery } }, (request, reply) => {
    const checks = readyChecks()
    const ready = checks.every(({ ok }) => ok)
    // Always verbose on failure: the answer is what somebody reads at night.
    const verbose = !ready || request.query.verbose !== undefined
    const lines = verbose ? checks.map(lineOf) : []
    answerText(reply, ready ? 200 : 503, [...lines, ready ? 'ok' : 'not ready', ''].join('\n'))
  })

  app.get<{ Params: { check: string } }>(
    '/readyz/:check',
    { schema: { querystring: ReadyQuery } },
    (request, reply) => {
      const checks = readyChecks()
      const check = checks.find(({ name }) => name === request.params.check)
      if (check === undefined) {
        const names = checks.map(({ name }) => name).join(', ')
        throw new Refusal(404, 'not-found', `There is no such check; there are: ${names}.`)
      }
      answerText(reply, check.ok ? 200 : 503, `${lineOf(check)}\n`)
    },
  )
}

function lineOf({ name, ok, why }: ReadyCheck): string {
  return ok ? `[+]${name} ok` : `[-]${name} failed: ${why}`
}

function answerText(reply: FastifyReply, status: number, text: string): void {
  reply.code(status).header('content-type', 'text/plain; charset=utf-8').header('cache-control', 'no-store').send(text)
}
