// What an operator asks of the cluster: another leader, that a command be left out, who belongs to it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProposalError, SkipError, TransferError } from '../../src/errors.ts'
import { appliedAt } from './fake-node.ts'
import { jsonType, startApi } from './running-api.ts'

const transfers: readonly [body: string | null, to: string | null][] = [
  [null, null],
  ['{}', null],
  ['{"to":"n3"}', 'n3'],
]
for (const [body, to] of transfers) {
  test(`a transfer with ${body ?? 'no body'} goes to ${to ?? 'whoever is best'}, and is answered with the new leader`, async (t) => {
    const { node, send } = await startApi(t)
    const asked: (string | null)[] = []
    node.onTransfer = async (wanted) => {
      asked.push(wanted)
      return { id: 'n3', term: 4, self: false, appUrl: 'http://10.0.0.3:8080' }
    }
    const options = body === null ? {} : { headers: jsonType, body }
    const reply = await send('POST', '/v1/leader/transfer', options)
    assert.equal(reply.status, 200)
    assert.deepEqual(reply.json, { leader: { id: 'n3', term: 4, self: false, appUrl: 'http://10.0.0.3:8080' } })
    assert.deepEqual(asked, [to])
  })
}

for (const body of [
  '{',
  '[]',
  'null',
  '"n2"',
  '{"to":1}',
  '{"to":""}',
  '{"to":"n2","force":true}',
  `"${'x'.repeat(5_000)}"`,
]) {
  test(`a transfer with the body ${body.slice(0, 30)} is refused`, async (t) => {
    const { node, send } = await startApi(t)
    node.onTransfer = () => assert.fail('nothing was to be transferred')
    const reply = await send('POST', '/v1/leader/transfer', { headers: jsonType, body })
    assert.deepEqual([reply.status, reply.json.code], [400, 'invalid-parameter'])
  })
}

test('a transfer takes JSON only', async (t) => {
  const { send } = await startApi(t)
  const headers = { 'content-type': 'text/plain' }
  assert.equal((await send('POST', '/v1/leader/transfer', { headers, body: 'n2' })).status, 415)
  const octets = { 'content-type': 'application/octet-stream' }
  assert.equal((await send('POST', '/v1/leader/transfer', { headers: octets, body: 'n2' })).status, 415)
})

const failures: readonly [code: TransferError['code'], status: number, retryAfter: string | undefined][] = [
  ['not-leader', 409, undefined],
  ['unknown-member', 422, undefined],
  ['transfer-failed', 503, '5'],
  ['shutting-down', 503, '5'],
]
for (const [code, status, retryAfter] of failures) {
  test(`a transfer that meets ${code} is ${status}, with no outcome: nothing was proposed`, async (t) => {
    const { node, send } = await startApi(t)
    node.onTransfer = () => Promise.reject(new TransferError(code, 'Why.'))
    const reply = await send('POST', '/v1/leader/transfer')
    assert.equal(reply.status, status)
    assert.deepEqual([reply.json.code, reply.json.detail, reply.json.outcome], [code, 'Why.', undefined])
    assert.equal(reply.headers['retry-after'], retryAfter)
  })
}

test('a command is skipped by its index', async (t) => {
  const { node, send } = await startApi(t)
  const asked: number[] = []
  node.onSkip = async (index) => {
    asked.push(index)
    return appliedAt(50)
  }
  const reply = await send('POST', '/v1/commands/41/skip')
  assert.equal(reply.status, 200)
  assert.deepEqual(reply.json, { index: 50, term: 3, timestamp: '2026-11-23T05:00:00.123Z' })
  assert.equal(reply.headers['raft-index'], '50')
  assert.deepEqual(asked, [41])
})

test('what delivery does not stop at is 409 not-poison, and a skip may fail as a proposal does', async (t) => {
  const { node, send } = await startApi(t)
  node.onSkip = () => Promise.reject(new SkipError('Delivery does not stop before 41.'))
  const healthy = await send('POST', '/v1/commands/41/skip')
  assert.deepEqual([healthy.status, healthy.json.code, healthy.json.outcome], [409, 'not-poison', 'not_applied'])
  node.onSkip = () => Promise.reject(new ProposalError('leadership-lost', 'unknown', 'Why.'))
  const lost = await send('POST', '/v1/commands/41/skip')
  assert.deepEqual([lost.status, lost.json.code, lost.json.outcome], [503, 'leadership-lost', 'unknown'])
})

test('a skip of no index, with a body or with a key is refused', async (t) => {
  const { node, send } = await startApi(t)
  node.onSkip = () => assert.fail('nothing was to be skipped')
  for (const [path, options] of [
    ['/v1/commands/x/skip', {}],
    ['/v1/commands/0/skip', {}],
    ['/v1/commands/1.5/skip', {}],
    ['/v1/commands/41/skip', { headers: jsonType, body: '{}' }],
    ['/v1/commands/41/skip', { headers: { 'idempotency-key': 'k' } }],
    ['/v1/commands/41/skip?wait=applied', {}],
  ] as const) {
    const reply = await send('POST', path, options)
    assert.deepEqual([reply.status, reply.json.code], [400, 'invalid-parameter'], path)
  }
})

test('the members are those of the status', async (t) => {
  const { node, send } = await startApi(t)
  const reply = await send('GET', '/v1/members')
  assert.equal(reply.status, 200)
  assert.deepEqual(reply.json, { members: node.status().members })
  assert.equal((await send('POST', '/v1/members', { headers: jsonType, body: '{}' })).headers.allow, 'GET, HEAD')
})
