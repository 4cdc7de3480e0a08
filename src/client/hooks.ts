// The hooks that a sidecar calls, for an application in Node: the application says what its state does, and this keeps the contract: order, each
// command once, results, poison, signatures, and snapshots that are never taken in the middle of a batch.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { finished, pipeline } from 'node:stream/promises'
import { MalformedRequest, readBatch } from './hooks/batch.ts'
import { type Apply, type ApplyBatch, Delivery } from './hooks/delivery.ts'
import { type FastifyPlugin, fastifyPlugin } from './hooks/fastify-plugin.ts'
import { BodyConsumed, openHookBody, RequestBrokenOff, readHookBody } from './hooks/hook-body.ts'
import { type LeadershipChange, readLeadership } from './hooks/leadership.ts'
import { json, problem, type Reply, refusal, send, TooLarge, Unsigned } from './hooks/reply.ts'
import { SignatureCheck } from './hooks/signature.ts'
import { outgoing, RestoredState } from './hooks/state.ts'
import { Turns } from './hooks/turns.ts'

export type { CommandMeta, DeliveredCommand } from './hooks/batch.ts'
export { PoisonCommand } from './hooks/poison.ts'
export type { Apply, ApplyBatch, LeadershipChange, RestoredState }

export type HooksOptions = (
  | { readonly apply: Apply; readonly applyBatch?: undefined }
  | { readonly applyBatch: ApplyBatch; readonly apply?: undefined }
) & {
  /** The index of the last command in the state, stored in one transaction with it. Without this the state is in memory, and begins empty. */
  readonly position?: () => number | Promise<number>
  /**
   * The whole state as it is when this is called: a Uint8Array, an iterable of its parts (a stream, a generator), or any other value, which goes as
   * JSON. Commands are applied while parts are still read, and must not show in them. Comes with `restore`.
   */
  readonly snapshot?: () => unknown
  /** Puts this state in the place of the present one, at this position: whole, or it throws and leaves the present one. */
  readonly restore?: (state: RestoredState, position: number) => unknown
  /** Told in order, beside the commands. */
  readonly leadership?: (change: LeadershipChange) => unknown
  /** APP_SECRET of the sidecar; while it is changed, the old one and the new one. Without it, nothing is checked. */
  readonly secret?: string | readonly string[]
  /** 32 MiB by default, above every batch of a sidecar. */
  readonly maxBodyBytes?: number
  /** Told of what the application's own functions threw, and of what could not be served; prints it by default. */
  readonly onError?: (error: unknown) => void
}

/**
 * Takes requests to `…/apply`, `…/position`, `…/snapshot` and `…/leadership` under any path. For node:http as a listener; for Express by
 * `app.use('/raft', hooks)`, before any body parser; for Fastify by `app.register(hooks.fastify, { prefix: '/raft' })`. Resolves when it has
 * answered, and never rejects.
 */
export interface Hooks {
  (request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void): Promise<void>
  readonly fastify: FastifyPlugin
}

/** Null: the answer was written, or nobody is there to read one. */
type Hook = (request: IncomingMessage, response: ServerResponse) => Promise<Reply | null>

/** Throws TypeError for options that do not fit together. */
export function createHooks(options: HooksOptions): Hooks {
  const { position = null, snapshot, restore, leadership, secret, maxBodyBytes = 32 * 1024 * 1024 } = options
  const { apply = null, applyBatch = null, onError = (error: unknown) => console.error(error) } = options
  if ((apply === null) === (applyBatch === null)) throw new TypeError('Give either `apply` or `applyBatch`')
  if ((snapshot === undefined) !== (restore === undefined))
    throw new TypeError('`snapshot` and `restore` come together: a state that goes out must come in again')
  const signature = secret === undefined ? null : new SignatureCheck(secret)
  const delivery = new Delivery({ apply, applyBatch, position, onError })
  const state = new Turns()
  const news = new Turns()

  function checkSignature(request: IncomingMessage, content: Uint8Array | string): void {
    const why = signature?.whyNot(request.headers, content) ?? null
    if (why !== null) throw new Unsigned(why)
  }

  /** The JSON of a body whose signature is right. */
  async function readJson(request: IncomingMessage): Promise<unknown> {
    const body = await readHookBody(request, maxBodyBytes)
    if (body.type === 'too-large') throw new TooLarge(`The body is larger than maxBodyBytes, which is ${maxBodyBytes}`)
    if (body.type === 'value') {
      if (signature !== null) throw new BodyConsumed('the signature of the request can no longer be checked')
      return body.value
    }
    checkSignature(request, body.bytes)
    try {
      return JSON.parse(Buffer.from(body.bytes).toString())
    } catch {
      throw new MalformedRequest('The body is no JSON')
    }
  }

  /** When it is this request's turn, unless its sender has given up: it comes again then. */
  async function inTurn(
    turns: Turns,
    response: ServerResponse,
    work: () => Promise<Reply | null>,
  ): Promise<Reply | null> {
    return await turns.run(async () => (response.destroyed ? null : await work()))
  }

  async function sendSnapshot(take: () => unknown, response: ServerResponse): Promise<null> {
    const at = await delivery.position()
    const out = outgoing(await take())
    response.setHeader('raft-position', String(at))
    response.setHeader('content-type', 'application/octet-stream')
    if (out.type === 'bytes') {
      response.setHeader('content-length', out.bytes.length)
      response.end(out.bytes)
    } else {
      // Applying goes on as soon as these are there.
      response.flushHeaders()
      pipeline(out.parts, response).catch((error) => {
        if (!isGone(error)) onError(error)
      })
    }
    return null
  }

  async function takeSnapshot(put: NonNullable<HooksOptions['restore']>, request: IncomingMessage): Promise<Reply> {
    const at = positionOf(request)
    await put(new RestoredState(openHookBody(request)), at)
    delivery.restored(at)
    // What the application had no use for.
    if (!request.readableEnded) await finished(request.resume(), { writable: false })
    return { status: 204, body: null }
  }

  const offered: Readonly<Record<string, Readonly<Record<string, Hook>> | null>> = {
    position: {
      GET: (request, response) => {
        checkSignature(request, '')
        return inTurn(state, response, async () => json(200, { position: await delivery.position() }))
      },
    },
    apply: {
      POST: async (request, response) => {
        // Read before its turn: what is on its way holds nobody up.
        const batch = readBatch(await readJson(request))
        return await inTurn(state, response, async () => {
          const answer = await delivery.take(batch)
          switch (answer.type) {
            case 'applied':
              if (answer.results === null) return { status: 204, body: null }
              return { status: 200, body: `{"results":[${answer.results.join(',')}]}` }
            case 'elsewhere':
              return json(409, { position: answer.position })
            case 'poison':
              return json(422, { index: answer.index, reason: answer.reason })
            default:
              return answer satisfies never
          }
        })
      },
    },
    snapshot:
      snapshot === undefined || restore === undefined
        ? null
        : {
            POST: (request, response) => {
              checkSignature(request, '')
              return inTurn(state, response, () => sendSnapshot(snapshot, response))
            },
            PUT: (request, response) => {
              checkSignature(request, String(request.headers['raft-position'] ?? ''))
              return inTurn(state, response, () => takeSnapshot(restore, request))
            },
          },
    leadership:
      leadership === undefined
        ? null
        : {
            POST: async (request, response) => {
              const change = readLeadership(await readJson(request))
              return await inTurn(news, response, async () => {
                await leadership(change)
                return { status: 204, body: null }
              })
            },
          },
  }

  async function answer(hook: Hook, request: IncomingMessage, response: ServerResponse): Promise<void> {
    let reply: Reply | null = null
    try {
      reply = await hook(request, response)
    } catch (error) {
      // Its sender is gone, and comes again.
      if (request.errored !== null || error instanceof RequestBrokenOff) return
      reply = refusal(error)
      if (reply.status >= 500) onError(error)
    }
    if (reply !== null) send(response, reply)
  }

  async function handle(
    request: IncomingMessage,
    response: ServerResponse,
    next?: (error?: unknown) => void,
  ): Promise<void> {
    const [path = ''] = (request.url ?? '').split('?', 1)
    const name = path.slice(path.lastIndexOf('/') + 1)
    const methods = Object.hasOwn(offered, name) ? offered[name] : undefined
    if (methods === undefined) {
      if (next !== undefined) next()
      else send(response, problem(404, 'There is no such hook'))
    } else if (methods === null) {
      send(response, problem(501, `This application does not offer the hook ${name}`))
    } else {
      const hook = methods[request.method ?? '']
      const allow = Object.keys(methods).join(', ')
      if (hook === undefined) send(response, { ...problem(405, `The hook ${name} takes ${allow}`), headers: { allow } })
      else await answer(hook, request, response)
    }
  }

  return Object.assign(handle, { fastify: fastifyPlugin(handle) })
}

function positionOf({ headers }: IncomingMessage): number {
  const text = headers['raft-position']
  if (typeof text === 'string' && /^[0-9]{1,15}$/.test(text)) return Number(text)
  throw new MalformedRequest('The header raft-position is no index')
}

/** The sidecar left before it had read everything. */
function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE'
}
