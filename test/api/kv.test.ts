// The key-value routes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReadError } from '../../src/errors.ts'
import { appliedAt, type FakeNode } from './fake-node.ts'
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
  node.onPropose = async () => appliedAt(43, { result: { existed: false } })
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

test('a missing key is 404 key-not-found, a missing name 400', async (t) => {
  const { send } = await startApi(t, { kv })
  const missing = await send('GET', '/v1/kv/other')
  assert.equal(missing.status, 404)
  assert.equal(missing.json.code, 'key-not-found')
  assert.equal((await send('GET', '/v1/kv/')).status, 400)
})

test('an unknown consistency, and a header that has no meaning, are refused by name', async (t) => {
  const { node, send } = await startApi(t, { kv })
  const meaningless: readonly [method: string, path: string, header: string][] = [
    ['DELETE', '/v1/kv/k', 'if-none-match'],
    ['GET', '/v1/kv/k', 'if-match'],
    ['GET', '/v1/kv/k', 'idempotency-key'],
    ['GET', '/v1/kv', 'idempotency-key'],
    ['GET', '/v1/kv', 'if-none-match'],
  ]
  for (const [method, path, header] of meaningless) {
    const reply = await send(method, path, { headers: { [header]: '"1"' } })
    assert.equal(reply.json.code, 'invalid-parameter', `${method} ${path} with ${header}`)
    assert.match(String(reply.json.detail), /has no meaning here/)
  }
  const reply = await send('GET', '/v1/kv/k?consistency=lease')
  assert.match(String(reply.json.detail), /"lease".*linearizable or local/)
  assert.equal(node.proposals.length + node.barriers.length, 0)
})

const conditions: readonly [header: string, value: string, ifModifiedIndex: number | null][] = [
  ['if-match', '"9"', 9],
  ['if-match', ' "9" ', 9],
  ['if-none-match', '*', 0],
  ['if-match', '9', null],
  ['if-match', '"0"', null],
  ['if-match', '"x"', null],
  ['if-match', '*', null],
  ['if-match', 'W/"9"', null],
  ['if-match', '"9", "10"', null],
  ['if-match', '"99999999999999999"', null],
  ['if-none-match', '"9"', null],
]
for (const [header, value, ifModifiedIndex] of conditions) {
  test(`${header}: ${value} ${ifModifiedIndex === null ? 'is refused' : `makes a condition of ${ifModifiedIndex}`}`, async (t) => {
    const { node, send } = await startApi(t, { kv })
    const put = await send('PUT', '/v1/kv/k', { headers: { ...jsonType, [header]: value }, body: '1' })
    if (ifModifiedIndex === null) {
      assert.equal(put.status, 400)
      assert.equal(put.json.code, 'invalid-parameter')
      assert.equal(node.proposals.length, 0)
      return
    }
    assert.equal(put.status, 200)
    assert.equal(put.headers.etag, '"42"')
    assert.equal(commandOf(node), `{"op":"set","key":"k","value":1,"ifModifiedIndex":${ifModifiedIndex}}`)
    if (header === 'if-none-match') return
    assert.equal((await send('DELETE', '/v1/kv/k', { headers: { [header]: value } })).status, 200)
    assert.equal(commandOf(node), `{"op":"delete","key":"k","ifModifiedIndex":${ifModifiedIndex}}`)
  })
}

test('two conditions at once are refused', async (t) => {
  const { node, send } = await startApi(t, { kv })
  const headers = { ...jsonType, 'if-match': '"9"', 'if-none-match': '*' }
  assert.equal((await send('PUT', '/v1/kv/k', { headers, body: '1' })).status, 400)
  assert.equal(node.proposals.length, 0)
})

test('a condition that fails is 412 with the present version, and the command stands in the log', async (t) => {
  const { node, send } = await startApi(t, { kv })
  for (const [modifiedIndex, etag] of [
    [11, '"11"'],
    [0, undefined],
  ] as const) {
    const result = { ok: false, code: 'condition-failed', error: 'Nothing was changed: read it again', modifiedIndex }
    node.onPropose = async () => appliedAt(42, { result })
    const headers = { 'if-match': '"9"' }
    const put = await send('PUT', '/v1/kv/k', { headers: { ...jsonType, ...headers }, body: '1' })
    for (const reply of [put, await send('DELETE', '/v1/kv/k', { headers })]) {
      assert.equal(reply.status, 412)
      assert.deepEqual(reply.json, {
        type: 'about:blank',
        title: 'Precondition Failed',
        status: 412,
        detail: 'Nothing was changed: read it again.',
        code: 'condition-failed',
        outcome: 'committed',
        index: 42,
        term: 3,
        modifiedIndex,
      })
      assert.equal(reply.headers.etag, etag)
    }
  }
})

test('no version is promised for what was not written, or may not have been', async (t) => {
  const { node, send } = await startApi(t, { kv })
  const put = (path: string, headers = {}) => send('PUT', path, { headers: { ...jsonType, ...headers }, body: '1' })
  assert.equal((await put('/v1/kv/k?wait=committed')).headers.etag, '"42"')
  assert.equal((await put('/v1/kv/k?wait=committed', { 'if-match': '"9"' })).headers.etag, undefined)
  assert.equal((await send('DELETE', '/v1/kv/k')).headers.etag, undefined)
  node.onPropose = async () => appliedAt(42, { result: { ok: false, code: 'invalid-command', error: 'No' } })
  assert.equal((await put('/v1/kv/k')).headers.etag, undefined)
})

test('PUT and DELETE take an Idempotency-Key, and say of a repeat that it is one', async (t) => {
  const { node, send } = await startApi(t, { kv })
  node.onPropose = async () => appliedAt(7, { duplicate: true })
  const headers = { 'idempotency-key': '"k-1"' }
  const put = await send('PUT', '/v1/kv/k', { headers: { ...jsonType, ...headers }, body: '1' })
  assert.equal(put.json.duplicate, true)
  assert.equal(put.headers.etag, '"7"')
  assert.equal((await send('DELETE', '/v1/kv/k', { headers })).json.duplicate, true)
  assert.deepEqual(
    node.proposals.map(({ command }) => command.key),
    ['k-1', 'k-1'],
  )
})

for (const [held, status] of [
  ['"9"', 304],
  ['W/"9"', 304],
  ['"8", "9"', 304],
  ['*', 304],
  ['"8"', 200],
] as const) {
  test(`GET with If-None-Match: ${held} is ${status}`, async (t) => {
    const { send } = await startApi(t, { kv })
    const reply = await send('GET', '/v1/kv/a/k', { headers: { 'if-none-match': held } })
    assert.equal(reply.status, status)
    assert.equal(reply.headers.etag, '"9"')
    assert.equal(reply.text === '', status === 304)
  })
}

const listed = kvOf(
  ['a/1', 'a/2', 'a/3', 'b'].map((key, at) => ({ key, value: key, createdIndex: at + 1, modifiedIndex: at + 1 })),
)
const pages: readonly [query: string, keys: readonly string[], next: string | null][] = [
  ['', ['a/1', 'a/2', 'a/3', 'b'], null],
  ['?prefix=a/', ['a/1', 'a/2', 'a/3'], null],
  ['?prefix=a%2F&limit=2', ['a/1', 'a/2'], 'a/2'],
  ['?prefix=a/&limit=2&after=a/2', ['a/3'], null],
  ['?after=a/3&limit=1', ['b'], null],
  ['?prefix=c', [], null],
]
for (const [query, keys, next] of pages) {
  test(`GET /v1/kv${query} lists ${keys.join(', ') || 'nothing'}`, async (t) => {
    const { node, send } = await startApi(t, { kv: listed })
    const reply = await send('GET', `/v1/kv${query}`)
    assert.equal(reply.status, 200)
    const { items, more } = reply.json as { items: { key: string }[]; more: boolean }
    assert.deepEqual([items.map(({ key }) => key), more, reply.json.next], [keys, next !== null, next])
    assert.equal(node.barriers.length, 1)
  })
}

test('a listing is linearizable unless told otherwise, and its bounds are bounded', async (t) => {
  const { node, send } = await startApi(t, { kv: listed })
  node.onBarrier = () => Promise.reject(new ReadError('no-leader', 'There is no leader.'))
  assert.equal((await send('GET', '/v1/kv')).status, 503)
  assert.equal((await send('GET', '/v1/kv?consistency=local')).status, 200)
  for (const limit of ['0', '1001', 'x', '-1', '']) {
    const reply = await send('GET', `/v1/kv?limit=${limit}`)
    assert.equal(reply.json.code, 'invalid-parameter', limit)
    assert.match(String(reply.json.detail), /`limit`.*from 1 to 1000/)
  }
})

test('a page of large items ends early, and the next one goes on behind it', async (t) => {
  const value = 'x'.repeat(3_000_000)
  const items = ['a', 'b', 'c'].map((key) => ({ key, value, createdIndex: 1, modifiedIndex: 1 }))
  const { send } = await startApi(t, { kv: kvOf(items) })
  const keys: string[] = []
  for (let after: unknown = ''; after !== null; ) {
    const { json } = await send('GET', `/v1/kv?after=${String(after)}`)
    const page = json.items as { key: string }[]
    assert.equal(page.length, 1)
    keys.push(...page.map(({ key }) => key))
    after = json.next
  }
  assert.deepEqual(keys, ['a', 'b', 'c'])
})

test('under STATE_MACHINE=app the routes are not there, and say why', async (t) => {
  const { send } = await startApi(t)
  for (const method of ['GET', 'PUT', 'DELETE']) {
    const reply = await send(method, '/v1/kv/k', method === 'PUT' ? { headers: jsonType, body: '1' } : {})
    assert.equal(reply.status, 404)
    assert.match(String(reply.json.detail), /STATE_MACHINE=app/)
  }
})

function commandOf(node: FakeNode): string {
  return Buffer.from(node.proposals.at(-1)?.command.payload ?? []).toString()
}
