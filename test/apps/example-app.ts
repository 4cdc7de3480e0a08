// A correct application with all hooks, in memory, and as small as it can be: to be made wrong in one place. Its state is a digest of every command
// in order, so that nothing that is applied twice, left out or turned round stays unseen.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface DeliveredCommand {
  readonly index: number
  readonly timestamp: string
  readonly key?: string
  readonly command?: unknown
  readonly bytes?: string
}

export interface DeliveredBatch {
  readonly after: number
  readonly commands: readonly DeliveredCommand[]
}

export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

const toleranceSeconds = 300

export class ExampleApp {
  position = 0
  state = { count: 0, digest: '' }
  readonly secret: string | null
  readonly #server: Server

  constructor(secret: string | null = null) {
    this.secret = secret
    this.#server = createServer((request, response) => {
      this.handle(request, response).catch((error: unknown) => {
        if (!response.headersSent) send(response, { status: 500, body: { reason: String(error) } })
        else response.destroy()
      })
    })
  }

  /** Returns the URL of the hooks. */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/raft`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const hook = `${request.method} ${request.url}`
    const body = await this.receive(request)
    const { headers } = request
    const isRestore = hook === 'PUT /raft/snapshot'
    const signed = isRestore ? Buffer.from(String(headers['raft-position'])) : body
    if (this.isToBeSigned(hook) && !this.isSigned(headers, signed)) {
      send(response, { status: 401 })
    } else if (hook === 'POST /raft/snapshot') {
      await this.sendSnapshot(response)
    } else {
      send(response, this.answer(hook, body, Number(headers['raft-position'])))
    }
  }

  receive(request: IncomingMessage): Promise<Buffer> {
    return buffer(request)
  }

  answer(hook: string, body: Buffer, raftPosition: number): Answer {
    switch (hook) {
      case 'GET /raft/position':
        return this.tellPosition()
      case 'POST /raft/apply':
        return this.apply(parse(body))
      case 'PUT /raft/snapshot':
        this.restore(body, raftPosition)
        return { status: 204 }
      case 'POST /raft/leadership':
        return this.hearOfLeadership()
      default:
        return { status: 404 }
    }
  }

  tellPosition(): Answer {
    return { status: 200, body: { position: this.position } }
  }

  apply(batch: DeliveredBatch | null): Answer {
    if (batch === null) return { status: 400 }
    if (batch.after > this.position) return { status: 409, body: { position: this.position } }
    return { status: 200, body: { results: batch.commands.map((command) => this.take(command, batch)) } }
  }

  take(command: DeliveredCommand, _batch: DeliveredBatch): unknown {
    if (command.index <= this.position) return null
    this.position = command.index
    return this.decide(command)
  }

  decide({ command, bytes, timestamp }: DeliveredCommand): unknown {
    const { count, digest } = this.state
    const next = createHash('sha256')
      .update(JSON.stringify([digest, command, bytes, timestamp]))
      .digest('hex')
    this.state = { count: count + 1, digest: next }
    return { count: count + 1, digest: next.slice(0, 8) }
  }

  async sendSnapshot(response: ServerResponse): Promise<void> {
    send(response, { status: 200, headers: { 'raft-position': String(this.position) }, body: this.state })
  }

  restore(body: Buffer, raftPosition: number): void {
    this.state = JSON.parse(body.toString())
    this.position = raftPosition
  }

  hearOfLeadership(): Answer {
    return { status: 204 }
  }

  isToBeSigned(_hook: string): boolean {
    return this.secret !== null
  }

  isSigned(headers: IncomingMessage['headers'], content: Buffer): boolean {
    const [id, moment, signatures] = ['id', 'timestamp', 'signature'].map((name) => String(headers[`webhook-${name}`]))
    const isRecent = this.isRecent(Math.abs(Date.now() / 1000 - Number(moment)))
    const key = Buffer.from(String(this.secret).replace('whsec_', ''), 'base64')
    const wanted = createHmac('sha256', key).update(`${id}.${moment}.`).update(content).digest()
    return isRecent && this.candidates(String(signatures)).some((given) => isEqual(wanted, given))
  }

  isRecent(ageSeconds: number): boolean {
    return ageSeconds <= toleranceSeconds
  }

  candidates(signatures: string): readonly string[] {
    return signatures.split(' ')
  }
}

export function send(response: ServerResponse, { status, headers = {}, body }: Answer): void {
  const text = body === undefined ? '' : JSON.stringify(body)
  const length = status === 204 ? {} : { 'content-length': String(Buffer.byteLength(text)) }
  response.writeHead(status, { 'content-type': 'application/json', ...length, ...headers }).end(text)
}

/** Null: it is no batch. */
export function parse(body: Buffer): DeliveredBatch | null {
  let value: unknown
  try {
    value = JSON.parse(body.toString())
  } catch {
    return null
  }
  const { after, commands } = (value ?? {}) as Partial<DeliveredBatch>
  if (!Number.isInteger(after) || !Array.isArray(commands)) return null
  return commands.every((command) => Number.isInteger(command?.index)) ? (value as DeliveredBatch) : null
}

function isEqual(wanted: Buffer, given: string): boolean {
  const digest = Buffer.from(given.replace('v1,', ''), 'base64')
  return given.startsWith('v1,') && digest.length === wanted.length && timingSafeEqual(digest, wanted)
}
