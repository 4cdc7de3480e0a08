// The embedded key-value machine over HTTP. A write is an ordinary command; a read is linearizable unless the
// caller asks for this node's own view.

import type { FastifyInstance } from 'fastify'
import type { NewCommand } from '../node/contract.ts'
import { answerJson, type Lifecycle } from './answer.ts'
import { hasBody, takeCommand, whyNotJson } from './body.ts'
import { checkCommand, propose } from './commands.ts'
import type { ApiContext, KeyValueView } from './options.ts'
import { minIndexOf, refuseUnofferedHeaders, timeoutMsOf } from './parameters.ts'
import { Refusal } from './problem.ts'
import { waitForMinIndex } from './reads.ts'
import { CommandQuery, type KvItem, KvReadQuery } from './schemas.ts'

/** The key is the rest of the path, so it may hold slashes, plain or as %2F; the router has decoded it. */
interface KeyParams {
  '*': string
}

interface WriteRoute {
  Params: KeyParams
  Querystring: CommandQuery
}

export function addKv(app: FastifyInstance, context: ApiContext, kv: KeyValueView, lifecycle: Lifecycle): void {
  const { node, maxCommandBytes } = context
  const schema = { querystring: CommandQuery }

  app.put<WriteRoute>('/v1/kv/*', { schema }, (request, reply) => {
    const key = keyOf(request)
    takeCommand(request, reply, maxCommandBytes, (value) => {
      const command = setCommand(key, value)
      check(context, command)
      propose(context, lifecycle, request, reply, request.query, command, true)
    })
  })

  app.delete<WriteRoute>('/v1/kv/*', { schema }, (request, reply) => {
    refuseUnofferedHeaders(request.headers)
    if (hasBody(request.headers)) throw new Refusal(400, 'invalid-command', 'A DELETE takes no body.')
    const payload = Buffer.from(`{"op":"delete","key":${JSON.stringify(keyOf(request))}}`)
    const command: NewCommand = { kind: 'json', payload }
    check(context, command)
    propose(context, lifecycle, request, reply, request.query, command, false)
  })

  app.get<{ Params: KeyParams; Querystring: KvReadQuery }>(
    '/v1/kv/*',
    { schema: { querystring: KvReadQuery } },
    async (request, reply) => {
      refuseUnofferedHeaders(request.headers)
      const key = keyOf(request)
      const timeoutMs = timeoutMsOf(request.query.timeout)
      const leftMs = (await waitForMinIndex(node, minIndexOf(request.headers), timeoutMs)) ?? timeoutMs
      if (request.query.consistency !== 'local') await node.readBarrier(leftMs)
      const found = kv.get(key)
      if (found === null) throw new Refusal(404, 'key-not-found', `There is no key ${JSON.stringify(key)}.`)
      const { value, createdIndex, modifiedIndex } = found
      reply.header('etag', `"${modifiedIndex}"`)
      const item: KvItem = { key, value, createdIndex, modifiedIndex }
      return answerJson(reply, 200, kv.getJson?.(key) ?? JSON.stringify(item))
    },
  )
}

function keyOf(request: { readonly params: KeyParams }): string {
  const key = request.params['*']
  if (key === '') throw new Refusal(400, 'invalid-parameter', 'The path names no key: /v1/kv/{key}.')
  return key
}

/** The value's own bytes, spliced in. It is parsed by itself first: `1,"key":"other"` must not become part of the command. */
function setCommand(key: string, { kind, payload }: NewCommand): NewCommand {
  if (kind !== 'json') throw new Refusal(415, 'unsupported-media-type', 'A value comes as application/json.')
  checkCommand(whyNotJson(payload))
  const before = Buffer.from(`{"op":"set","key":${JSON.stringify(key)},"value":`)
  return { kind: 'json', payload: Buffer.concat([before, payload, Buffer.from('}')]) }
}

function check({ maxCommandBytes, validateCommand }: ApiContext, { kind, payload }: NewCommand): void {
  if (payload.length > maxCommandBytes) {
    throw new Refusal(
      413,
      'command-too-large',
      `Key and value make a command of ${payload.length} bytes; MAX_COMMAND_BYTES is ${maxCommandBytes}.`,
    )
  }
  checkCommand(validateCommand?.(kind, payload) ?? null)
}
