// POST /v1/commands as API.md words it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ApiOptions } from '../../src/api/options.ts'
import { ProposalError, type ProposalErrorCode } from '../../src/errors.ts'
import { appliedAt } from './fake-node.ts'
import { jsonType, type Reply, startApi } from './running-api.ts'

const octets = { 'content-type': 'application/octet-stream' }

test('a command is answered with its place in the log, its time and its result', async (t) => {
  const { node, send } = await startApi(t)
  const reply = await send('POST', '/v1/commands', { headers: jsonType, body: '{"a":1}' })
  assert.equal(reply.status, 200)
  assert.deepEqual(reply.json, { index: 42, term: 3, timestamp: '2026-11-23T05:00:00.123Z', result: { ok: true } })
  assert.equal(reply.headers['content-type'], 'application/json; charset=utf-8')
  assert.equal(reply.headers['raft-leader'], 'n1')
  assert.equal(reply.headers['raft-term'], '3')
  assert.equal(reply.headers['raft-index'], '42')
  assert.equal(node.proposals[0]?.timeoutMs, 5_000)
})

test('results of every JSON shape come through, also beyond ASCII', async (t) => {
  const { node, send } = await startApi(t)
  for (const result of [null, 0, '', 'grüße ✓', [1, { a: [] }], undefined]) {
    node.onPropose = async () => appliedAt(7, { term: 2, timestampMs: 0, result })
    const reply = await send('POST', '/v1/commands', { headers: jsonType, body: '1' })
    assert.deepEqual(reply.json, { index: 7, term: 2, timestamp: '1970-01-01T00:00:00.000Z', result: result ?? null })
  }
})

test('wait=committed answers 202 without a result', async (t) => {
  const { send } = await startApi(t)
  const reply = await send('POST', '/v1/commands?wait=committed', { headers: jsonType, body: '1' })
  assert.equal(reply.status, 202)
  assert.deepEqual(reply.json, { index: 42, term: 3, timestamp: '2026-11-23T05:00:00.123Z' })
  assert.equal(reply.headers['raft-index'], '42')
})

test('JSON is kept byte for byte', async (t) => {
  const { node, send } = await startApi(t)
  const bodies = [
    ' {"a" : 1.0e0,\n "a":"\\u00e9é" }\t',
    'null',
    '12345678901234567890',
    '"__proto__"',
    '{"__proto__":1}',
  ]
  for (const body of bodies) {
    assert.equal((await send('POST', '/v1/commands', { headers: jsonType, body })).status, 200)
    const command = node.proposals.at(-1)?.command
    assert.equal(command?.kind, 'json')
    assert.deepEqual(Buffer.from(command?.payload ?? []), Buffer.from(body))
  }
})

test('bytes are opaque, and a body in many chunks arrives whole', async (t) => {
  const { node, send } = await startApi(t, { maxCommandBytes: 300_000 })
  const body = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) % 256))
  assert.equal((await send('POST', '/v1/commands', { headers: octets, body })).status, 200)
  assert.equal(node.proposals[0]?.command.kind, 'bytes')
  assert.deepEqual(Buffer.from(node.proposals[0]?.command.payload ?? []), body)
})

const contentTypes: readonly [contentType: string | null, status: number][] = [
  ['application/json; charset=utf-8', 200],
  ['Application/JSON;charset="UTF-8"', 200],
  ['application/json; profile=x', 200],
  ['application/octet-stream; x=y', 200],
  ['application/json; charset=latin1', 415],
  ['application/jsonp', 415],
  ['application/x-www-form-urlencoded', 415],
  ['text/plain', 415],
  ['garbage', 415],
  [null, 415],
]
for (const [contentType, status] of contentTypes) {
  test(`a body of content type ${contentType} is answered with ${status}`, async (t) => {
    const { node, send } = await startApi(t)
    const headers: Record<string, string> = contentType === null ? {} : { 'content-type': contentType }
    const reply = await send('POST', '/v1/commands', { headers, body: '{}' })
    assert.equal(reply.status, status)
    assert.equal(node.proposals.length, status === 200 ? 1 : 0)
    if (status === 415) assertProblem(reply, 415, 'unsupported-media-type', 'not_applied')
  })
}

test('a body with a content-encoding is refused', async (t) => {
  const { send } = await startApi(t)
  const reply = await send('POST', '/v1/commands', { headers: { ...octets, 'content-encoding': 'gzip' }, body: 'x' })
  assertProblem(reply, 415, 'unsupported-media-type', 'not_applied')
})

const badBodies: readonly [what: string, body: Buffer][] = [
  ['empty', Buffer.alloc(0)],
  ['cut off', Buffer.from('{"a":')],
  ['two values', Buffer.from('1 2')],
  ['not UTF-8', Buffer.from([0x22, 0xff, 0x22])],
  ['with a byte order mark', Buffer.from('\ufeff1')],
]
for (const [what, body] of badBodies) {
  test(`a JSON body that is ${what} is an invalid command`, async (t) => {
    const { node, send } = await startApi(t)
    assertProblem(
      await send('POST', '/v1/commands', { headers: jsonType, body }),
      400,
      'invalid-command',
      'not_applied',
    )
    assert.equal(node.proposals.length, 0)
  })
}

test('a request without any body is an invalid command', async (t) => {
  const { send } = await startApi(t)
  assertProblem(await send('POST', '/v1/commands'), 400, 'invalid-command', 'not_applied')
})

test('a command of the largest size is taken, one byte more is not, announced or not', async (t) => {
  const { port, node, send } = await startApi(t)
  assert.equal((await send('POST', '/v1/commands', { headers: octets, body: Buffer.alloc(1_024) })).status, 200)

  const announced = await send('POST', '/v1/commands', { headers: octets, body: Buffer.alloc(1_025) })
  assertProblem(announced, 413, 'command-too-large', 'not_applied')
  const far = await send('POST', '/v1/commands', { headers: octets, body: Buffer.alloc(3_000_000) })
  assertProblem(far, 413, 'command-too-large', 'not_applied')
  const chunked = await fetch(`http://127.0.0.1:${port}/v1/commands`, {
    method: 'POST',
    headers: octets,
    body: new Blob([Buffer.alloc(200_000)]).stream(),
    duplex: 'half',
  })
  assert.equal(chunked.status, 413)
  assert.equal(node.proposals.length, 1)
})

test('the state machine judges a command, which is then not parsed again', async (t) => {
  const judged: string[] = []
  const validateCommand: ApiOptions['validateCommand'] = (kind, payload) => {
    judged.push(`${kind} ${Buffer.from(payload)}`)
    return kind === 'bytes' ? 'The key-value machine takes JSON only.' : null
  }
  const { send } = await startApi(t, { validateCommand })
  assert.equal((await send('POST', '/v1/commands', { headers: jsonType, body: 'no json' })).status, 200)
  const refused = await send('POST', '/v1/commands', { headers: octets, body: 'x' })
  assertProblem(refused, 400, 'invalid-command', 'not_applied')
  assert.equal(refused.json.detail, 'The key-value machine takes JSON only.')
  assert.deepEqual(judged, ['json no json', 'bytes x'])
})

const timeouts: readonly [timeout: string, timeoutMs: number | null][] = [
  ['100ms', 100],
  ['60s', 60_000],
  ['1s', 1_000],
  ['60000ms', 60_000],
  ['99ms', null],
  ['61s', null],
  ['1', null],
  ['1m', null],
  ['-1s', null],
  ['1.5s', null],
  ['', null],
]
for (const [timeout, timeoutMs] of timeouts) {
  test(`timeout=${timeout} means ${timeoutMs === null ? 'nothing' : `${timeoutMs} ms`}`, async (t) => {
    const { node, send } = await startApi(t)
    const reply = await send('POST', `/v1/commands?timeout=${timeout}`, { headers: jsonType, body: '1' })
    if (timeoutMs === null) assertProblem(reply, 400, 'invalid-parameter', 'not_applied')
    assert.deepEqual(
      node.proposals.map((proposal) => proposal.timeoutMs),
      timeoutMs === null ? [] : [timeoutMs],
    )
  })
}

const notOffered: readonly [query: string, headers: Record<string, string>, sentence: RegExp][] = [
  ['?wait=durable', {}, /does not offer .*`wait`/],
  ['?wait=applied&wait=committed', {}, /does not offer .*`wait`/],
  ['?dry-run=1', {}, /does not offer .*`dry-run`/],
  ['', { 'if-match': '"1"' }, /The header If-Match has no meaning here/],
  ['', { 'if-none-match': '*' }, /The header If-None-Match has no meaning here/],
]
for (const [query, headers, sentence] of notOffered) {
  test(`what is not offered is refused by name: ${query}${Object.keys(headers)}`, async (t) => {
    const { node, send } = await startApi(t)
    const reply = await send('POST', `/v1/commands${query}`, { headers: { ...jsonType, ...headers }, body: '1' })
    assertProblem(reply, 400, 'invalid-parameter', 'not_applied')
    assert.match(String(reply.json.detail), sentence)
    assert.equal(node.proposals.length, 0)
  })
}

const rows: readonly [
  code: ProposalErrorCode,
  outcome: ProposalError['outcome'],
  status: number,
  retryAfter: string | undefined,
][] = [
  ['command-too-large', 'not_applied', 413, undefined],
  ['idempotency-key-reused', 'not_applied', 422, undefined],
  ['command-skipped', 'committed', 422, undefined],
  ['command-skipped', 'unknown', 422, undefined],
  ['too-many-proposals', 'not_applied', 429, '1'],
  ['no-leader', 'not_applied', 503, '1'],
  ['shutting-down', 'not_applied', 503, '5'],
  ['not-a-member', 'not_applied', 503, '5'],
  ['leadership-lost', 'unknown', 503, undefined],
  ['commit-timeout', 'unknown', 504, undefined],
  ['apply-pending', 'committed', 504, undefined],
  ['result-unknown', 'committed', 504, undefined],
  ['storage-full', 'not_applied', 507, undefined],
]
for (const [code, outcome, status, retryAfter] of rows) {
  for (const wait of ['applied', 'committed']) {
    test(`wait=${wait}: ${code} is answered with ${status} and ${outcome}`, async (t) => {
      const { node, send } = await startApi(t)
      const committed = outcome === 'committed' ? { index: 42, term: 3 } : null
      node.onPropose = () => Promise.reject(new ProposalError(code, outcome, `Why: ${code}.`, committed))
      const reply = await send('POST', `/v1/commands?wait=${wait}`, { headers: jsonType, body: '1' })
      assertProblem(reply, status, code, outcome)
      assert.equal(reply.headers['retry-after'], retryAfter)
      assert.equal(reply.json.detail, `Why: ${code}.`)
      assert.equal(reply.json.index, committed?.index)
      assert.equal(reply.json.term, committed?.term)
      assert.equal(reply.headers['raft-index'], '41')
    })
  }
}

test('a bug is answered without its message or stack, with the outcome unknown', async (t) => {
  const { node, send } = await startApi(t)
  for (const bug of [() => Promise.reject(new Error('secret')), () => Promise.reject(Object.create(null))]) {
    node.onPropose = bug
    const reply = await send('POST', '/v1/commands', { headers: jsonType, body: '1' })
    assertProblem(reply, 500, 'internal-error', 'unknown')
    assert.doesNotMatch(reply.text, /secret|\.ts\b|node_modules/)
  }
  node.onPropose = () => {
    throw new Error('secret')
  }
  assertProblem(await send('POST', '/v1/commands', { headers: jsonType, body: '1' }), 500, 'internal-error', 'unknown')
  node.onPropose = async () => appliedAt(1, { result: 1n })
  assertProblem(await send('POST', '/v1/commands', { headers: jsonType, body: '1' }), 500, 'internal-error', 'unknown')
})

test('a wrong method is 405 with Allow, an unknown path 404', async (t) => {
  const { send } = await startApi(t)
  const method = await send('PUT', '/v1/commands')
  assertProblem(method, 405, 'method-not-allowed', 'not_applied')
  assert.equal(method.headers.allow, 'GET, POST')
  assertProblem(await send('POST', '/v1/leader'), 405, 'method-not-allowed', 'not_applied')
  assertProblem(await send('GET', '/v2/commands'), 404, 'not-found', undefined)
  assertProblem(await send('POST', '/v1/members'), 405, 'method-not-allowed', 'not_applied')
  const removal = await send('DELETE', '/v1/members/n2')
  assertProblem(removal, 404, 'not-found', 'not_applied')
  assert.equal(removal.json.detail, 'This version does not change the membership of a cluster.')
  assertProblem(await send('GET', '/v1/%zz'), 400, 'invalid-parameter', undefined)
})

function assertProblem(reply: Reply, status: number, code: string, outcome: string | undefined): void {
  assert.equal(reply.status, status, reply.text)
  assert.match(String(reply.headers['content-type']), /^application\/problem\+json/)
  assert.equal(reply.json.code, code)
  assert.equal(reply.json.status, status)
  assert.equal(reply.json.outcome, outcome)
  assert.equal(typeof reply.json.title, 'string')
  assert.match(String(reply.json.detail), /\.$/)
  assert.notEqual(reply.headers['raft-index'], undefined)
}
