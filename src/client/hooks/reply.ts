// What a hook answers: of the contract's table, or why it cannot.

import type { ServerResponse } from 'node:http'
import { MalformedRequest } from './batch.ts'

export interface Reply {
  readonly status: number
  /** JSON text; null: none. */
  readonly body: string | null
  readonly headers?: Readonly<Record<string, string>>
}

export class Unsigned extends Error {}
export class TooLarge extends Error {}

/** What was not foreseen is the application's own, and 500: the sidecar shows the message, and comes again. */
export function refusal(error: unknown): Reply {
  if (error instanceof MalformedRequest) return problem(400, error.message)
  if (error instanceof Unsigned) return problem(401, error.message)
  if (error instanceof TooLarge) return problem(413, error.message)
  return problem(500, error instanceof Error ? error.message : String(error))
}

export function problem(status: number, error: string): Reply {
  return json(status, { error })
}

export function json(status: number, body: object): Reply {
  return { status, body: JSON.stringify(body) }
}

export function send(response: ServerResponse, { status, body, headers = {} }: Reply): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
  response.statusCode = status
  if (body === null) {
    response.end()
    return
  }
  response.setHeader('content-type', 'application/json; charset=utf-8')
  response.setHeader('content-length', Buffer.byteLength(body))
  response.end(body)
}
