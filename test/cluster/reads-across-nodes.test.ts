// Reads that are never of the past, whichever node answers them, and what a node that is full tells its clients.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Client, createClient } from '../../src/client/client.ts'
import { ClusterProcesses, type SidecarProcess, until } from './processes.ts'

/** A lease lasts about as long as the shorter one: long enough for what is asked within it. */
const patient = { ELECTION_TIMEOUT_MIN_MS: '2000', ELECTION_TIMEOUT_MAX_MS: '3000' }
const maxPending = 20

let cluster: ClusterProcesses
const clients = new Map<string, Client>()

before(async () => {
  const env = () => ({ ...patient, LEASE_READS: 'true', MAX_PENDING_PROPOSALS: String(maxPending) })
  cluster = await ClusterProcesses.start({ size: 3, env })
  for (const { id, apiUrl } of cluster.sidecars) clients.set(id, createClient({ url: apiUrl }))
  await cluster.leader(60_000)
})
after(async () => {
  for (const client of clients.values()) await client.close()
  await cluster.close()
})

describe('raft-min-index', () => {
  it('gives a follower that was paused what was written elsewhere meanwhile, before it answers', async () => {
    const [leader, follower] = await ranked()
    for (let round = 1; round <= 3; round++) {
      cluster.signal(follower.id, 'SIGSTOP')
      const { index } = await clientOf(leader).kv.set('own', round)
      // It is the first that it sees when it goes on: it has not heard of the write then.
      const read = clientOf(follower).kv.get('own', { consistency: 'local', minIndex: index })
      cluster.signal(follower.id, 'SIGCONT')
      const item = await read
      assert.deepEqual([item?.value, item?.modifiedIndex], [round, index])
    }
  })

  it('is answered with 412 when this node does not get so far in time', async () => {
    const [, follower] = await ranked()
    const headers = { 'raft-min-index': '1000000' }
    const response = await fetch(`${follower.apiUrl}/v1/kv/own?timeout=100ms`, { headers })
    const { code } = (await response.json()) as { readonly code: string }
    assert.deepEqual([response.status, code], [412, 'index-not-reached'])
    assert.ok(Number(response.headers.get('raft-index')) > 0)
  })
})

describe('a barrier by lease', () => {
  it('is answered by the leader while nothing comes from its followers', async () => {
    const [leader, ...followers] = await ranked()
    const { index } = await clientOf(leader).kv.set('leased', 1)
    assert.equal((await barrier(leader, 'lease', 1_000)).status, 200)
    for (const { id } of followers) cluster.signal(id, 'SIGSTOP')
    try {
      // A round of questions would wait for them.
      const [leased, asked] = [await barrier(leader, 'lease', 1_000), await barrier(leader, 'read-index', 100)]
      assert.deepEqual([leased.status, asked.status], [200, 504])
      assert.ok(leased.index >= index)
    } finally {
      for (const { id } of followers) cluster.signal(id, 'SIGCONT')
    }
  })

  it('is never of the past on a leader that was paused while another was elected', async () => {
    const [paused, ...others] = await ranked()
    await clientOf(paused).barrier({ mode: 'lease' })
    cluster.signal(paused.id, 'SIGSTOP')
    const successor = await until('another leader', 20_000, async () => {
      const states = await Promise.all(others.map(({ id }) => cluster.status(id)))
      return others.find((_, at) => states[at]?.role === 'leader' && states[at]?.holdsQuorum) ?? null
    })
    const { index } = await clientOf(successor).kv.set('new', 1)
    // What arrives during the pause is the first that the old leader sees when it wakes up.
    const stale = Array.from({ length: 10 }, () => barrier(paused, 'lease', 5_000))
    cluster.signal(paused.id, 'SIGCONT')
    for (const answer of await Promise.all(stale)) {
      assert.ok(answer.status === 200, `answered ${answer.status}`)
      assert.ok(answer.index >= index, `it answered ${answer.index}, and ${index} was committed before`)
    }
  })
})

describe('a node whose clients wait for as many answers as it takes', () => {
  it('answers 429 with Retry-After, which the client waits for and is answered once', async () => {
    const [leader, ...followers] = await ranked()
    for (const { id } of followers) cluster.signal(id, 'SIGSTOP')
    const propose = (number: number) =>
      clientOf(leader).propose({ op: 'set', key: `pending-${number}`, value: number }, { key: `pending-${number}` })
    const waiting = Array.from({ length: maxPending }, (_, number) => propose(number))
    await until('the node to be full', 10_000, async () =>
      (await clientOf(leader).status()).pendingProposals === maxPending ? true : null,
    )
    const body = JSON.stringify({ op: 'set', key: 'too many', value: 1 })
    const headers = { 'content-type': 'application/json' }
    const refused = await fetch(`${leader.apiUrl}/v1/commands`, { method: 'POST', headers, body })
    const { code, outcome } = (await refused.json()) as { readonly code: string; readonly outcome: string }
    assert.deepEqual([refused.status, code, outcome], [429, 'too-many-proposals', 'not_applied'])
    assert.match(String(refused.headers.get('retry-after')), /^[1-9][0-9]?$/)
    const late = propose(maxPending)

    for (const { id } of followers) cluster.signal(id, 'SIGCONT')
    const answers = await Promise.all([...waiting, late])
    assert.equal(new Set(answers.map(({ index }) => index)).size, maxPending + 1)
    for (const [number, { index }] of answers.entries()) {
      const item = await clientOf(leader).kv.get(`pending-${number}`, { minIndex: index })
      assert.deepEqual([item?.value, item?.modifiedIndex, item?.createdIndex], [number, index, index])
    }
    assert.equal(await clientOf(leader).kv.get('too many'), null)
  })
})

/** The leader first. */
async function ranked(): Promise<[SidecarProcess, SidecarProcess, SidecarProcess]> {
  const { id } = await cluster.leader()
  return [...cluster.sidecars].sort((a, b) => Number(b.id === id) - Number(a.id === id)) as [
    SidecarProcess,
    SidecarProcess,
    SidecarProcess,
  ]
}

function clientOf({ id }: SidecarProcess): Client {
  const client = clients.get(id)
  assert(client !== undefined)
  return client
}

async function barrier({ apiUrl }: SidecarProcess, mode: 'lease' | 'read-index', timeoutMs: number) {
  const response = await fetch(`${apiUrl}/v1/barrier?mode=${mode}&timeout=${timeoutMs}ms`)
  const { index = 0 } = (await response.json()) as { readonly index?: number }
  return { status: response.status, index }
}
