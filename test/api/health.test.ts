// Health checks in each role, /livez, /readyz in etcd's form, /metrics.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeStatus } from '../../src/node/contract.ts'
import { startApi } from './running-api.ts'

const states: readonly [
  name: string,
  role: NodeStatus['role'],
  leader: string | null,
  quorum: boolean,
  ok: 'leader' | 'follower' | 'learner' | null,
][] = [
  ['a leader with its quorum', 'leader', 'n1', true, 'leader'],
  ['a leader that its quorum has not confirmed', 'leader', 'n1', false, null],
  ['a follower of a known leader', 'follower', 'n2', false, 'follower'],
  ['a follower that knows of no leader', 'follower', null, false, null],
  ['a precandidate', 'precandidate', null, false, null],
  ['a candidate', 'candidate', null, false, null],
  ['a learner with a leader', 'learner', 'n2', false, 'learner'],
  ['a learner that knows of no leader', 'learner', null, false, null],
]
for (const [name, role, leader, quorum, ok] of states) {
  test(`${name} is healthy as ${ok ?? 'nothing'}`, async (t) => {
    const { node, send } = await startApi(t)
    node.role = role
    node.quorum = quorum
    node.leaderView = leader === null ? null : { id: leader, term: 3, self: leader === 'n1', appUrl: null }
    for (const asked of ['leader', 'follower', 'learner']) {
      const status = asked === ok ? 200 : 503
      for (const method of ['GET', 'HEAD', 'OPTIONS']) {
        const reply = await send(method, `/health/${asked}`)
        assert.equal(reply.status, status, `${method} ${asked}`)
        assert.equal(reply.headers['raft-index'], '41')
        if (method !== 'HEAD') assert.deepEqual(reply.json, { ok: asked === ok, role, term: 3 })
      }
    }
  })
}

const leader = { name: 'leader', ok: true, why: '' }
const storage = { name: 'storage', ok: false, why: 'the disk is full' }

test('/readyz is ok when every check is, and lists them on demand', async (t) => {
  const { send } = await startApi(t, { readyChecks: () => [leader, { ...storage, ok: true }] })
  const short = await send('GET', '/readyz')
  assert.equal(short.status, 200)
  assert.equal(short.text, 'ok\n')
  assert.match(String(short.headers['content-type']), /^text\/plain/)
  assert.equal((await send('GET', '/readyz?verbose')).text, '[+]leader ok\n[+]storage ok\nok\n')
  assert.equal((await send('HEAD', '/readyz')).status, 200)
})

test('/readyz names what failed', async (t) => {
  const { send } = await startApi(t, { readyChecks: () => [leader, storage] })
  const reply = await send('GET', '/readyz')
  assert.equal(reply.status, 503)
  assert.equal(reply.text, '[+]leader ok\n[-]storage failed: the disk is full\nnot ready\n')
  const one = await send('GET', '/readyz/storage')
  assert.equal(one.status, 503)
  assert.equal(one.text, '[-]storage failed: the disk is full\n')
  assert.equal((await send('GET', '/readyz/leader?verbose')).text, '[+]leader ok\n')
})

test('an unknown check is 404 and names those that there are', async (t) => {
  const { send } = await startApi(t, { readyChecks: () => [leader, storage] })
  const reply = await send('GET', '/readyz/moon')
  assert.equal(reply.status, 404)
  assert.equal(reply.json.detail, 'There is no such check; there are: leader, storage.')
})

test('/livez lives, and /metrics is what telemetry says', async (t) => {
  const { send } = await startApi(t)
  assert.equal((await send('GET', '/livez')).text, 'ok\n')
  const metrics = await send('GET', '/metrics')
  assert.equal(metrics.text, 'up 1\n')
  assert.equal(metrics.headers['content-type'], 'text/plain; version=0.0.4')
})
