// The hooks of one application, called as a sidecar calls them, and their answers judged by the sidecar's own table. What breaks the contract, and
// no answer at all, is a Failure.

import { Agent as HttpAgent, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import {
  type AppAnswer,
  judgeApplyAnswer,
  judgePositionAnswer,
  judgeRestoreAnswer,
  judgeSnapshotAnswer,
} from '../../src/machine/app-answer.ts'
import type { ApplyOutcome, RestoreOutcome } from '../../src/machine/state-machine.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { applyBody, sender } from './apply-body.ts'
import { Exchange, type ExchangeOptions, NoAnswer } from './exchange.ts'
import { Failure } from './finding.ts'
import { sign, signatureHeaders } from './signature.ts'

export interface HooksOptions {
  readonly url: string
  /** Null: nothing is signed. */
  readonly secret: string | null
  readonly timeoutMs: number
}

export interface TakenSnapshot {
  readonly position: number
  readonly body: Buffer
}

export interface OpenedSnapshot {
  readonly position: number
  read(): Promise<Buffer>
}

type Headers = Readonly<Record<string, string>>
type Call = Pick<ExchangeOptions, 'method' | 'headers' | 'sizeBytes' | 'agent'> & {
  readonly hook: string
  readonly timeoutMs?: number
}

const nothing = Buffer.alloc(0)
const json = { 'content-type': 'application/json' }

export class Hooks {
  readonly #options: HooksOptions
  readonly #agent: HttpAgent | HttpsAgent
  #asked = 0

  constructor(options: HooksOptions) {
    this.#options = options
    // One connection for whatever is asked in turn, kept alive.
    const keptAlive = { keepAlive: true, maxSockets: 1 }
    this.#agent = new URL(options.url).protocol === 'https:' ? new HttpsAgent(keptAlive) : new HttpAgent(keptAlive)
  }

  get url(): string {
    return this.#options.url
  }

  /** Null: not offered. `apart`: by a connection of its own. */
  async position({ apart = false } = {}): Promise<number | null> {
    const headers = this.signed(this.#moment('position'), nothing)
    const call = { method: 'GET', hook: '/position', headers, sizeBytes: null } as const
    const answer = await this.#ask(apart ? call : { ...call, agent: this.#agent }, nothing)
    return judged(() => judgePositionAnswer(answer))
  }

  async apply(after: number, commands: readonly Entry[]): Promise<ApplyOutcome> {
    return this.judgeApply(await this.applyBody(applyBody(after, commands), commands), commands)
  }

  judgeApply(answer: AppAnswer, commands: readonly Entry[]): ApplyOutcome {
    return judgeApplyAnswer(answer, commands, Date.now())
  }

  /** Any body; `commands` give it its id. */
  applyBody(body: Buffer, commands: readonly Entry[]): Promise<AppAnswer> {
    return this.applyAs(this.signed(this.applyId(commands), body), body)
  }

  /** With headers of the caller's own in the place of the signature. */
  applyAs(headers: Headers, body: Buffer): Promise<AppAnswer> {
    const call = { method: 'POST', hook: '/apply', headers: { ...json, ...headers }, agent: this.#agent } as const
    return this.#ask({ ...call, sizeBytes: body.length }, body)
  }

  /** The body is for the caller to write, by a connection of its own. */
  beginApply(body: Buffer, commands: readonly Entry[]): Exchange {
    const headers = { ...json, ...this.signed(this.applyId(commands), body) }
    // Something else may be waited for while it is on its way, and must not outlast it.
    const timeoutMs = 2 * this.#options.timeoutMs
    return this.#begin({ method: 'POST', hook: '/apply', headers, sizeBytes: body.length, timeoutMs })
  }

  async endApply(exchange: Exchange, commands: readonly Entry[]): Promise<ApplyOutcome> {
    return this.judgeApply(await answerOf(exchange), commands)
  }

  /** Null: not offered. The body is for the caller to read. */
  async openSnapshot(): Promise<OpenedSnapshot | null> {
    const headers = this.signed(this.#moment('snapshot'), nothing)
    const exchange = this.#begin({ method: 'POST', hook: '/snapshot', headers, sizeBytes: 0 })
    const response = await heard(exchange.head())
    const isBounded = 'content-length' in response.headers || 'transfer-encoding' in response.headers
    const status = response.statusCode ?? 0
    const answer = status === 200 ? { status, retryAfter: null, body: '' } : await read(exchange, response)
    const raftPosition = response.headers['raft-position']
    const position = judged(() => judgeSnapshotAnswer(answer, raftPosition, isBounded))
    return position === null ? null : { position, read: () => heard(exchange.read(response)) }
  }

  async snapshot(): Promise<TakenSnapshot | null> {
    const opened = await this.openSnapshot()
    return opened === null ? null : { position: opened.position, body: await opened.read() }
  }

  async restore({ position, body }: TakenSnapshot): Promise<RestoreOutcome> {
    const exchange = this.beginRestore(position)
    await exchange.write(body)
    return judgeRestoreAnswer(await answerOf(exchange), true, Date.now())
  }

  /** In chunks, as a sidecar does, which learns the size while it reads; for the same reason it is the position that is signed. */
  beginRestore(position: number): Exchange {
    const headers = {
      ...this.signed(this.#id(`restore-${position}`), Buffer.from(String(position))),
      ...restoreHeaders(position),
    }
    return this.#begin({ method: 'PUT', hook: '/snapshot', headers, sizeBytes: null })
  }

  leadership(change: unknown): Promise<AppAnswer> {
    const body = Buffer.from(JSON.stringify(change))
    const headers = { ...json, ...this.signed(this.#moment('leadership'), body) }
    const call = { method: 'POST', hook: '/leadership', headers, agent: this.#agent } as const
    return this.#ask({ ...call, sizeBytes: body.length }, body)
  }

  /** Without a signature. */
  async unsigned(hook: 'snapshot' | 'restore' | 'leadership', position: number, body: Buffer): Promise<AppAnswer> {
    if (hook === 'restore') {
      const call = { method: 'PUT', hook: '/snapshot', headers: restoreHeaders(position) } as const
      return await this.#ask({ ...call, sizeBytes: null }, body)
    }
    const call = { method: 'POST', hook: `/${hook}`, headers: hook === 'leadership' ? json : {} } as const
    return await this.#ask({ ...call, sizeBytes: body.length }, body)
  }

  /** Nothing without a secret. */
  signed(id: string, body: Uint8Array): Headers {
    const { secret } = this.#options
    if (secret === null) return {}
    const seconds = Math.floor(Date.now() / 1000)
    return signatureHeaders(id, seconds, [sign(secret, { id, seconds, body })])
  }

  /** The same for the same commands, however often they are delivered. */
  applyId(commands: readonly Entry[]): string {
    return this.#id(`${commands[0]?.index ?? 0}-${commands.at(-1)?.index ?? 0}`)
  }

  close(): void {
    this.#agent.destroy()
  }

  #id(what: string): string {
    return `${sender.cluster}-${sender.node}-${what}`
  }

  /** For what is said but once. */
  #moment(what: string): string {
    return this.#id(`${what}-${Date.now()}-${++this.#asked}`)
  }

  #begin({ hook, ...call }: Call): Exchange {
    const { url, timeoutMs } = this.#options
    return new Exchange({ timeoutMs, ...call, url: new URL(`${url}${hook}`) })
  }

  async #ask(call: Call, body: Uint8Array): Promise<AppAnswer> {
    const exchange = this.#begin(call)
    await exchange.write(body)
    return await answerOf(exchange)
  }
}

function restoreHeaders(position: number): Headers {
  return { 'content-type': 'application/octet-stream', 'raft-position': String(position) }
}

async function answerOf(exchange: Exchange): Promise<AppAnswer> {
  return await read(exchange, await heard(exchange.head()))
}

async function read(exchange: Exchange, response: IncomingMessage): Promise<AppAnswer> {
  const body = await heard(exchange.read(response))
  return {
    status: response.statusCode ?? 0,
    retryAfter: response.headers['retry-after'] ?? null,
    body: body.toString('utf8'),
  }
}

async function heard<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof NoAnswer) throw new Failure(error.message, { cause: error })
    throw error
  }
}

function judged<T>(judge: () => T): T {
  try {
    return judge()
  } catch (error) {
    throw new Failure(error instanceof Error ? error.message : String(error), { cause: error })
  }
}
