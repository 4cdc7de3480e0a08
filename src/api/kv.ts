// The embedded key-value machine over HTTP. A write is an ordinary command; a read is linearizable unless the
// caller asks for this node's own view.

import type { FastifyInstance, FastifyReply } from 'fastify'
import type { NewCommand } from '../node/contract.ts'
import { answerJson, type Lifecycle } from './answer.ts'
import { hasBody, takeCommand, whyNotJson } from './body.ts'
import { type Judge, propose, refuseIf } from './commands.ts'
import { idempotencyKeyOf } from './idempotency-key.ts'
import { conditionOf, etagOf, isHeld } from './kv-condition.ts'
import type { ApiContext, KeyValueView } from './options.ts'
import { limitOf, meaningless, minIndexOf, refuseKey, timeoutMsOf } from './parameters.ts'
import { ConditionFailed, Refusal } from './problem.ts'
import { beginRead, waitForMinIndex } from './reads.ts'
import { CommandQuery, type KvItem, KvListQuery, type KvListResponse, KvReadQuery } from './schemas.ts'
import { traceparentOf } from './traceparent.ts'

/** Of a page of a listing; one item may be larger, and comes alone then. */
const maxPageLength = 4 * 1024 * 1024

/** The key is the rest of the path, so it may hold slashes, plain or as %2F; the router has decoded it. */
interface KeyParams {
  '*': string
}

interface WriteRoute {
  Params: KeyParams
  Querystring: CommandQuery
}

export function addKv(app: FastifyInstance, context: ApiContext, kv: KeyValueView, lifecycle: Lifecycle): void {
  const { node } = context
  const schema = { querystring: CommandQuery }

  app.put<WriteRoute>('/v1/kv/*', { schema }, (request, reply) => {
    const key = keyOf(request)
    const condition = conditionOf(request.headers)
    takeCommand(request, reply, context, (value) => {
      const command = setCommand(key, value, condition)
      check(context, command)
      propose(context, lifecycle, request, reply, request.query, command, judgeOf(reply, condition, true))
    })
  })

  app.delete<WriteRoute>('/v1/kv/*', { schema }, (request, reply) => {
    const { headers } = request
    if (headers['if-none-match'] !== undefined) throw meaningless('If-None-Match')
    const condition = conditionOf(headers)
    if (hasBody(headers)) throw new Refusal(400, 'invalid-command', 'A DELETE takes no body.')
    const payload = Buffer.from(`{"op":"delete","key":${JSON.stringify(keyOf(request))}${memberOf(condition)}}`)
    const key = idempotencyKeyOf(headers)
    const command: NewCommand = { kind: 'json', payload, key, traceparent: traceparentOf(headers) }
    check(context, command)
    propose(context, lifecycle, request, reply, request.query, command, judgeOf(reply, condition, false))
  })

  app.get<{ Params: KeyParams; Querystring: KvReadQuery }>(
    '/v1/kv/*',
    { schema: { querystring: KvReadQuery } },
    async (request, reply) => {
      const { headers, query } = request
      refuseKey(headers)
      if (headers['if-match'] !== undefined) throw meaningless('If-Match')
      const key = keyOf(request)
      const timeoutMs = timeoutMsOf(query.timeout)
      const leftMs = (await waitForMinIndex(node, minIndexOf(headers), timeoutMs)) ?? timeoutMs
      if (query.consistency !== 'local') await node.readBarrier(leftMs)
      const found = kv.get(key)
      if (found === null) throw new Refusal(404, 'key-not-found', `There is no key ${JSON.stringify(key)}.`)
      const { value, createdIndex, modifiedIndex } = found
      const etag = etagOf(modifiedIndex)
      reply.header('etag', etag)
      if (isHeld(headers, etag)) return reply.code(304).send()
      const item: KvItem = { key, value, createdIndex, modifiedIndex }
      return answerJson(reply, 200, kv.getJson?.(key) ?? JSON.stringify(item))
    },
  )

  app.get<{ Querystring: KvListQuery }>('/v1/kv', { schema: { querystring: KvListQuery } }, async (request, reply) => {
    const { prefix = '', after = null, limit, consistency, timeout } = request.query
    const count = limitOf(limit)
    const leftMs = await beginRead(node, request.headers, timeout)
    if (consistency !== 'local') await node.readBarrier(leftMs)
    return answerJson(reply, 200, pageText(kv.listJson(prefix, after, count)))
  })
}

function keyOf(request: { readonly params: KeyParams }): string {
  const key = request.params['*']
  if (key === '') throw new Refusal(400, 'invalid-parameter', 'The path names no key: /v1/kv/{key}.')
  return key
}

/** The value's own bytes, spliced in. It is parsed by itself first: `1,"key":"other"` must not become part of the command. */
function setCommand(name: string, value: NewCommand, condition: number | null): NewCommand {
  const { kind, payload } = value
  if (kind !== 'json') throw new Refusal(415, 'unsupported-media-type', 'A value comes as application/json.')
  refuseIf(whyNotJson(payload))
  const before = Buffer.from(`{"op":"set","key":${JSON.stringify(name)},"value":`)
  return { ...value, payload: Buffer.concat([before, payload, Buffer.from(`${memberOf(condition)}}`)]) }
}

function memberOf(ifModifiedIndex: number | null): string {
  return ifModifiedIndex === null ? '' : `,"ifModifiedIndex":${ifModifiedIndex}`
}

function check({ maxCommandBytes, validateCommand }: ApiContext, { kind, payload }: NewCommand): void {
  if (payload.length > maxCommandBytes) {
    throw new Refusal(
      413,
      'command-too-large',
      `Key and value make a command of ${payload.length} bytes; MAX_COMMAND_BYTES is ${maxCommandBytes}.`,
    )
  }
  refuseIf(validateCommand?.(kind, payload) ?? null)
}

/** `writes`: the item is there afterwards, with the command's index as its version. */
function judgeOf(reply: FastifyReply, condition: number | null, writes: boolean): Judge {
  return (committed, result) => {
    if (condition !== null && isConditionFailed(result)) {
      const { error, modifiedIndex } = result
      if (modifiedIndex > 0) reply.header('etag', etagOf(modifiedIndex))
      throw new ConditionFailed(`${error}.`, committed, modifiedIndex)
    }
    // Whether a condition held is not known before it is applied.
    const isWritten = writes && (result === undefined ? condition === null : isOk(result))
    return isWritten ? etagOf(committed.index) : null
  }
}

interface ConditionFailedResult {
  readonly error: string
  readonly modifiedIndex: number
}

function isConditionFailed(result: unknown): result is ConditionFailedResult {
  return isObject(result) && result.code === 'condition-failed' && typeof result.modifiedIndex === 'number'
}

function isOk(result: unknown): boolean {
  return isObject(result) && result.ok === true
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

/** At least one item, if there is one, and no more than fit. */
function pageText({ items, more }: ReturnType<KeyValueView['listJson']>): string {
  let count = 0
  for (let length = 0; count < items.length; count++) {
    length += items[count]?.length ?? 0
    if (count > 0 && length > maxPageLength) break
  }
  const isLast = count === items.length && !more
  const last = items[count - 1]
  const next: KvListResponse['next'] = isLast || last === undefined ? null : (JSON.parse(last) as KvItem).key
  return `{"items":[${items.slice(0, count).join(',')}],"more":${!isLast},"next":${JSON.stringify(next)}}`
}
