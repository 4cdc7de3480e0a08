// What is sent to an application that has a secret, verified by the reference implementation of Standard Webhooks.

import assert from 'node:assert/strict'
import type { IncomingHttpHeaders } from 'node:http'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { Webhook } from 'standardwebhooks'
import { createAppMachine } from '../../src/machine/app.ts'
import { createHealthGate } from '../../src/machine/health.ts'
import { LeadershipHook } from '../../src/machine/leadership-hook.ts'
import type { StateMachine } from '../../src/machine/state-machine.ts'
import { WebhookSigner } from '../../src/machine/webhook-signature.ts'
import { collect, entry, jsonEntry } from './fixtures.ts'
import { realClock, startServer } from './test-server.ts'
import { until } from './until.ts'

const oldSecret = `whsec_${Buffer.alloc(24, 'old').toString('base64')}`
const newSecret = `whsec_${Buffer.alloc(64, 'new').toString('base64')}`
const strangers = `whsec_${Buffer.alloc(32, 'x').toString('base64')}`

/** Stamps are compared with the time of day. */
const clock = { ...realClock, unixMs: () => Date.now() }

interface Received {
  readonly line: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

interface Subject {
  readonly machine: StateMachine
  readonly signer: WebhookSigner
  readonly url: string
  readonly received: readonly Received[]
}

async function withApp(secrets: readonly string[], run: (subject: Subject) => Promise<void>): Promise<void> {
  const received: Received[] = []
  const server = await startServer((request, body, response) => {
    received.push({ line: `${request.method} ${request.url}`, headers: request.headers, body })
    if (request.url === '/raft/position') response.end('{"position":41}')
    else if (request.method === 'POST' && request.url === '/raft/snapshot') {
      response.writeHead(200, { 'raft-position': 41 }).end('state')
    } else response.writeHead(204).end()
  })
  const signer = new WebhookSigner({ secrets, cluster: 'orders', node: 'n1', clock })
  const url = `${server.url}/raft`
  const machine = createAppMachine({ url, cluster: 'orders', node: 'n1', clock, signer })
  try {
    await run({ machine, signer, url, received })
  } finally {
    await machine.close()
    await server.stop()
  }
}

function verify({ headers, body }: Received, secret: string, content: Buffer | string = body): void {
  new Webhook(secret).verify(content, headers as Record<string, string>, { jsonParse: false })
}

const refused = /No matching signature found/

const batch = [
  jsonEntry(42, { name: 'Jörg 🚣' }),
  entry(44, 'bytes', Uint8Array.of(0, 255)),
  entry(45, 'json', '{ "a":1e400 }', { key: 'k' }),
]

for (const [name, secrets, known, unknown] of [
  ['one secret', [oldSecret], [oldSecret], [newSecret]],
  ['two secrets, while one takes the place of the other', [newSecret, oldSecret], [oldSecret, newSecret], [strangers]],
] as const) {
  test(`with ${name}, a batch is verified by whoever knows one of them, and by nobody else`, async () => {
    await withApp(secrets, async ({ machine, received }) => {
      await machine.apply(41, batch)
      const request = received[0] as Received
      for (const secret of known) verify(request, secret)
      for (const secret of unknown) assert.throws(() => verify(request, secret), refused)
      assert.equal(request.headers['webhook-signature']?.toString().split(' ').length, secrets.length)
    })
  })
}

test('a body, an id or a time that was tampered with is refused', async () => {
  await withApp([oldSecret], async ({ machine, received }) => {
    await machine.apply(41, batch)
    const request = received[0] as Received
    const text = request.body.toString()
    assert.throws(() => verify(request, oldSecret, text.replace('1e400', '1e401')), refused)
    assert.throws(() => verify(request, oldSecret, `${text} `), refused)
    for (const [header, value] of [
      ['webhook-id', 'orders-n1-42-46'],
      ['webhook-timestamp', String(Number(request.headers['webhook-timestamp']) + 1)],
    ] as const) {
      const headers = { ...request.headers, [header]: value }
      assert.throws(() => verify({ ...request, headers }, oldSecret), refused)
    }
  })
})

test('the id of a batch is that of the cluster, the node and its first and last command, through all tries', async () => {
  await withApp([oldSecret], async ({ machine, received }) => {
    await machine.apply(41, batch)
    await machine.apply(41, batch)
    await machine.apply(45, [jsonEntry(46, 1)])
    assert.deepEqual(
      received.map(({ headers }) => headers['webhook-id']),
      ['orders-n1-42-45', 'orders-n1-42-45', 'orders-n1-46-46'],
    )
  })
})

test('what has no body is signed as an empty one, each time under an id of its own', async () => {
  await withApp([oldSecret], async ({ machine, received }) => {
    await machine.position()
    await machine.position()
    await collect((await machine.snapshot())?.body ?? assert.fail())
    assert.deepEqual(
      received.map(({ line }) => line),
      ['GET /raft/position', 'GET /raft/position', 'POST /raft/snapshot'],
    )
    for (const request of received) {
      verify(request, oldSecret, '')
      assert.throws(() => verify(request, strangers, ''), refused)
    }
    const ids = received.map(({ headers }) => String(headers['webhook-id']))
    assert.equal(new Set(ids).size, 3)
    assert.match(ids[0] ?? '', /^orders-n1-position-\d+$/)
    assert.match(ids[2] ?? '', /^orders-n1-snapshot-\d+$/)
  })
})

test('of a snapshot to be restored the position is signed, under an id that it keeps', async () => {
  await withApp([newSecret, oldSecret], async ({ machine, received }) => {
    for (let i = 0; i < 2; i++) {
      const body = (async function* () {
        yield Buffer.from('state')
      })()
      assert.deepEqual(await machine.restore({ position: 41, body }), { type: 'restored' })
    }
    for (const request of received) {
      assert.equal(request.line, 'PUT /raft/snapshot')
      assert.equal(request.headers['raft-position'], '41')
      assert.equal(request.headers['webhook-id'], 'orders-n1-restore-41')
      verify(request, oldSecret, '41')
      verify(request, newSecret, '41')
      assert.throws(() => verify(request, oldSecret, '42'), refused)
    }
    assert.equal(received.length, 2)
  })
})

test('the question for the health and the news of leadership are signed, too', async () => {
  await withApp([oldSecret], async ({ signer, url, received }) => {
    const { origin } = new URL(url)
    const gate = createHealthGate({ origin, path: '/healthz?deep=1', clock, timeoutMs: 1000, signer })
    gate.watch(() => {})
    await until(() => received.length === 1)
    await gate.close()
    const options = { url, clock, random: () => 1, timeoutMs: 1000, signer }
    const hook: LeadershipHook = new LeadershipHook({ ...options, recheck: () => hook.repeat() })
    hook.tell({ event: 'acquired', leader: { id: 'n1' }, term: 3 })
    await until(() => received.length === 2)
    await hook.close()
    const [health, leadership] = received as [Received, Received]
    assert.equal(health.line, 'GET /healthz?deep=1')
    assert.match(String(health.headers['webhook-id']), /^orders-n1-health-\d+$/)
    verify(health, oldSecret, '')
    assert.equal(leadership.line, 'POST /raft/leadership')
    assert.match(String(leadership.headers['webhook-id']), /^orders-n1-leadership-3-\d+$/)
    verify(leadership, oldSecret)
  })
})

test('without a secret nothing is signed', async () => {
  let headers: IncomingHttpHeaders = {}
  const server = await startServer((request, _body, response) => {
    headers = request.headers
    response.writeHead(204).end()
  })
  const machine = createAppMachine({ url: server.url, cluster: 'orders', node: 'n1', clock })
  await machine.apply(41, batch)
  assert.deepEqual(
    Object.keys(headers).filter((name) => name.startsWith('webhook')),
    [],
  )
  await machine.close()
  await server.stop()
})

test('a signer shows its secrets to nobody who prints it', () => {
  const signer = new WebhookSigner({ secrets: [oldSecret], cluster: 'orders', node: 'n1', clock })
  const printed = inspect(signer, { showHidden: true, depth: 9 }) + JSON.stringify(signer)
  assert.ok(!printed.includes(oldSecret.slice(6)) && !printed.includes('oldold'))
})

test('moments are never the same twice, whatever the clock does', () => {
  const times = [5, 5, 3, 9]
  const signer = new WebhookSigner({
    secrets: [oldSecret],
    cluster: 'c',
    node: 'n',
    clock: { unixMs: () => times.shift() ?? 0 },
  })
  assert.deepEqual([signer.moment(), signer.moment(), signer.moment(), signer.moment()], [5, 6, 7, 9])
})
