// POST /v1/commands/batch: many commands, one a line, proposed together when all of them are found to be commands. Neither checking them nor
// writing their results holds the event loop for longer than a moment.

import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ProposalError } from '../errors.ts'
import type { AppliedCommand, NewCommand } from '../node/contract.ts'
import { answerJson, commandText } from './answer.ts'
import { announcedBytesOf, requireLines, requireRoom } from './body.ts'
import type { BodyLease } from './body-budget.ts'
import { checkCommand } from './commands.ts'
import { batchKeyOf, lineKey } from './idempotency-key.ts'
import { type LineLimits, readLines, tooLarge } from './lines.ts'
import type { ApiContext } from './options.ts'
import { minIndexOf, refuseConditions, timeoutMsOf } from './parameters.ts'
import { Refusal } from './problem.ts'
import { waitForMinIndex } from './reads.ts'
import { type BatchFailure, CommandQuery } from './schemas.ts'
import { traceparentOf } from './traceparent.ts'

const maxLines = 10_000
const maxBatchBytes = 16 * 1024 * 1024
const resultsPerTurn = 500

export function addBatch(app: FastifyInstance, context: ApiContext): void {
  const { node, bodies, maxCommandBytes, maxPendingBytes } = context
  // One that is over the bound on all that is pending could never be taken.
  const limits = { maxLines, maxLineBytes: maxCommandBytes, maxBytes: Math.min(maxBatchBytes, maxPendingBytes) }

  app.post<{ Querystring: CommandQuery }>(
    '/v1/commands/batch',
    { schema: { querystring: CommandQuery } },
    async (request, reply) => {
      const { headers } = request
      refuseConditions(headers)
      const { wait = 'applied', timeout } = request.query
      const timeoutMs = timeoutMsOf(timeout)
      const minIndex = minIndexOf(headers)
      const lease = bodies.open()
      try {
        const commands = await readCommands(context, limits, request, lease)
        if (commands === null) return reply.hijack()
        const leftMs = (await waitForMinIndex(node, minIndex, timeoutMs)) ?? timeoutMs
        const proposed = node.proposeBatch(commands, wait, leftMs)
        lease.close()
        const results = await proposed
        const last = results.reduce((index, result) => Math.max(index, indexOfResult(result)), node.appliedIndex)
        reply.header('raft-index', last)
        return answerJson(reply, wait === 'committed' ? 202 : 200, await batchText(results, wait))
      } finally {
        lease.close()
      }
    },
  )
}

/** Null: the request broke off, and nobody is there to be answered. Rejects with Refusal, which names the line. */
async function readCommands(
  context: ApiContext,
  limits: LineLimits,
  { raw }: FastifyRequest,
  lease: BodyLease,
): Promise<readonly NewCommand[] | null> {
  requireLines(raw.headers)
  const batchKey = batchKeyOf(raw.headers)
  const traceparent = traceparentOf(raw.headers)
  const announcedBytes = announcedBytesOf(raw.headers)
  if (announcedBytes > limits.maxBytes) throw tooLarge(`more than ${limits.maxBytes} bytes`)
  requireRoom(context.node, announcedBytes)
  const commands: NewCommand[] = []
  try {
    await readLines(raw, limits, lease, (payload, line) => {
      const command: NewCommand = { kind: 'json', payload, key: lineKey(batchKey, line), traceparent }
      checkLine(context, command, line)
      commands.push(command)
    })
  } catch (error) {
    if (error instanceof Refusal || raw.complete || !raw.destroyed) throw error
    return null
  }
  return commands
}

function checkLine(context: ApiContext, command: NewCommand, line: number): void {
  try {
    if (!isUtf8(command.payload)) throw new Refusal(400, 'invalid-command', 'The body is not valid UTF-8, so not JSON.')
    checkCommand(context, command)
  } catch (error) {
    if (error instanceof Refusal) throw new Refusal(error.status, error.code, `Line ${line}: ${error.message}`)
    throw error
  }
}

function indexOfResult(result: AppliedCommand | ProposalError): number {
  return result instanceof ProposalError ? (result.committed?.index ?? 0) : result.index
}

async function batchText(
  results: readonly (AppliedCommand | ProposalError)[],
  wait: 'applied' | 'committed',
): Promise<string> {
  const texts: string[] = []
  for (const result of results) {
    if (result instanceof ProposalError) texts.push(failureText(result))
    else texts.push(commandText(result, wait === 'committed' ? undefined : (result.result ?? null)))
    if (texts.length % resultsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return `{"results":[${texts.join(',')}]}`
}

function failureText({ code, outcome, message, committed }: ProposalError): string {
  const place = committed === null ? {} : { index: committed.index, term: committed.term }
  const failure: BatchFailure = { code, outcome, detail: message, ...place }
  return JSON.stringify(failure)
}
