// The hooks beside what else an application serves: body parsers that ran before, routes of its own, the plainest router.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { type TestContext, test } from 'node:test'
import express, { type RequestHandler } from 'express'
import { fastify } from 'fastify'
import { Webhook } from 'standardwebhooks'
import type { HooksOptions } from '../../src/client/client.ts'
import { batch, deliver, recorder } from './hook-kit.ts'
import { hooksOf, type Served, served } from './hook-servers.ts'

const secret = `whsec_${Buffer.alloc(32, 'mine').toString('base64')}`

async function serveBehind(
  t: TestContext,
  parsers: readonly RequestHandler[],
  options: Partial<HooksOptions> = {},
): Promise<Served & { readonly applied: readonly unknown[] }> {
  const { applied, options: counting } = recorder()
  const { hooks, errors } = hooksOf({ ...counting, ...options } as HooksOptions)
  const app = express()
  app.use(...(parsers as [RequestHandler]))
  app.use('/raft', hooks)
  app.use('/raft/more', (_request, response) => void response.send('mine'))
  return { ...(await served(t, createServer(app), '/raft', errors)), applied }
}

function signed(body: string): Record<string, string> {
  const at = new Date()
  return {
    'webhook-id': 'a',
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign('a', at, body),
  }
}

const keepRaw = express.json({
  verify: (request, _response, bytes) => {
    Object.assign(request, { rawBody: bytes })
  },
})
const anything = () => true
const readers: readonly (readonly [what: string, parser: RequestHandler, keepsBytes: boolean])[] = [
  ['express.json()', express.json(), false],
  ['express.json() that keeps the bytes', keepRaw, true],
  ['express.raw()', express.raw({ type: anything }), true],
  ['express.text()', express.text({ type: anything }), true],
]
for (const [what, parser, keepsBytes] of readers) {
  test(`behind ${what}, unsigned: the batch is taken as it was parsed`, async (t) => {
    const served = await serveBehind(t, [parser])
    assert.equal((await deliver(served, 0, [1], { command: 'ü' })).status, 200)
    assert.deepEqual(served.applied, ['ü'])
  })

  test(`behind ${what}, signed: ${keepsBytes ? 'the batch is taken' : 'it is said what is wrong'}`, async (t) => {
    const served = await serveBehind(t, [parser], { secret })
    const body = batch(0, [1], { command: 'ü' })
    const answer = await served.send('POST', '/apply', { body, headers: signed(body) })
    assert.equal(answer.status, keepsBytes ? 200 : 500)
    if (keepsBytes) assert.equal((await served.send('POST', '/apply', { body, headers: signed('x') })).status, 401)
    else assert.match(answer.text, /A body parser ran before the hooks.*mount the hooks before it/)
    assert.deepEqual(served.applied, keepsBytes ? ['ü'] : [])
  })
}

test('a parser whose body is gone is an error that says so', async (t) => {
  const swallow: RequestHandler = (request, _response, next) => void request.resume().on('end', next)
  const served = await serveBehind(t, [swallow])
  assert.match(
    (await deliver(served, 0, [1])).text,
    /A body parser ran before the hooks, and the body of the request is gone/,
  )
  assert.equal(served.errors.length, 1)
})

for (const [what, parsers, kept] of [
  ['a parser of JSON leaves', [express.json()], true],
  ['a raw parser hands on', [express.raw({ type: anything })], true],
  ['a text parser spoils', [express.text({ type: anything })], false],
] as const) {
  test(`${what} the state that is restored`, async (t) => {
    let state: Buffer = Buffer.from('old')
    const served = await serveBehind(t, parsers, {
      snapshot: () => state,
      restore: async (incoming) => {
        state = await incoming.bytes()
      },
    })
    const headers = { 'raft-position': '9', 'content-type': 'application/octet-stream' }
    const body = Buffer.from([0, 255, 128])
    const { status } = await served.send('PUT', '/snapshot', { headers, body })
    assert.equal(status, kept ? 204 : 500)
    assert.deepEqual(state, kept ? body : Buffer.from('old'))
  })
}

test('what is no hook goes to the next handler of Express', async (t) => {
  const served = await serveBehind(t, [express.json()])
  assert.equal((await served.send('GET', '/more')).text, 'mine')
  assert.equal((await served.send('GET', '/nothing')).status, 404)
})

test('the routes of a Fastify application keep their parsers', async (t) => {
  const { applied, options } = recorder()
  const { hooks } = hooksOf(options)
  const app = fastify()
  app.register(hooks.fastify, { prefix: '/raft' })
  app.post('/mine', (request) => ({ got: request.body }))
  await app.ready()
  t.after(() => app.close())
  const { send } = await served(t, app.server, '')
  assert.deepEqual((await send('POST', '/mine', { body: '{"a":1}' })).json, { got: { a: 1 } })
  assert.equal((await send('POST', '/raft/apply', { body: batch(0, [1]) })).status, 200)
  assert.deepEqual(applied, [1])
})

test('a plain listener passes on what is for the hooks', async (t) => {
  const { options } = recorder()
  const { hooks } = hooksOf(options)
  const server = createServer((request, response) => {
    if (request.url?.startsWith('/raft/')) void hooks(request, response)
    else response.end('mine')
  })
  const { send } = await served(t, server, '')
  assert.deepEqual((await send('GET', '/raft/position')).json, { position: 0 })
  assert.equal((await send('GET', '/position')).text, 'mine')
})
