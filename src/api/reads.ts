// Linearizable reads: the barrier, after which an application may read its own memory, and `raft-min-index`,
// which gives read-your-writes across nodes.

import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Node } from '../node/contract.ts'
import { answerJson } from './answer.ts'
import type { ApiContext } from './options.ts'
import { beginCall } from './parameters.ts'
import { Refusal } from './problem.ts'
import { BarrierQuery } from './schemas.ts'

/** Null when there is nothing to wait for; else resolves, with the time that is left, once the node holds the index. */
export function waitForMinIndex(node: Node, minIndex: number | null, timeoutMs: number): Promise<number> | null {
  if (minIndex === null || minIndex <= node.appliedIndex) return null
  const startedMs = performance.now()
  return node
    .waitApplied(minIndex, timeoutMs)
    .then(() => Math.max(1, Math.round(timeoutMs - (performance.now() - startedMs))))
}

/** The same with a body in hand. Throws Refusal when there is no room to hold it for so long. */
export function waitHolding(
  { node, bodies }: ApiContext,
  minIndex: number | null,
  timeoutMs: number,
  bodyBytes: number,
): Promise<number> | null {
  if (minIndex === null || minIndex <= node.appliedIndex) return null
  const lease = bodies.open()
  lease.add(bodyBytes)
  const waiting = waitForMinIndex(node, minIndex, timeoutMs)
  return waiting === null ? null : waiting.finally(() => lease.close())
}

/** What a request that only reads begins with. Resolves with the time that is left. */
export async function beginRead(
  node: Node,
  headers: IncomingHttpHeaders,
  timeout: string | undefined,
): Promise<number> {
  const { minIndex, timeoutMs } = beginCall(headers, timeout)
  return (await waitForMinIndex(node, minIndex, timeoutMs)) ?? timeoutMs
}

export function addReads(app: FastifyInstance, { node, leaseReads }: ApiContext): void {
  app.get<{ Querystring: BarrierQuery }>(
    '/v1/barrier',
    { schema: { querystring: BarrierQuery } },
    async (request, reply) => {
      const { timeout, mode = 'read-index' } = request.query
      if (mode === 'lease' && !leaseReads) {
        throw new Refusal(
          400,
          'invalid-parameter',
          'This node does not offer `mode=lease`: set LEASE_READS=true, or leave the mode out.',
        )
      }
      const leftMs = await beginRead(node, request.headers, timeout)
      const index = await node.readBarrier(leftMs, mode)
      return answerJson(reply, 200, `{"index":${index}}`)
    },
  )
}
