// The snapshot hooks of an application: what its answers mean, what is sent to it, and how long it is waited for. The time of the machine under
// test is moved by hand; what goes over the sockets is waited for.

import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { createAppMachine } from '../../src/machine/app.ts'
import type { StateMachine } from '../../src/machine/state-machine.ts'
import { collect, FakeClock, jsonEntry, someUnixMs } from './fixtures.ts'
import { startServer, startStreamServer, type TestServer } from './test-server.ts'
import { until } from './until.ts'

type Answer = (response: ServerResponse, request: IncomingMessage) => void

const timeoutMs = 1000

interface Subject {
  readonly machine: StateMachine
  readonly clock: FakeClock
  readonly server: TestServer
}

function machineAt(url: string, clock: FakeClock): StateMachine {
  return createAppMachine({
    url: `${url}/raft`,
    cluster: 'orders',
    node: 'n1',
    clock: { after: clock.after, unixMs: () => someUnixMs },
    timeoutMs,
  })
}

/** `whole`: the request is answered once all of it is there. */
async function withApp(when: 'at once' | 'whole', answer: Answer, run: (subject: Subject) => Promise<void>) {
  const server = await (when === 'whole'
    ? startServer((request, _body, response) => answer(response, request))
    : startStreamServer((request, response) => answer(response, request)))
  const clock = new FakeClock()
  const machine = machineAt(server.url, clock)
  try {
    await run({ machine, clock, server })
  } finally {
    await machine.close()
    await server.stop()
    assert.deepEqual(clock.dueInMs, [])
  }
}

const reply =
  (status: number, headers: Record<string, string> = {}, body = ''): Answer =>
  (response) =>
    response.writeHead(status, headers).end(body)

/** In pieces of its own, as an application with much state would. */
const stateAt =
  (position: number, ...chunks: readonly string[]): Answer =>
  (response) => {
    response.writeHead(200, { 'raft-position': position })
    for (const chunk of chunks) response.write(chunk)
    response.end()
  }

function bodyOf(...chunks: readonly string[]) {
  return (async function* () {
    for (const chunk of chunks) yield Buffer.from(chunk)
  })()
}

// Taking one

test('the application gives its state with its position', async () => {
  const seen: string[] = []
  const answer: Answer = (response, request) => {
    seen.push(`${request.method} ${request.url} ${request.headers['content-length']}`)
    stateAt(41, 'a'.repeat(70_000), 'b')(response, request)
  }
  await withApp('whole', answer, async ({ machine }) => {
    const snapshot = await machine.snapshot()
    assert.equal(snapshot?.position, 41)
    assert.equal((await collect(snapshot.body)).toString(), `${'a'.repeat(70_000)}b`)
    assert.deepEqual(await snapshot.body[Symbol.asyncIterator]().next(), { done: true, value: undefined })
    assert.deepEqual(seen, ['POST /raft/snapshot 0'])
  })
})

for (const status of [404, 405, 501]) {
  test(`an application that answers ${status} when asked for a snapshot offers none`, async () => {
    await withApp('whole', reply(status, {}, 'x'.repeat(1000)), async ({ machine }) => {
      assert.equal(await machine.snapshot(), null)
    })
  })
}

const refused: readonly [name: string, answer: Answer, sentence: RegExp][] = [
  ['200 without a position', reply(200, {}, 'state'), /answered 200 without raft-position .* will do/],
  ...['', 'x', '-1', '1.5', '1e3', '0x1', '9'.repeat(17), '4, 4'].map((value): [string, Answer, RegExp] => [
    `200 with the position ${JSON.stringify(value)}`,
    reply(200, { 'raft-position': value }, 'state'),
    /answered 200 with raft-position .* will do/,
  ]),
  [
    '200 with two positions',
    (response) => response.writeHead(200, { 'raft-position': ['4', '4'] }).end('state'),
    /raft-position "4,4"/,
  ],
  [
    '200 with a state whose end is that of the connection',
    (response) => {
      response.useChunkedEncodingByDefault = false
      response.writeHead(200, { 'raft-position': '4', connection: 'close' })
      response.write('state')
      response.end()
    },
    /neither content-length nor chunks/,
  ],
  ['204', reply(204, { 'raft-position': '4' }), /answered 204 .* no answer of the contract/],
  ['202', reply(202, { 'raft-position': '4' }), /answered 202/],
  ['302', reply(302, { location: '/' }), /answered 302 .* redirects are not followed/],
  ['401', reply(401, {}, 'who?'), /answered 401 "who\?" when asked for a snapshot, which is no access/],
  ['410', reply(410), /answered 410 .* check the path of APP_URL/],
  ['503', reply(503, { 'retry-after': '7' }, 'busy'), /answered 503 "busy" when asked for a snapshot$/],
  ['500 at length', reply(500, {}, 'x'.repeat(1_000_000)), /answered 500 with a body longer than may be read/],
  [
    'nothing but a reset',
    (response) => response.socket?.resetAndDestroy(),
    /POST http.*\/raft\/snapshot got no answer/,
  ],
]

for (const [name, answer, sentence] of refused) {
  test(`asked for a snapshot the application answers ${name}, and none is taken`, async () => {
    await withApp('whole', answer, async ({ machine }) => {
      await assert.rejects(machine.snapshot(), sentence)
    })
  })
}

test('an application that is not there gives no snapshot, and takes none', async () => {
  const server = await startServer(() => {})
  await server.stop()
  const machine = machineAt(server.url, new FakeClock())
  await assert.rejects(machine.snapshot(), /ECONNREFUSED/)
  const outcome = await machine.restore({ position: 4, body: bodyOf('state') })
  assert.match(JSON.stringify(outcome), /"type":"retry".*ECONNREFUSED/)
  await machine.close()
})

test('the application has its time to begin the answer', async () => {
  let asked = false
  const answer = () => {
    asked = true
  }
  await withApp('whole', answer, async ({ machine, clock }) => {
    const snapshot = machine.snapshot()
    snapshot.catch(() => {})
    await until(() => asked)
    await clock.advance(timeoutMs)
    await assert.rejects(snapshot, /got no answer: the application sent and took nothing for 1000 ms/)
  })
})

test('the application has its time for each part of the state, and any time for the whole', async () => {
  let response: ServerResponse | null = null
  const answer: Answer = (given) => {
    response = given
    given.writeHead(200, { 'raft-position': '4' })
    given.write('first')
  }
  await withApp('whole', answer, async ({ machine, clock }) => {
    const chunks = (await machine.snapshot())?.body[Symbol.asyncIterator]()
    assert.ok(chunks !== undefined)
    assert.equal(String((await chunks.next()).value), 'first')
    // Nobody waits for the application while nobody reads.
    await clock.advance(100 * timeoutMs)
    for (let part = 0; part < 10; part++) {
      const next = chunks.next()
      await clock.advance(timeoutMs - 1)
      response?.write(`part ${part}`)
      assert.equal(String((await next).value), `part ${part}`)
    }
    const next = chunks.next()
    next.catch(() => {})
    await clock.advance(timeoutMs)
    await assert.rejects(next, /broke off: the application sent and took nothing for 1000 ms/)
    assert.deepEqual(await chunks.next(), { done: true, value: undefined })
  })
})

const head = 'HTTP/1.1 200 OK\r\nraft-position: 4\r\n'

for (const [name, bytes] of [
  ['within a chunk', `${head}transfer-encoding: chunked\r\n\r\n6\r\nsta`],
  ['between chunks', `${head}transfer-encoding: chunked\r\n\r\n5\r\nstate\r\n`],
  [
    'between chunks of the last answer on the connection',
    `${head}connection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nstate\r\n`,
  ],
  ['before its length', `${head}content-length: 6\r\n\r\nstate`],
  [
    'before its length, the last answer on the connection',
    `${head}connection: close\r\ncontent-length: 6\r\n\r\nstate`,
  ],
] as const) {
  for (const how of ['closed', 'reset'] as const) {
    test(`a state that breaks off ${name}, the connection ${how}, is told from a whole one`, async () => {
      const server = createServer((socket) => {
        socket.on('error', () => {})
        socket.once('data', () => {
          socket.write(bytes, () => setImmediate(() => (how === 'closed' ? socket.end() : socket.resetAndDestroy())))
        })
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const machine = machineAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, new FakeClock())
      await assert.rejects(async () => {
        const snapshot = await machine.snapshot()
        await collect(snapshot?.body ?? bodyOf())
      }, /POST http.*\/raft\/snapshot (broke off|got no answer): /)
      await machine.close()
      await new Promise((resolve) => server.close(resolve))
    })
  }
}

test('batches go on over their own connection while the state is read', async () => {
  const answer: Answer = (response, request) => {
    if (request.url !== '/raft/snapshot') return reply(204)(response, request)
    response.writeHead(200, { 'raft-position': '4' })
    response.write('never ending')
  }
  await withApp('whole', answer, async ({ machine, server }) => {
    const snapshot = await machine.snapshot()
    const chunks = snapshot?.body[Symbol.asyncIterator]()
    assert.equal(String((await chunks?.next())?.value), 'never ending')
    for (let index = 5; index < 15; index++) {
      assert.equal((await machine.apply(index - 1, [jsonEntry(index, index)])).type, 'applied')
    }
    assert.equal(server.connections, 2)
    await chunks?.return?.()
  })
})

test('a picture that is given up, begun or not, ends its connection', async () => {
  let open = 0
  const answer: Answer = (response) => {
    open++
    response.on('close', () => open--)
    response.writeHead(200, { 'raft-position': '4' })
    response.write('x'.repeat(1_000_000))
  }
  await withApp('whole', answer, async ({ machine }) => {
    const unread = await machine.snapshot()
    const begun = await machine.snapshot()
    assert.equal(open, 2)
    await unread?.body[Symbol.asyncIterator]().return?.()
    const chunks = begun?.body[Symbol.asyncIterator]()
    await chunks?.next()
    await chunks?.return?.()
    await until(() => open === 0)
  })
})

test('closing ends what is asked for and what is read', async () => {
  let asked = 0
  const answer: Answer = (response) => {
    if (++asked > 1) return
    response.writeHead(200, { 'raft-position': '4' })
    response.write('state')
  }
  await withApp('whole', answer, async ({ machine }) => {
    const chunks = (await machine.snapshot())?.body[Symbol.asyncIterator]()
    await chunks?.next()
    const asking = machine.snapshot()
    await until(() => asked === 2)
    await Promise.all([
      assert.rejects(async () => chunks?.next(), /this node is closing/),
      assert.rejects(asking, /this node is closing/),
      machine.close(),
    ])
  })
})

// Restoring

test('the application is sent the state with its position, whatever the source does with its chunks later', async () => {
  const seen: unknown[] = []
  const server = await startServer((request, body, response) => {
    const { 'raft-position': position, 'content-type': type } = request.headers
    seen.push(request.method, request.url, position, type, body.toString())
    response.writeHead(204).end()
  })
  const machine = machineAt(server.url, new FakeClock())
  async function* body() {
    const reused = Buffer.alloc(4)
    for (const text of ['some', 'more', 'data']) {
      reused.write(text)
      yield reused
      reused.fill('x')
    }
  }
  assert.deepEqual(await machine.restore({ position: 41, body: body() }), { type: 'restored' })
  assert.deepEqual(seen, ['PUT', '/raft/snapshot', '41', 'application/octet-stream', 'somemoredata'])
  await machine.close()
  await server.stop()
})

const answers: readonly [name: string, answer: Answer, outcome: object][] = [
  ['204', reply(204), { type: 'restored' }],
  ['200', reply(200, {}, 'OK'), { type: 'restored' }],
  ...[404, 405, 501].map((status): [string, Answer, object] => [`${status}`, reply(status), { type: 'not-offered' }]),
  ['503 with seconds', reply(503, { 'retry-after': '7' }), { type: 'retry', afterMs: 7000 }],
  ...[429, 408, 425, 500, 502].map((status): [string, Answer, object] => [
    `${status}`,
    reply(status),
    { type: 'retry', afterMs: null },
  ]),
  ['a reset', (response) => response.socket?.resetAndDestroy(), { type: 'retry', afterMs: null }],
  ...[201, 202, 206, 409, 422].map((status): [string, Answer, object] => [
    `${status}`,
    reply(status),
    { type: 'malformed' },
  ]),
  ...[301, 304, 307, 400, 401, 403, 410, 413, 415].map((status): [string, Answer, object] => [
    `${status}`,
    reply(status),
    { type: 'misconfigured' },
  ]),
]

for (const [name, answer, expected] of answers) {
  test(`the application answers a snapshot with ${name}`, async () => {
    await withApp('whole', answer, async ({ machine }) => {
      const outcome = await machine.restore({ position: 4, body: bodyOf('state') })
      if ('reason' in outcome) assert.match(outcome.reason, /^(The application answered \d|PUT http)/)
      assert.deepEqual(JSON.parse(JSON.stringify({ ...outcome, reason: undefined })), expected)
    })
  })
}

/** A state without end, and how much of it was taken. */
function endless(chunkBytes = 64 * 1024) {
  const source = { pulled: 0, isEnded: false }
  async function* body() {
    try {
      for (;;) {
        source.pulled += chunkBytes
        yield Buffer.alloc(chunkBytes)
      }
    } finally {
      source.isEnded = true
    }
  }
  return Object.assign(source, { body: body() })
}

for (const [name, answer, expected] of [
  ['that the hook is not there', reply(404), 'not-offered'],
  ['that it is busy', reply(503), 'retry'],
  ['that it was restored, without waiting for the whole', reply(204), 'malformed'],
] as const) {
  test(`an application that says before the end ${name} is sent no more`, async () => {
    await withApp('at once', answer, async ({ machine }) => {
      const source = endless()
      const outcome = await machine.restore({ position: 4, body: source.body })
      assert.equal(outcome.type, expected)
      assert.equal(source.isEnded, true)
    })
  })
}

test('the source is read as fast as the application takes it, and an application that takes nothing is given its time', async () => {
  const answer: Answer = (_response, request) => request.pause()
  await withApp('at once', answer, async ({ machine, clock }) => {
    const source = endless(256 * 1024)
    const outcome = machine.restore({ position: 4, body: source.body })
    let before = -1
    let turns = 0
    await until(() => {
      turns = source.pulled === before && source.pulled > 0 ? turns + 1 : 0
      before = source.pulled
      return turns === 1000
    })
    // What the two sockets hold between them.
    assert.ok(source.pulled < 64 * 1024 * 1024, `${source.pulled} bytes were read`)
    assert.deepEqual(clock.dueInMs, [timeoutMs])
    await clock.advance(timeoutMs)
    assert.match(JSON.stringify(await outcome), /"type":"retry".*sent and took nothing for 1000 ms/)
    assert.equal(source.isEnded, true)
  })
})

test('a source that is slow is not held against the application', async () => {
  await withApp('whole', reply(204), async ({ machine, clock }) => {
    const releases: (() => void)[] = []
    async function* body() {
      for (let i = 0; i < 5; i++) {
        await new Promise<void>((resolve) => releases.push(resolve))
        yield Buffer.from('part')
      }
    }
    const outcome = machine.restore({ position: 4, body: body() })
    for (let i = 0; i < 5; i++) {
      await until(() => releases.length === i + 1)
      await clock.advance(100 * timeoutMs)
      releases[i]?.()
    }
    assert.deepEqual(await outcome, { type: 'restored' })
  })
})

test('an application that has taken everything is given its time for the answer', async () => {
  let hasAll = false
  const answer = () => {
    hasAll = true
  }
  await withApp('whole', answer, async ({ machine, clock }) => {
    const outcome = machine.restore({ position: 4, body: bodyOf('state') })
    await until(() => hasAll)
    await clock.advance(timeoutMs)
    assert.match(JSON.stringify(await outcome), /"type":"retry".*sent and took nothing/)
  })
})

test('a body that breaks off reaches the application as one that broke off, and the caller as what it threw', async () => {
  let request: IncomingMessage | null = null
  const answer: Answer = (_response, given) => {
    request = given
    given.on('error', () => {}).resume()
  }
  await withApp('at once', answer, async ({ machine }) => {
    const rot = new Error('bit rot')
    async function* body() {
      yield Buffer.from('state')
      await until(() => request !== null)
      throw rot
    }
    await assert.rejects(machine.restore({ position: 4, body: body() }), rot)
    await until(() => request?.destroyed === true)
    assert.equal((request as IncomingMessage | null)?.complete, false)
  })
})

test('closing ends a restore', async () => {
  await withApp(
    'at once',
    (_response, request) => request.pause(),
    async ({ machine }) => {
      const source = endless()
      const outcome = machine.restore({ position: 4, body: source.body })
      await until(() => source.pulled > 0)
      await machine.close()
      assert.match(JSON.stringify(await outcome), /"type":"retry".*this node is closing/)
      assert.equal(source.isEnded, true)
    },
  )
})
