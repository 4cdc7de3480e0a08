// The service: what the sidecar calls, and what its own users call. The queue is in memory; the sidecar gives it back after a restart.

import { fastify } from 'fastify'
import { type Static, Type } from 'typebox'
import { type Client, createHooks, SidecarError } from '../../../src/client/client.ts'
import { type Answer, Queue, type Task } from './queue.ts'

const NewTask = Type.Object({ id: Type.String({ pattern: '^[!-~]{1,200}$' }), path: Type.String({ minLength: 1 }) })

export function createService(sidecar: Client, secret: string | undefined) {
  let queue = new Queue()
  let position = 0
  const hooks = createHooks({
    apply(command, { index, timestampMs }) {
      position = index
      return queue.apply(command, timestampMs)
    },
    position: () => position,
    snapshot: () => [...queue.tasks.values()],
    async restore(state, index) {
      queue = new Queue(await state.json<Task[]>())
      position = index
    },
    ...(secret === undefined ? {} : { secret }),
  })
  const http = fastify()
  http.register(hooks.fastify, { prefix: '/raft' })

  // The id is the key: enqueued once, whichever instance it is sent to and however often. If this one cannot say soon, another one can.
  http.post<{ Body: Static<typeof NewTask> }>('/tasks', { schema: { body: NewTask } }, async ({ body }) => {
    const command = { op: 'enqueue', id: body.id, path: body.path }
    const { result, duplicate } = await sidecar.propose<Answer>(command, { key: body.id, timeoutMs: 2000 })
    return { ...result, duplicate }
  })
  // Linearizable, on every instance: behind the barrier it holds all that was acknowledged anywhere.
  http.get<{ Params: { id: string } }>('/tasks/:id', async ({ params }, reply) => {
    await sidecar.barrier({ timeoutMs: 2000 })
    return queue.tasks.get(params.id) ?? reply.code(404).send({ reason: 'there is no such task' })
  })
  // As this instance has it.
  http.get('/stats', () => ({ position, ...queue.stats(Date.now()) }))
  http.get('/history', () => ({ position, tasks: [...queue.tasks.values()] }))
  http.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof SidecarError)) return reply.send(error)
    return reply.code(error.status === 422 ? 422 : 503).send({ code: error.code, reason: error.message })
  })
  return { http, queue: () => queue }
}
