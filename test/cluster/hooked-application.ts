// An application in the test's own process, by the client's `createHooks`: its state is what it applied, in order, and outlives its sidecars. A test
// may hold it up, make it say that it is not well, or take its state away.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createHooks, type Hooks, type LeadershipChange, PoisonCommand } from '../../src/client/client.ts'

export interface Effect {
  readonly index: number
  readonly key: string | null
  readonly command: unknown
}

/** What a command is answered with: by its place among the others, so that one which came twice would show. */
export interface EffectResult {
  readonly count: number
}

export interface News extends LeadershipChange {
  /** Index of the last command in the state when it came. */
  readonly position: number
}

/** A command that the applications of these nodes refuse for good. */
export interface Refused {
  readonly refusedBy: readonly string[]
}

export interface ApplicationOptions {
  /** Of its node. */
  readonly id: string
  /** What it checks signatures by. */
  readonly secret?: string
  readonly isHealthy?: boolean
}

export class HookedApplication {
  /** Where its hooks are. */
  readonly url: string
  readonly news: News[] = []
  /** Calls of the hooks, by method and name, that passed the check of their signature or were refused by it. */
  readonly calls: string[] = []
  restores = 0
  /** What `GET /healthz` says. */
  isHealthy: boolean
  /** A later version of it refuses nothing. */
  refusesAnything = true
  readonly #id: string
  readonly #server: Server
  readonly #hooks: Hooks
  #effects: Effect[] = []
  #position = 0
  #held: Promise<void> | null = null

  private constructor(server: Server, port: number, { id, secret, isHealthy = true }: ApplicationOptions) {
    this.#id = id
    this.#server = server
    this.isHealthy = isHealthy
    this.url = `http://127.0.0.1:${port}/raft`
    this.#hooks = createHooks({
      apply: (command, { index, key }) => this.#apply({ index, key, command }),
      position: () => this.#position,
      snapshot: () => this.#effects,
      restore: async (state, position) => {
        this.#effects = await state.json<Effect[]>()
        this.#position = position
        this.restores++
      },
      leadership: (change) => {
        this.news.push({ ...change, position: this.#position })
      },
      ...(secret === undefined ? {} : { secret }),
    })
    server.on('request', (request, response) => this.#serve(request, response))
  }

  static async start(options: ApplicationOptions): Promise<HookedApplication> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    assert(typeof address === 'object' && address !== null)
    return new HookedApplication(server, address.port, options)
  }

  get effects(): readonly Effect[] {
    return this.#effects
  }

  get position(): number {
    return this.#position
  }

  /** Applies nothing more until what this returns is called. */
  hold(): () => void {
    let release = () => {}
    this.#held = new Promise((resolve) => {
      release = resolve
    })
    return () => {
      this.#held = null
      release()
    }
  }

  /** As one that is started anew and had kept nothing. */
  forget(): void {
    this.#effects = []
    this.#position = 0
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    if (request.url === '/healthz') {
      response.writeHead(this.isHealthy ? 200 : 503).end()
      return
    }
    this.calls.push(`${request.method} ${request.url?.replace('/raft/', '')}`)
    void this.#hooks(request, response)
  }

  async #apply(effect: Effect): Promise<EffectResult> {
    await this.#held
    const { refusedBy = [] } = effect.command as Partial<Refused>
    if (this.refusesAnything && refusedBy.includes(this.#id)) throw new PoisonCommand('no such account')
    this.#effects.push(effect)
    this.#position = effect.index
    return { count: this.#effects.length }
  }
}
