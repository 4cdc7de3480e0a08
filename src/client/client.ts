// What a TypeScript application imports (`raft-sidecar/client`): a client that talks to its sidecar, and the hooks that its sidecar calls.

import type {
  BarrierResponse,
  CommandResponse,
  CommittedResponse,
  KvItem,
  LeaderResponse,
  Outcome,
  SnapshotResponse,
} from '../api/schemas.ts'
import type { Applied, ClusterEvent, Committed, Leader, LoggedCommand, Member, Status } from './answers.ts'
import { type Backup, openBackup, type SnapshotOptions, snapshotTimeoutMs } from './backup.ts'
import { Caller, type CallOptions } from './caller.ts'
import { CompactedError, ConditionFailedError, SidecarError } from './error.ts'
import { createKeyValue, type KeyValue, type ListOptions, type ReadOptions, type WriteOptions } from './key-value.ts'
import { type ProposeOptions, propose, proposeBatch } from './proposals.ts'
import { errorOf } from './read-answer.ts'
import { type Fetch, fetchTransport, type Transport, undiciTransport } from './transport.ts'
import { type EventsOptions, type WatchOptions, watchCommands, watchEvents } from './watch.ts'

export {
  type Apply,
  type ApplyBatch,
  type CommandMeta,
  createHooks,
  type DeliveredCommand,
  type Hooks,
  type HooksOptions,
  type LeadershipChange,
  PoisonCommand,
  type RestoredState,
} from './hooks.ts'
export type {
  Applied,
  Backup,
  BarrierResponse,
  CallOptions,
  ClusterEvent,
  CommandResponse,
  Committed,
  CommittedResponse,
  EventsOptions,
  Fetch,
  KeyValue,
  KvItem,
  Leader,
  LeaderResponse,
  ListOptions,
  LoggedCommand,
  Member,
  Outcome,
  ProposeOptions,
  ReadOptions,
  SnapshotOptions,
  SnapshotResponse,
  Status,
  WatchOptions,
  WriteOptions,
}
export { CompactedError, ConditionFailedError, SidecarError }

export interface ClientOptions {
  /** `http://host:port` or `unix:/path`; http://127.0.0.1:4001 by default. */
  readonly url?: string
  /** The sidecar's API_TOKEN. */
  readonly token?: string
  /** Instead of the client's own connections; not for unix sockets. */
  readonly fetch?: Fetch
  /** False: a sidecar that is not there at the first attempt is not waited for. True by default, since it may be restarting. */
  readonly retryUnreachable?: boolean
}

export interface NowOptions {
  /** 5,000 by default. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface TransferOptions {
  /** 10,000 by default. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** What may pass by itself is ridden out until the deadline of a call; what tells how things are now (`leader`, `status`, …) is asked once. */
export interface Client {
  /** A Uint8Array goes as opaque bytes, anything else as JSON. Exactly once, however often it had to be sent. Rejects with SidecarError. */
  propose<Result = unknown>(
    command: unknown,
    options?: ProposeOptions & { readonly wait?: 'applied' },
  ): Promise<Applied<Result>>
  propose(command: unknown, options: ProposeOptions & { readonly wait: 'committed' }): Promise<Committed>
  /**
   * Many JSON commands, at most 10,000, in one request: one result for each in their order, a SidecarError where it got none. Line i, from 1 on,
   * has the key `<key>/<i>`. Not a transaction. Rejects when not one line got an answer.
   */
  proposeBatch<Result = unknown>(
    commands: readonly unknown[],
    options?: ProposeOptions & { readonly wait?: 'applied' },
  ): Promise<readonly (Applied<Result> | SidecarError)[]>
  proposeBatch(
    commands: readonly unknown[],
    options: ProposeOptions & { readonly wait: 'committed' },
  ): Promise<readonly (Committed | SidecarError)[]>
  readonly kv: KeyValue
  /** After it, what this node's application has applied is linearizable to read. `lease`: without a round trip, where the node allows it. */
  barrier(options?: CallOptions & { readonly mode?: 'read-index' | 'lease' }): Promise<BarrierResponse>
  /** Null when this node knows of no leader, or led and is no longer sure of it. */
  leader(options?: NowOptions): Promise<LeaderResponse | null>
  /** This node leads, and a quorum has lately confirmed it. */
  isLeader(options?: NowOptions): Promise<boolean>
  /** Committed commands in log order, each once, over all breaks and restarts. Rejects with CompactedError when the log no longer reaches back. */
  watch(options?: WatchOptions): AsyncIterable<LoggedCommand>
  /** What happens to the cluster, as this node sees it: how things stand at first, and again after a break; then each change. */
  events(options?: EventsOptions): AsyncIterable<ClusterEvent>
  status(options?: NowOptions): Promise<Status>
  members(options?: NowOptions): Promise<readonly Member[]>
  /** Proposes that every node leaves the command at this index out, which this node's application refuses as poison. */
  skip(index: number, options?: CallOptions): Promise<Committed>
  /** Hands leadership to this voter, or to the one that is furthest; resolves with the new leader. */
  transfer(to?: string | null, options?: TransferOptions): Promise<Leader>
  /** Takes a snapshot on this node; without a new one when the newest is of this very index. */
  snapshot(options?: SnapshotOptions): Promise<SnapshotResponse>
  /** Takes one and opens it, to be kept as a backup: consistent, and checksummed to its last byte. */
  openBackup(options?: SnapshotOptions): Promise<Backup>
  /** `detail` has a line a check. */
  ready(options?: NowOptions): Promise<{ readonly ready: boolean; readonly detail: string }>
  /** Ends what is under way, with a SidecarError `client-closed`. */
  close(): Promise<void>
}

const nowTimeoutMs = 5_000
const transferTimeoutMs = 10_000

export function createClient({ url, token, fetch, retryUnreachable = true }: ClientOptions = {}): Client {
  const caller = new Caller(transportOf(url ?? 'http://127.0.0.1:4001', fetch), { token, retryUnreachable })

  async function askNow(path: string, { timeoutMs = nowTimeoutMs, signal }: NowOptions = {}): Promise<unknown> {
    return await caller.ask({ method: 'GET', path }, timeoutMs, signal)
  }

  async function leader(options: NowOptions = {}): Promise<LeaderResponse | null> {
    try {
      return (await askNow('/v1/leader', options)) as LeaderResponse
    } catch (error) {
      // That there is none is an answer here, not a reason to ask again.
      if (error instanceof SidecarError && error.code === 'no-leader') return null
      throw error
    }
  }

  return {
    propose: ((command: unknown, options: ProposeOptions = {}) =>
      propose(caller, command, options)) as Client['propose'],
    proposeBatch: ((commands: readonly unknown[], options: ProposeOptions = {}) =>
      proposeBatch(caller, commands, options)) as Client['proposeBatch'],
    kv: createKeyValue(caller),
    async barrier({ mode, ...options } = {}) {
      const query = mode === undefined ? {} : { mode }
      return (await caller.insist({ method: 'GET', path: '/v1/barrier', query }, options)) as BarrierResponse
    },
    leader,
    async isLeader(options) {
      return (await leader(options))?.self === true
    },
    watch: (options = {}) => watchCommands(caller, options),
    events: (options = {}) => watchEvents(caller, options),
    async status(options) {
      return (await askNow('/v1/status', options)) as Status
    },
    async members(options) {
      return ((await askNow('/v1/members', options)) as { readonly members: readonly Member[] }).members
    },
    async skip(index, options = {}) {
      // Once agreed on, it is no longer poison: a repetition cannot skip anything else.
      const shape = { method: 'POST', path: `/v1/commands/${index}/skip`, proposes: true } as const
      return (await caller.insist(shape, options)) as Committed
    },
    async transfer(to = null, { timeoutMs = transferTimeoutMs, signal } = {}) {
      const query = { timeout: `${timeoutMs}ms` }
      const headers = { 'content-type': 'application/json' }
      const body = JSON.stringify(to === null ? {} : { to })
      const shape = { method: 'POST', path: '/v1/leader/transfer', query, headers, body } as const
      return ((await caller.ask(shape, timeoutMs, signal)) as { readonly leader: Leader }).leader
    },
    async snapshot({ timeoutMs = snapshotTimeoutMs, signal } = {}) {
      return (await caller.ask({ method: 'POST', path: '/v1/snapshot' }, timeoutMs, signal)) as SnapshotResponse
    },
    openBackup: (options = {}) => openBackup(caller, options),
    async ready({ timeoutMs = nowTimeoutMs, signal } = {}) {
      const shape = { method: 'GET', path: '/readyz', query: { verbose: '' } } as const
      const answer = await caller.exchange(shape, timeoutMs, signal)
      if (answer.status !== 200 && !answer.text.startsWith('[')) throw errorOf(answer, false)
      return { ready: answer.status === 200, detail: answer.text }
    },
    close: () => caller.close(),
  }
}

function transportOf(url: string, fetch: Fetch | undefined): Transport {
  if (url.startsWith('unix:')) {
    if (fetch !== undefined) throw new TypeError('A given fetch cannot reach a unix socket: leave one of them out')
    return undiciTransport('http://localhost', url.slice('unix:'.length))
  }
  const base = url.replace(/\/+$/, '')
  return fetch === undefined ? undiciTransport(base, null) : fetchTransport(base, fetch)
}
