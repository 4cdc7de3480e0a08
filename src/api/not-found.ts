// Answers for what is not there: 405 with `Allow` where only the method is wrong, else 404 with what there is instead.

import type { FastifyInstance } from 'fastify'
import { Refusal } from './problem.ts'

/** Must be called before the routes are added: it learns them as they come. `hint` may say more about a path. */
export function addNotFound(app: FastifyInstance, hint: (path: string) => string | null): void {
  const known: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = new RegExp(`^${url.replace(/:[a-z]+/g, '[^/]+').replace('*', '.*')}$`)
    known.push({ pattern, methods: [method].flat() })
  })
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.replace(/\?.*$/s, '')
    const allowed = known.flatMap(({ pattern, methods }) => (pattern.test(path) ? methods : []))
    if (allowed.length === 0) throw new Refusal(404, 'not-found', hint(path) ?? 'There is nothing at this path.')
    const allow = [...new Set(allowed)].sort().join(', ')
    reply.header('allow', allow)
    throw new Refusal(405, 'method-not-allowed', `This path takes ${allow}, not ${request.method}.`)
  })
}
