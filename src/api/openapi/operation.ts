// How an operation is described, and the same in the words of Fastify's schemas, from which most of the document is made. Headers and problems
// are put in afterwards, since every operation has them: the plug-in would take long over each.

import { STATUS_CODES } from 'node:http'
import type { FastifySchema } from 'fastify'
import type { ProblemResponse } from '../schemas.ts'
import { type AnswerHeader, type ComponentName, type RequestHeader, requestHeaders } from './components.ts'
import { type Code, sentenceOf, statusOf } from './problems.ts'

export interface Operation {
  readonly id: string
  readonly tag: string
  readonly summary: string
  readonly description?: string
  /** Null: it is called without a token. */
  readonly security?: null
  readonly params?: Readonly<Record<string, { readonly description: string; readonly example: string }>>
  readonly headers?: readonly RequestHeader[]
  /** By content type. */
  readonly body?: Readonly<Record<string, Body>>
  /** It may be left out. */
  readonly isBodyByChoice?: true
  readonly answers: Readonly<Record<number, Answer>>
  readonly problems: readonly Code[]
}

export interface Body {
  readonly schema: object
  readonly example: unknown
}

export interface Answer {
  readonly description: string
  readonly headers?: readonly AnswerHeader[]
  /** By content type; left out: the answer has no body. */
  readonly content?: Readonly<Record<string, AnswerContent>>
}

export interface AnswerContent {
  readonly schema: ComponentName | object
  readonly example?: unknown
}

const commonHeaders: readonly AnswerHeader[] = ['raft-index', 'raft-term', 'raft-leader']

export function schemaOf(operation: Operation, querystring: unknown): FastifySchema {
  const { id, tag, summary, description, security, params, headers = [], body, answers } = operation
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(security === undefined ? {} : { security: [] }),
    ...(querystring === undefined ? {} : { querystring }),
    ...(params === undefined ? {} : { params: paramsOf(params) }),
    ...(headers.length === 0 ? {} : { headers: { type: 'object', properties: pick(requestHeaders, headers) } }),
    ...(body === undefined ? {} : { body: { content: contentOf(body) } }),
    response: mapValues(answers, answerOf),
  }
}

/** As the document has it. */
export interface Response {
  readonly description: string
  readonly headers?: Readonly<Record<string, Reference>>
  readonly content?: Readonly<Record<string, object>>
}

interface Reference {
  readonly $ref: string
}

/** What the plug-in made of the answers, with their headers and the problems. A check that failed and a problem may have a status in common. */
export function withProblems(
  { answers, problems }: Operation,
  made: Readonly<Record<string, Response>>,
): Record<string, Response> {
  const whole: Record<string, Response> = {}
  for (const [status, response] of Object.entries(made)) {
    whole[status] = { ...response, headers: headersOf(answers[Number(status)]?.headers ?? []) }
  }
  for (const status of new Set(problems.map(statusOf))) {
    const codes = problems.filter((code) => statusOf(code) === status)
    const problem = problemResponse(status, codes)
    const answer = whole[status]
    whole[status] =
      answer === undefined
        ? problem
        : {
            description: `${answer.description} ${problem.description}`,
            headers: { ...answer.headers, ...problem.headers },
            content: { ...answer.content, ...problem.content },
          }
  }
  return whole
}

function paramsOf(params: NonNullable<Operation['params']>): object {
  const properties = mapValues(params, ({ description, example }) => ({
    type: 'string',
    description,
    examples: [example],
  }))
  return { type: 'object', properties, required: Object.keys(params) }
}

function contentOf(body: NonNullable<Operation['body']>): object {
  return mapValues(body, ({ schema, example }) => ({ schema: { ...schema, examples: [example] } }))
}

function answerOf({ description, content }: Answer): object {
  if (content === undefined) return { type: 'null', description }
  const media = mapValues(content, ({ schema, example }) => ({
    schema: typeof schema === 'string' ? { $ref: `${schema}#` } : schema,
    ...(example === undefined ? {} : { example }),
  }))
  return { description, content: media }
}

function headersOf(headers: readonly AnswerHeader[]): Readonly<Record<string, Reference>> {
  const names = [...commonHeaders, ...headers]
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
}

/** With an example a code. */
function problemResponse(status: number, codes: readonly Code[]): Response {
  const headers: AnswerHeader[] = []
  if (status === 429 || status === 503) headers.push('Retry-After')
  if (codes.includes('condition-failed')) headers.push('ETag')
  const examples = Object.fromEntries(codes.map((code) => [code, { value: exampleOf(code, status) }]))
  return {
    description: codes.map((code) => `\`${code}\`: ${sentenceOf(code)}`).join(' '),
    headers: headersOf(headers),
    content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' }, examples } },
  }
}

function exampleOf(code: Code, status: number): ProblemResponse {
  const title = STATUS_CODES[status] ?? 'Error'
  return { type: 'about:blank', title, status, detail: sentenceOf(code), code }
}

function pick<Name extends string>(from: Readonly<Record<Name, unknown>>, names: readonly Name[]): object {
  return Object.fromEntries(names.map((name) => [name, from[name]]))
}

function mapValues<T>(from: Readonly<Record<string, T>>, change: (value: T) => object): object {
  return Object.fromEntries(Object.entries(from).map(([name, value]) => [name, change(value)]))
}
