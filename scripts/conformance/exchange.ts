// One request and its answer, in parts, so that a body may be sent slowly, or broken off, and an answer left unread. Rejects with NoAnswer alone.

import { type Agent, type ClientRequest, type IncomingMessage, request as requestByHttp } from 'node:http'
import { request as requestByHttps } from 'node:https'

export interface ExchangeOptions {
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** Of the body; null: it is sent in chunks. */
  readonly sizeBytes: number | null
  /** Bounds the whole exchange. */
  readonly timeoutMs: number
  /** Without one it has a connection of its own. */
  readonly agent?: Agent
}

export class NoAnswer extends Error {
  constructor(sentence: string, options?: ErrorOptions) {
    super(sentence, options)
    this.name = 'NoAnswer'
  }
}

export class Exchange {
  readonly #options: ExchangeOptions
  readonly #timeout: AbortSignal
  readonly #request: ClientRequest
  readonly #response: Promise<IncomingMessage>

  constructor(options: ExchangeOptions) {
    const { method, url, sizeBytes, agent } = options
    this.#options = options
    this.#timeout = AbortSignal.timeout(options.timeoutMs)
    const length = sizeBytes === null ? {} : { 'content-length': String(sizeBytes) }
    const request = (url.protocol === 'https:' ? requestByHttps : requestByHttp)(url, {
      method,
      headers: { ...options.headers, ...length },
      agent: agent ?? false,
      signal: this.#timeout,
    })
    this.#request = request
    this.#response = new Promise((resolve, reject) => {
      request.once('response', resolve)
      request.on('error', (error) => reject(this.#noAnswer(error)))
    })
    // Whoever broke it off does not look for an answer.
    this.#response.catch(() => {})
    if (method !== 'GET') request.flushHeaders()
  }

  /** Resolves when it has left this process, or cannot: an application may answer before it has read everything, and `head` tells what came of it. */
  async write(part: Uint8Array): Promise<void> {
    if (part.length === 0) return
    await new Promise<void>((resolve) => this.#request.write(part, () => resolve()))
  }

  /** Sends the end of the request; the body of the answer is still to be read. */
  async head(): Promise<IncomingMessage> {
    this.#request.end()
    return await this.#response
  }

  async read(response: IncomingMessage): Promise<Buffer> {
    const chunks: Uint8Array[] = []
    try {
      for await (const chunk of response) chunks.push(chunk)
    } catch (error) {
      throw this.#noAnswer(error)
    }
    return Buffer.concat(chunks)
  }

  /** Ends the connection, wherever the exchange is; resolves when the other side is told so. */
  async cut(): Promise<void> {
    if (this.#request.closed) return
    const closed = new Promise<void>((resolve) => this.#request.once('close', () => resolve()))
    this.#request.destroy()
    await closed
  }

  #noAnswer(error: unknown): NoAnswer {
    const { method, url, timeoutMs } = this.#options
    const why = this.#timeout.aborted ? `nothing for ${timeoutMs} ms` : messageOf(error)
    return new NoAnswer(`${method} ${url} got no whole answer: ${why}`, { cause: error })
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // A name with several addresses fails with one error for all of them, which has no message.
  return error.message === '' && 'code' in error ? String(error.code) : error.message
}
