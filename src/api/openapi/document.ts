// The OpenAPI document, made by a second application that serves nothing: its routes are those of the API, described.

import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import { answerHeaders, components } from './components.ts'
import { type Response, schemaOf, withProblems } from './operation.ts'
import { operations, tags } from './operations.ts'

/** Throws when a route has no description. */
export async function describe(version: string, addRoutes: (app: FastifyInstance) => void): Promise<object> {
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
  const byId = new Map(Object.values(operations).map((operation) => [operation.id, operation]))
  for (const path of Object.values(document.paths)) {
    for (const [method, made] of Object.entries(path)) {
      const operation = byId.get(made.operationId)
      if (operation === undefined) throw new Error(`The document has an operation ${made.operationId} of its own`)
      made.responses = withProblems(operation, made.responses)
      if (made.requestBody !== undefined) made.requestBody.required = operation.isBodyByChoice !== true
      // One route may serve several methods; an id belongs to one.
      if (method === 'head' || method === 'options') made.operationId += method === 'head' ? 'Head' : 'Options'
    }
  }
  document.components.headers = Object.fromEntries(Object.entries(answerHeaders).map(headerOf))
  return document
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, MadeOperation>>>>
  readonly components: { headers?: object }
}

/** By the plug-in. */
interface MadeOperation {
  operationId: string
  readonly requestBody?: { required: boolean }
  responses: Readonly<Record<string, Response>>
}

function headerOf([name, { description, ...schema }]: [string, { readonly description: string }]): [string, object] {
  return [name, { description, schema }]
}
