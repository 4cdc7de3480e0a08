// Free loopback ports below the range from which the system takes those of outgoing connections: there, the port of a killed process could be taken
// by somebody's call before it is back.

import { once } from 'node:events'
import { createServer } from 'node:net'

const first = 10_240
const count = 21_760
/** Each process that asks begins in a place of its own, so that two at once are not given the same. */
const begin = (process.pid * 80) % count
let given = 0

/** Never one that this process was given before, as long as it does not ask for thousands. */
export async function freePorts(wanted: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < wanted) {
    const port = first + ((begin + given++) % count)
    if (given > count) throw new Error('Cannot find a free port: all were given away or are in use')
    if (await isFree(port)) ports.push(port)
  }
  return ports
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  const free = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
  if (!free) return false
  server.close()
  await once(server, 'close')
  return true
}
