// POST /v1/commands/batch.

import assert from 'node:assert/strict'
import { request } from 'node:http'
import { test } from 'node:test'
import { ProposalError } from '../../src/errors.ts'
import type { NewCommand } from '../../src/node/contract.ts'
import { appliedAt, type FakeNode } from './fake-node.ts'
import { type Reply, type Send, startApi, until } from './running-api.ts'

const ndjson = { 'content-type': 'application/x-ndjson' }
const timestamp = '2026-11-23T05:00:00.123Z'
const MiB = 1024 * 1024

function batch(send: Send, body: string | Buffer, headers: Record<string, string> = {}, query = ''): Promise<Reply> {
  return send('POST', `/v1/commands/batch${query}`, { headers: { ...ndjson, ...headers }, body })
}

test('the commands of a batch are proposed together, and answered in order', async (t) => {
  const { node, send } = await startApi(t)
  const reply = await batch(send, '{"a": 1}\n 2 \n"\\n"\n')
  assert.equal(reply.status, 200)
  assert.deepEqual(reply.json, {
    results: [42, 43, 44].map((index) => ({ index, term: 3, timestamp, result: { ok: true } })),
  })
  assert.equal(reply.headers['raft-index'], '44')
  assert.equal(node.batches.length, 1)
  assert.deepEqual(textsOf(node), ['{"a": 1}', ' 2 ', '"\\n"'])
  assert.deepEqual([node.batches[0]?.wait, node.batches[0]?.timeoutMs], ['applied', 5_000])
  assert.ok(node.batches[0]?.commands.every(({ kind, key }) => kind === 'json' && key === null))
})

const bodies: readonly [what: string, body: string, lines: readonly string[]][] = [
  ['without the last line end', '1\n2', ['1', '2']],
  ['of a single line', '1', ['1']],
  ['with the line ends of Windows', '1\r\n2\r\n', ['1', '2']],
  ['beyond ASCII', '"grüße ✓"\n"\u2028"', ['"grüße ✓"', '"\u2028"']],
]
for (const [what, body, lines] of bodies) {
  test(`a batch ${what} is taken line by line`, async (t) => {
    const { node, send } = await startApi(t)
    assert.equal((await batch(send, body)).status, 200)
    assert.deepEqual(textsOf(node), lines)
  })
}

test('lines are put together again however their bytes arrive', async (t) => {
  const { port, node } = await startApi(t)
  const body = Buffer.from('{"grüße":"✓"}\n[1,2]\r\n3')
  const call = request({ port, host: '127.0.0.1', method: 'POST', path: '/v1/commands/batch', headers: ndjson })
  const answered = new Promise<number | undefined>((resolve) => {
    call.on('response', (response) => resolve(response.resume().statusCode))
  })
  for (const byte of body) await new Promise((resolve) => call.write(Buffer.of(byte), resolve))
  call.end()
  assert.equal(await answered, 200)
  assert.deepEqual(textsOf(node), ['{"grüße":"✓"}', '[1,2]', '3'])
})

test('single failures are results, each with what became of it', async (t) => {
  const { node, send } = await startApi(t)
  node.onBatch = async () => [
    appliedAt(42, { result: null }),
    new ProposalError('leadership-lost', 'unknown', 'Why.'),
    new ProposalError('apply-pending', 'committed', 'Not yet.', { index: 43, term: 3 }),
    appliedAt(7, { duplicate: true }),
  ]
  const reply = await batch(send, '1\n2\n3\n4')
  assert.equal(reply.status, 200)
  assert.deepEqual(reply.json.results, [
    { index: 42, term: 3, timestamp, result: null },
    { code: 'leadership-lost', outcome: 'unknown', detail: 'Why.' },
    { code: 'apply-pending', outcome: 'committed', detail: 'Not yet.', index: 43, term: 3 },
    { index: 7, term: 3, timestamp, result: { ok: true }, duplicate: true },
  ])
  assert.equal(reply.headers['raft-index'], '43')
})

test('wait=committed answers 202 without results, and the timeout is passed on', async (t) => {
  const { node, send } = await startApi(t)
  const reply = await batch(send, '1\n', {}, '?wait=committed&timeout=10s')
  assert.equal(reply.status, 202)
  assert.deepEqual(reply.json.results, [{ index: 42, term: 3, timestamp }])
  assert.deepEqual([node.batches[0]?.wait, node.batches[0]?.timeoutMs], ['committed', 10_000])
})

test('when there is no room for all of them, none is proposed', async (t) => {
  const { node, send } = await startApi(t)
  node.onBatch = () => Promise.reject(new ProposalError('too-many-proposals', 'not_applied', 'No room.'))
  const reply = await batch(send, '1\n2')
  assert.deepEqual(
    [reply.status, reply.json.code, reply.json.outcome, reply.headers['retry-after']],
    [429, 'too-many-proposals', 'not_applied', '1'],
  )
})

test('each line has a key of its own, made from that of the batch', async (t) => {
  const { node, send } = await startApi(t)
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  await batch(send, '1\n2\n', { 'idempotency-key': '"K"', traceparent })
  const commands = node.batches[0]?.commands ?? []
  assert.deepEqual(
    commands.map(({ key }) => key),
    ['K/1', 'K/2'],
  )
  assert.ok(commands.every((command) => command.traceparent === traceparent))
  assert.equal((await batch(send, '1', { 'idempotency-key': 'k'.repeat(249) })).status, 200)
  const long = await batch(send, '1', { 'idempotency-key': 'k'.repeat(250) })
  assert.equal(long.json.code, 'invalid-parameter')
  assert.match(String(long.json.detail), /1 to 249 visible ASCII/)
})

const refused: readonly [what: string, body: string | Buffer, status: number, code: string, detail: RegExp][] = [
  ['nothing', '', 400, 'invalid-command', /The body is empty/],
  ['an empty line', '1\n\n2', 400, 'invalid-command', /^Line 2 is empty/],
  ['an empty line at the end', '1\n\n', 400, 'invalid-command', /^Line 2 is empty/],
  ['an empty line as on Windows', '1\r\n\r\n', 400, 'invalid-command', /^Line 2 is empty/],
  ['a blank line', '1\n  \n2', 400, 'invalid-command', /^Line 2: .*not valid JSON/],
  ['a line that is no JSON', '1\n2\n{', 400, 'invalid-command', /^Line 3: .*not valid JSON/],
  ['two values in a line', '1 2\n', 400, 'invalid-command', /^Line 1: .*not valid JSON/],
  ['no UTF-8', Buffer.from([0x31, 0x0a, 0x22, 0xff, 0x22]), 400, 'invalid-command', /^Line 2: .*not valid UTF-8/],
  [
    'a line that is too large',
    `1\n"${'x'.repeat(1_023)}"\n`,
    413,
    'command-too-large',
    /^Line 2 is larger than MAX_COMMAND_BYTES, which is 1024/,
  ],
  ['a line without end', `1\n"${'x'.repeat(1_000_000)}`, 413, 'command-too-large', /^Line 2 is larger/],
  ['too many lines', '1\n'.repeat(10_001), 413, 'batch-too-large', /more than 10000 lines/],
  ['too many bytes', Buffer.alloc(16 * MiB + 1, '1\n'), 413, 'batch-too-large', /more than 16777216 bytes/],
]
for (const [what, body, status, code, detail] of refused) {
  test(`a batch with ${what} is ${status} ${code}, and nothing is proposed`, async (t) => {
    const { node, send } = await startApi(t)
    const reply = await batch(send, body)
    assert.equal(reply.status, status)
    assert.deepEqual([reply.json.code, reply.json.outcome], [code, 'not_applied'])
    assert.match(String(reply.json.detail), detail)
    assert.equal(node.batches.length, 0)
    // The rest of the body was read: the connection serves on.
    assert.equal((await batch(send, '1')).status, 200)
  })
}

test('the largest batch is taken: 10,000 lines, each of the largest size', async (t) => {
  const { node, send } = await startApi(t)
  const line = `"${'x'.repeat(1_022)}"`
  const reply = await batch(send, `${line}\r\n`.repeat(10_000))
  assert.equal(reply.status, 200)
  assert.equal((reply.json.results as object[]).length, 10_000)
  assert.equal(node.batches[0]?.commands.length, 10_000)
  assert.ok(textsOf(node).every((text) => text === line))
})

test('what could never be pending at once is too large from the start', async (t) => {
  const { node, send } = await startApi(t, { maxPendingBytes: 2_000 })
  const reply = await batch(send, '"0123456789"\n'.repeat(200))
  assert.deepEqual([reply.status, reply.json.code], [413, 'batch-too-large'])
  assert.equal(node.batches.length, 0)
})

test('10,000 lines in one go do not hold the event loop: others are served between them', async (t) => {
  let turns = 0
  let turning = setImmediate(function count() {
    turns++
    turning = setImmediate(count)
  })
  t.after(() => clearImmediate(turning))
  let checkedAt: number[] = []
  const { send } = await startApi(t, {
    validateCommand: () => {
      checkedAt.push(turns)
      return null
    },
  })
  assert.equal((await batch(send, '1\n'.repeat(10_000))).status, 200)
  const longest = [...new Set(checkedAt)].map((turn) => checkedAt.filter((at) => at === turn).length)
  assert.equal(checkedAt.length, 10_000)
  assert.ok(Math.max(...longest) <= 250, `${Math.max(...longest)} lines were checked in one turn`)
  // Few, but large ones.
  checkedAt = []
  const large = `"${'x'.repeat(1_000)}"\n`
  assert.equal((await batch(send, large.repeat(1_000))).status, 200)
  const bytes = [...new Set(checkedAt)].map((turn) => checkedAt.filter((at) => at === turn).length * large.length)
  assert.ok(Math.max(...bytes) <= 130 * 1024, `${Math.max(...bytes)} bytes were checked in one turn`)
})

test('the state machine judges each line', async (t) => {
  const { node, send } = await startApi(t, { validateCommand: (_kind, payload) => (payload.length > 1 ? 'No.' : null) })
  assert.equal((await batch(send, '1\n22\n')).json.detail, 'Line 2: No.')
  assert.equal(node.batches.length, 0)
})

for (const [contentType, status] of [
  ['application/x-ndjson', 200],
  ['Application/X-NDJSON; charset=utf-8', 200],
  ['application/x-ndjson; charset=latin1', 415],
  ['application/json', 415],
] as const) {
  test(`a batch of content type ${contentType} is answered with ${status}`, async (t) => {
    const { send } = await startApi(t)
    assert.equal((await batch(send, '1', { 'content-type': contentType })).status, status)
    assert.equal((await batch(send, '1', { 'content-type': contentType, 'content-encoding': 'gzip' })).status, 415)
  })
}

test('a batch that breaks off proposes nothing, and what it held is free again', async (t) => {
  const { port, node, send } = await startApi(t, { maxPendingBytes: 100_000 })
  for (let i = 0; i < 3; i++) {
    const call = request({ port, host: '127.0.0.1', method: 'POST', path: '/v1/commands/batch', headers: ndjson })
    call.on('error', () => {})
    await new Promise((resolve) => call.write('1\n'.repeat(4_000), resolve))
    call.destroy()
  }
  // Nine tenths of the bound: it fits when nothing else is held.
  const line = `"${'x'.repeat(1_000)}"\n`
  await until(async () => (await batch(send, line.repeat(90))).status === 200, 'there is room again')
  assert.ok(node.batches.every(({ commands }) => commands.length === 90))
})

function textsOf(node: FakeNode): string[] {
  return (node.batches[0]?.commands ?? []).map(({ payload }: NewCommand) => Buffer.from(payload).toString())
}
