// POST /v1/leader/transfer: hands leadership over to another voter.

import type { FastifyInstance } from 'fastify'
import { answerJson } from './answer.ts'
import { takeSmallJson } from './body.ts'
import type { ApiContext } from './options.ts'
import { beginCall } from './parameters.ts'
import { Refusal } from './problem.ts'
import { waitForMinIndex } from './reads.ts'
import { type TransferRequest, type TransferResponse, WaitQuery } from './schemas.ts'

export function addTransfer(app: FastifyInstance, { node, bodies }: ApiContext): void {
  app.post<{ Querystring: WaitQuery }>(
    '/v1/leader/transfer',
    { schema: { querystring: WaitQuery } },
    async (request, reply) => {
      const { minIndex, timeoutMs } = beginCall(request.headers, request.query.timeout)
      const { to = null } = transferOf(await takeSmallJson(request, bodies))
      const leftMs = (await waitForMinIndex(node, minIndex, timeoutMs)) ?? timeoutMs
      const { id, term, self, appUrl } = await node.transferLeadership(to, leftMs)
      const body: TransferResponse = { leader: { id, term, self, appUrl } }
      return answerJson(reply, 200, JSON.stringify(body))
    },
  )
}

function transferOf(body: unknown): TransferRequest {
  if (body === undefined) return {}
  if (
    typeof body === 'object' &&
    body !== null &&
    !Array.isArray(body) &&
    Object.keys(body).every((name) => name === 'to')
  ) {
    const { to } = body as Readonly<Record<string, unknown>>
    if (to === undefined) return {}
    if (typeof to === 'string' && to !== '') return { to }
  }
  throw new Refusal(
    400,
    'invalid-parameter',
    'The body is not of the form {"to":"n2"}; without `to`, the node chooses.',
  )
}
