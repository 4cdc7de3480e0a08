// What the application serves: the hooks that its sidecar calls, and its own API.

import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { type FastifyInstance, fastify } from 'fastify'
import type { Delivery, Replica } from './replica.ts'
import type { Sidecar } from './sidecar.ts'

const task = {
  type: 'object',
  required: ['id', 'path'],
  properties: {
    id: { type: 'string', minLength: 1, maxLength: 1000 },
    path: { type: 'string', minLength: 1, maxLength: 4096 },
  },
}

export function createServer(replica: Replica, sidecar: Sidecar): FastifyInstance {
  // Any JSON may have been committed; refusing a batch for a strange name in it would stop the delivery for good.
  const anyJson = { onProtoPoisoning: 'ignore', onConstructorPoisoning: 'ignore' } as const
  const server = fastify({ bodyLimit: 16 * 1024 * 1024, ...anyJson })

  server.get('/raft/position', () => ({ position: replica.position }))
  server.post<{ Body: Delivery }>('/raft/apply', (request, reply) => {
    const results = replica.deliver(request.body)
    return results === null ? reply.code(409).send({ position: replica.position }) : reply.send({ results })
  })
  server.post('/raft/snapshot', (_request, reply) =>
    reply.header('raft-position', replica.position).type('application/octet-stream').send(replica.snapshot()),
  )
  server.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload))
  server.put<{ Body: Readable }>('/raft/snapshot', async (request, reply) => {
    // Whole or not at all: a body that breaks off throws here.
    const snapshot = await text(request.body)
    replica.restore(snapshot, Number(request.headers['raft-position']))
    return reply.code(204).send()
  })

  server.post<{ Body: { id: string; path: string } }>('/tasks', { schema: { body: task } }, async (request, reply) => {
    const answer = await sidecar.propose({ op: 'enqueue', id: request.body.id, path: request.body.path })
    return answer === null ? reply.code(503).send({ retry: true }) : answer
  })
  server.get('/stats', () => ({ position: replica.position, ...replica.queue.stats() }))
  server.get('/state', () => ({ position: replica.position, digest: replica.queue.digest() }))
  server.get('/history', () => ({ position: replica.position, tasks: replica.queue.history() }))
  return server
}
