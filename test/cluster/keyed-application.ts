// An application that is the state machine and keeps its state in memory: the last command of each key. With the snapshot hooks, or without.

import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'

interface Command {
  readonly index: number
  readonly command: { readonly key: string; readonly value: number }
}

export class KeyedApplication {
  readonly url: string
  /** By key. */
  readonly state = new Map<string, number>()
  /** Indexes in the order in which they were applied since the last restore. */
  readonly applied: number[] = []
  restores = 0
  snapshots = 0
  readonly #server: Server
  readonly #offersSnapshots: boolean
  #position = 0

  private constructor(server: Server, port: number, offersSnapshots: boolean) {
    this.#server = server
    this.#offersSnapshots = offersSnapshots
    this.url = `http://127.0.0.1:${port}/raft`
    server.on('request', async (request, response) => {
      const [status, body, headers] = await this.#answer(request)
      response.writeHead(status, headers).end(body)
    })
  }

  static async start(offersSnapshots: boolean): Promise<KeyedApplication> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    return new KeyedApplication(
      server,
      typeof address === 'object' && address !== null ? address.port : 0,
      offersSnapshots,
    )
  }

  get position(): number {
    return this.#position
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #answer(request: IncomingMessage): Promise<[status: number, body: string, headers: Record<string, string>]> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString()
    switch (`${request.method} ${request.url}`) {
      case 'POST /raft/apply':
        return this.#apply(JSON.parse(body))
      case 'GET /raft/position':
        return [200, JSON.stringify({ position: this.#position }), {}]
      case 'POST /raft/snapshot':
        if (!this.#offersSnapshots) return [404, '', {}]
        this.snapshots++
        return [200, JSON.stringify([...this.state]), { 'raft-position': String(this.#position) }]
      case 'PUT /raft/snapshot': {
        if (!this.#offersSnapshots) return [404, '', {}]
        this.restores++
        this.state.clear()
        for (const [key, value] of JSON.parse(body) as [string, number][]) this.state.set(key, value)
        this.#position = Number(request.headers['raft-position'])
        this.applied.length = 0
        return [204, '', {}]
      }
      default:
        return [404, '', {}]
    }
  }

  #apply({
    after,
    commands,
  }: {
    readonly after: number
    readonly commands: readonly Command[]
  }): [status: number, body: string, headers: Record<string, string>] {
    if (after !== this.#position) return [409, JSON.stringify({ position: this.#position }), {}]
    for (const { index, command } of commands) {
      this.state.set(command.key, command.value)
      this.applied.push(index)
      this.#position = index
    }
    return [200, JSON.stringify({ results: commands.map(({ index }) => index) }), {}]
  }
}
