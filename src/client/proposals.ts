// Proposing, exactly once: every call has one idempotency key over all its attempts, so that repeating it is always safe.

import { randomUUID } from 'node:crypto'
import type { ProblemResponse } from '../api/schemas.ts'
import type { Applied, Committed } from './answers.ts'
import type { Caller, CallOptions } from './caller.ts'
import { afterEarlier, SidecarError } from './error.ts'
import { mayGetBetter } from './patience.ts'
import { malformed } from './read-answer.ts'

const maxKeyLength = 255

export interface ProposeOptions extends CallOptions {
  /** Idempotency key, 1 to 255 visible ASCII characters: of all proposals under one key, a single one takes effect. A new one by default. */
  readonly key?: string
  /** When to answer; `applied` by default. */
  readonly wait?: 'applied' | 'committed'
  /** The W3C's trace context: it travels through the log to the application's hooks. */
  readonly traceparent?: string
}

export async function propose(caller: Caller, command: unknown, options: ProposeOptions): Promise<unknown> {
  const isBytes = command instanceof Uint8Array
  const { query, headers } = about(options, isBytes ? 'application/octet-stream' : 'application/json', maxKeyLength)
  const body = isBytes ? bytesOf(command) : jsonOf(command)
  return await caller.insist({ method: 'POST', path: '/v1/commands', query, headers, body, proposes: true }, options)
}

/** One result a command, in their order; a SidecarError for one that got none. Rejects when not one of them got an answer. */
export async function proposeBatch(
  caller: Caller,
  commands: readonly unknown[],
  options: ProposeOptions,
): Promise<readonly (Applied | Committed | SidecarError)[]> {
  if (commands.length === 0) return []
  const { query, headers } = about(options, 'application/x-ndjson', maxKeyLength - '/10000'.length)
  const body = `${commands.map(jsonOf).join('\n')}\n`
  const shape = { method: 'POST', path: '/v1/commands/batch', body, proposes: true } as const
  const lines: Line[] = commands.map(() => null)
  let isAnswered = false
  try {
    // All of it again, also where only a few lines failed: the others are known by their keys.
    await caller.repeat(options, async (attemptMs, more) => {
      const timed = { ...shape, query: { ...query, timeout: `${attemptMs}ms` }, headers: { ...headers, ...more } }
      try {
        const answer = await caller.ask(timed, attemptMs, options.signal)
        for (const [at, result] of readBatch(answer, lines.length).entries()) lines[at] = better(lines[at], result)
        isAnswered = true
      } catch (error) {
        if (error instanceof SidecarError) for (const at of lines.keys()) lines[at] = better(lines[at], error)
        throw error
      }
      const waiting = lines.find(mayBeAnswered)
      if (waiting !== undefined) throw waiting
    })
  } catch (error) {
    if (!(error instanceof SidecarError && isAnswered)) throw error
  }
  return lines as (Applied | Committed | SidecarError)[]
}

/** Null: not answered yet. */
type Line = Applied | Committed | SidecarError | null

function mayBeAnswered(line: Line): line is SidecarError {
  return line instanceof SidecarError && mayGetBetter(line)
}

function better(earlier: Line | undefined, later: Applied | SidecarError): Line {
  if (earlier === null || earlier === undefined) return later
  // What was answered for good stays, whatever a repetition met.
  if (!mayBeAnswered(earlier)) return earlier
  return later instanceof SidecarError ? afterEarlier(earlier, later) : later
}

type BatchLine = Applied | (Partial<ProblemResponse> & { readonly code: string })

function readBatch(answer: unknown, count: number): readonly (Applied | SidecarError)[] {
  const results = (answer as { readonly results?: readonly BatchLine[] } | null)?.results
  if (!Array.isArray(results) || results.length !== count)
    throw malformed(`The sidecar did not answer with one result for each of ${count} commands`, 200, true)
  return results.map((line: BatchLine) => {
    if (!('code' in line)) return line
    const {
      code,
      outcome = 'unknown',
      detail = `The command was answered with ${code}`,
      status = 200,
      index,
      term,
    } = line
    const committed = index === undefined || term === undefined ? null : { index, term }
    return new SidecarError(detail, { code, outcome, status, committed })
  })
}

/** With the key of this call, to be used by each of its attempts. */
function about({ key, wait, traceparent }: ProposeOptions, contentType: string, maxLength: number) {
  return {
    query: wait === undefined ? {} : { wait },
    headers: {
      'content-type': contentType,
      ...idempotencyKey(key, maxLength),
      ...(traceparent === undefined ? {} : { traceparent }),
    },
  }
}

/** Makes a key where none is given. */
export function idempotencyKey(
  key: string = randomUUID(),
  maxLength = maxKeyLength,
): { readonly 'idempotency-key': string } {
  if (!/^[!-~]+$/.test(key) || key.length > maxLength) {
    const wanted = `it has 1 to ${maxLength} visible ASCII characters`
    throw new TypeError(`Cannot use ${JSON.stringify(key)} as an idempotency key: ${wanted}`)
  }
  // One that begins as a quoted string would be taken for one.
  return { 'idempotency-key': key.startsWith('"') ? `"${key.replace(/["\\]/g, '\\$&')}"` : key }
}

export function jsonOf(value: unknown): string {
  if (value instanceof Uint8Array) throw new TypeError('Cannot send bytes here: only `propose` takes them')
  const text: string | undefined = JSON.stringify(value)
  if (text === undefined) throw new TypeError(`Cannot send a ${typeof value}: it has no JSON form`)
  return text
}

function bytesOf(command: Uint8Array): Uint8Array<ArrayBuffer> {
  return command.buffer instanceof ArrayBuffer
    ? new Uint8Array(command.buffer, command.byteOffset, command.length)
    : new Uint8Array(command)
}
