// The local API put together: one listener for the application, and by choice a read-only one for other machines.
// Closing stops accepting, lets what is in flight be answered, and is bounded.

import type { Socket } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { exitCodes, FatalError } from '../errors.ts'
import { addRaftHeaders, type Lifecycle } from './answer.ts'
import { addBatch } from './batch.ts'
import { leaveBodiesToUs } from './body.ts'
import { BodyBudget } from './body-budget.ts'
import { addCommandLog } from './command-log.ts'
import { addCommands } from './commands.ts'
import { addEvents } from './events.ts'
import { refuseGarbage } from './garbage.ts'
import { createSiteCheck, createTokenCheck, isLoopback } from './guard.ts'
import { addHealth } from './health.ts'
import { addKv } from './kv.ts'
import { addLeader } from './leader.ts'
import { listenOn } from './listen.ts'
import { addNotFound } from './not-found.ts'
import { addOpenApi } from './openapi.ts'
import type { ApiContext, ApiOptions, ListenTarget } from './options.ts'
import { Pace } from './pace.ts'
import { internalProblem, problemOf, Refusal, sendProblem } from './problem.ts'
import { addReads } from './reads.ts'
import { addSkip } from './skip.ts'
import { addSnapshot } from './snapshot.ts'
import { addMetrics, addStatus } from './status.ts'
import { addStatusPage } from './status-page.ts'
import { StreamSlots } from './stream-slots.ts'
import { addTransfer } from './transfer.ts'

const keepAliveTimeoutMs = 75_000
/** For a request to arrive whole. */
const requestTimeoutMs = 30_000
/** The whole of a request's headers is bounded by 16 KiB, so a key is too. */
const maxKeyLength = 16_384

export interface Listening {
  readonly api: ListenTarget
  readonly status: ListenTarget | null
}

export interface Api {
  /** Throws FatalError when an address cannot be bound. */
  listen(): Promise<Listening>
  close(): Promise<void>
}

export function createApi(options: ApiOptions): Api {
  const { listen, statusListen, token, logger, closeTimeoutMs = 5_000 } = options
  if ('host' in listen && !isLoopback(listen.host) && token === null) {
    throw new FatalError(
      exitCodes.configuration,
      `API_LISTEN=${listen.host}:${listen.port} lets other machines in: set API_TOKEN, or listen on 127.0.0.1.`,
    )
  }
  const lifecycle: Lifecycle = { closing: false, onClosing: new Set() }
  const context: ApiContext = {
    ...options,
    bodies: new BodyBudget(options.maxPendingBytes),
    pace: new Pace(),
    streams: new StreamSlots(options.maxStreams ?? 256),
  }
  const main = createListener(context, options, listen, lifecycle, {
    hint: (path) => mainHint(path, options),
    addRoutes: (app) => addMainRoutes(app, context, options, lifecycle),
  })
  const status =
    statusListen === null
      ? null
      : createListener(context, options, statusListen, lifecycle, {
          hint: () =>
            'STATUS_LISTEN is read-only: it has the health checks, /metrics and /v1/leader, and nothing else.',
          addRoutes: (app) => {
            addHealth(app, context)
            addLeader(app, context)
            addMetrics(app, context)
          },
        })
  const listeners = status === null ? [main] : [main, status]
  let closed: Promise<void> | null = null

  async function closeAll(): Promise<void> {
    lifecycle.closing = true
    for (const end of lifecycle.onClosing) end()
    const cut = setTimeout(() => {
      for (const { app } of listeners) app.server.closeAllConnections()
    }, closeTimeoutMs)
    await Promise.all(
      listeners.map(({ app, sockets }) => {
        const done = app.close()
        // One that never sent anything is not idle in the server's eyes, and would hold up the close.
        for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy()
        return done
      }),
    )
    clearTimeout(cut)
  }

  function close(): Promise<void> {
    closed ??= closeAll()
    return closed
  }

  return {
    async listen() {
      await Promise.all(listeners.map(({ app }) => app.ready()))
      try {
        const api = await listenOn(main.app.server, listen, 'API_LISTEN')
        const statusAddress =
          status === null || statusListen === null
            ? null
            : await listenOn(status.app.server, statusListen, 'STATUS_LISTEN')
        for (const { app } of listeners) {
          app.server.on('error', (error) => logger.error({ error }, 'An API listener failed'))
        }
        logger.info({ api, status: statusAddress }, 'API listens')
        return { api, status: statusAddress }
      } catch (error) {
        await close()
        throw error
      }
    },
    close,
  }
}

function addMainRoutes(app: FastifyInstance, context: ApiContext, options: ApiOptions, lifecycle: Lifecycle): void {
  const { token, backupIdleTimeoutMs = 60_000, streamIdleTimeoutMs = 60_000 } = options
  // Health checks answer without the token: those who ask cannot keep secrets, and they learn none. The page asks for it, and the
  // document is the same for everybody.
  addHealth(app, context)
  addStatusPage(app)
  addOpenApi(app, options.version, (described) => addMainRoutes(described, context, options, lifecycle))
  app.register((guarded, _options, done) => {
    if (token !== null) addTokenCheck(guarded, token)
    addCommands(guarded, context, lifecycle)
    addBatch(guarded, context)
    addCommandLog(guarded, context, lifecycle, streamIdleTimeoutMs)
    addSkip(guarded, context)
    if (context.kv !== null) addKv(guarded, context, context.kv, lifecycle)
    addReads(guarded, context)
    addLeader(guarded, context)
    addTransfer(guarded, context)
    addStatus(guarded, context)
    addEvents(guarded, context, lifecycle, streamIdleTimeoutMs)
    addSnapshot(guarded, context, backupIdleTimeoutMs)
    addMetrics(guarded, context)
    done()
  })
}

function mainHint(path: string, { kv }: ApiOptions): string | null {
  if (path.startsWith('/v1/kv') && kv === null)
    return 'STATE_MACHINE=app has no /v1/kv: the application holds the state.'
  return path.startsWith('/v1/members/') ? 'This version does not change the membership of a cluster.' : null
}

interface Listener {
  readonly app: FastifyInstance
  readonly sockets: ReadonlySet<Socket>
}

interface Routes {
  readonly hint: (path: string) => string | null
  readonly addRoutes: (app: FastifyInstance) => void
}

function createListener(
  context: ApiContext,
  { maxConnections = 10_000 }: ApiOptions,
  target: ListenTarget,
  lifecycle: Lifecycle,
  routes: Routes,
): Listener {
  const { node } = context
  const answerError = errorAnswer(context)
  const app: FastifyInstance = Fastify({
    logger: false,
    keepAliveTimeout: keepAliveTimeoutMs,
    requestTimeout: requestTimeoutMs,
    // Refused below, as problem+json.
    return503OnClosing: false,
    routerOptions: { maxParamLength: maxKeyLength },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false } },
    clientErrorHandler: (error, socket) => refuseGarbage(error, socket as Socket, node.appliedIndex),
    frameworkErrors: (error, request, reply) => {
      addRaftHeaders(reply, node, lifecycle)
      answerError(error, request, reply)
    },
  })
  app.server.maxConnections = maxConnections
  const sockets = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })

  const checkSite = createSiteCheck(target)
  app.addHook('onRequest', (request, _reply, done) => {
    const refusal = checkSite(request.raw.headers)
    if (refusal !== null) done(refusal)
    else if (lifecycle.closing) done(new Refusal(503, 'shutting-down', 'This node is shutting down.', 5))
    else done()
  })
  // Not run for commands that succeed: they write their own.
  app.addHook('onSend', (_request, reply, payload, done) => {
    addRaftHeaders(reply, node, lifecycle)
    done(null, payload)
  })
  app.setErrorHandler(answerError)
  leaveBodiesToUs(app)
  addNotFound(app, routes.hint)
  routes.addRoutes(app)
  return { app, sockets }
}

function addTokenCheck(app: FastifyInstance, token: string): void {
  const checkToken = createTokenCheck(token)
  app.addHook('onRequest', (request, _reply, done) => {
    const refusal = checkToken(request.raw.headers)
    if (refusal === null) done()
    else done(refusal)
  })
}

function errorAnswer({ logger }: ApiContext) {
  return (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const problem = problemOf(error, request)
    if (problem === null) logger.error({ error, method: request.method, path: request.url }, 'API request failed')
    sendProblem(reply, problem ?? internalProblem(request.method))
  }
}
