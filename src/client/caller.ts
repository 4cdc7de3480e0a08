// What every call shares: the token, one deadline over all its attempts, and the outcome that is told at the end. A call is repeated only
// where that is certain to be safe: nothing is proposed by it, or it carries its key.

import { setMaxListeners } from 'node:events'
import { afterEarlier, SidecarError } from './error.ts'
import { Leash } from './leash.ts'
import { mayGetBetter, Patience } from './patience.ts'
import { errorOf, isBadRequest, noAnswer, resultOf } from './read-answer.ts'
import type { Call, StreamedAnswer, Transport } from './transport.ts'

export interface Shape {
  readonly method: Call['method']
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Call['body']
  /** Something may be committed by it. */
  readonly proposes?: boolean
}

export interface CallOptions {
  /** Bounds the call with its repetitions, and two seconds for a sidecar that does not answer in time; 30,000 by default. */
  readonly timeoutMs?: number
  /** Ends the call with the signal's reason. What became of a command that was on its way is unknown then. */
  readonly signal?: AbortSignal
  /** An index from an earlier answer, of any node: this node holds it before it serves the call. */
  readonly minIndex?: number
}

export interface CallerOptions {
  readonly token?: string | undefined
  /** Whether a sidecar that is not there at the first attempt is waited for. */
  readonly retryUnreachable: boolean
}

export interface OpenedAnswer extends StreamedAnswer {
  /** Instead of reading the body. */
  leave(): void
}

export const defaultTimeoutMs = 30_000
/** Longer than the sidecar takes to say that time is up, so that it is the one to say so. */
const graceMs = 2_000

export class Caller {
  readonly #transport: Transport
  readonly #authorization: Readonly<Record<string, string>>
  readonly #retryUnreachable: boolean
  readonly #closing = new AbortController()

  constructor(transport: Transport, { token, retryUnreachable }: CallerOptions) {
    this.#transport = transport
    this.#authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
    this.#retryUnreachable = retryUnreachable
    // Every call in flight listens.
    setMaxListeners(0, this.#closing.signal)
  }

  /** One attempt. */
  async ask(shape: Shape, timeoutMs: number, signal?: AbortSignal): Promise<unknown> {
    const { proposes = false } = shape
    const answer = await this.exchange(shape, timeoutMs, signal)
    return resultOf(answer, proposes)
  }

  /** As many attempts as it takes until the answer is a final one, or the time is up. */
  async insist(shape: Shape, options: CallOptions): Promise<unknown> {
    return await this.repeat(options, async (attemptMs, headers) => {
      const query = { ...shape.query, timeout: `${attemptMs}ms` }
      return await this.ask({ ...shape, query, headers: { ...shape.headers, ...headers } }, attemptMs, options.signal)
    })
  }

  /** Repeats an attempt that rejects with what may get better; ends with the last error, and the outcome of all of them. */
  async repeat<T>(
    { timeoutMs = defaultTimeoutMs, signal, minIndex }: CallOptions,
    attempt: (attemptMs: number, headers: Readonly<Record<string, string>>) => Promise<T>,
  ): Promise<T> {
    const headers: Record<string, string> = minIndex === undefined ? {} : { 'raft-min-index': String(minIndex) }
    const patience = new Patience({ timeoutMs, signal })
    let failure: SidecarError | null = null
    for (;;) {
      try {
        return await attempt(patience.attemptMs, headers)
      } catch (error) {
        if (!(error instanceof SidecarError)) throw error
        const isFirst = failure === null
        failure = afterEarlier(failure, error)
        if (!this.mayRepeat(error, isFirst) || !(await patience.again(error.retryAfterMs))) throw failure
      }
    }
  }

  mayRepeat(error: SidecarError, isFirst: boolean): boolean {
    return mayGetBetter(error) && (error.code !== 'unreachable' || !isFirst || this.#retryUnreachable)
  }

  /** An answer of whatever status; rejects with SidecarError when there is none. */
  async exchange(shape: Shape, timeoutMs: number, signal?: AbortSignal) {
    const leash = new Leash(this.#closing.signal, signal)
    leash.limit(timeoutMs + graceMs)
    try {
      return await this.#transport.send(this.#callOf(shape, leash.signal))
    } catch (cause) {
      throw this.#failure(cause, shape, signal)
    } finally {
      leash.release()
    }
  }

  /**
   * Opens an answer that is read part by part; `idleTimeoutMs` bounds the wait for each of them. Rejects with SidecarError, and so does
   * the reading of its body.
   */
  async open(
    shape: Shape,
    {
      timeoutMs,
      idleTimeoutMs,
      signal,
    }: { timeoutMs: number; idleTimeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<OpenedAnswer> {
    const leash = new Leash(this.#closing.signal, signal)
    const failed = (cause: unknown) => {
      leash.release()
      return this.#failure(cause, shape, signal)
    }
    leash.limit(timeoutMs)
    let opened: StreamedAnswer
    try {
      opened = await this.#transport.open(this.#callOf(shape, leash.signal))
    } catch (cause) {
      throw failed(cause)
    }
    leash.unlimit()
    const { status, header, body } = opened
    const parts = readParts(body, leash, idleTimeoutMs, failed)
    if (status < 300) return { status, header, body: parts, leave: () => leash.cut() }
    const chunks: Uint8Array[] = []
    for await (const chunk of parts) chunks.push(chunk)
    const answer = { status, retryAfter: header('retry-after'), text: Buffer.concat(chunks).toString() }
    throw errorOf(answer, shape.proposes ?? false)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#transport.close()
  }

  #callOf({ method, path, query = {}, headers = {}, body = null }: Shape, signal: AbortSignal): Call {
    const search = new URLSearchParams(query).toString()
    return {
      method,
      path: search === '' ? path : `${path}?${search}`,
      headers: { ...this.#authorization, ...headers },
      body,
      signal,
    }
  }

  /** Throws what is no failure of the exchange. */
  #failure(cause: unknown, { proposes = false }: Shape, signal: AbortSignal | undefined): SidecarError {
    if (this.#closing.signal.aborted) {
      const outcome = proposes ? 'unknown' : null
      return new SidecarError('The client is closed', { code: 'client-closed', outcome, status: 0, cause })
    }
    signal?.throwIfAborted()
    if (isBadRequest(cause)) throw cause
    return noAnswer(cause, proposes)
  }
}

async function* readParts(
  body: AsyncIterable<Uint8Array>,
  leash: Leash,
  idleTimeoutMs: number,
  failed: (cause: unknown) => Error,
): AsyncGenerator<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]()
  let isOver = false
  try {
    for (;;) {
      leash.limit(idleTimeoutMs)
      let step: IteratorResult<Uint8Array>
      try {
        step = await chunks.next()
      } catch (cause) {
        isOver = true
        throw failed(cause)
      }
      // Whoever reads may take its time.
      leash.unlimit()
      if (step.done === true) {
        isOver = true
        return
      }
      yield step.value
    }
  } finally {
    leash.release()
    if (!isOver) await chunks.return?.()
  }
}
