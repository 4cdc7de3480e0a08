// The hooks as a plugin of Fastify, whose own parsing is kept away from their bodies. Nothing of Fastify is needed to load this.

import type { IncomingMessage, ServerResponse } from 'node:http'

/** What the plugin needs of a Fastify instance, of version 4 or 5. */
interface Instance {
  removeAllContentTypeParsers(): void
  addContentTypeParser(
    contentType: string,
    parser: (request: unknown, payload: unknown, done: (error: Error | null, body?: unknown) => void) => void,
  ): unknown
  route(options: {
    method: string[]
    url: string
    handler: (
      request: { readonly raw: IncomingMessage },
      reply: { readonly raw: ServerResponse; hijack(): unknown },
    ) => void
  }): unknown
}

/** For `app.register(hooks.fastify, { prefix: '/raft' })`. */
export type FastifyPlugin = (instance: Instance) => Promise<void>

export function fastifyPlugin(
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): FastifyPlugin {
  return async (instance) => {
    // Within the plugin alone: the application's own routes keep theirs.
    instance.removeAllContentTypeParsers()
    instance.addContentTypeParser('*', (_request, _payload, done) => done(null))
    instance.route({
      method: ['GET', 'POST', 'PUT'],
      url: '/*',
      handler: (request, reply) => {
        reply.hijack()
        void handle(request.raw, reply.raw)
      },
    })
  }
}
