// An HTTP server on the loopback that answers as it is told and remembers what it was asked.

import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Request {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly headers: IncomingHttpHeaders
  readonly contentType: string | undefined
  readonly authorization: string | undefined
  readonly body: string
}

export interface FakeSidecar {
  readonly requests: readonly Request[]
  readonly url: string
  close(): Promise<void>
}

export interface FakeAnswer {
  readonly status: number
  /** As JSON. */
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** `null` breaks the connection off; a function writes the answer itself. */
export type Answers = (request: Request) => FakeAnswer | ((response: ServerResponse) => void) | null

/** Listens on a free port, on this one, or on this unix socket. */
export async function startFakeSidecar(answers: Answers, where: string | number = 0): Promise<FakeSidecar> {
  const requests: Request[] = []
  const server = createServer(async (incoming, response) => {
    const chunks: Uint8Array[] = []
    for await (const chunk of incoming) chunks.push(chunk)
    const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://localhost')
    const request: Request = {
      method: incoming.method ?? '',
      path: pathname,
      query: Object.fromEntries(searchParams),
      headers: incoming.headers,
      contentType: incoming.headers['content-type'],
      authorization: incoming.headers.authorization,
      body: Buffer.concat(chunks).toString('latin1'),
    }
    requests.push(request)
    const answer = answers(request)
    if (answer === null) return incoming.socket.destroy()
    if (typeof answer === 'function') return answer(response)
    const { status, body, headers } = answer
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) =>
    typeof where === 'number' ? server.listen(where, '127.0.0.1', resolve) : server.listen(where, resolve),
  )
  const url = typeof where === 'number' ? `http://127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${where}`
  return {
    requests,
    url,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
