// The key-value store of the sidecar (STATE_MACHINE=kv).

import type { KvItem, KvListResponse } from '../api/schemas.ts'
import type { Applied } from './answers.ts'
import type { Caller, CallOptions } from './caller.ts'
import { SidecarError } from './error.ts'
import { idempotencyKey, jsonOf } from './proposals.ts'

export interface ReadOptions extends CallOptions {
  /** `linearizable` by default; `local` may be older than what was committed elsewhere. */
  readonly consistency?: 'linearizable' | 'local'
}

export interface WriteOptions extends CallOptions {
  /** Writes only while the key's `modifiedIndex` is this one. */
  readonly ifMatch?: number
  /** Writes only while there is no such key. */
  readonly ifNoneMatch?: '*'
  /** As `key` of `propose`; a new one by default. */
  readonly idempotencyKey?: string
}

export interface ListOptions extends ReadOptions {
  /** Only keys that begin with this. */
  readonly prefix?: string
  /** Only keys behind this one. */
  readonly after?: string
  /** Items that are asked for at once; the sidecar's default without it. */
  readonly pageSize?: number
}

export interface KeyValue {
  /** Null when there is no such key. */
  get<Value = unknown>(key: string, options?: ReadOptions): Promise<(KvItem & { readonly value: Value }) | null>
  /** Rejects with ConditionFailedError when a condition was given and did not hold. */
  set(key: string, value: unknown, options?: WriteOptions): Promise<Applied>
  /** As `set`; that there was no such key is in the result. */
  delete(key: string, options?: Omit<WriteOptions, 'ifNoneMatch'>): Promise<Applied>
  /** In the order of the keys, asked for page by page: each page is a read of its own. The time of the options bounds a page. */
  list<Value = unknown>(options?: ListOptions): AsyncIterable<KvItem & { readonly value: Value }>
}

export function createKeyValue(caller: Caller): KeyValue {
  return {
    async get<Value>(key: string, options: ReadOptions = {}) {
      try {
        return (await caller.insist(
          { method: 'GET', path: pathOf(key), query: consistencyOf(options) },
          options,
        )) as KvItem & {
          readonly value: Value
        }
      } catch (error) {
        if (error instanceof SidecarError && error.code === 'key-not-found') return null
        throw error
      }
    },
    async set(key, value, options = {}) {
      const headers = { 'content-type': 'application/json', ...conditionsOf(options) }
      const shape = { method: 'PUT', path: pathOf(key), headers, body: jsonOf(value), proposes: true } as const
      return (await caller.insist(shape, options)) as Applied
    },
    async delete(key, options = {}) {
      const shape = { method: 'DELETE', path: pathOf(key), headers: conditionsOf(options), proposes: true } as const
      return (await caller.insist(shape, options)) as Applied
    },
    list: (options = {}) => list(caller, options),
  }
}

async function* list<Value>(
  caller: Caller,
  options: ListOptions,
): AsyncGenerator<KvItem & { readonly value: Value }, void, undefined> {
  const { prefix, pageSize } = options
  const fixed = {
    ...consistencyOf(options),
    ...(prefix === undefined ? {} : { prefix }),
    ...(pageSize === undefined ? {} : { limit: String(pageSize) }),
  }
  for (let after: string | null | undefined = options.after; after !== null; ) {
    const query = after === undefined ? fixed : { ...fixed, after }
    const page = (await caller.insist({ method: 'GET', path: '/v1/kv', query }, options)) as KvListResponse
    yield* page.items as readonly (KvItem & { readonly value: Value })[]
    after = page.next
  }
}

function pathOf(key: string): string {
  return `/v1/kv/${encodeURIComponent(key)}`
}

function consistencyOf({ consistency }: ReadOptions): Readonly<Record<string, string>> {
  return consistency === undefined ? {} : { consistency }
}

function conditionsOf(options: WriteOptions): Readonly<Record<string, string>> {
  const { ifMatch, ifNoneMatch } = options
  return {
    ...idempotencyKey(options.idempotencyKey),
    ...(ifMatch === undefined ? {} : { 'if-match': `"${ifMatch}"` }),
    ...(ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch }),
  }
}
