// Linearizable reads: the barrier, after which an application may read its own memory, and `raft-min-index`,
// which gives read-your-writes across nodes.

import type { FastifyInstance } from 'fastify'
import type { Node } from '../node/contract.ts'
import { answerJson } from './answer.ts'
import type { ApiContext } from './options.ts'
import { minIndexOf, refuseUnofferedHeaders, timeoutMsOf } from './parameters.ts'
import { BarrierQuery } from './schemas.ts'

/** Null when there is nothing to wait for; else resolves, with the time that is left, once the node holds the index. */
export function waitForMinIndex(node: Node, minIndex: number | null, timeoutMs: number): Promise<number> | null {
  if (minIndex === null || minIndex <= node.appliedIndex) return null
  const startedMs = performance.now()
  return node
    .waitApplied(minIndex, timeoutMs)
    .then(() => Math.max(1, Math.round(timeoutMs - (performance.now() - startedMs))))
}

export function addReads(app: FastifyInstance, { node }: ApiContext): void {
  app.get<{ Querystring: BarrierQuery }>(
    '/v1/barrier',
    { schema: { querystring: BarrierQuery } },
    async (request, reply) => {
      refuseUnofferedHeaders(request.headers)
      const timeoutMs = timeoutMsOf(request.query.timeout)
      const leftMs = (await waitForMinIndex(node, minIndexOf(request.headers), timeoutMs)) ?? timeoutMs
      const index = await node.readBarrier(leftMs)
      return answerJson(reply, 200, `{"index":${index}}`)
    },
  )
}
