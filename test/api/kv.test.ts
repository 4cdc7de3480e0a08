// The key-value routes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReadError } from '../../src/errors.ts'
import { jsonType, kvOf, startApi } from './running-api.ts'

const kv = kvOf([{ key: 'a/k', value: { n: 1 }, createdIndex: 7, modifiedIndex: 9 }])

const puts: readonly [path: string, value: string, command: string][] = [
  ['/v1/kv/k', '{"a": 1.0}', '{"op":"set","key":"k","value":{"a": 1.0}}'],
  ['/v1/kv/a/k', ' 1 ', '{"op":"set","key":"a/k","value": 1 }'],
  ['/v1/kv/a%2Fk', 'null', '{"op":"set","key":"a/k","value":null}'],
  ['/v1/kv/50%25', '1', '{"op":"set","key":"50%","value":1}'],
  ['/v1/kv/a%252Fk', '1', '{"op":"set","key":"a%2Fk","value":1}'],
  ['/v1/kv/gr%C3%BC%C3%9Fe%20%22x%22', '1', '{"op":"set","key":"grüße \\"x\\"","value":1}'],
  ['/v1/kv/a%3Fb%23c?timeout=1s', '1', '{"op":"set","key":"a?b#c","value":1}'],
  [`/v1/kv/${'k'.repeat(500)}`, '1', `{"op":"set","key":"${'k'.repeat(500)}","value":1}`],
]
for (const [path, value, command] of puts) {
  test(`PUT ${path.slice(0, 40)} proposes the value byte for byte`, async (t) => {
    const { node, send } = await startApi(t, { kv })
    const reply = await send('PUT', path, { headers: jsonType, body: value })
    assert.equal(reply.status, 200, reply.text)
    assert.deepEqual(reply.json, { index: 42, term: 3, timestamp: '2026-11-23T05:00:00.123Z', result: { ok: true } })
    assert.equal(reply.headers.etag, '"42"')
    assert.equal(reply.headers['raft-index'], '42')
    assert.equal(node.proposals[0]?.command.kind, 'json')
    assert.equal(Buffer.from(node.proposals[0]?.command.payload ?? []).toString(), command)
  })
}

test('a value cannot break out of its command', async (t) => {
  const { node, send } = await startApi(t, { kv })
  for (const body of ['1,"key":"other"', '1}', '1},{', '{"a":1', '']) {
    const reply = await send('PUT', '/v1/kv/k', { headers: jsonType, body })
    assert.equal(reply.status, 400)
    assert.equal(reply.json.code, 'invalid-command')
    assert.equal(reply.json.outcome, 'not_applied')
  }
  assert.equal(node.proposals.length, 0)
})

test('a value that is not JSON by its content type, or makes too large a command, is refused', async (t) => {
  const { send } = await startApi(t, { kv })
  const octets = await send('PUT', '/v1/kv/k', { headers: { 'content-type': 'application/octet-stream' }, body: '1' })
  assert.equal(octets.status, 415)
  const large = await send('PUT', '/v1/kv/k', { headers: jsonType, body: `"${'x'.repeat(1_020)}"` })
  assert.equal(large.status, 413)
  assert.equal(large.json.code, 'command-too-large')
})

test('the state machine judges what PUT and DELETE propose', async (t) => {
  const { send } = await startApi(t, { kv, validateCommand: (_kind, payload) => `No: ${Buffer.from(payload)}.` })
  const put = await send('PUT', '/v1/kv/k', { headers: jsonType, body: '1' })
  assert.equal(put.json.detail, 'No: {"op":"set","key":"k","value":1}.')
  const deleted = await send('DELETE', '/v1/kv/k')
  assert.equal(deleted.json.detail, 'No: {"op":"delete","key":"k"}.')
})

test('DELETE answers 200 whether or not the key existed', async (t) => {
  const { node, send } = await startApi(t, { kv })
  node.onPropose = async () => ({ index: 43, term: 3, timestampMs: 0, result: { existed: false } })
  const reply = await send('DELETE', '/v1/kv/a/k', { headers: jsonType })
  assert.equal(reply.status, 200)
  assert.deepEqual(reply.json.result, { existed: false })
  assert.equal(Buffer.from(node.proposals[0]?.command.payload ?? []).toString(), '{"op":"delete","key":"a/k"}')
  assert.equal((await send('DELETE', '/v1/kv/k?wait=committed')).status, 202)
  assert.equal((await send('DELETE', '/v1/kv/k', { headers: jsonType, body: '{}' })).status, 400)
})

test('GET is linearizable unless told otherwise', async (t) => {
  const { node, send } = await startApi(t, { kv })
  for (const [path, barriers] of [
    ['/v1/kv/a/k', 1],
    ['/v1/kv/a%2Fk?consistency=linearizable', 2],
    ['/v1/kv/a/k?consistency=local', 2],
  ] as const) {
    const reply = await send('GET', path)
    assert.equal(reply.status, 200)
    assert.deepEqual(reply.json, { key: 'a/k', value: { n: 1 }, createdIndex: 7, modifiedIndex: 9 })
    assert.equal(reply.headers.etag, '"9"')
    assert.equal(reply.headers['raft-index'], '41')
    assert.equal(node.barriers.length, barriers)
  }
  node.onBarrier = () => Promise.reject(new ReadError('no-leader', 'There is no leader.'))
  assert.equal((await send('GET', '/v1/kv/a/k')).status, 503)
  assert.equal((await send('GET', '/v1/kv/a/k?consistency=local')).status, 200)
})

test('GET gives the value as it was sent where the machine can', async (t) => {
  const text = '{"key":"a/k","value":12345678901234567890,"createdIndex":7,"modifiedIndex":9}'
  const { send } = await startApi(t, { kv: { ...kv, getJson: () => text } })
  const reply = await send('GET', '/v1/kv/a/k')
  assert.equal(reply.text, text)
  assert.equal(reply.headers.etag, '"9"')
})

test('a missing key is 404 key-not-found, a missing name 400, a listing not offered', async (t) => {
  const { send } = await startApi(t, { kv })
  const missing = await send('GET', '/v1/kv/other')
  assert.equal(missing.status, 404)
  assert.equal(missing.json.code, 'key-not-found')
  assert.equal((await send('GET', '/v1/kv/')).status, 400)
  const listing = await send('GET', '/v1/kv?prefix=a/')
  assert.equal(listing.status, 404)
  assert.match(String(listing.json.detail), /does not offer listing/)
})

test('conditions and unknown consistencies are refused by name', async (t) => {
  const { node, send } = await startApi(t, { kv })
  for (const header of ['if-match', 'if-none-match', 'idempotency-key']) {
    for (const method of ['PUT', 'DELETE', 'GET']) {
      const body = method === 'PUT' ? { body: '1' } : {}
      const reply = await send(method, '/v1/kv/k', { headers: { ...jsonType, [header]: '"1"' }, ...body })
      assert.equal(reply.json.code, 'invalid-parameter', `${method} with ${header}`)
    }
  }
  const reply = await send('GET', '/v1/kv/k?consistency=lease')
  assert.match(String(reply.json.detail), /"lease".*linearizable or local/)
  assert.equal(node.proposals.length + node.barriers.length, 0)
})

test('under STATE_MACHINE=app the routes are not there, and say why', async (t) => {
  const { send } = await startApi(t)
  for (const method of ['GET', 'PUT', 'DELETE']) {
    const reply = await send(method, '/v1/kv/k', method === 'PUT' ? { headers: jsonType, body: '1' } : {})
    assert.equal(reply.status, 404)
    assert.match(String(reply.json.detail), /STATE_MACHINE=app/)
  }
})
