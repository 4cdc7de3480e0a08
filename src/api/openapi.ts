// GET /openapi.json: every route of the main listener, described by the schemas that it validates with. The document is made when somebody
// asks for it first, by a second application that serves nothing: neither the start nor a request carries any of it.

import Fastify, { type FastifyInstance } from 'fastify'
import { answerJson } from './answer.ts'
import { components } from './openapi/components.ts'
import { schemaOf } from './openapi/operation.ts'
import { bodiesByChoice, operations, tags } from './openapi/operations.ts'
import { NoQuery } from './schemas.ts'

type AddRoutes = (app: FastifyInstance) => void

export function addOpenApi(app: FastifyInstance, version: string, addRoutes: AddRoutes): void {
  let text: Promise<string> | null = null
  app.get('/openapi.json', { schema: { querystring: NoQuery } }, async (_request, reply) => {
    text ??= describe(version, addRoutes).then((document) => JSON.stringify(document))
    return answerJson(reply, 200, await text)
  })
}

/** Throws when a route has no description. */
async function describe(version: string, addRoutes: AddRoutes): Promise<object> {
  const { default: swagger } = await import('@fastify/swagger')
  const app = Fastify({ exposeHeadRoutes: false })
  // Nothing is validated or written here.
  app.setValidatorCompiler(() => () => true)
  app.setSerializerCompiler(() => () => '')
  app.addHook('onRoute', (route) => {
    const name = `${[route.method].flat()[0]} ${route.url}`
    const operation = operations[name]
    if (operation === undefined) throw new Error(`${name} has no description for the OpenAPI document`)
    route.schema = schemaOf(operation, route.schema?.querystring)
  })
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'raft-sidecar',
        version,
        description:
          'A Raft node in a small process beside each instance of an application: propose a command to any node, and get every committed command back, in order.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/', description: 'The sidecar that served this document' }],
      tags: [...tags],
      // The empty one: without API_TOKEN, everything on this machine may call.
      security: [{}, { token: [] }],
      components: {
        securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'API_TOKEN, when it is set' } },
      },
    },
    convertConstToEnum: false,
    refResolver: { buildLocalReference: (schema) => String(schema.$id) },
    // The key is the rest of the path.
    transform: ({ schema, url }) => ({ schema, url: url.replace('*', ':key') }),
  })
  for (const [name, schema] of Object.entries(components)) app.addSchema({ $id: name, ...schema })
  addRoutes(app)
  await app.ready()
  const document = JSON.parse(JSON.stringify(app.swagger())) as Document
  await app.close()
  document.components.headers = {}
  for (const path of Object.values(document.paths)) {
    for (const [method, operation] of Object.entries(path)) finishOperation(document, method, operation)
  }
  return document
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DescribedOperation>>>>
  readonly components: { headers?: Record<string, object> }
}

interface DescribedOperation {
  operationId: string
  readonly requestBody?: { required: boolean }
  readonly responses: Readonly<Record<string, { readonly headers?: Record<string, object> }>>
}

/** What the plug-in has no word for. */
function finishOperation(
  { components: { headers: shared = {} } }: Document,
  method: string,
  operation: DescribedOperation,
): void {
  if (operation.requestBody !== undefined && bodiesByChoice.has(operation.operationId)) {
    operation.requestBody.required = false
  }
  // One route may serve several methods; an id belongs to one.
  if (method === 'head' || method === 'options') operation.operationId += method === 'head' ? 'Head' : 'Options'
  for (const { headers = {} } of Object.values(operation.responses)) {
    for (const [name, header] of Object.entries(headers)) {
      shared[name] = header
      headers[name] = { $ref: `#/components/headers/${name}` }
    }
  }
}
