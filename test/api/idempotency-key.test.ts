// The headers that go along with a command: Idempotency-Key and traceparent.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { traceparentOf } from '../../src/api/traceparent.ts'
import { appliedAt } from './fake-node.ts'
import { jsonType, startApi } from './running-api.ts'

const longest = 'k'.repeat(255)
const keys: readonly [value: string, key: string | null][] = [
  ['k', 'k'],
  ['order-17/retry!~', 'order-17/retry!~'],
  [' k ', 'k'],
  [longest, longest],
  ['"k"', 'k'],
  [`"${longest}"`, longest],
  ['"a\\"b\\\\c"', 'a"b\\c'],
  ['a"b\\c', 'a"b\\c'],
  ['', null],
  ['""', null],
  ['"', null],
  ['"k', null],
  ['"k";x=1', null],
  ['"a b"', null],
  ['a b', null],
  ['a, b', null],
  ['"a\\b"', null],
  ['"a"b"', null],
  ['grüße', null],
  [`${longest}k`, null],
  [`"${longest}k"`, null],
]
for (const [value, key] of keys) {
  test(`Idempotency-Key: ${value.slice(0, 30)} ${key === null ? 'is refused' : 'is taken'}`, async (t) => {
    const { node, send } = await startApi(t)
    const headers = { ...jsonType, 'idempotency-key': value }
    const reply = await send('POST', '/v1/commands', { headers, body: '1' })
    if (key === null) {
      assert.equal(reply.status, 400)
      assert.equal(reply.json.code, 'invalid-parameter')
      assert.equal(reply.json.outcome, 'not_applied')
      assert.match(String(reply.json.detail), /Idempotency-Key is not 1 to 255 visible ASCII characters/)
    }
    assert.deepEqual(
      node.proposals.map(({ command }) => command.key),
      key === null ? [] : [key],
    )
  })
}

test('without the header there is no key, and an answer is no repeat', async (t) => {
  const { node, send } = await startApi(t)
  const reply = await send('POST', '/v1/commands', { headers: jsonType, body: '1' })
  assert.equal(node.proposals[0]?.command.key, null)
  assert.equal('duplicate' in reply.json, false)
})

test('a repeat is answered with the place and the result of the first, and says so', async (t) => {
  const { node, send } = await startApi(t)
  node.onPropose = async () => appliedAt(7, { term: 2, duplicate: true, result: { first: true } })
  const headers = { ...jsonType, 'idempotency-key': 'k' }
  const timestamp = '2026-11-23T05:00:00.123Z'
  const applied = await send('POST', '/v1/commands', { headers, body: '1' })
  assert.equal(applied.status, 200)
  assert.deepEqual(applied.json, { index: 7, term: 2, timestamp, result: { first: true }, duplicate: true })
  const committed = await send('POST', '/v1/commands?wait=committed', { headers, body: '1' })
  assert.equal(committed.status, 202)
  assert.deepEqual(committed.json, { index: 7, term: 2, timestamp, duplicate: true })
})

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const parentId = '00f067aa0ba902b7'
const valid = `00-${traceId}-${parentId}-01`
const traces: readonly [header: string | undefined, traceparent: string | null][] = [
  [valid, valid],
  [`00-${traceId}-${parentId}-00`, `00-${traceId}-${parentId}-00`],
  [undefined, null],
  ['', null],
  ['garbage', null],
  [`${valid}-more`, null],
  [`00-${'0'.repeat(32)}-${parentId}-01`, null],
  [`00-${traceId}-${'0'.repeat(16)}-01`, null],
  [`00-${traceId.toUpperCase()}-${parentId}-01`, null],
  [`00-${traceId}-${parentId}`, null],
  [`00-${traceId}-${parentId}-1`, null],
  [`ff-${traceId}-${parentId}-01`, null],
  [`${valid}, ${valid}`, null],
  // A later version: its first four fields are known, and of the flags one.
  [`01-${traceId}-${parentId}-03`, valid],
  [`cc-${traceId}-${parentId}-02-what-comes`, `00-${traceId}-${parentId}-00`],
  [`cc-${traceId}-${parentId}-01x`, null],
]
for (const [header, traceparent] of traces) {
  test(`traceparent: ${header} is ${traceparent === null ? 'ignored' : 'taken along'}`, () => {
    assert.equal(traceparentOf(header === undefined ? {} : { traceparent: header }), traceparent)
  })
}

test('the trace context goes along with the command, and an invalid one is no reason to refuse it', async (t) => {
  const { node, send } = await startApi(t)
  for (const traceparent of [valid, 'garbage']) {
    assert.equal((await send('POST', '/v1/commands', { headers: { ...jsonType, traceparent }, body: '1' })).status, 200)
  }
  assert.deepEqual(
    node.proposals.map(({ command }) => command.traceparent),
    [valid, null],
  )
})
