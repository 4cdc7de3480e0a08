// POST /v1/commands: proposes one command and answers with its place in the log and its result.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { CommittedCommand, NewCommand } from '../node/contract.ts'
import { answerCommand, type Lifecycle } from './answer.ts'
import { takeCommand, whyNotJson } from './body.ts'
import type { ApiContext } from './options.ts'
import { minIndexOf, timeoutMsOf } from './parameters.ts'
import { fail, Refusal } from './problem.ts'
import { waitForMinIndex } from './reads.ts'
import { CommandQuery } from './schemas.ts'

export function addCommands(app: FastifyInstance, context: ApiContext, lifecycle: Lifecycle): void {
  const { maxCommandBytes, validateCommand } = context
  app.post<{ Querystring: CommandQuery }>(
    '/v1/commands',
    { schema: { querystring: CommandQuery } },
    (request, reply) => {
      takeCommand(request, reply, maxCommandBytes, (command) => {
        // The state machine's own check parses JSON itself: once is enough.
        if (validateCommand !== null) checkCommand(validateCommand(command.kind, command.payload))
        else if (command.kind === 'json') checkCommand(whyNotJson(command.payload))
        propose(context, lifecycle, request, reply, request.query, command, false)
      })
    },
  )
}

export function checkCommand(why: string | null): void {
  if (why !== null) throw new Refusal(400, 'invalid-command', why)
}

/** `etag`: the answer names the index as the version of the item that was written. */
export function propose(
  { node }: ApiContext,
  lifecycle: Lifecycle,
  request: FastifyRequest,
  reply: FastifyReply,
  { timeout, wait }: CommandQuery,
  command: NewCommand,
  etag: boolean,
): void {
  const timeoutMs = timeoutMsOf(timeout)
  const failed = (error: unknown) => fail(reply, error)
  const answer = (committed: CommittedCommand, result: unknown) => {
    try {
      answerCommand(reply, node, lifecycle, committed, result, etag)
    } catch (error) {
      failed(error)
    }
  }
  const go = (leftMs: number) => {
    if (wait === 'committed') {
      node.proposeCommitted(command, leftMs).then((committed) => answer(committed, undefined), failed)
    } else {
      node.propose(command, leftMs).then((applied) => answer(applied, applied.result ?? null), failed)
    }
  }
  const waiting = waitForMinIndex(node, minIndexOf(request.raw.headers), timeoutMs)
  if (waiting === null) go(timeoutMs)
  else waiting.then(go).catch(failed)
}
