// An HTTP server on the loopback that answers as it is told and remembers what it was asked.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Request {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly contentType: string | undefined
  readonly authorization: string | undefined
  readonly body: string
}

export interface FakeSidecar {
  readonly requests: readonly Request[]
  readonly url: string
  close(): Promise<void>
}

/** `null` breaks the connection off. */
export type Answers = (request: Request) => { readonly status: number; readonly body: unknown } | null

export async function startFakeSidecar(answers: Answers, socketPath?: string): Promise<FakeSidecar> {
  const requests: Request[] = []
  const server = createServer(async (incoming, response) => {
    const chunks: Uint8Array[] = []
    for await (const chunk of incoming) chunks.push(chunk)
    const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://localhost')
    const request: Request = {
      method: incoming.method ?? '',
      path: pathname,
      query: Object.fromEntries(searchParams),
      contentType: incoming.headers['content-type'],
      authorization: incoming.headers.authorization,
      body: Buffer.concat(chunks).toString('latin1'),
    }
    requests.push(request)
    const answer = answers(request)
    if (answer === null) return incoming.socket.destroy()
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body))
  })
  await new Promise<void>((resolve) =>
    socketPath === undefined ? server.listen(0, '127.0.0.1', resolve) : server.listen(socketPath, resolve),
  )
  const url =
    socketPath === undefined ? `http://127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${socketPath}`
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
