// The hooks behind each kind of server, under a base path, and a plain HTTP call to them.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import express from 'express'
import { fastify } from 'fastify'
import { type Dispatcher, Pool } from 'undici'
import { createHooks, type HooksOptions } from '../../src/client/client.ts'

export interface HookAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  /** Undefined: it is none. */
  readonly json: unknown
}

export interface HookCall {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>
}

export interface Served {
  readonly url: string
  /** `path` behind the base path, such as `/apply`. */
  send(method: string, path: string, call?: HookCall): Promise<HookAnswer>
  /** For what is read part by part. */
  open(method: string, path: string, call?: HookCall): Promise<Dispatcher.ResponseData>
  /** What the hooks told of. */
  readonly errors: readonly unknown[]
}

export type Serve = (t: TestContext, options: HooksOptions) => Promise<Served>

export const servers: readonly (readonly [name: string, serve: Serve])[] = [
  ['node:http', serveHttp],
  ['Express', serveExpress],
  ['Fastify', serveFastify],
]

async function serveHttp(t: TestContext, options: HooksOptions): Promise<Served> {
  const { hooks, errors } = hooksOf(options)
  return await served(t, createServer(hooks), '/raft', errors)
}

async function serveExpress(t: TestContext, options: HooksOptions): Promise<Served> {
  const { hooks, errors } = hooksOf(options)
  const app = express()
  app.use('/some/where/raft', hooks)
  return await served(t, createServer(app), '/some/where/raft', errors)
}

async function serveFastify(t: TestContext, options: HooksOptions): Promise<Served> {
  const { hooks, errors } = hooksOf(options)
  const app = fastify()
  app.register(hooks.fastify, { prefix: '/raft' })
  await app.ready()
  t.after(() => app.close())
  return await served(t, app.server, '/raft', errors)
}

export function hooksOf(options: HooksOptions) {
  const errors: unknown[] = []
  return { hooks: createHooks({ onError: (error) => errors.push(error), ...options }), errors }
}

export async function served(
  t: TestContext,
  server: Server,
  basePath: string,
  errors: readonly unknown[] = [],
): Promise<Served> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const pool = new Pool(origin)
  t.after(async () => {
    await pool.destroy()
    server.closeAllConnections()
    server.close()
  })
  const open: Served['open'] = (method, path, { headers = {}, body } = {}) => {
    const type: Record<string, string> = typeof body === 'string' ? { 'content-type': 'application/json' } : {}
    return pool.request({
      method: method as Dispatcher.HttpMethod,
      path: basePath + path,
      headers: { ...type, ...headers },
      // undici takes any AsyncIterable; its types know of streams only.
      body: (body ?? null) as string | Uint8Array | Readable | null,
    })
  }
  return {
    url: origin + basePath,
    errors,
    open,
    async send(method, path, call) {
      const response = await open(method, path, call)
      const text = await response.body.text()
      return { status: response.statusCode, headers: response.headers, text, json: jsonOf(text) }
    },
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
