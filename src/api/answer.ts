// How answers are written. Every one carries `raft-index`; that of a command, the one hot path, is written
// past Fastify's reply, in a single call with its headers in one array.

import type { FastifyReply } from 'fastify'
import type { CommittedCommand, Node } from '../node/contract.ts'

/** Shared by the routes of one listener; `closing` tells clients to leave their connection. */
export interface Lifecycle {
  closing: boolean
}

export function answerJson(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply.code(status).header('content-type', 'application/json; charset=utf-8').send(text)
}

/** On every answer that goes through Fastify's reply. */
export function addRaftHeaders(reply: FastifyReply, node: Node, lifecycle: Lifecycle): void {
  reply.header('raft-index', node.appliedIndex)
  reply.header('raft-term', node.currentTerm)
  const leader = node.leader()
  if (leader !== null) reply.header('raft-leader', leader.id)
  if (lifecycle.closing) reply.header('connection', 'close')
}

/** `result` is undefined for a command that is committed only. */
export function answerCommand(
  reply: FastifyReply,
  node: Node,
  lifecycle: Lifecycle,
  command: CommittedCommand,
  result: unknown,
  etag: boolean,
): void {
  const { index, term, timestampMs } = command
  const base = `{"index":${index},"term":${term},"timestamp":"${isoTime(timestampMs)}"`
  const text = result === undefined ? `${base}}` : `${base},"result":${JSON.stringify(result) ?? 'null'}}`
  const sizeBytes = Buffer.byteLength(text)
  const headers = [
    'content-type',
    'application/json; charset=utf-8',
    'content-length',
    String(sizeBytes),
    'raft-index',
    String(index),
    'raft-term',
    String(term),
  ]
  const leader = node.leader()
  if (leader !== null) headers.push('raft-leader', leader.id)
  if (etag) headers.push('etag', `"${index}"`)
  if (lifecycle.closing) headers.push('connection', 'close')
  const response = reply.raw
  response.writeHead(result === undefined ? 202 : 200, headers)
  // Text that is all ASCII skips the UTF-8 encoder.
  response.end(text, sizeBytes === text.length ? 'latin1' : 'utf8')
}

let lastMs = 0
let lastText = new Date(0).toISOString()

/** Commands of one batch mostly share their millisecond. */
function isoTime(timestampMs: number): string {
  if (timestampMs !== lastMs) {
    lastText = new Date(timestampMs).toISOString()
    lastMs = timestampMs
  }
  return lastText
}
