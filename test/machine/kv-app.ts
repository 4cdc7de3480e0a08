// A small application as its author would write it from the contract alone: a map in memory, behind the two hooks.

import { startServer } from './test-server.ts'

interface DeliveredCommand {
  readonly index: number
  readonly command?: { readonly op: string; readonly key: string; readonly value: unknown }
  readonly bytes?: string
}

export interface KvApp {
  readonly url: string
  readonly state: Map<string, unknown>
  stop(): Promise<void>
}

export async function startKvApp(): Promise<KvApp> {
  const state = new Map<string, unknown>()
  let position = 0
  const server = await startServer((request, body, response) => {
    const answer = (status: number, value: unknown) => response.writeHead(status).end(JSON.stringify(value))
    if (request.url === '/raft/position') return answer(200, { position })
    if (request.url !== '/raft/apply') return answer(404, {})
    const batch = JSON.parse(body.toString()) as { after: number; commands: DeliveredCommand[] }
    if (batch.after !== position) return answer(409, { position })
    const results = batch.commands.map(({ index, command }) => {
      position = index
      if (command === undefined) return { ok: false }
      if (command.op === 'set') state.set(command.key, command.value)
      else state.delete(command.key)
      return { ok: true }
    })
    return answer(200, { results })
  })
  return { url: `${server.url}/raft`, state, stop: server.stop }
}
