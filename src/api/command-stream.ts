// Committed commands as server-sent events. It reads from the log when the connection takes more, and never ahead of it: a client that reads
// slowly costs one portion, however far it is behind.

import { Readable } from 'node:stream'
import type { Logger } from 'pino'
import { CompactedError, ReadError } from '../errors.ts'
import type { CommittedRead, LoggedCommand, Node } from '../node/contract.ts'
import { type EndingStream, eventText, heartbeatMs } from './event-stream.ts'
import { intoOneLine, loggedCommandJson } from './logged-command.ts'
import { compactedProblem, internalProblem, problemText } from './problem.ts'

const portionCommands = 100
const portionBytes = 64 * 1024

export class CommandStream extends Readable implements EndingStream {
  readonly #node: Node
  readonly #logger: Logger
  #after: number
  #first: CommittedRead | null
  #isFinished = false
  #pending: Promise<void> = Promise.resolve()

  private constructor(node: Node, logger: Logger, after: number, first: CommittedRead) {
    super({ highWaterMark: portionBytes })
    this.#node = node
    this.#logger = logger
    this.#after = after
    this.#first = first
    // So that the head of the answer goes at once, and a client knows when to come back.
    this.push('retry: 1000\n\n')
  }

  /** Rejects with CompactedError. */
  static async open(node: Node, logger: Logger, after: number): Promise<CommandStream> {
    return new CommandStream(node, logger, after, await node.readCommitted(after, portionCommands, portionBytes))
  }

  override _read(): void {
    this.#pending = this.#portion().then(
      (portion) => this.#give(portion),
      (error) => this.#fail(error),
    )
  }

  /** Closed when the wait that it began is over: what it costs the node lasts as long. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#pending.finally(() => done(error))
  }

  finish(): void {
    if (this.#isFinished || this.destroyed) return
    this.#isFinished = true
    this.push(null)
  }

  async #portion(): Promise<Buffer> {
    const first = this.#first
    this.#first = null
    if (first !== null && first.commands.length > 0) return this.#take(first)
    const committed = await this.#node.waitCommitted(this.#after, heartbeatMs)
    if (committed <= this.#after) return this.#heartbeat()
    return this.#take(await this.#node.readCommitted(this.#after, portionCommands, portionBytes))
  }

  #take({ commands, through }: CommittedRead): Buffer {
    this.#after = Math.max(this.#after, through)
    return commands.length === 0 ? this.#heartbeat() : Buffer.concat(commands.flatMap(commandEvent))
  }

  /** An id without data is no event, but the client resumes after it: what is no command need not be held by the log for it. */
  #heartbeat(): Buffer {
    return Buffer.from(`:\nid: ${this.#after}\n\n`)
  }

  #give(portion: Buffer | string): void {
    if (!this.#isFinished && !this.destroyed) this.push(portion)
  }

  #fail(error: unknown): void {
    if (!(error instanceof ReadError && error.code === 'shutting-down')) {
      const isCompacted = error instanceof CompactedError
      if (!isCompacted) this.#logger.error({ error, after: this.#after }, 'A stream of commands broke off')
      this.#give(eventText('error', problemText(isCompacted ? compactedProblem(error) : internalProblem('GET'))))
    }
    this.finish()
  }
}

function commandEvent(logged: LoggedCommand): readonly Uint8Array[] {
  return [
    Buffer.from(`id: ${logged.index}\nevent: command\ndata: `),
    intoOneLine(loggedCommandJson(logged)),
    Buffer.from('\n\n'),
  ]
}
