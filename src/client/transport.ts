// One HTTP exchange with the sidecar: by undici, which knows unix sockets and keeps its connections, or by a
// `fetch` that the application brings along. How long to wait is the caller's business: its signal ends the exchange.

import { Pool } from 'undici'

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With its query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array<ArrayBuffer> | null
  readonly signal: AbortSignal
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
  /** To be read to its end, or left by `break`; it is not read ahead of whoever takes it, but for what fits a buffer. */
  readonly body: AsyncIterable<Uint8Array>
}

export interface Transport {
  send(call: Call): Promise<Answer>
  open(call: Call): Promise<StreamedAnswer>
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
  const request = ({ method, path, headers, body, signal }: Call) =>
    fetch(baseUrl + path, { method, headers: { ...headers }, signal, ...(body === null ? {} : { body }) })
  return {
    async send(call) {
      const response = await request(call)
      const text = await response.text()
      return { status: response.status, retryAfter: response.headers.get('retry-after'), text }
    },
    async open(call) {
      const response = await request(call)
      return { status: response.status, header: (name) => response.headers.get(name), body: partsOf(response) }
    },
    async close() {},
  }
}

export function undiciTransport(baseUrl: string, socketPath: string | null): Transport {
  // The sidecar keeps an idle connection for 75 s: to leave earlier means never to write into one that it has closed.
  const options = {
    ...(socketPath === null ? {} : { socketPath }),
    keepAliveTimeout: 60_000,
    keepAliveMaxTimeout: 60_000,
    // The signal of each call bounds it.
    headersTimeout: 0,
    bodyTimeout: 0,
  }
  const pool = new Pool(baseUrl, { ...options, connections: 64 })
  // Streams keep their connections: they must not take them from the calls.
  const streams = new Pool(baseUrl, options)
  return {
    async send(call) {
      const response = await pool.request(call)
      const retryAfter = response.headers['retry-after']
      const text = await response.body.text()
      return { status: response.statusCode, retryAfter: typeof retryAfter === 'string' ? retryAfter : null, text }
    },
    async open(call) {
      const { statusCode, headers, body } = await streams.request(call)
      // One that is aborted before anybody reads it must not end the process.
      body.on('error', () => {})
      return {
        status: statusCode,
        header: (name) => {
          const value = headers[name]
          return typeof value === 'string' ? value : null
        },
        body,
      }
    },
    async close() {
      await Promise.all([pool.destroy(), streams.destroy()])
    },
  }
}

async function* partsOf(response: Awaited<ReturnType<Fetch>>): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader()
  if (reader === undefined) throw new TypeError('The given fetch offers no body to read in parts')
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (done) return
      if (value !== undefined) yield value
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
