// One HTTP exchange with the sidecar: by undici, which knows unix sockets and keeps its connections, or by a
// `fetch` that the application brings along.

import { Pool } from 'undici'

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With its query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array<ArrayBuffer> | null
  readonly timeoutMs: number
}

export interface Answer {
  readonly status: number
  readonly retryAfter: string | null
  readonly text: string
}

export interface Transport {
  send(call: Call): Promise<Answer>
  close(): Promise<void>
}

/** What the client needs of a fetch; the global one fits. */
export type Fetch = (
  url: string,
  init: {
    method: string
    headers: Record<string, string>
    body?: string | Uint8Array<ArrayBuffer>
    signal: AbortSignal
  },
) => Promise<{
  readonly status: number
  readonly headers: { get(name: string): string | null }
  text(): Promise<string>
}>

export function fetchTransport(baseUrl: string, fetch: Fetch): Transport {
  return {
    async send({ method, path, headers, body, timeoutMs }) {
      const signal = AbortSignal.timeout(timeoutMs)
      const init = { method, headers: { ...headers }, signal, ...(body === null ? {} : { body }) }
      const response = await fetch(baseUrl + path, init)
      const text = await response.text()
      return { status: response.status, retryAfter: response.headers.get('retry-after'), text }
    },
    async close() {},
  }
}

export function undiciTransport(baseUrl: string, socketPath: string | null): Transport {
  // The sidecar keeps an idle connection for 75 s: to leave earlier means never to write into one that it has closed.
  const pool = new Pool(baseUrl, {
    ...(socketPath === null ? {} : { socketPath }),
    connections: 64,
    keepAliveTimeout: 60_000,
    keepAliveMaxTimeout: 60_000,
  })
  return {
    async send({ method, path, headers, body, timeoutMs }) {
      const response = await pool.request({
        method,
        path,
        headers,
        body,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      })
      const retryAfter = response.headers['retry-after']
      const text = await response.body.text()
      return { status: response.statusCode, retryAfter: typeof retryAfter === 'string' ? retryAfter : null, text }
    },
    close: () => pool.destroy(),
  }
}
