// What does not parse as HTTP is answered once, where an answer cannot be taken for that of an earlier request,
// and its connection is closed. Other connections do not notice.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Problem, problemText } from './problem.ts'

export function refuseGarbage(error: NodeJS.ErrnoException, socket: Socket, raftIndex: number): void {
  if (error.code === 'ECONNRESET' || !socket.writable || !mayAnswer(socket)) {
    socket.destroy()
    return
  }
  const problem = problemFor(error.code)
  const text = problemText(problem)
  const head = [
    `HTTP/1.1 ${problem.status} ${problem.status === 431 ? 'Request Header Fields Too Large' : 'Bad Request'}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(text)}`,
    `raft-index: ${raftIndex}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`, () => socket.destroy())
}

/**
 * A request that arrived whole may still wait for its answer on this connection: a 400 would be read as that
 * answer, with an outcome that is not true.
 */
function mayAnswer(socket: Socket): boolean {
  const { _httpMessage: response } = socket as Socket & { _httpMessage?: ServerResponse<IncomingMessage> | null }
  return response === undefined || response === null || (!response.req.complete && !response.headersSent)
}

function problemFor(code: string | undefined): Problem {
  const common = { outcome: 'not_applied', retryAfterS: null, extensions: {} } as const
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return { ...common, status: 431, code: 'headers-too-large', detail: 'The headers are larger than 16 KiB.' }
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { ...common, status: 408, code: 'request-timeout', detail: 'The request did not arrive whole in time.' }
    default:
      return { ...common, status: 400, code: 'invalid-request', detail: 'This is not a valid HTTP request.' }
  }
}
