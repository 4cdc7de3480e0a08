// POST /v1/commands/{index}/skip: proposes that every node leave out the command that an application refuses for good.

import type { FastifyInstance } from 'fastify'
import { answerJson, commandText } from './answer.ts'
import { hasBody } from './body.ts'
import type { ApiContext } from './options.ts'
import { beginCall, indexOf } from './parameters.ts'
import { Refusal } from './problem.ts'
import { waitForMinIndex } from './reads.ts'
import { WaitQuery } from './schemas.ts'

interface Route {
  Params: { index: string }
  Querystring: WaitQuery
}

export function addSkip(app: FastifyInstance, { node }: ApiContext): void {
  app.post<Route>('/v1/commands/:index/skip', { schema: { querystring: WaitQuery } }, async (request, reply) => {
    const { minIndex, timeoutMs } = beginCall(request.headers, request.query.timeout)
    if (hasBody(request.headers)) throw new Refusal(400, 'invalid-parameter', 'Skipping a command takes no body.')
    const index = indexOf('index', request.params.index, 1)
    const leftMs = (await waitForMinIndex(node, minIndex, timeoutMs)) ?? timeoutMs
    const committed = await node.skip(index, leftMs)
    reply.header('raft-index', Math.max(committed.index, node.appliedIndex))
    return answerJson(reply, 200, commandText(committed, undefined))
  })
}
