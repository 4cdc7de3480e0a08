// GET /openapi.json: every route of the main listener, described by the schemas that it validates with. The document is made when somebody
// asks for it first, and what makes it is loaded then: neither the start nor any other request carries a part of it.

import type { FastifyInstance } from 'fastify'
import { answerJson } from './answer.ts'
import { NoQuery } from './schemas.ts'

type AddRoutes = (app: FastifyInstance) => void

export function addOpenApi(app: FastifyInstance, version: string, addRoutes: AddRoutes): void {
  let text: Promise<string> | null = null
  app.get('/openapi.json', { schema: { querystring: NoQuery } }, async (_request, reply) => {
    text ??= render(version, addRoutes)
    return answerJson(reply, 200, await text)
  })
}

async function render(version: string, addRoutes: AddRoutes): Promise<string> {
  const { describe } = await import('./openapi/document.ts')
  return JSON.stringify(await describe(version, addRoutes))
}
