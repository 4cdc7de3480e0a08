// A small application as its author would write it from the contract alone: a map in memory, behind the hooks.

import { startServer } from './test-server.ts'

interface DeliveredCommand {
  readonly index: number
  readonly command?: { readonly op: string; readonly key: string; readonly value: unknown }
  readonly bytes?: string
}

export interface KvApp {
  readonly url: string
  readonly state: ReadonlyMap<string, unknown>
  /** What came to it, over all its lives: the indexes of each batch that it took. */
  readonly taken: readonly (readonly number[])[]
  /** A new process; its connections are closed, or kept by what stands before it. */
  restart(memory: 'lost' | 'kept', connections: 'closed' | 'kept'): void
  stop(): Promise<void>
}

export async function startKvApp(): Promise<KvApp> {
  let state = new Map<string, unknown>()
  let position = 0
  const taken: number[][] = []
  const server = await startServer((request, body, response) => {
    const answer = (status: number, value: unknown) => response.writeHead(status).end(JSON.stringify(value))
    if (request.url === '/raft/position') return answer(200, { position })
    if (request.url === '/raft/snapshot' && request.method === 'POST') {
      response.writeHead(200, { 'raft-position': position })
      for (const item of [...state]) response.write(`${JSON.stringify(item)}\n`)
      return response.end()
    }
    if (request.url === '/raft/snapshot') {
      const lines = body.toString().split('\n').slice(0, -1)
      state = new Map(lines.map((line) => JSON.parse(line)))
      position = Number(request.headers['raft-position'])
      return response.writeHead(204).end()
    }
    if (request.url !== '/raft/apply') return answer(404, {})
    const batch = JSON.parse(body.toString()) as { after: number; commands: DeliveredCommand[] }
    if (batch.after !== position) return answer(409, { position })
    taken.push(batch.commands.map(({ index }) => index))
    const results = batch.commands.map(({ index, command }) => {
      position = index
      if (command === undefined) return { ok: false }
      if (command.op === 'set') state.set(command.key, command.value)
      else state.delete(command.key)
      return { ok: true }
    })
    return answer(200, { results })
  })
  return {
    url: `${server.url}/raft`,
    get state() {
      return state
    },
    taken,
    restart(memory, connections) {
      if (connections === 'closed') server.drop()
      if (memory === 'kept') return
      state = new Map()
      position = 0
    },
    stop: server.stop,
  }
}
