// What a TypeScript application imports to talk to its sidecar, and the command line too. It repeats a call by
// itself only where that is certain to be safe: the command never entered the log, or nothing was proposed.

import { setTimeout as delay } from 'node:timers/promises'
import type {
  BarrierResponse,
  CommandResponse,
  CommittedResponse,
  KvItem,
  LeaderResponse,
  Outcome,
  ProblemResponse,
  SnapshotResponse,
  StatusResponse,
} from '../api/schemas.ts'
import { RaftSidecarError } from './error.ts'
import {
  type Answer,
  type Call,
  type Fetch,
  fetchTransport,
  type StreamedAnswer,
  type Transport,
  undiciTransport,
} from './transport.ts'

export type {
  BarrierResponse,
  CommandResponse,
  CommittedResponse,
  Fetch,
  KvItem,
  LeaderResponse,
  Outcome,
  SnapshotResponse,
  StatusResponse,
}
export { RaftSidecarError }

/** `unix:/path` as a base URL means the same as `socketPath`. */
export type ClientOptions = ({ readonly baseUrl: string; readonly fetch?: Fetch } | { readonly socketPath: string }) & {
  readonly token?: string
}

export interface CallOptions {
  /** 100 to 60,000; 5,000 by default. It bounds the call with its repetitions. */
  readonly timeoutMs?: number
  /** An index from an earlier answer: the node holds it before it serves this call. */
  readonly minIndex?: number
}

export interface ReadOptions extends CallOptions {
  readonly consistency?: 'linearizable' | 'local'
}

export interface SnapshotOptions {
  /** How long the node may take to make it; 600,000 by default. */
  readonly timeoutMs?: number
}

export interface Backup extends SnapshotResponse {
  /** A name for the file, with cluster and index. */
  readonly filename: string
  /** Read it to its end, or leave it by `break`. It fails when the connection ends before the last byte, or stands still. */
  readonly body: AsyncIterable<Uint8Array>
}

export interface Client {
  /** A Uint8Array goes as opaque bytes, anything else as JSON. */
  propose<Result = unknown>(
    command: unknown,
    options?: CallOptions & { readonly wait?: 'applied' },
  ): Promise<CommandResponse & { result: Result }>
  propose(command: unknown, options: CallOptions & { readonly wait: 'committed' }): Promise<CommittedResponse>
  readonly kv: {
    /** Null when there is no such key. */
    get<Value = unknown>(key: string, options?: ReadOptions): Promise<(KvItem & { value: Value }) | null>
    set(key: string, value: unknown, options?: CallOptions): Promise<CommandResponse>
    delete(key: string, options?: CallOptions): Promise<CommandResponse>
  }
  /** After it, what this node's application has applied is linearizable to read. */
  barrier(options?: CallOptions): Promise<BarrierResponse>
  /** Null when this node knows of no leader. */
  leader(): Promise<LeaderResponse | null>
  status(): Promise<StatusResponse>
  /** Takes a snapshot on this node; without a new one when the newest is of this very index. */
  takeSnapshot(options?: SnapshotOptions): Promise<SnapshotResponse>
  /** Takes one and opens it, to be kept as a backup: consistent, and checksummed to its last byte. */
  openBackup(options?: SnapshotOptions): Promise<Backup>
  /** `detail` has a line a check. */
  ready(): Promise<{ readonly ready: boolean; readonly detail: string }>
  close(): Promise<void>
}

const defaultTimeoutMs = 5_000
/** Longer than the sidecar takes to say that time is up, so that it is the one to say so. */
const graceMs = 2_000
const snapshotTimeoutMs = 600_000
/** A download that stands still for so long has broken off. */
const idleTimeoutMs = 60_000
const repeatable: ReadonlySet<string> = new Set(['no-leader', 'too-many-proposals'])

export function createClient(options: ClientOptions): Client {
  const transport = transportOf(options)
  const authorization: Record<string, string> =
    options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }

  async function exchange(call: Omit<Call, 'timeoutMs'>, timeoutMs: number): Promise<Answer> {
    try {
      return await transport.send({ ...call, timeoutMs: timeoutMs + graceMs })
    } catch (cause) {
      throw noAnswer(call.method, cause)
    }
  }

  /** Repeats until the answer is not one that may safely be repeated, or the time is up. */
  async function request(call: CallShape, { timeoutMs = defaultTimeoutMs, minIndex }: CallOptions): Promise<unknown> {
    const deadlineMs = performance.now() + timeoutMs
    const { method, path, query = {}, contentType, body = null } = call
    const headers = {
      ...authorization,
      ...(contentType === undefined ? {} : { 'content-type': contentType }),
      ...(minIndex === undefined ? {} : { 'raft-min-index': String(minIndex) }),
    }
    for (;;) {
      // The sidecar takes no less than 100 ms.
      const leftMs = Math.max(100, Math.round(deadlineMs - performance.now()))
      const search = new URLSearchParams({ ...query, timeout: `${leftMs}ms` })
      const answer = await exchange({ method, path: `${path}?${search}`, headers, body }, leftMs)
      if (answer.status < 300) return parse(answer, method)
      const error = errorOf(answer, method)
      const { code, outcome, retryAfterMs } = error
      const safe = repeatable.has(code) && (outcome === 'not_applied' || method === 'GET')
      if (!safe || retryAfterMs === null || performance.now() + retryAfterMs >= deadlineMs) throw error
      await delay(retryAfterMs)
    }
  }

  async function propose(command: unknown, options: CallOptions & { readonly wait?: 'applied' | 'committed' } = {}) {
    const query = options.wait === undefined ? {} : { wait: options.wait }
    const shape: CallShape =
      command instanceof Uint8Array
        ? { method: 'POST', path: '/v1/commands', query, contentType: 'application/octet-stream', body: bytes(command) }
        : { method: 'POST', path: '/v1/commands', query, contentType: 'application/json', body: json(command) }
    return await request(shape, options)
  }

  return {
    propose: propose as Client['propose'],
    kv: {
      async get<Value>(key: string, { consistency, ...options }: ReadOptions = {}) {
        const query = consistency === undefined ? {} : { consistency }
        return await orNull('key-not-found', async () => {
          return (await request({ method: 'GET', path: keyPath(key), query }, options)) as KvItem & { value: Value }
        })
      },
      async set(key, value, options = {}) {
        const shape = { method: 'PUT', path: keyPath(key), contentType: 'application/json', body: json(value) } as const
        return (await request(shape, options)) as CommandResponse
      },
      async delete(key, options = {}) {
        return (await request({ method: 'DELETE', path: keyPath(key) }, options)) as CommandResponse
      },
    },
    async barrier(options = {}) {
      return (await request({ method: 'GET', path: '/v1/barrier' }, options)) as BarrierResponse
    },
    async leader() {
      // That there is none is an answer here, not a reason to ask again.
      const call = { method: 'GET', path: '/v1/leader', headers: authorization, body: null } as const
      const answer = await exchange(call, defaultTimeoutMs)
      if (answer.status < 300) return parse(answer, 'GET') as LeaderResponse
      return await orNull('no-leader', () => Promise.reject(errorOf(answer, 'GET')))
    },
    async status() {
      return (await request({ method: 'GET', path: '/v1/status' }, {})) as StatusResponse
    },
    async takeSnapshot({ timeoutMs = snapshotTimeoutMs } = {}) {
      const call = { method: 'POST', path: '/v1/snapshot', headers: authorization, body: null, timeoutMs } as const
      // Nothing is proposed by it, so that no answer leaves no more doubt than that of a GET.
      const answer = await transport.send(call).catch((cause) => {
        throw noAnswer('GET', cause)
      })
      if (answer.status >= 300) throw errorOf(answer, 'GET')
      return parse(answer, 'GET') as SnapshotResponse
    },
    async openBackup({ timeoutMs = snapshotTimeoutMs } = {}) {
      const call = { method: 'GET', path: '/v1/snapshot', headers: authorization, body: null, timeoutMs } as const
      try {
        return await backupOf(await transport.open(call, idleTimeoutMs))
      } catch (cause) {
        throw cause instanceof RaftSidecarError ? cause : noAnswer('GET', cause)
      }
    },
    async ready() {
      const call = { method: 'GET', path: '/readyz?verbose', headers: authorization, body: null } as const
      const answer = await exchange(call, defaultTimeoutMs)
      if (answer.status !== 200 && !answer.text.startsWith('[')) throw errorOf(answer, 'GET')
      return { ready: answer.status === 200, detail: answer.text }
    },
    close: () => transport.close(),
  }
}

interface CallShape {
  readonly method: Call['method']
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly contentType?: string
  readonly body?: Call['body']
}

function transportOf(options: ClientOptions): Transport {
  if ('socketPath' in options) return undiciTransport('http://localhost', options.socketPath)
  const { baseUrl, fetch } = options
  if (baseUrl.startsWith('unix:')) return undiciTransport('http://localhost', baseUrl.slice('unix:'.length))
  const url = baseUrl.replace(/\/+$/, '')
  return fetch === undefined ? undiciTransport(url, null) : fetchTransport(url, fetch)
}

async function backupOf({ status, header, body }: StreamedAnswer): Promise<Backup> {
  if (status >= 300) {
    const chunks: Uint8Array[] = []
    for await (const chunk of body) chunks.push(chunk)
    throw errorOf({ status, retryAfter: header('retry-after'), text: Buffer.concat(chunks).toString() }, 'GET')
  }
  const number = (name: string) => {
    const value = header(name)
    if (value !== null && /^[0-9]{1,16}$/.test(value)) return Number(value)
    throw malformed(`The sidecar sent a snapshot without the header ${name}`, 'GET', status)
  }
  const [index, term] = [number('raft-snapshot-index'), number('raft-snapshot-term')]
  const sizeBytes = number('content-length')
  const filename = /filename="([^"/\\]+)"/.exec(header('content-disposition') ?? '')?.[1] ?? `${index}.snapshot`
  return { index, term, sizeBytes, filename, body: whole(body, sizeBytes) }
}

async function* whole(body: AsyncIterable<Uint8Array>, sizeBytes: number): AsyncGenerator<Uint8Array> {
  let received = 0
  try {
    for await (const chunk of body) {
      received += chunk.length
      yield chunk
    }
  } catch (cause) {
    throw brokenOff(`The connection ended after ${received} of the snapshot's ${sizeBytes} bytes`, cause)
  }
  if (received !== sizeBytes) throw brokenOff(`The snapshot has ${sizeBytes} bytes, ${received} came`)
}

function brokenOff(message: string, cause?: unknown): RaftSidecarError {
  return new RaftSidecarError(message, { code: 'no-answer', outcome: null, status: 0, cause })
}

function keyPath(key: string): string {
  return `/v1/kv/${encodeURIComponent(key)}`
}

function json(value: unknown): string {
  const text: string | undefined = JSON.stringify(value)
  if (text === undefined) throw new TypeError(`Cannot send a ${typeof value}: it has no JSON form`)
  return text
}

function bytes(command: Uint8Array): Uint8Array<ArrayBuffer> {
  return command.buffer instanceof ArrayBuffer
    ? new Uint8Array(command.buffer, command.byteOffset, command.length)
    : new Uint8Array(command)
}

async function orNull<T>(code: string, call: () => Promise<T>): Promise<T | null> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof RaftSidecarError && error.code === code) return null
    throw error
  }
}

function parse({ status, text }: Answer, method: Call['method']): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw malformed('The sidecar answered with something else than JSON', method, status, cause)
  }
}

function malformed(message: string, method: Call['method'], status: number, cause?: unknown): RaftSidecarError {
  const outcome = method === 'GET' ? null : 'unknown'
  return new RaftSidecarError(message, { code: 'malformed-answer', outcome, status, cause })
}

function errorOf(answer: Answer, method: Call['method']): RaftSidecarError {
  const { status, retryAfter } = answer
  const problem = (parse(answer, method) ?? {}) as Partial<ProblemResponse>
  const unknown: Outcome | null = method === 'GET' ? null : 'unknown'
  const { index, term } = problem
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter)
  return new RaftSidecarError(problem.detail ?? `The sidecar answered with ${status}`, {
    code: problem.code ?? 'malformed-answer',
    outcome: problem.outcome ?? (problem.code === undefined ? unknown : null),
    status,
    committed: index === undefined || term === undefined ? null : { index, term },
    retryAfterMs: Number.isFinite(seconds) ? seconds * 1_000 : null,
  })
}

/** A connection that was never made carried no command; one that broke may have. */
function noAnswer(method: Call['method'], cause: unknown): RaftSidecarError {
  const code = causeCode(cause)
  const refused = code === 'ECONNREFUSED' || code === 'ENOENT' || code === 'UND_ERR_CONNECT_TIMEOUT'
  const outcome: Outcome = refused ? 'not_applied' : 'unknown'
  return new RaftSidecarError(refused ? 'The sidecar is not there' : 'The connection ended before an answer came', {
    code: refused ? 'unreachable' : 'no-answer',
    outcome: method === 'GET' ? null : outcome,
    status: 0,
    cause,
  })
}

/** The global fetch wraps the error of the socket. */
function causeCode(error: unknown): unknown {
  if (!(error instanceof Error)) return undefined
  return 'code' in error && typeof error.code === 'string' ? error.code : causeCode(error.cause)
}
