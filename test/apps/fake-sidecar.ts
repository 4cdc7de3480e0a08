// A sidecar without Raft, for tests of an application: it orders commands as they come, stamps them with a clock that the test owns,
// delivers them to the hooks in order and one at a time, and answers with what the application answered.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

interface Logged {
  readonly index: number
  readonly timestamp: string
  readonly command: unknown
}

export class FakeSidecar {
  readonly log: Logged[] = []
  /** Cluster time of the next command. */
  nowMs = Date.parse('2026-01-01T00:00:00.000Z')
  /** While set, proposals are answered 503. */
  leaderless = false
  #hooks = ''
  #server: Server | null = null
  #delivery: Promise<unknown> = Promise.resolve()

  async listen(): Promise<string> {
    const server = createServer(async (request, response) => {
      const body = await text(request)
      const answer = this.leaderless
        ? { status: 503, body: { code: 'no-leader' } }
        : await this.#commit(JSON.parse(body))
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.#server = server
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
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
    this.log.push({ index, timestamp: new Date(this.nowMs).toISOString(), command })
    return index
  }

  #commit(command: unknown): Promise<{ status: number; body: unknown }> {
    const committed = this.#delivery.then(async () => {
      const after = this.log.at(-1)?.index ?? 0
      const index = this.append(command)
      const answer = (await this.deliver(after)).body as { results: unknown[] }
      return { status: 200, body: { index, term: 1, result: answer.results[0] } }
    })
    this.#delivery = committed.catch(() => undefined)
    return committed
  }
}
