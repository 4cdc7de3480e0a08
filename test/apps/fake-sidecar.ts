// A sidecar without Raft, for tests of an application: it orders commands as they come, stamps them with a clock that the test owns,
// delivers them to the hooks in order and one at a time, and answers with what the application answered. What comes again under its key is
// answered as it was before.

import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

interface Logged {
  readonly index: number
  readonly term: number
  readonly timestamp: string
  readonly command: unknown
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

interface CommittedAnswer {
  readonly index: number
  readonly term: number
  readonly timestamp: string
  readonly result: unknown
}

const noLeader: Answer = { status: 503, body: { code: 'no-leader' } }

export class FakeSidecar {
  readonly log: Logged[] = []
  /** Cluster time of the next command. */
  nowMs = Date.parse('2026-01-01T00:00:00.000Z')
  /** While set, whatever it is asked is answered 503. */
  leaderless = false
  /** While set, proposals are committed, and the connection ends before they are answered. */
  losesAnswers = false
  /** Calls that came meanwhile. */
  refused = 0
  /** Reads that were asked for behind a barrier. */
  barriers = 0
  readonly #lost = new EventEmitter()
  readonly #byKey = new Map<string, CommittedAnswer>()
  #hooks = ''
  #server: Server | null = null
  #delivery: Promise<unknown> = Promise.resolve()

  async listen(): Promise<string> {
    const server = createServer(async (request, response) => {
      const body = await text(request)
      if (this.leaderless) this.refused++
      const answer = this.leaderless ? noLeader : await this.#answer(`${request.method} ${request.url}`, body, request)
      if (this.losesAnswers) {
        response.destroy()
        this.#lost.emit('answer')
        return
      }
      const headers = { 'content-type': 'application/json' }
      response.writeHead(answer.status, headers).end(JSON.stringify(answer.body))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.#server = server
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  /** Resolves when so many more are lost. */
  async lostAnswers(count: number): Promise<void> {
    for (let lost = 0; lost < count; lost++) await once(this.#lost, 'answer')
  }

  attach(hooks: string): void {
    this.#hooks = hooks
  }

  async close(): Promise<void> {
    const server = this.#server
    if (server === null) return
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }

  /** One call of the apply hook with what the log holds after `after`, or from `from` on, through the end. */
  async deliver(after: number, from = after + 1): Promise<{ status: number; body: unknown }> {
    const body = { cluster: 'test', node: 'n1', after, commands: this.log.filter(({ index }) => index >= from) }
    const response = await fetch(`${this.#hooks}/apply`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return { status: response.status, body: await response.json() }
  }

  /** Puts a command into the log without delivering it. */
  append(command: unknown): number {
    // Indexes may skip: the log of a real sidecar holds more than commands.
    const index = (this.log.at(-1)?.index ?? 0) + (this.log.length % 5 === 4 ? 2 : 1)
    this.log.push({ index, term: 1, timestamp: new Date(this.nowMs).toISOString(), command })
    return index
  }

  async #answer(call: string, body: string, { headers }: IncomingMessage): Promise<Answer> {
    const path = call.replace(/\?.*/, '')
    if (path === 'GET /v1/barrier') {
      this.barriers++
      return { status: 200, body: { index: this.log.at(-1)?.index ?? 0 } }
    }
    if (path === 'POST /v1/commands') return await this.#commit(body, headers['idempotency-key'])
    return { status: 404, body: { code: 'not-found' } }
  }

  #commit(body: string, key: string | string[] | undefined): Promise<Answer> {
    const committed = this.#delivery.then(async () => {
      const known = this.#byKey.get(String(key))
      if (key !== undefined && known !== undefined) return { status: 200, body: { ...known, duplicate: true } }
      const after = this.log.at(-1)?.index ?? 0
      const index = this.append(JSON.parse(body))
      const answer = (await this.deliver(after)).body as { results: unknown[] }
      const timestamp = this.log.at(-1)?.timestamp ?? ''
      const first = { index, term: 1, timestamp, result: answer.results[0] }
      if (key !== undefined) this.#byKey.set(String(key), first)
      return { status: 200, body: first }
    })
    this.#delivery = committed.catch(() => undefined)
    return committed
  }
}
