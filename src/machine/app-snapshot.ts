// The application's state out and in, by its snapshot hooks. Each transfer has a connection of its own, so that it never stands in the way of a
// batch. The application is given a time to begin its answer and for each part that it sends or takes, none for the whole.

import type { Readable } from 'node:stream'
import { Client, type Dispatcher } from 'undici'
import type { Clock } from '../node/ports.ts'
import { type AppAnswer, judgeRestoreAnswer, judgeSnapshotAnswer } from './app-answer.ts'
import { messageOf } from './error-message.ts'
import type { RestoreOutcome, Snapshot } from './state-machine.ts'
import type { WebhookSigner } from './webhook-signature.ts'

export interface AppSnapshotsOptions {
  readonly origin: string
  readonly path: string
  readonly clock: Pick<Clock, 'after' | 'unixMs'>
  readonly timeoutMs: number
  readonly signer: WebhookSigner | null
}

/** Of an answer that is no snapshot: enough for a sentence. */
const maxAnswerBytes = 64 * 1024

export class AppSnapshots {
  readonly #options: AppSnapshotsOptions
  readonly #open = new Set<Transfer>()

  constructor(options: AppSnapshotsOptions) {
    this.#options = options
  }

  /** Null: not offered. Throws, with a sentence, when none is to be had. */
  async take(): Promise<Snapshot | null> {
    const transfer = this.#begin('POST')
    const { signer } = this.#options
    try {
      const headers = signer === null ? {} : signer.sign(`snapshot-${signer.moment()}`, '')
      const response = await transfer.request(headers, null)
      const { statusCode } = response
      const answer = statusCode === 200 ? { status: 200, retryAfter: null, body: '' } : await transfer.answer(response)
      const isBounded = 'content-length' in response.headers || 'transfer-encoding' in response.headers
      const position = judgeSnapshotAnswer(answer, response.headers['raft-position'], isBounded)
      if (position !== null) return { position, body: new Download(transfer, response.body) }
      await transfer.end()
      return null
    } catch (error) {
      await transfer.end()
      throw error
    }
  }

  /** Throws what the body threw; nothing is taken then. */
  async restore({ position, body }: Snapshot): Promise<RestoreOutcome> {
    const transfer = this.#begin('PUT')
    const upload = new Upload(transfer, body)
    try {
      const raftPosition = String(position)
      const headers = {
        'content-type': 'application/octet-stream',
        'raft-position': raftPosition,
        // The state is read as it is sent: its position stands for it.
        ...this.#options.signer?.sign(`restore-${raftPosition}`, raftPosition),
      }
      const answer = await transfer.answer(await transfer.request(headers, upload))
      return judgeRestoreAnswer(answer, upload.isWhole, this.#options.clock.unixMs())
    } catch (error) {
      if (upload.failure !== null) throw upload.failure.error
      return { type: 'retry', afterMs: null, reason: messageOf(error) }
    } finally {
      await upload.end()
      await transfer.end()
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((transfer) => transfer.giveUp(new Error('this node is closing'))))
  }

  #begin(method: 'POST' | 'PUT'): Transfer {
    const transfer = new Transfer(method, this.#options, () => this.#open.delete(transfer))
    this.#open.add(transfer)
    return transfer
  }
}

/** One request on one connection, and the time that the application is waited for. */
class Transfer {
  readonly #method: 'POST' | 'PUT'
  readonly #options: AppSnapshotsOptions
  readonly #ended: () => void
  readonly #client: Client
  readonly #abort = new AbortController()
  #cancelTimer: () => void = () => {}

  constructor(method: 'POST' | 'PUT', options: AppSnapshotsOptions, ended: () => void) {
    this.#method = method
    this.#options = options
    this.#ended = ended
    this.#client = new Client(options.origin, {
      connect: { timeout: Math.min(options.timeoutMs, 5000) },
      // How long the application is waited for is decided here: undici would count the time that the disk takes, too.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
  }

  async request(headers: Record<string, string>, body: Upload | null): Promise<Dispatcher.ResponseData> {
    this.wait()
    try {
      const { path } = this.#options
      const signal = this.#abort.signal
      // undici takes any AsyncIterable, with back-pressure; its types know of streams only.
      const chunks = body as unknown as Readable | null
      const response = await this.#client.request({ method: this.#method, path, headers, body: chunks, signal })
      this.rest()
      // A body that is given up unread must not end the process.
      response.body.on('error', () => {})
      return response
    } catch (error) {
      throw this.#failed('got no answer', error)
    }
  }

  async answer({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<AppAnswer> {
    const chunks: Uint8Array[] = []
    let bytes = 0
    this.wait()
    try {
      for await (const chunk of body) {
        bytes += chunk.length
        if (bytes > maxAnswerBytes) break
        chunks.push(chunk)
      }
    } catch (error) {
      throw this.#failed('got no whole answer', error)
    } finally {
      this.rest()
    }
    const retryAfter = headers['retry-after']
    return {
      status: statusCode,
      retryAfter: typeof retryAfter === 'string' ? retryAfter : null,
      body: bytes > maxAnswerBytes ? null : Buffer.concat(chunks).toString('utf8'),
    }
  }

  /** The next chunk of the state, in time. */
  async read(chunks: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
    this.wait()
    try {
      return await chunks.next()
    } catch (error) {
      throw this.#failed('broke off', error)
    } finally {
      this.rest()
    }
  }

  /** The application is waited for from now on. */
  wait(): void {
    this.#cancelTimer()
    const { clock, timeoutMs } = this.#options
    this.#cancelTimer = clock.after(timeoutMs, () =>
      this.#abort.abort(new Error(`the application sent and took nothing for ${timeoutMs} ms`)),
    )
  }

  rest(): void {
    this.#cancelTimer()
  }

  async giveUp(why: Error): Promise<void> {
    this.#abort.abort(why)
    await this.end()
  }

  async end(): Promise<void> {
    this.rest()
    this.#ended()
    await this.#client.destroy()
  }

  #failed(what: string, error: unknown): Error {
    this.rest()
    const { origin, path } = this.#options
    const why = messageOf(this.#abort.signal.aborted ? this.#abort.signal.reason : error)
    return new Error(`${this.#method} ${origin}${path} ${what}: ${why}`, { cause: error })
  }
}

/** What the application sends, as it is read. Written out, because a generator that was never begun would keep the connection on `return`. */
class Download implements AsyncIterableIterator<Uint8Array> {
  readonly #transfer: Transfer
  readonly #chunks: AsyncIterator<Uint8Array>
  #isOver = false

  constructor(transfer: Transfer, body: AsyncIterable<Uint8Array>) {
    this.#transfer = transfer
    this.#chunks = body[Symbol.asyncIterator]()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (this.#isOver) return { done: true, value: undefined }
    try {
      const step = await this.#transfer.read(this.#chunks)
      if (step.done !== true) return step
    } catch (error) {
      await this.return()
      throw error
    }
    return await this.return()
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#isOver = true
    await this.#transfer.end()
    return { done: true, value: undefined }
  }
}

/** What the application is sent, as it takes it; once it ended, nothing more is read from the source. */
class Upload implements AsyncIterableIterator<Uint8Array> {
  readonly #transfer: Transfer
  readonly #source: AsyncIterator<Uint8Array>
  #reading: Promise<unknown> | null = null
  #isOver = false
  isWhole = false
  /** Why the source broke off. */
  failure: { readonly error: unknown } | null = null

  constructor(transfer: Transfer, source: AsyncIterable<Uint8Array>) {
    this.#transfer = transfer
    this.#source = source[Symbol.asyncIterator]()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (this.#isOver) throw new Error('it was given up')
    // The disk is waited for, not the application.
    this.#transfer.rest()
    const reading = this.#source.next()
    this.#reading = reading
    let step: IteratorResult<Uint8Array>
    try {
      step = await reading
    } catch (error) {
      this.failure = { error }
      throw error
    }
    if (this.#isOver) throw new Error('it was given up')
    this.#transfer.wait()
    if (step.done === true) {
      this.isWhole = true
      return { done: true, value: undefined }
    }
    // A copy: the socket may hold it for long, and the source use its chunk again.
    return { done: false, value: Buffer.from(step.value) }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    await this.end()
    return { done: true, value: undefined }
  }

  async end(): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    await this.#reading?.catch(() => {})
    if (!this.isWhole && this.failure === null) await this.#source.return?.()
  }
}
