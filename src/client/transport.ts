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

/** An answer that is too large to be taken as one. */
export interface StreamedAnswer {
  readonly status: number
  header(name: string): string | null
  /** To be read to its end, or left by `break`; fails when nothing arrives for `idleTimeoutMs`. */
  readonly body: AsyncIterable<Uint8Array>
}

export interface Transport {
  send(call: Call): Promise<Answer>
  /** `timeoutMs` of the call bounds how long the answer may take to begin. */
  open(call: Call, idleTimeoutMs: number): Promise<StreamedAnswer>
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
  readonly body?: {
    getReader(): {
      read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
      cancel(): Promise<void>
    }
  } | null
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
    async open({ method, path, headers, body, timeoutMs }, idleTimeoutMs) {
      const abort = new AbortController()
      const init = { method, headers: { ...headers }, signal: abort.signal, ...(body === null ? {} : { body }) }
      const response = await within(timeoutMs, abort, fetch(baseUrl + path, init))
      return {
        status: response.status,
        header: (name) => response.headers.get(name),
        body: partsOf(response, abort, idleTimeoutMs),
      }
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
    async open({ method, path, headers, body, timeoutMs }, idleTimeoutMs) {
      const response = await pool.request({
        method,
        path,
        headers,
        body,
        headersTimeout: timeoutMs,
        bodyTimeout: idleTimeoutMs,
      })
      return {
        status: response.statusCode,
        header: (name) => {
          const value = response.headers[name]
          return typeof value === 'string' ? value : null
        },
        body: response.body,
      }
    },
    close: () => pool.destroy(),
  }
}

async function* partsOf(
  response: Awaited<ReturnType<Fetch>>,
  abort: AbortController,
  idleTimeoutMs: number,
): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader()
  if (reader === undefined) throw new TypeError('The given fetch offers no body to read in parts')
  try {
    while (true) {
      const { done, value } = await within(idleTimeoutMs, abort, reader.read())
      if (done) return
      if (value !== undefined) yield value
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

async function within<T>(timeoutMs: number, abort: AbortController, promise: Promise<T>): Promise<T> {
  const timer = setTimeout(() => abort.abort(new Error(`Nothing came for ${timeoutMs} ms`)), timeoutMs)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
  }
}
