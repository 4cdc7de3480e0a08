// GET /v1/leader: who leads, with the fencing token to show to what must obey only the newest leader.

import type { FastifyInstance } from 'fastify'
import { answerJson } from './answer.ts'
import type { ApiContext } from './options.ts'
import { Refusal } from './problem.ts'
import { beginRead } from './reads.ts'
import { type LeaderResponse, WaitQuery } from './schemas.ts'

export function addLeader(app: FastifyInstance, { node }: ApiContext): void {
  app.get<{ Querystring: WaitQuery }>('/v1/leader', { schema: { querystring: WaitQuery } }, async (request, reply) => {
    await beginRead(node, request.headers, request.query.timeout)
    const leader = node.leader()
    if (leader === null) throw new Refusal(503, 'no-leader', 'This node knows of no leader; an election is due.', 1)
    // A leader cut off from its quorum may have been replaced: it must not hand out its fencing token any more.
    if (leader.self && !node.holdsQuorum()) {
      throw new Refusal(503, 'no-leader', 'This node was elected, but no quorum has confirmed it lately.', 1)
    }
    const { id, term, self, appUrl } = leader
    const body: LeaderResponse = { id, term, self, appUrl, fencingToken: term }
    return answerJson(reply, 200, JSON.stringify(body))
  })
}
