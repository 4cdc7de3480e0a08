// POST /v1/snapshot takes a snapshot on this node, GET /v1/snapshot streams one as a backup. The file is open only as long as somebody
// reads it, and never more of it is in memory than the connection takes.

import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Backup } from '../node/contract.ts'
import { answerJson } from './answer.ts'
import { hasBody } from './body.ts'
import type { ApiContext } from './options.ts'
import { Refusal } from './problem.ts'
import { beginRead } from './reads.ts'
import { type SnapshotResponse, WaitQuery } from './schemas.ts'

const chunkBytes = 256 * 1024

export function addSnapshot(app: FastifyInstance, context: ApiContext, idleTimeoutMs: number): void {
  const { node, cluster, logger } = context
  const schema = { querystring: WaitQuery }

  app.post<{ Querystring: WaitQuery }>('/v1/snapshot', { schema }, async (request, reply) => {
    await beginRead(node, request.headers, request.query.timeout)
    if (hasBody(request.headers)) throw new Refusal(400, 'invalid-parameter', 'Taking a snapshot takes no body.')
    const { index, term, sizeBytes } = await node.takeSnapshot()
    const body: SnapshotResponse = { index, term, sizeBytes }
    return answerJson(reply, 200, JSON.stringify(body))
  })

  // A HEAD would take a snapshot, and read all of it, for nobody.
  app.get<{ Querystring: WaitQuery }>('/v1/snapshot', { schema, exposeHeadRoute: false }, async (request, reply) => {
    await beginRead(node, request.headers, request.query.timeout)
    const backup = await node.openBackup()
    const response = reply.raw
    // Taking it may have lasted longer than the client's patience.
    if (response.destroyed) {
      await backup.close()
      return reply.hijack()
    }
    const { index, term, sizeBytes } = backup.snapshot
    response.setTimeout(idleTimeoutMs, () => {
      logger.warn({ index, idleTimeoutMs }, 'The download of a backup stood still: its connection is cut')
      response.destroy()
    })
    return reply
      .headers({
        'content-type': 'application/octet-stream',
        'content-length': sizeBytes,
        'content-disposition': `attachment; filename="${cluster}-${index}.snapshot"`,
        'cache-control': 'no-store',
        'raft-snapshot-index': index,
        'raft-snapshot-term': term,
      })
      .send(streamOf(backup).on('error', (error) => logger.error({ error, index }, 'A backup broke off')))
  })
}

/** Reads no more than it is asked for, and closes the file at the end, whatever the end is. */
function streamOf(backup: Backup): Readable {
  const { sizeBytes } = backup.snapshot
  let position = 0
  return new Readable({
    highWaterMark: chunkBytes,
    read() {
      const wanted = Math.min(chunkBytes, sizeBytes - position)
      if (wanted === 0) {
        this.push(null)
        return
      }
      const chunk = Buffer.allocUnsafeSlow(wanted)
      backup.read(chunk, position).then(
        (count) => {
          position += count
          if (count === wanted) this.push(chunk)
          else this.destroy(new Error(`The snapshot ends at ${position}, it has ${sizeBytes} bytes`))
        },
        (error: Error) => this.destroy(error),
      )
    },
    destroy(error, done) {
      backup.close().then(
        () => done(error),
        (failure: Error) => done(error ?? failure),
      )
    },
  })
}
