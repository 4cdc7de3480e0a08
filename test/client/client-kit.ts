// A client in front of a sidecar that answers as a test tells it to.

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { type Client, type ClientOptions, createClient, SidecarError } from '../../src/client/client.ts'
import { type Answers, type FakeAnswer, type FakeSidecar, startFakeSidecar } from '../cli/fake-sidecar.ts'

export const place = { index: 42, term: 3, timestamp: '2026-11-23T05:00:00.123Z' }
export const applied = { ...place, result: { ok: true } }

export function connect(t: TestContext, options: ClientOptions): Client {
  const client = createClient(options)
  t.after(() => client.close())
  return client
}

export interface Scene {
  readonly client: Client
  readonly sidecar: FakeSidecar
}

/** Each request takes the next of these; the last one stays. */
export async function scene(
  t: TestContext,
  answers: readonly ReturnType<Answers>[] | Answers,
  options: ClientOptions = {},
): Promise<Scene> {
  let next = 0
  const inTurn: Answers = () => {
    assert(typeof answers !== 'function')
    return answers[Math.min(next++, answers.length - 1)] ?? null
  }
  const sidecar = await startFakeSidecar(typeof answers === 'function' ? answers : inTurn)
  t.after(() => sidecar.close())
  return { sidecar, client: connect(t, { url: sidecar.url, ...options }) }
}

export function ok(body: unknown, status = 200): FakeAnswer {
  return { status, body }
}

export function problem(status: number, code: string, more: object = {}, headers = {}): FakeAnswer {
  const body = { type: 'about:blank', title: 'x', status, detail: 'Why.', code, ...more }
  return { status, body, headers }
}

/** What a node with no leader answers; a client may come back at once. */
export const noLeader = problem(503, 'no-leader', { outcome: 'not_applied' }, { 'retry-after': '0' })

export async function failure(promise: Promise<unknown>): Promise<SidecarError> {
  try {
    await promise
  } catch (error) {
    assert(error instanceof SidecarError, String(error))
    return error
  }
  assert.fail('The call should have failed')
}

export function keysOf(sidecar: FakeSidecar): ReadonlySet<unknown> {
  return new Set(sidecar.requests.map((request) => request.headers['idempotency-key']))
}
