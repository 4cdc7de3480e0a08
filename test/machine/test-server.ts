// An HTTP server on loopback for one test, and the clock that goes with real sockets.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { someUnixMs } from './fixtures.ts'

/** Real delays; the wall clock stands still, so that HTTP dates can be written down. */
export const realClock = {
  after(delayMs: number, run: () => void): () => void {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
  unixMs: () => someUnixMs,
}

export interface TestServer {
  readonly url: string
  readonly connections: number
  /** Closes every connection, as a restart does. */
  drop(): void
  stop(): Promise<void>
}

/** For requests that come whole; one that breaks off is not handed over. */
export function startServer(
  handle: (request: IncomingMessage, body: Buffer, response: ServerResponse) => void,
): Promise<TestServer> {
  return startStreamServer(async (request, response) => {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer)
    } catch {
      return
    }
    handle(request, Buffer.concat(chunks), response)
  })
}

export async function startStreamServer(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<TestServer> {
  let connections = 0
  const server = createServer(handle)
  server.on('connection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections
    },
    drop: () => server.closeAllConnections(),
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
