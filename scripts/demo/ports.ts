// Free loopback ports below the range from which the kernel takes the ports of outgoing connections: there, the port of a killed node could
// be taken by somebody's call, or a peer that dials it could meet itself, before the node is back.

import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

const first = 20_000
const last = 32_000

export async function freePorts(count: number): Promise<number[]> {
  const held = new Map<number, Server>()
  for (let tries = 200; tries > 0 && held.size < count; tries--) {
    const port = first + Math.floor(Math.random() * (last - first))
    if (held.has(port)) continue
    const server = createServer()
    server.listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
      held.set(port, server)
    } catch {
      server.close()
    }
  }
  for (const server of held.values()) await new Promise((resolve) => server.close(resolve))
  if (held.size < count) throw new Error(`Cannot find ${count} free ports from ${first} to ${last} on 127.0.0.1`)
  return [...held.keys()]
}
