// One connection, dialled or accepted: a greeting first, then its judgement, frames only after it, a watch on its silence, and exactly one
// end with one reason. Nothing is reported after `end`, however much of a chunk is left.

import type { Socket } from 'node:net'
import type { Standing } from '../node/ports.ts'
import { FrameParser, frameBytes, ProtocolError } from './frames.ts'
import { decodeGreeting, encodeRefusal, type Greeting, maxHandshakeBytes, type Refusal } from './handshake.ts'
import { type Fields, unpackHeader } from './header.ts'
import type { Settings } from './settings.ts'

export interface LinkEnd {
  readonly cause: 'closed' | 'error' | 'late' | 'silent' | 'garbage' | 'refusedByPeer' | 'refusedByUs' | 'own'
  /** The system's code of an error, the code of a refusal. */
  readonly code: string | null
  readonly sentence: string
  /** See Refusal. */
  readonly standing?: Standing
}

export interface LinkHandlers {
  /** Once. To be answered with `establish`, `refuse` or `end`, now or later. */
  greeted(greeting: Greeting): void
  /** Only after `establish`. The fields and the body are checked by no one yet. */
  frame(fields: Fields, body: Uint8Array): void
  /** Three times an RPC timeout, while established. */
  tick(): void
  /** Once. The socket is gone. */
  closed(end: LinkEnd): void
}

export const ticksPerTimeout = 3
const partingMs = 500

export class Link {
  readonly socket: Socket
  readonly #settings: Settings
  readonly #handlers: LinkHandlers
  readonly #maxSilentTicks: number
  readonly #parser: FrameParser
  #phase: 'greeting' | 'judging' | 'established' | 'ended' = 'greeting'
  #wasEstablished = false
  #end: LinkEnd | null = null
  #deadline: NodeJS.Timeout | null = null
  #watch: NodeJS.Timeout | null = null
  /** Counted in ticks and not in time: a process that was paused does not take its own absence for the peer's. */
  #silentTicks = 0

  constructor(socket: Socket, settings: Settings, maxSilentTicks: number, handlers: LinkHandlers) {
    this.socket = socket
    this.#settings = settings
    this.#handlers = handlers
    this.#maxSilentTicks = maxSilentTicks
    this.#parser = new FrameParser(maxHandshakeBytes, (header, body) => this.#frame(header, body))
    settings.track(socket)
    socket.on('data', (chunk) => this.#read(chunk))
    socket.on('end', () => this.end({ cause: 'closed', code: null, sentence: 'the other end closed it' }))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.end({ cause: 'error', code: error.code ?? null, sentence: error.message || String(error.code) })
    })
    socket.on('close', () => this.#closed())
  }

  get established(): boolean {
    return this.#phase === 'established'
  }

  get ended(): boolean {
    return this.#phase === 'ended'
  }

  get wasEstablished(): boolean {
    return this.#wasEstablished
  }

  /** Whatever is awaited now must come within this time; replaces the deadline before. */
  expectWithin(timeoutMs: number, what: string): void {
    if (this.#deadline !== null) clearTimeout(this.#deadline)
    const sentence = `${what} within ${timeoutMs} ms`
    this.#deadline = setTimeout(() => this.end({ cause: 'late', code: null, sentence }), timeoutMs).unref()
  }

  /** What the other end has forgotten, null: nothing. It may take no longer than a greeting; a link that cannot find it out has ended. */
  async introduce(verdict: Promise<string | null>): Promise<string | null> {
    this.expectWithin(this.#settings.rpcTimeoutMs, 'this node could not make sure of what it knows of it')
    try {
      return await verdict
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.end({ cause: 'error', code: null, sentence: `this node cannot keep what it learned of it: ${reason}` })
      return null
    }
  }

  /** This end takes the other one for what it says it is. */
  establish(maxFrameBytes: number): void {
    if (this.#phase !== 'judging') throw new Error(`A link was established while ${this.#phase}`)
    this.#phase = 'established'
    this.#wasEstablished = true
    this.#parser.limit(maxFrameBytes)
    this.#stopTimers()
    this.#watch = setInterval(() => this.#tick(), this.#settings.rpcTimeoutMs / ticksPerTimeout).unref()
  }

  signOfLife(): void {
    this.#silentTicks = 0
  }

  /** Tells the other end why, then closes. */
  refuse(refusal: Refusal): void {
    const { code, sentence } = refusal
    if (!this.#finish({ cause: 'refusedByUs', code, sentence })) return
    this.socket.end(frameBytes(encodeRefusal(refusal)))
    this.#destroyLater()
  }

  /** Closes after what was written has left, if that does not take long. */
  part(): void {
    if (!this.#finish({ cause: 'own', code: null, sentence: 'closed here' })) return
    if (!this.#wasEstablished) {
      this.socket.destroy()
      return
    }
    this.socket.destroySoon()
    this.#destroyLater()
  }

  end(end: LinkEnd): void {
    if (this.#finish(end)) this.socket.destroy()
  }

  #finish(end: LinkEnd): boolean {
    if (this.#phase === 'ended') return false
    this.#phase = 'ended'
    this.#end = end
    this.#parser.stop()
    this.#stopTimers()
    return true
  }

  #destroyLater(): void {
    this.#deadline = setTimeout(() => this.socket.destroy(), partingMs)
  }

  #closed(): void {
    this.#finish({ cause: 'closed', code: null, sentence: 'it was closed' })
    this.#stopTimers()
    if (this.#end !== null) this.#handlers.closed(this.#end)
  }

  #read(chunk: Buffer): void {
    this.#silentTicks = 0
    try {
      this.#parser.push(chunk)
    } catch (error) {
      // Anything else is a broken invariant of whoever took the message.
      if (!(error instanceof ProtocolError)) throw error
      this.end({ cause: 'garbage', code: null, sentence: error.message })
    }
  }

  #frame(header: Uint8Array, body: Uint8Array): void {
    const fields = unpackHeader(header)
    if (this.#phase === 'established') {
      this.#handlers.frame(fields, body)
      return
    }
    if (this.#phase === 'judging') throw new ProtocolError('more than a greeting came before it was answered')
    this.#phase = 'judging'
    this.#handlers.greeted(decodeGreeting(fields, body))
  }

  #tick(): void {
    this.#silentTicks++
    if (this.#silentTicks <= this.#maxSilentTicks) {
      this.#handlers.tick()
      return
    }
    const silentMs = Math.round((this.#maxSilentTicks / ticksPerTimeout) * this.#settings.rpcTimeoutMs)
    this.end({ cause: 'silent', code: null, sentence: `nothing was heard for ${silentMs} ms` })
  }

  #stopTimers(): void {
    if (this.#deadline !== null) clearTimeout(this.#deadline)
    if (this.#watch !== null) clearInterval(this.#watch)
    this.#deadline = null
    this.#watch = null
  }
}
