import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { type AppMachineOptions, createAppMachine } from '../../src/machine/app.ts'
import { maxRetryAfterMs } from '../../src/machine/app-answer.ts'
import type { ApplyOutcome, StateMachine } from '../../src/machine/state-machine.ts'
import { entry, jsonEntry, someUnixMs } from './fixtures.ts'
import { realClock, startServer, type TestServer } from './test-server.ts'

type Answer = (response: ServerResponse) => void

const batch = [jsonEntry(41, { a: 1 }), jsonEntry(43, { a: 2 })]

interface Received {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly type: string | undefined
  readonly traceparent?: string
  readonly body: string
}

async function withApp(
  answer: Answer,
  run: (machine: StateMachine, received: readonly Received[], server: TestServer) => Promise<void>,
  options: Partial<AppMachineOptions> = {},
): Promise<void> {
  const received: Received[] = []
  const server = await startServer((request, body, response) => {
    const { 'content-type': type, traceparent } = request.headers
    const traced = typeof traceparent === 'string' ? { traceparent } : {}
    received.push({ method: request.method, url: request.url, type, ...traced, body: body.toString() })
    answer(response)
  })
  const machine = createAppMachine({ url: server.url, cluster: 'orders', node: 'n1', clock: realClock, ...options })
  try {
    await run(machine, received, server)
  } finally {
    await machine.close()
    await server.stop()
  }
}

const reply =
  (status: number, body: unknown = '', headers: Record<string, string> = {}): Answer =>
  (response) => {
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))
  }

const retry = (afterMs: number | null = null) => ({ type: 'retry', afterMs })
const dateIn = (ms: number) => new Date(someUnixMs + ms).toUTCString()

const table: readonly [name: string, answer: Answer, outcome: object][] = [
  ['200 with results', reply(200, { results: [1, { b: null }] }), { type: 'applied', results: [1, { b: null }] }],
  ['200 with results and more', reply(200, { results: [1, 2], tookMs: 3 }), { type: 'applied', results: [1, 2] }],
  ['200 with an empty body', reply(200), { type: 'applied', results: [null, null] }],
  ['204', reply(204), { type: 'applied', results: [null, null] }],
  ['201 with results', reply(201, { results: [1, 2] }), { type: 'applied', results: [1, 2] }],
  ['200 with too few results', reply(200, { results: [1] }), { type: 'malformed' }],
  ['200 with too many results', reply(200, { results: [1, 2, 3] }), { type: 'malformed' }],
  ['200 with results that are no list', reply(200, { results: { length: 2 } }), { type: 'malformed' }],
  ['200 without results', reply(200, {}), { type: 'malformed' }],
  ['200 with a bare list', reply(200, [1, 2]), { type: 'malformed' }],
  ['200 with null', reply(200, 'null'), { type: 'malformed' }],
  ['200 with no JSON', reply(200, '<html>It works!</html>'), { type: 'malformed' }],
  ['200 with blank space', reply(200, ' '), { type: 'malformed' }],
  ['202 with an empty body', reply(202), { type: 'malformed' }],
  ['409 with a position', reply(409, { position: 7 }), { type: 'elsewhere', position: 7 }],
  ['409 with position 0', reply(409, { position: 0 }), { type: 'elsewhere', position: 0 }],
  ['409 without position', reply(409, {}), { type: 'malformed' }],
  ['409 with an empty body', reply(409), { type: 'malformed' }],
  ['409 with a negative position', reply(409, { position: -1 }), { type: 'malformed' }],
  ['409 with a fraction', reply(409, { position: 1.5 }), { type: 'malformed' }],
  ['409 with a text', reply(409, { position: '7' }), { type: 'malformed' }],
  ['429', reply(429), retry()],
  ['429 with seconds', reply(429, '', { 'retry-after': '7' }), retry(7000)],
  ['503 with seconds', reply(503, 'busy', { 'retry-after': ' 0 ' }), retry(0)],
  ['503 with an HTTP date', reply(503, '', { 'retry-after': dateIn(4877) }), retry(4877)],
  ['503 with a date gone by', reply(503, '', { 'retry-after': dateIn(-60_000) }), retry(0)],
  ['503 with a wish for a year', reply(503, '', { 'retry-after': '31536000' }), retry(maxRetryAfterMs)],
  ['503 with nonsense', reply(503, '', { 'retry-after': 'soon' }), retry()],
  ['500', reply(500, 'oops'), retry()],
  ['502', reply(502), retry()],
  ['504', reply(504), retry()],
  ['599', reply(599), retry()],
  ['408', reply(408), retry()],
  ['425', reply(425), retry()],
  [
    '422 for a command of the batch',
    reply(422, { index: 43, reason: 'no such account' }),
    { type: 'poison', index: 43, reason: '"no such account"' },
  ],
  ['422 without reason', reply(422, { index: 41 }), { type: 'poison', index: 41, reason: 'no reason given' }],
  ['422 for a command between', reply(422, { index: 42, reason: 'x' }), { type: 'malformed' }],
  ['422 for a command outside', reply(422, { index: 40, reason: 'x' }), { type: 'malformed' }],
  ['422 as a framework sends it', reply(422, { detail: [{ msg: 'field required' }] }), { type: 'malformed' }],
  ['422 with a reason that is no text', reply(422, { index: 41, reason: {} }), { type: 'malformed' }],
  ['301', reply(301, '', { location: '/elsewhere' }), { type: 'misconfigured' }],
  ['302 to a login', reply(302, '', { location: '/login' }), { type: 'misconfigured' }],
  ['304', reply(304), { type: 'misconfigured' }],
  ['307', reply(307, '', { location: '/' }), { type: 'misconfigured' }],
  ...[400, 401, 403, 404, 405, 406, 410, 413, 415, 418, 431, 451].map((status): [string, Answer, object] => [
    `${status}`,
    reply(status),
    { type: 'misconfigured' },
  ]),
  ['a connection that is reset', (response) => response.socket?.resetAndDestroy(), retry()],
  ['a connection that is closed', (response) => response.socket?.destroy(), retry()],
  [
    'an answer that breaks off',
    (response) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('{"results":[1,2]', () => response.socket?.destroy())
    },
    retry(),
  ],
]

function assertOutcome(outcome: ApplyOutcome, expected: object): void {
  if ('reason' in outcome) {
    assert.ok(outcome.reason.length > 10 || 'index' in outcome, outcome.reason)
    assert.doesNotMatch(outcome.reason, /\n/)
  }
  const seen = 'reason' in outcome && !('reason' in expected) ? { ...outcome, reason: undefined } : outcome
  assert.deepEqual(JSON.parse(JSON.stringify(seen)), expected)
}

for (const [name, answer, expected] of table) {
  test(`the application answers ${name}`, async () => {
    await withApp(answer, async (machine) => {
      assertOutcome(await machine.apply(40, batch), expected)
    })
  })
}

test('no answer in time is tried again', async () => {
  await withApp(
    () => {},
    async (machine) => {
      const outcome = await machine.apply(40, batch)
      assertOutcome(outcome, retry())
      assert.match(JSON.stringify(outcome), /no whole answer within 50 ms/)
    },
    { timeoutMs: 50 },
  )
})

test('an answer that trickles is bounded as a whole, not from byte to byte', async () => {
  await withApp(
    (response) => {
      response.writeHead(200)
      const timer = setInterval(() => response.write(' '), 10)
      response.on('close', () => clearInterval(timer))
    },
    async (machine) => {
      assertOutcome(await machine.apply(40, batch), retry())
    },
    { timeoutMs: 100 },
  )
})

for (const [status, type] of [
  [200, 'malformed'],
  [409, 'malformed'],
  [500, 'retry'],
  [404, 'misconfigured'],
] as const) {
  test(`an oversize body with ${status} is ${type}`, async () => {
    await withApp(
      reply(status, { results: [1, 2], position: 1, more: 'x'.repeat(5000) }),
      async (machine) => {
        const outcome = await machine.apply(40, batch)
        assert.equal(outcome.type, type)
        assert.match(JSON.stringify(outcome), /longer than may be read/)
        // The machine goes on with a new connection.
        assert.equal((await machine.apply(40, batch)).type, type)
      },
      { maxResponseBytes: 1000 },
    )
  })
}

test('an application that is not there is tried again', async () => {
  const server = await startServer(() => {})
  await server.stop()
  const machine = createAppMachine({ url: server.url, cluster: 'c', node: 'n1', clock: realClock })
  const outcome = await machine.apply(40, batch)
  assertOutcome(outcome, retry())
  assert.match(JSON.stringify(outcome), /ECONNREFUSED/)
  await assert.rejects(machine.position(), /ECONNREFUSED/)
  await machine.close()
})

test('the request is what the contract says, with JSON commands byte for byte', async () => {
  const odd = '{ "a":1e400,"a" : -0.0, "\\u00fc":12345678901234567890 ,"ü":["\\/"]}\n'
  await withApp(reply(204), async (machine, received) => {
    await machine.apply(40, [entry(41, 'json', odd), entry(44, 'bytes', Uint8Array.of(0, 255, 254))])
    assert.deepEqual(received, [
      {
        method: 'POST',
        url: '/apply',
        type: 'application/json',
        body:
          '{"cluster":"orders","node":"n1","after":40,"commands":[' +
          `{"index":41,"term":3,"timestamp":"2026-11-23T05:00:00.123Z","command":${odd}},` +
          '{"index":44,"term":3,"timestamp":"2026-11-23T05:00:00.123Z","bytes":"AP/+"}]}',
      },
    ])
  })
})

test('a command arrives with its key and its trace context, where it has them', async () => {
  const key = `"\\${'k'.repeat(253)}`
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const stamp = '"term":3,"timestamp":"2026-11-23T05:00:00.123Z"'
  await withApp(reply(204), async (machine, received) => {
    await machine.apply(40, [
      entry(41, 'json', '1', { key }),
      entry(42, 'bytes', 'x', { traceparent }),
      entry(43, 'json', ' [2]', { key: 'k', traceparent }),
      entry(44, 'json', '3'),
    ])
    assert.equal(
      received[0]?.body,
      '{"cluster":"orders","node":"n1","after":40,"commands":[' +
        `{"index":41,${stamp},"key":${JSON.stringify(key)},"command":1},` +
        `{"index":42,${stamp},"traceparent":"${traceparent}","bytes":"eA=="},` +
        `{"index":43,${stamp},"key":"k","traceparent":"${traceparent}","command": [2]},` +
        `{"index":44,${stamp},"command":3}]}`,
    )
    assert.equal(received[0]?.traceparent, undefined)
  })
})

test('keys and trace contexts of any length fit into the request', async () => {
  const worst = { key: '"'.repeat(255), traceparent: '\\'.repeat(255) }
  await withApp(reply(204), async (machine, received) => {
    await machine.apply(
      40,
      Array.from({ length: 100 }, (_, i) => entry(41 + i, 'json', '0', worst)),
    )
    const body = JSON.parse(received[0]?.body ?? '')
    assert.equal(body.commands.length, 100)
    assert.equal(body.commands[99].key, worst.key)
    assert.equal(body.commands[99].traceparent, worst.traceparent)
  })
})

const traceOf = (id: string) => `00-${id.repeat(32)}-b7ad6b7169203331-01`
for (const [name, traces, expected] of [
  ['a single command', ['a'], traceOf('a')],
  ['commands of one trace', ['a', 'a', 'a'], traceOf('a')],
  ['commands of two traces', ['a', 'a', 'b'], undefined],
  ['commands of which one has no trace', ['a', null], undefined],
  ['commands of which the first has no trace', [null, 'a'], undefined],
  ['a command without trace', [null], undefined],
] as const) {
  test(`the request for ${name} ${expected === undefined ? 'belongs to no trace' : 'belongs to that trace'}`, async () => {
    await withApp(reply(204), async (machine, received) => {
      const commands = traces.map((id, i) =>
        entry(41 + i, 'json', '1', { traceparent: id === null ? null : traceOf(id) }),
      )
      await machine.apply(40, commands)
      assert.equal(received[0]?.traceparent, expected)
    })
  })
}

test('names and numbers of any length fit into the request', async () => {
  const most = Number.MAX_SAFE_INTEGER
  const cluster = '"ü\u2028'.repeat(100)
  await withApp(
    reply(204),
    async (machine, received) => {
      const commands = [0, 1, 2, 3].map((i) => ({ ...entry(most - 3 + i, 'bytes', 'x'.repeat(i)), term: most }))
      await machine.apply(most - 4, commands)
      const body = JSON.parse(received[0]?.body ?? '')
      assert.equal(body.cluster, cluster)
      assert.equal(body.commands[3].index, most)
      assert.equal(Buffer.from(body.commands[3].bytes, 'base64').toString(), 'xxx')
    },
    { cluster },
  )
})

for (const [path, hook] of [
  ['', '/apply'],
  ['/', '/apply'],
  ['/raft', '/raft/apply'],
  ['/a/b/', '/a/b/apply'],
] as const) {
  test(`APP_URL with the path "${path}" leads to ${hook}`, async () => {
    const urls: (string | undefined)[] = []
    const server = await startServer((request, _body, response) => {
      urls.push(request.url)
      response.writeHead(204).end()
    })
    const machine = createAppMachine({ url: `${server.url}${path}`, cluster: 'c', node: 'n1', clock: realClock })
    await machine.apply(40, batch)
    assert.deepEqual(urls, [hook])
    await machine.close()
    await server.stop()
  })
}

const positions: readonly [name: string, answer: Answer, position: number | null | RegExp][] = [
  ['200 with a position', reply(200, { position: 12 }), 12],
  ['200 with 0', reply(200, { position: 0 }), 0],
  ['404', reply(404), null],
  ['405', reply(405), null],
  ['501', reply(501), null],
  ['200 without position', reply(200, {}), /does not fit/],
  ['200 with a text', reply(200, 'OK'), /does not fit/],
  ['200 with a negative one', reply(200, { position: -1 }), /does not fit/],
  ['204', reply(204), /answered 204 .* does not fit/],
  ['401', reply(401), /answered 401 .*, which is no access: let it accept what this node sends/],
  ['500', reply(500), /answered 500 when asked for its position$/],
  ['302', reply(302, '', { location: '/' }), /answered 302 .* redirects are not followed/],
  ['nothing but a reset', (response) => response.socket?.resetAndDestroy(), /got no answer/],
]

for (const [name, answer, position] of positions) {
  test(`asked for its position the application answers ${name}`, async () => {
    await withApp(answer, async (machine, received) => {
      if (position instanceof RegExp) await assert.rejects(machine.position(), position)
      else assert.equal(await machine.position(), position)
      assert.equal(received[0]?.method, 'GET')
      assert.equal(received[0]?.url, '/position')
    })
  })
}

test('batches in a row share one connection', async () => {
  await withApp(reply(204), async (machine, received, server) => {
    await machine.position().catch(() => null)
    for (let i = 0; i < 20; i++) await machine.apply(40, batch)
    assert.equal(received.length, 21)
    assert.equal(server.connections, 1)
  })
})

test('closing ends a request in flight, which then counts as not delivered', async () => {
  await withApp(
    () => {},
    async (machine, received) => {
      const outcome = machine.apply(40, batch)
      while (received.length === 0) await new Promise((resolve) => setImmediate(resolve))
      await machine.close()
      assertOutcome(await outcome, retry())
      assert.equal((await machine.apply(40, batch)).type, 'retry')
    },
  )
})
