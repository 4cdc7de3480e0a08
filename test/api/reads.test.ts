// Barrier, raft-min-index, leader lookup and status.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReadError } from '../../src/errors.ts'
import { jsonType, startApi } from './running-api.ts'

test('a barrier answers with the index that this node has reached', async (t) => {
  const { node, send } = await startApi(t)
  for (const path of ['/v1/barrier', '/v1/barrier?mode=read-index&timeout=5s']) {
    const reply = await send('GET', path)
    assert.equal(reply.status, 200)
    assert.deepEqual(reply.json, { index: 41 })
    assert.equal(reply.headers['raft-index'], '41')
    assert.equal(reply.headers['raft-term'], '3')
    assert.equal(reply.headers['raft-leader'], 'n1')
  }
  assert.deepEqual(node.barriers, [5_000, 5_000])
})

test('a lease read is offered by choice only, and says so', async (t) => {
  const { node, send } = await startApi(t)
  const reply = await send('GET', '/v1/barrier?mode=lease')
  assert.equal(reply.status, 400)
  assert.equal(reply.json.code, 'invalid-parameter')
  assert.match(String(reply.json.detail), /does not offer `mode=lease`: set LEASE_READS=true/)
  const other = await send('GET', '/v1/barrier?mode=fast')
  assert.match(String(other.json.detail), /"fast".*it takes read-index or lease\./)
  assert.deepEqual(node.barriers, [])
})

test('the mode of a barrier is the node’s to keep: read-index unless lease is asked for', async (t) => {
  const { node, send } = await startApi(t, { leaseReads: true })
  for (const path of ['/v1/barrier', '/v1/barrier?mode=read-index', '/v1/barrier?mode=lease']) {
    assert.deepEqual((await send('GET', path)).json, { index: 41 })
  }
  assert.deepEqual(node.barrierModes, ['read-index', 'read-index', 'lease'])
})

const readErrors: readonly [code: ReadError['code'], status: number, retryAfter: string | undefined][] = [
  ['no-leader', 503, '1'],
  ['shutting-down', 503, '5'],
  ['read-timeout', 504, undefined],
]
for (const [code, status, retryAfter] of readErrors) {
  test(`a barrier that meets ${code} is answered with ${status} and no outcome`, async (t) => {
    const { node, send } = await startApi(t)
    node.onBarrier = () => Promise.reject(new ReadError(code, 'Why.'))
    const reply = await send('GET', '/v1/barrier')
    assert.equal(reply.status, status)
    assert.equal(reply.json.code, code)
    assert.equal(reply.headers['retry-after'], retryAfter)
    assert.equal('outcome' in reply.json, false)
  })
}

test('raft-min-index waits until the node holds the index, on every route of /v1', async (t) => {
  const { node, send } = await startApi(t)
  for (const [method, path, contentType] of [
    ['GET', '/v1/barrier', null],
    ['GET', '/v1/leader', null],
    ['GET', '/v1/status', null],
    ['GET', '/v1/members', null],
    ['GET', '/v1/commands', null],
    ['POST', '/v1/leader/transfer', null],
    ['POST', '/v1/commands/41/skip', null],
    ['POST', '/v1/commands', 'application/json'],
    ['POST', '/v1/commands?wait=committed', 'application/json'],
    ['POST', '/v1/commands/batch', 'application/x-ndjson'],
  ] as const) {
    node.appliedIndex = 41
    const waited: number[] = []
    node.onWait = async (index) => {
      waited.push(index)
      node.appliedIndex = index
    }
    const body = contentType === null ? {} : { body: '1' }
    const headers: Record<string, string> = contentType === null ? {} : { 'content-type': contentType }
    await send(method, path, { ...body, headers: { ...headers, 'raft-min-index': '41' } })
    assert.deepEqual(waited, [], `${path} need not wait for what is there`)
    const reply = await send(method, path, { ...body, headers: { ...headers, 'raft-min-index': '50' } })
    assert.ok(reply.status < 300, reply.text)
    assert.deepEqual(waited, [50], path)
  }
})

test('an index that is not reached in time is 412, and nothing was proposed', async (t) => {
  const { node, send } = await startApi(t)
  node.onWait = () => Promise.reject(new ReadError('index-not-reached', 'The node holds 41, not 50.'))
  const headers = { ...jsonType, 'raft-min-index': '50' }
  const proposal = await send('POST', '/v1/commands?timeout=100ms', { headers, body: '1' })
  assert.equal(proposal.status, 412)
  assert.equal(proposal.json.code, 'index-not-reached')
  assert.equal(proposal.json.outcome, 'not_applied')
  assert.equal(node.proposals.length, 0)
  assert.equal((await send('GET', '/v1/barrier', { headers })).status, 412)
})

for (const value of ['', '-1', '1.5', 'x', '99999999999999999']) {
  test(`raft-min-index: ${JSON.stringify(value)} is refused`, async (t) => {
    const { send } = await startApi(t)
    const reply = await send('GET', '/v1/barrier', { headers: { 'raft-min-index': value } })
    assert.equal(reply.status, 400)
    assert.equal(reply.json.code, 'invalid-parameter')
  })
}

test('the leader is named with its fencing token', async (t) => {
  const { node, send } = await startApi(t)
  node.leaderView = { id: 'n2', term: 3, self: false, appUrl: 'http://10.0.0.2:8080' }
  const reply = await send('GET', '/v1/leader')
  assert.equal(reply.status, 200)
  assert.deepEqual(reply.json, { ...node.leaderView, fencingToken: 3 })
})

test('without a leader, and on a leader that its quorum has not confirmed, the lookup is 503 no-leader', async (t) => {
  const { node, send } = await startApi(t)
  node.quorum = false
  const unconfirmed = await send('GET', '/v1/leader')
  node.leaderView = null
  const none = await send('GET', '/v1/leader')
  for (const reply of [unconfirmed, none]) {
    assert.equal(reply.status, 503)
    assert.equal(reply.json.code, 'no-leader')
    assert.equal(reply.headers['retry-after'], '1')
  }
  assert.equal(none.headers['raft-leader'], undefined)
})

test('the status is all that the node knows, with cluster, version and checks', async (t) => {
  const { node, send } = await startApi(t, {
    readyChecks: () => [
      { name: 'leader', ok: true, why: 'unused' },
      { name: 'storage', ok: false, why: 'the disk is full' },
    ],
  })
  const reply = await send('GET', '/v1/status')
  assert.equal(reply.status, 200)
  assert.deepEqual(reply.json, {
    cluster: 'orders',
    version: '1.2.3',
    ...node.status(),
    diagnosis: 'Not ready (storage): the disk is full.',
    checks: [
      { name: 'leader', ok: true, why: null },
      { name: 'storage', ok: false, why: 'the disk is full' },
    ],
  })
})

test('unknown query parameters are refused on every route of /v1', async (t) => {
  const { send } = await startApi(t)
  for (const path of ['/v1/barrier', '/v1/leader', '/v1/status', '/health/leader', '/readyz', '/livez']) {
    const reply = await send('GET', `${path}?lag=1`)
    assert.equal(reply.status, 400, path)
    assert.match(String(reply.json.detail), /does not offer the query parameter `lag`/)
  }
})
