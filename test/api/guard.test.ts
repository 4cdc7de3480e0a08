// Who is let in: token, Host and Origin.

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { createSiteCheck, isLoopback } from '../../src/api/guard.ts'
import { createApi } from '../../src/api/server.ts'
import { FatalError } from '../../src/errors.ts'
import { FakeNode } from './fake-node.ts'
import { apiOptions, jsonType, startApi } from './running-api.ts'

const hosts: readonly [host: string | undefined, passes: boolean][] = [
  ['localhost', true],
  ['LOCALHOST:4001', true],
  ['127.0.0.1', true],
  ['127.0.0.1:80', true],
  ['[::1]:4001', true],
  ['[::1]', true],
  [undefined, true],
  ['127.0.0.7', true],
  ['', false],
  ['evil.example', false],
  ['localhost.evil.example:4001', false],
  ['127.0.0.1.evil.example', false],
  ['10.0.0.1', false],
  ['evil.example:80@localhost', false],
]
for (const [host, passes] of hosts) {
  test(`on loopback the Host ${JSON.stringify(host)} ${passes ? 'passes' : 'is forbidden'}`, () => {
    const check = createSiteCheck({ host: '127.0.0.7', port: 4001 })
    for (let i = 0; i < 2; i++) {
      const refusal = check(host === undefined ? {} : { host })
      assert.equal(refusal?.code, passes ? undefined : 'forbidden-host')
    }
  })
}

const origins: readonly [origin: string, host: string, passes: boolean][] = [
  ['http://localhost:3000', 'localhost:4001', true],
  ['https://127.0.0.1', 'localhost:4001', true],
  ['http://[::1]:8080', 'localhost:4001', true],
  ['http://node1.example:4001', 'node1.example:4001', true],
  ['http://evil.example', 'localhost:4001', false],
  ['http://localhost.evil.example', 'localhost:4001', false],
  ['http://localhost@evil.example', 'localhost:4001', false],
  ['null', 'localhost:4001', false],
  ['file://', 'localhost:4001', false],
]
for (const [origin, host, passes] of origins) {
  test(`a page of ${origin} calling ${host} ${passes ? 'passes' : 'is forbidden'}`, () => {
    const check = createSiteCheck({ host: '0.0.0.0', port: 4001 })
    assert.equal(check({ host, origin })?.status, passes ? undefined : 403)
  })
}

test('where other machines are let in, any Host is', () => {
  assert.equal(createSiteCheck({ host: '0.0.0.0', port: 1 })({ host: 'node1.example' }), null)
  assert.equal(createSiteCheck({ path: '/run/x' })({ host: 'anything' }), null)
})

test('a foreign Host or Origin is 403 forbidden-host, and nothing is proposed', async (t) => {
  const { node, send } = await startApi(t)
  for (const headers of [{ host: 'evil.example' }, { origin: 'http://evil.example' }]) {
    const reply = await send('POST', '/v1/commands', { headers: { ...jsonType, ...headers }, body: '1' })
    assert.equal(reply.status, 403)
    assert.equal(reply.json.code, 'forbidden-host')
    assert.equal(reply.json.outcome, 'not_applied')
    assert.equal(reply.headers['raft-index'], '41')
  }
  assert.equal(node.proposals.length, 0)
})

test('a load balancer that speaks HTTP/1.0 without Host gets its answer', async (t) => {
  const { port } = await startApi(t)
  const socket = connect(port, '127.0.0.1')
  socket.end('OPTIONS /health/leader HTTP/1.0\r\n\r\n')
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  assert.match(text, /^HTTP\/1\.1 200 OK/)
})

const credentials: readonly [authorization: string | undefined, status: number][] = [
  ['Bearer s3cret', 200],
  ['bearer s3cret', 200],
  [undefined, 401],
  ['Bearer s3cre', 401],
  ['Bearer s3crets', 401],
  ['Bearer ', 401],
  ['Basic s3cret', 401],
  [`Bearer ${'x'.repeat(5_000)}`, 401],
]
for (const [authorization, status] of credentials) {
  test(`with a token set, Authorization: ${authorization?.slice(0, 20)} is ${status}`, async (t) => {
    const { node, send } = await startApi(t, { token: 's3cret' })
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization }
    const proposal = await send('POST', '/v1/commands', { headers: { ...jsonType, ...headers }, body: '1' })
    assert.equal(proposal.status, status)
    assert.equal(node.proposals.length, status === 200 ? 1 : 0)
    for (const path of ['/v1/leader', '/v1/status', '/v1/barrier', '/metrics']) {
      assert.equal((await send('GET', path, { headers })).status, status, path)
    }
    if (status === 401) {
      assert.equal(proposal.json.code, 'unauthorized')
      assert.equal(proposal.json.outcome, 'not_applied')
      assert.equal(proposal.headers['www-authenticate'], 'Bearer')
    }
    for (const path of ['/livez', '/readyz', '/health/leader'])
      assert.equal((await send('GET', path)).status, 200, path)
  })
}

test('without a token no address but loopback is listened on', () => {
  const refused = (error: unknown) =>
    error instanceof FatalError && error.exitCode === 78 && /API_TOKEN/.test(error.message)
  assert.throws(() => createApi(apiOptions(new FakeNode(), { listen: { host: '0.0.0.0', port: 0 } })), refused)
  assert.doesNotThrow(() => createApi(apiOptions(new FakeNode(), { listen: { host: '0.0.0.0', port: 0 }, token: 't' })))
})

test('loopback is recognised', () => {
  assert.deepEqual(
    ['localhost', '127.0.0.1', '127.9.9.9', '::1', '0.0.0.0', '::', '128.0.0.1', '127.0.0.1.x'].map(isLoopback),
    [true, true, true, true, false, false, false, false],
  )
})
