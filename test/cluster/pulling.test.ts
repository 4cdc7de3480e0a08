// The committed log and the cluster's events for clients that pull them, over unix sockets and with a token.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  type Client,
  type ClusterEvent,
  CompactedError,
  createClient,
  type LoggedCommand,
} from '../../src/client/client.ts'
import { command } from './command.ts'
import { failureOf } from './hooked-cluster.ts'
import { ClusterProcesses, until } from './processes.ts'

const token = 'a-token-that-nobody-guesses'
const often = { SNAPSHOT_THRESHOLD: '20', MAX_LOG_ENTRIES: '5' }

let directory: string
let cluster: ClusterProcesses
/** n1 is called over a unix socket, the others over TCP. */
let clients: readonly [Client, Client, Client]

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raft-sockets-'))
  const socket = `unix:${join(directory, 'n1')}`
  cluster = await ClusterProcesses.start({
    size: 3,
    env: (id) => ({ ...often, API_TOKEN: token, ...(id === 'n1' ? { API_LISTEN: socket } : {}) }),
  })
  clients = cluster.sidecars.map(({ id, apiUrl }) =>
    createClient({ url: id === 'n1' ? socket : apiUrl, token }),
  ) as unknown as [Client, Client, Client]
  for (const client of clients) await until('a leader', 60_000, () => client.leader().catch(() => null))
})
after(async () => {
  for (const client of clients) await client.close()
  await cluster.close()
  await rm(directory, { recursive: true })
})

describe('a client with the token, over a unix socket or TCP', () => {
  it('watches what the others propose, and hears of the cluster', async () => {
    const [n1, n2, n3] = clients
    const abort = new AbortController()
    const seen = clients.map((client) => collect(client.watch({ signal: abort.signal })))
    const heard = clients.map((client) => collect(client.events({ signal: abort.signal })))
    const set = (value: number) => ({ op: 'set', key: 'watched', value })
    const first = await n1.propose(set(1), { key: 'first', traceparent })
    const second = await n2.propose(set(2), { key: 'second' })
    const { index } = await n3.snapshot()
    for (const commands of seen) {
      await until('two commands', 10_000, async () => (commands.length >= 2 ? true : null))
      assert.deepEqual(commands.slice(0, 2), [
        { ...placeOf(first), key: 'first', traceparent, command: set(1), skipped: false },
        { ...placeOf(second), key: 'second', traceparent: null, command: set(2), skipped: false },
      ])
    }
    const leader = await n1.leader()
    for (const events of heard) {
      await until('who leads', 10_000, async () => (leaderIn(events) === leader?.id ? true : null))
    }
    await until('the snapshot', 10_000, async () => {
      const told = heard[2]?.filter(({ type }) => type === 'snapshot').at(-1)
      return told?.type === 'snapshot' && told.data.snapshot?.index === index ? true : null
    })
    abort.abort()

    const commandLine = await command(cluster.get('n1'), 'get', 'watched', '--local')
    assert.deepEqual([commandLine.exitCode, commandLine.out], [0, '2\n'], commandLine.error)
  })

  it('gets nothing with another token', async () => {
    const { apiUrl, env } = cluster.get('n2')
    for (const url of [apiUrl, String(cluster.get('n1').env.API_LISTEN)]) {
      const stranger = createClient({ url, token: `${env.API_TOKEN}-of-old` })
      for (const call of [first(stranger.watch()), first(stranger.events()), stranger.kv.delete('watched')]) {
        const { code, status } = await failureOf(call)
        assert.deepEqual([code, status], ['unauthorized', 401])
      }
      await stranger.close()
    }
  })
})

describe('a client that was away while the log was compacted', () => {
  it('is answered 410 with the first index that is still held, and goes on from there', async () => {
    const [n1] = clients
    const { index } = await n1.kv.set('before', 0)
    const seen = await collectUntil(n1, index, index - 1)
    const known = seen.at(-1)?.index ?? 0
    const written: number[] = []
    await until('the log to be compacted', 20_000, async () => {
      const answers = await Promise.all(Array.from({ length: 10 }, (_, value) => n1.kv.set('meanwhile', value)))
      written.push(...answers.map(({ index }) => index))
      return (await n1.status()).firstIndex > known + 5 ? true : null
    })

    written.push((await n1.kv.set('after', 0)).index)
    const last = Math.max(...written)

    const { code, status, firstIndex } = await compacted(collectUntil(n1, last, known))
    assert.deepEqual([code, status], ['compacted', 410])
    assert.ok(firstIndex > known + 1)
    const held = await collectUntil(n1, last, firstIndex - 1)
    assert.deepEqual(
      held.map(({ index }) => index),
      written.filter((index) => index >= firstIndex).sort((a, b) => a - b),
    )
  })
})

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

function placeOf({ index, term, timestamp }: Pick<LoggedCommand, 'index' | 'term' | 'timestamp'>) {
  return { index, term, timestamp }
}

async function compacted(call: Promise<unknown>): Promise<CompactedError> {
  const failure = await failureOf(call)
  assert(failure instanceof CompactedError, failure)
  return failure
}

/** Fills by itself until the signal of what it reads. */
function collect<Item>(items: AsyncIterable<Item>): Item[] {
  const collected: Item[] = []
  const read = async () => {
    for await (const item of items) collected.push(item)
  }
  read().catch((error: unknown) => {
    if (!(error instanceof Error && error.name === 'AbortError')) throw error
  })
  return collected
}

async function collectUntil(client: Client, last: number, after: number): Promise<LoggedCommand[]> {
  const collected: LoggedCommand[] = []
  for await (const logged of client.watch({ after })) {
    collected.push(logged)
    if (logged.index >= last) break
  }
  return collected
}

async function first<Item>(items: AsyncIterable<Item>): Promise<Item> {
  for await (const item of items) return item
  throw new Error('There was none')
}

/** The last that was named; null: nobody. */
function leaderIn(events: readonly ClusterEvent[]): string | null {
  const told = events.filter(({ type }) => type === 'leader').at(-1)
  return told?.type === 'leader' ? (told.data.leader?.id ?? null) : null
}
