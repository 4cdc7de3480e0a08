// An API on a free loopback port in front of a fake node, and a plain HTTP call to it.

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import { Pool } from 'undici'
import type { ApiOptions, KeyValueItem, KeyValueView, ListenTarget } from '../../src/api/options.ts'
import { type Api, createApi } from '../../src/api/server.ts'
import { assertDescribed } from './described.ts'
import { FakeNode } from './fake-node.ts'

export interface Reply {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
  readonly json: Record<string, unknown>
}

export type Send = (
  method: string,
  path: string,
  options?: { headers?: Record<string, string>; body?: string | Buffer },
) => Promise<Reply>

export interface RunningApi {
  readonly api: Api
  readonly node: FakeNode
  readonly port: number
  readonly send: Send
  readonly sendStatus: Send
}

export const jsonType = { 'content-type': 'application/json' }

export function apiOptions(node: FakeNode, overrides: Partial<ApiOptions> = {}): ApiOptions {
  return {
    node,
    cluster: 'orders',
    version: '1.2.3',
    listen: { host: '127.0.0.1', port: 0 },
    statusListen: null,
    token: null,
    maxCommandBytes: 1_024,
    maxPendingBytes: 64 * 1024 * 1024,
    leaseReads: false,
    kv: null,
    validateCommand: null,
    readyChecks: () => [],
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
    logger: pino({ level: 'silent' }),
    closeTimeoutMs: 1_000,
    ...overrides,
  }
}

export async function startApi(t: TestContext, overrides: Partial<ApiOptions> = {}): Promise<RunningApi> {
  const node = new FakeNode()
  const api = createApi(apiOptions(node, overrides))
  const listening = await api.listen()
  const port = portOf(listening.api)
  t.after(() => api.close())
  const status = listening.status === null ? port : portOf(listening.status)
  return { api, node, port, send: sender(t, port), sendStatus: sender(t, status) }
}

export function kvOf(items: readonly KeyValueItem[]): KeyValueView {
  return {
    get: (key) => items.find((item) => item.key === key) ?? null,
    listJson(prefix, after, limit) {
      const found = items.filter(({ key }) => key.startsWith(prefix) && (after === null || key > after))
      return { items: found.slice(0, limit).map((item) => JSON.stringify(item)), more: found.length > limit }
    },
  }
}

function sender(t: TestContext, port: number): Send {
  const pool = new Pool(`http://127.0.0.1:${port}`)
  t.after(() => pool.destroy())
  return async (method, path, { headers = {}, body } = {}) => {
    const response = await pool.request({ method: method as 'GET', path, headers, body: body ?? null })
    const text = await response.body.text()
    await assertDescribed({ method, path, status: response.statusCode, headers: response.headers, text })
    const isJson = String(response.headers['content-type']).includes('json') && text !== ''
    return { status: response.statusCode, headers: response.headers, text, json: isJson ? JSON.parse(text) : {} }
  }
}

export function portOf(target: ListenTarget): number {
  assert('port' in target)
  return target.port
}

/** Polls until the condition holds; the bound is generous, for a loaded machine. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadlineMs = performance.now() + 10_000
  while (!(await condition())) {
    assert(performance.now() < deadlineMs, `Waited 10 s until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
