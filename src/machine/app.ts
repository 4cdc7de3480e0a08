// The application as state machine, by its webhook: one request a batch, over one connection kept alive. Whether a batch is
// tried again, and when, is the applier's business: here one request becomes one outcome. Its whole state goes out and in beside that.

import { Client, errors } from 'undici'
import type { Clock } from '../node/ports.ts'
import type { Entry } from '../raft/entry.ts'
import { type AppAnswer, judgeApplyAnswer, judgePositionAnswer } from './app-answer.ts'
import { ApplyBodyEncoder } from './app-request.ts'
import { AppSnapshots } from './app-snapshot.ts'
import { messageOf } from './error-message.ts'
import type { ApplyOutcome, RestoreOutcome, Snapshot, StateMachine } from './state-machine.ts'

export interface AppMachineOptions {
  /** Where the hooks are: http or https, with a base path or without. */
  readonly url: string
  readonly cluster: string
  readonly node: string
  readonly clock: Pick<Clock, 'after' | 'unixMs'>
  /** From sending a request to the last byte of its answer; of a snapshot, to each part of it. */
  readonly timeoutMs?: number
  readonly maxResponseBytes?: number
}

export function createAppMachine(options: AppMachineOptions): StateMachine {
  return new ApplicationMachine(options)
}

// Below the 5 s after which a Node server closes an idle connection, so that neither side writes into one that the other just closed.
const keepAliveMs = 3500

const json = { accept: 'application/json' }
const jsonBoth = { ...json, 'content-type': 'application/json' }

class ApplicationMachine implements StateMachine {
  readonly size = null
  readonly #client: Client
  readonly #snapshots: AppSnapshots
  readonly #encoder: ApplyBodyEncoder
  readonly #clock: Pick<Clock, 'after' | 'unixMs'>
  readonly #basePath: string
  readonly #origin: string
  readonly #timeoutMs: number
  readonly #aborts = new Set<AbortController>()

  constructor({
    url,
    cluster,
    node,
    clock,
    timeoutMs = 30_000,
    maxResponseBytes = 16 * 1024 * 1024,
  }: AppMachineOptions) {
    const { origin, pathname } = new URL(url)
    this.#origin = origin
    this.#basePath = pathname.replace(/\/+$/, '')
    this.#timeoutMs = timeoutMs
    this.#clock = clock
    this.#snapshots = new AppSnapshots({ origin, path: `${this.#basePath}/snapshot`, clock, timeoutMs })
    this.#encoder = new ApplyBodyEncoder(cluster, node)
    this.#client = new Client(origin, {
      pipelining: 1,
      keepAliveTimeout: keepAliveMs,
      // What the application announces may shorten it, never lengthen it.
      keepAliveMaxTimeout: keepAliveMs,
      connect: { timeout: Math.min(timeoutMs, 5000) },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      maxResponseSize: maxResponseBytes,
    })
  }

  async position(): Promise<number | null> {
    return judgePositionAnswer(await this.#request('GET', '/position', null))
  }

  async apply(after: number, commands: readonly Entry[]): Promise<ApplyOutcome> {
    const body = this.#encoder.encode(after, commands)
    let answer: AppAnswer
    try {
      answer = await this.#request('POST', '/apply', body)
    } catch (error) {
      return { type: 'retry', afterMs: null, reason: messageOf(error) }
    }
    return judgeApplyAnswer(answer, commands, this.#clock.unixMs())
  }

  snapshot(): Promise<Snapshot | null> {
    return this.#snapshots.take()
  }

  restore(snapshot: Snapshot): Promise<RestoreOutcome> {
    return this.#snapshots.restore(snapshot)
  }

  async close(): Promise<void> {
    for (const abort of this.#aborts) abort.abort(new Error('this node is closing'))
    await Promise.all([this.#client.destroy(), this.#snapshots.close()])
  }

  /** Rejects, with a sentence, when there is no whole answer in time. */
  async #request(method: 'GET' | 'POST', hook: string, body: Buffer | null): Promise<AppAnswer> {
    const abort = new AbortController()
    // undici's own limits start anew with every part of an answer; this one bounds the whole.
    const cancel = this.#clock.after(this.#timeoutMs, () =>
      abort.abort(new Error(`no whole answer within ${this.#timeoutMs} ms`)),
    )
    this.#aborts.add(abort)
    try {
      const response = await this.#client.request({
        method,
        path: `${this.#basePath}${hook}`,
        headers: body === null ? json : jsonBoth,
        body,
        signal: abort.signal,
      })
      const retryAfter = response.headers['retry-after']
      return {
        status: response.statusCode,
        retryAfter: typeof retryAfter === 'string' ? retryAfter : null,
        body: await response.body.text().catch(nullIfTooLong),
      }
    } catch (error) {
      const why = abort.signal.aborted ? messageOf(abort.signal.reason) : messageOf(error)
      throw new Error(`${method} ${this.#origin}${this.#basePath}${hook} got no answer: ${why}`, { cause: error })
    } finally {
      cancel()
      this.#aborts.delete(abort)
    }
  }
}

function nullIfTooLong(error: unknown): null {
  if (error instanceof errors.ResponseExceededMaxSizeError) return null
  throw error
}
