// How answers are written. Every one carries `raft-index`; that of a command, the one hot path, is written
// past Fastify's reply, in a single call with its headers in one array.

import type { FastifyReply } from 'fastify'
import type { CommittedCommand, Node } from '../node/contract.ts'

/** Shared by the routes of one listener; `closing` tells clients to leave their connection. */
export interface Lifecycle {
  closing: boolean
  /** Called once, when the close begins: by what would wait for longer than it. */
  readonly onClosing: Set<() => void>
}

export function answerJson(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply.code(status).header('content-type', 'application/json; charset=utf-8').send(text)
}

export function answerBytes(reply: FastifyReply, json: Buffer): FastifyReply {
  return reply.header('content-type', 'application/json; charset=utf-8').send(json)
}

/** On every answer that goes through Fastify's reply. */
export function addRaftHeaders(reply: FastifyReply, node: Node, lifecycle: Lifecycle): void {
  // What was committed only may lie further ahead, and a route says so.
  if (!reply.hasHeader('raft-index')) reply.header('raft-index', node.appliedIndex)
  reply.header('raft-term', node.currentTerm)
  const leader = node.leader()
  if (leader !== null) reply.header('raft-leader', leader.id)
  if (lifecycle.closing) reply.header('connection', 'close')
}

/** `result` is undefined for a command that is committed only. `etag`: the version of the item that was written, if one was. */
export function answerCommand(
  reply: FastifyReply,
  node: Node,
  lifecycle: Lifecycle,
  command: CommittedCommand,
  result: unknown,
  etag: string | null,
): void {
  const { index, term } = command
  const text = commandText(command, result)
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
  if (etag !== null) headers.push('etag', etag)
  if (lifecycle.closing) headers.push('connection', 'close')
  const response = reply.raw
  response.writeHead(result === undefined ? 202 : 200, headers)
  // Text that is all ASCII skips the UTF-8 encoder.
  response.end(text, sizeBytes === text.length ? 'latin1' : 'utf8')
}

/** As for `answerCommand`. */
export function commandText({ index, term, timestampMs, duplicate }: CommittedCommand, result: unknown): string {
  const place = `{"index":${index},"term":${term},"timestamp":"${isoTime(timestampMs)}"`
  const repeated = duplicate ? ',"duplicate":true}' : '}'
  return result === undefined ? place + repeated : `${place},"result":${JSON.stringify(result) ?? 'null'}${repeated}`
}

let lastMs = 0
let lastText = new Date(0).toISOString()

/** Commands of one batch mostly share their millisecond. */
export function isoTime(timestampMs: number): string {
  if (timestampMs !== lastMs) {
    lastText = new Date(timestampMs).toISOString()
    lastMs = timestampMs
  }
  return lastText
}
