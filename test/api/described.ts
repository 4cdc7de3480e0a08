// Holds every answer of the test suite against the OpenAPI document: its status, its content type, its shape to the last property, the code of
// its problem, and its headers.

import assert from 'node:assert/strict'
import { Check, Errors } from 'typebox/schema'
import { createApi } from '../../src/api/server.ts'
import { FakeNode } from './fake-node.ts'
import { apiOptions, kvOf, portOf } from './running-api.ts'

export interface OpenApiDocument {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, DescribedOperation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

export interface DescribedOperation {
  readonly operationId: string
  readonly parameters?: readonly { readonly in: string; readonly name: string; readonly description?: string }[]
  readonly requestBody?: { readonly required: boolean; readonly content: Readonly<Record<string, object>> }
  readonly responses: Readonly<Record<string, DescribedAnswer>>
}

interface DescribedAnswer {
  readonly description: string
  readonly headers?: Readonly<Record<string, object>>
  readonly content?: Readonly<Record<string, { readonly schema: object; readonly examples?: Record<string, object> }>>
}

export interface Answered {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
}

let reading: Promise<OpenApiDocument> | null = null

/** As the API serves it, under STATE_MACHINE=kv. */
export function readDocument(): Promise<OpenApiDocument> {
  reading ??= fetchDocument()
  return reading
}

async function fetchDocument(): Promise<OpenApiDocument> {
  const api = createApi(apiOptions(new FakeNode(), { kv: kvOf([]) }))
  try {
    const listening = await api.listen()
    const response = await fetch(`http://127.0.0.1:${portOf(listening.api)}/openapi.json`)
    assert.equal(response.status, 200)
    return (await response.json()) as OpenApiDocument
  } finally {
    await api.close()
  }
}

/** Of paths and methods that the document does not know, nothing but a problem may come. */
export async function assertDescribed(answered: Answered): Promise<void> {
  const document = await readDocument()
  const { method, path, status, headers, text } = answered
  const what = `${method} ${path} answered ${status}`
  const contentType = String(headers['content-type'] ?? '').replace(/;.*/, '')
  const operation = operationOf(document, method, path)
  // What one listener or state machine offers, another may not.
  const isElsewhere = (status === 404 || status === 405) && /"code":"(not-found|method-not-allowed)"/.test(text)
  if (operation === null || isElsewhere) {
    if (method === 'HEAD') return
    assert.ok([400, 401, 403, 404, 405, 503].includes(status), `${what}, though the document does not know it`)
    assertFits(document, { $ref: '#/components/schemas/Problem' }, JSON.parse(text), what)
    return
  }
  const answer = operation.responses[status]
  assert.ok(answer !== undefined, `${what}, which ${operation.operationId} does not describe: ${text}`)
  for (const name of Object.keys(headers)) {
    if (/^(content-|connection$|keep-alive$|date$|transfer-|cache-|www-|x-|allow$|referrer-)/.test(name)) continue
    const described = Object.keys(answer.headers ?? {}).some((header) => header.toLowerCase() === name)
    assert.ok(described, `${what} with the header ${name}, which ${operation.operationId} does not describe`)
  }
  if (text === '') return
  const content = answer.content?.[contentType]
  assert.ok(content !== undefined, `${what} with ${contentType}, which ${operation.operationId} does not describe`)
  if (!contentType.endsWith('json')) return
  const value = JSON.parse(text)
  assertFits(document, content.schema, value, what)
  if (contentType !== 'application/problem+json') return
  assert.ok(value.code in (content.examples ?? {}), `${what} with the code ${value.code}, which it does not describe`)
}

/** Null for what the document has nothing to say of. */
function operationOf(document: OpenApiDocument, method: string, path: string): DescribedOperation | null {
  const pathname = path.replace(/\?.*$/s, '')
  const template = Object.keys(document.paths)
    .sort((a, b) => Number(a.includes('{')) - Number(b.includes('{')))
    .find((each) => new RegExp(`^${each.replace('{key}', '.+').replace(/\{[a-z]+\}/g, '[^/]+')}$`).test(pathname))
  return (template === undefined ? undefined : document.paths[template]?.[method.toLowerCase()]) ?? null
}

export function assertFits(document: OpenApiDocument, schema: object, value: unknown, what: string): void {
  const whole = closed(resolved(document, schema)) as object
  if (Check(whole, value)) return
  assert.fail(`${what}, and its body does not fit: ${JSON.stringify(Errors(whole, value))}: ${JSON.stringify(value)}`)
}

function resolved(document: OpenApiDocument, schema: unknown): unknown {
  if (typeof schema !== 'object' || schema === null) return schema
  if ('$ref' in schema) {
    const name = String(schema.$ref).replace('#/components/schemas/', '')
    const component = document.components.schemas[name]
    assert.ok(component !== undefined, `The document has no ${String(schema.$ref)}`)
    return resolved(document, component)
  }
  if (Array.isArray(schema)) return schema.map((each) => resolved(document, each))
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolved(document, value)]))
}

/** A client may get more than is described, but this version sends nothing more. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed)
  if (typeof schema !== 'object' || schema === null) return schema
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]))
  return 'properties' in inner && !('additionalProperties' in inner) ? { ...inner, additionalProperties: false } : inner
}
