// Signed hooks: what the Standard Webhooks library signs is taken, and nothing else is.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { batch, positionOf, recorder } from './hook-kit.ts'
import { type HookCall, servers } from './hook-servers.ts'

const secret = `whsec_${Buffer.alloc(32, 'mine').toString('base64')}`
const other = `whsec_${Buffer.alloc(32, 'other').toString('base64')}`

interface Signing {
  readonly by?: readonly string[]
  readonly secondsAgo?: number
  /** What is signed instead of the body. */
  readonly content?: string
}

function signed(body: string, { by = [secret], secondsAgo = 0, content = body }: Signing = {}): HookCall {
  const id = 'orders-n1-1-1'
  const at = new Date(Date.now() - secondsAgo * 1000)
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': by.map((each) => new Webhook(each).sign(id, at, content)).join(' '),
  }
  return body === '' ? { headers } : { headers, body }
}

for (const [name, serve] of servers) {
  describe(`behind ${name}`, () => {
    it('a batch by the secret is taken', async (t) => {
      const { applied, options } = recorder()
      const served = await serve(t, { ...options, secret })
      assert.equal((await served.send('POST', '/apply', signed(batch(0, [1], { command: 'ü' })))).status, 200)
      assert.deepEqual(applied, ['ü'])
    })

    it('while a secret is changed, one signature by one of the two is enough', async (t) => {
      for (const [secrets, by] of [
        [[secret, other], [other]],
        [[secret], [other, secret]],
        [`${other} ${secret}`, [secret]],
        [`${other},${secret}`, [other, secret]],
      ] as const) {
        const served = await serve(t, { ...recorder().options, secret: secrets })
        const call = signed(batch(0, [1]), { by })
        const more = `v1a,AAAA ${call.headers?.['webhook-signature']}`
        const headers = { ...call.headers, 'webhook-signature': more }
        assert.equal((await served.send('POST', '/apply', { ...call, headers })).status, 200)
      }
    })

    it('whatever else is not, and nothing of it is applied', async (t) => {
      const { applied, options } = recorder()
      const served = await serve(t, { ...options, secret })
      const body = batch(0, [1])
      const good = signed(body)
      const withHeaders = (headers: Record<string, string>) => ({ body, headers: { ...good.headers, ...headers } })
      const { 'webhook-id': _, ...noId } = good.headers ?? {}
      const calls: readonly (readonly [what: string, call: HookCall])[] = [
        ['unsigned', { body }],
        ['without an id', { body, headers: noId }],
        ['by another secret', signed(body, { by: [other] })],
        ['of another body', { ...good, body: `${body} ` }],
        ['under another id', withHeaders({ 'webhook-id': 'orders-n1-1-2' })],
        ['at no time', withHeaders({ 'webhook-timestamp': 'now' })],
        ['at another time', withHeaders({ 'webhook-timestamp': String(Math.floor(Date.now() / 1000) - 7) })],
        ['too long ago', signed(body, { secondsAgo: 302 })],
        ['too far ahead', signed(body, { secondsAgo: -302 })],
        ...['', 'v1', 'v1,', ',', 'v1,AAAA', 'v2,AAAA'].map(
          (text) => [`as ${text}`, withHeaders({ 'webhook-signature': text })] as const,
        ),
      ]
      for (const [what, call] of calls) assert.equal((await served.send('POST', '/apply', call)).status, 401, what)
      assert.deepEqual([applied, served.errors], [[], []])
      assert.equal((await served.send('POST', '/apply', signed(body, { secondsAgo: 290 }))).status, 200)
    })

    it('position and snapshot are signed without a body, and a restore by its position', async (t) => {
      let state: unknown = 'mine'
      let news = 0
      const served = await serve(t, {
        ...recorder().options,
        secret,
        snapshot: () => state,
        restore: async (incoming) => {
          state = await incoming.json()
        },
        leadership: () => {
          news++
        },
      })
      const change = '{"event":"acquired","leader":"n1","term":3,"fencingToken":3}'
      const put = { 'raft-position': '9', 'content-type': 'application/octet-stream' }
      const body = Buffer.from('"theirs"')
      const restore = (content: string) => {
        const { headers } = signed('', { content })
        return served.send('PUT', '/snapshot', { headers: { ...headers, ...put }, body })
      }
      for (const answer of [
        await served.send('GET', '/position'),
        await served.send('POST', '/snapshot'),
        await served.send('PUT', '/snapshot', { headers: put, body }),
        await served.send('POST', '/leadership', { body: change }),
        await restore('8'),
      ]) {
        assert.equal(answer.status, 401)
      }
      assert.deepEqual([state, news], ['mine', 0])
      assert.equal((await served.send('GET', '/position', signed(''))).status, 200)
      assert.equal((await served.send('POST', '/snapshot', signed(''))).text, '"mine"')
      assert.equal((await served.send('POST', '/leadership', signed(change))).status, 204)
      assert.equal((await restore('9')).status, 204)
      assert.deepEqual([state, news], ['theirs', 1])
    })
  })
}

it('without a secret nothing is checked', async (t) => {
  const [[, serve] = assert.fail()] = servers
  const served = await serve(t, recorder().options)
  assert.equal((await served.send('POST', '/apply', signed(batch(0, [1]), { by: [other] }))).status, 200)
  assert.equal(await positionOf(served), 1)
})
