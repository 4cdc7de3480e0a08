// How an operation is described, and the same in the words of Fastify's schemas, from which the document is made.

import { STATUS_CODES } from 'node:http'
import type { FastifySchema } from 'fastify'
import type { ProblemResponse } from '../schemas.ts'
import {
  type AnswerHeader,
  answerHeaders,
  type ComponentName,
  type RequestHeader,
  requestHeaders,
} from './components.ts'
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
  const { id, tag, summary, description, security, params, headers = [], body, answers, problems } = operation
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
    response: merge(mapValues(answers, answerOf), problemAnswers(problems)),
  }
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

function answerOf({ description, headers = [], content }: Answer): ResponseSchema & { readonly type?: 'null' } {
  const common = { description, headers: pick(answerHeaders, [...commonHeaders, ...headers]) }
  if (content === undefined) return { type: 'null', ...common }
  return {
    ...common,
    content: mapValues(content, ({ schema, example }) => ({
      schema: typeof schema === 'string' ? { $ref: `${schema}#` } : schema,
      ...(example === undefined ? {} : { example }),
    })),
  }
}

interface ResponseSchema {
  readonly description: string
  readonly headers: object
  readonly content?: object
}

type ResponseSchemas = Readonly<Record<string, ResponseSchema>>

/** A check that failed and a problem may have a status in common. */
function merge(answers: ResponseSchemas, problems: ResponseSchemas): ResponseSchemas {
  const merged: Record<string, ResponseSchema> = { ...answers }
  for (const [status, problem] of Object.entries(problems)) {
    const answer = answers[status]
    merged[status] =
      answer === undefined
        ? problem
        : {
            description: `${answer.description} ${problem.description}`,
            headers: { ...answer.headers, ...problem.headers },
            content: { ...answer.content, ...problem.content },
          }
  }
  return merged
}

/** One answer a status, with an example a code. */
function problemAnswers(codes: readonly Code[]): ResponseSchemas {
  const statuses = [...new Set(codes.map(statusOf))].sort((a, b) => a - b)
  const at = (status: number) => codes.filter((code) => statusOf(code) === status)
  return Object.fromEntries(statuses.map((status) => [status, problemAnswer(status, at(status))]))
}

function problemAnswer(status: number, codes: readonly Code[]): ResponseSchema {
  const headers: AnswerHeader[] = [...commonHeaders]
  if (status === 429 || status === 503) headers.push('Retry-After')
  if (codes.includes('condition-failed')) headers.push('ETag')
  return {
    description: codes.map((code) => `\`${code}\`: ${sentenceOf(code)}`).join(' '),
    headers: pick(answerHeaders, headers),
    content: {
      'application/problem+json': {
        schema: { $ref: 'Problem#' },
        examples: Object.fromEntries(codes.map((code) => [code, { value: exampleOf(code, status) }])),
      },
    },
  }
}

function exampleOf(code: Code, status: number): ProblemResponse {
  const title = STATUS_CODES[status] ?? 'Error'
  return { type: 'about:blank', title, status, detail: sentenceOf(code), code }
}

function pick<Name extends string>(from: Readonly<Record<Name, unknown>>, names: readonly Name[]): object {
  return Object.fromEntries(names.map((name) => [name, from[name]]))
}

function mapValues<T, U>(from: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(from).map(([name, value]) => [name, change(value)]))
}
