// POST /v1/commands: proposes one command and answers with its place in the log and its result.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { CommittedCommand, NewCommand } from '../node/contract.ts'
import { answerCommand, type Lifecycle } from './answer.ts'
import { takeCommand, whyNotJson } from './body.ts'
import { whyTooDeep } from './json-depth.ts'
import type { ApiContext } from './options.ts'
import { minIndexOf, refuseConditions, timeoutMsOf } from './parameters.ts'
import { fail, Refusal } from './problem.ts'
import { waitHolding } from './reads.ts'
import { CommandQuery } from './schemas.ts'

export function addCommands(app: FastifyInstance, context: ApiContext, lifecycle: Lifecycle): void {
  app.post<{ Querystring: CommandQuery }>(
    '/v1/commands',
    { schema: { querystring: CommandQuery } },
    (request, reply) => {
      refuseConditions(request.raw.headers)
      takeCommand(request, reply, context, (command) => {
        checkCommand(context, command)
        propose(context, lifecycle, request, reply, request.query, command, null)
      })
    },
  )
}

/** Throws Refusal. The state machine's own check parses JSON itself: once is enough. */
export function checkCommand({ validateCommand }: ApiContext, { kind, payload }: NewCommand): void {
  if (validateCommand !== null) refuseIf(validateCommand(kind, payload))
  else if (kind === 'json') refuseIf(whyNotJson(payload) ?? whyTooDeep(payload))
}

export function refuseIf(why: string | null): void {
  if (why !== null) throw new Refusal(400, 'invalid-command', why)
}

/** Judges what the state machine answered (undefined: it was not waited for): an ETag for the answer, null for none; may throw ConditionFailed. */
export type Judge = (committed: CommittedCommand, result: unknown) => string | null

export function propose(
  context: ApiContext,
  lifecycle: Lifecycle,
  request: FastifyRequest,
  reply: FastifyReply,
  { timeout, wait }: CommandQuery,
  command: NewCommand,
  judge: Judge | null,
): void {
  const { node } = context
  const timeoutMs = timeoutMsOf(timeout)
  const failed = (error: unknown) => fail(reply, error)
  const answer = (committed: CommittedCommand, result: unknown) => {
    try {
      const etag = judge === null ? null : judge(committed, result)
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
  const waiting = waitHolding(context, minIndexOf(request.raw.headers), timeoutMs, command.payload.length)
  if (waiting === null) go(timeoutMs)
  else waiting.then(go).catch(failed)
}
