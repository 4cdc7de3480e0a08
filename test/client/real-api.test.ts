// Client and API together, with a fake node behind them: what one sends the other takes, and back.

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { type Client, CompactedError, ConditionFailedError, SidecarError } from '../../src/client/client.ts'
import { ProposalError, SkipError, TransferError } from '../../src/errors.ts'
import { appliedAt } from '../api/fake-node.ts'
import { kvOf, type RunningApi, startApi } from '../api/running-api.ts'
import { connect, failure } from './client-kit.ts'

const timestamp = '2026-11-23T05:00:00.123Z'

async function start(
  t: TestContext,
  overrides: Parameters<typeof startApi>[1] = {},
): Promise<RunningApi & { readonly client: Client }> {
  const running = await startApi(t, overrides)
  return { ...running, client: connect(t, { url: `http://127.0.0.1:${running.port}` }) }
}

test('a proposal carries its key and its trace, and is repeated under it', async (t) => {
  const { node, client } = await start(t)
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  let failures = 1
  node.onPropose = async () => {
    if (failures-- > 0) throw new ProposalError('commit-timeout', 'unknown', 'Not in time.')
    return appliedAt(42, { duplicate: true })
  }
  const applied = await client.propose({ a: 1 }, { key: '"k\\', traceparent })
  assert.deepEqual(applied, { index: 42, term: 3, timestamp, result: { ok: true }, duplicate: true })
  assert.deepEqual(
    node.proposals.map(({ command }) => [command.key, command.traceparent]),
    [
      ['"k\\', traceparent],
      ['"k\\', traceparent],
    ],
  )
  await client.propose(Uint8Array.of(0, 255), { wait: 'committed' })
  const { kind, key, payload } = node.proposals.at(-1)?.command ?? assert.fail()
  assert.deepEqual([kind, key?.length, [...payload]], ['bytes', 36, [0, 255]])
})

test('a batch has a key a line, and a result a line', async (t) => {
  const { node, client } = await start(t)
  node.onBatch = async () => [
    appliedAt(42),
    new ProposalError('command-skipped', 'committed', 'Left out.', { index: 43, term: 3 }),
  ]
  const [first, second] = await client.proposeBatch([{ a: 'ü' }, null], { key: 'K' })
  assert.deepEqual(first, { index: 42, term: 3, timestamp, result: { ok: true } })
  assert(second instanceof SidecarError)
  assert.deepEqual(
    [second.code, second.outcome, second.committed],
    ['command-skipped', 'committed', { index: 43, term: 3 }],
  )
  assert.deepEqual(
    node.batches[0]?.commands.map(({ key, payload }) => [key, Buffer.from(payload).toString()]),
    [
      ['K/1', '{"a":"ü"}'],
      ['K/2', 'null'],
    ],
  )
  node.onBatch = async () => [appliedAt(42, { result: null })]
  assert.deepEqual(await client.proposeBatch([1], { wait: 'committed' }), [{ index: 42, term: 3, timestamp }])
})

test('commands are watched from the log, as they are committed, until it is compacted', async (t) => {
  const { node, client } = await start(t)
  node.commit('{"n":\n1}', { key: 'k' })
  node.commit(null)
  node.commit('2', { kind: 'bytes', skipped: true })
  const watched = client.watch({ after: 41 })[Symbol.asyncIterator]()
  const next = async () => (await watched.next()).value
  const about = { term: 3, timestamp, traceparent: null }
  assert.deepEqual(await next(), { ...about, index: 42, key: 'k', command: { n: 1 }, skipped: false })
  assert.deepEqual(await next(), { ...about, index: 44, key: null, command: Buffer.from('2'), skipped: true })
  const waiting = next()
  node.commit('3')
  assert.deepEqual((await waiting)?.command, 3)
  node.compact(45)
  const error = await failure(client.watch({ after: 40 })[Symbol.asyncIterator]().next())
  assert(error instanceof CompactedError)
  assert.equal(error.firstIndex, 45)
})

test('events begin with how things stand', async (t) => {
  const { client } = await start(t)
  const types: string[] = []
  for await (const event of client.events()) {
    types.push(event.type)
    if (event.type === 'leader') assert.equal(event.data.leader?.id, 'n1')
    if (event.type === 'health') assert.equal(event.data.ready, true)
    if (types.length === 4) break
  }
  assert.deepEqual(types, ['leader', 'membership', 'snapshot', 'health'])
})

test('compare-and-set, and a listing over several pages', async (t) => {
  const items = ['a/1', 'a/2', 'a/3', 'b'].map((key) => ({ key, value: { key }, createdIndex: 1, modifiedIndex: 2 }))
  const { node, client } = await start(t, { kv: kvOf(items) })
  node.onPropose = async () =>
    appliedAt(42, { result: { ok: false, code: 'condition-failed', error: 'It is at 7', modifiedIndex: 7 } })
  for (const write of [
    client.kv.set('k', 1, { ifMatch: 41 }),
    client.kv.set('k', 1, { ifNoneMatch: '*' }),
    client.kv.delete('k', { ifMatch: 41 }),
  ]) {
    const error = await failure(write)
    assert(error instanceof ConditionFailedError)
    assert.deepEqual([error.modifiedIndex, error.outcome, error.committed], [7, 'committed', { index: 42, term: 3 }])
  }
  assert.ok(node.proposals.every(({ command }) => command.key?.length === 36))
  const found: unknown[] = []
  for await (const item of client.kv.list({ prefix: 'a/', pageSize: 2 })) found.push(item)
  assert.deepEqual(found, items.slice(0, 3))
})

test('what operators ask for', async (t) => {
  const { node, client } = await start(t, { leaseReads: true })
  assert.deepEqual(
    (await client.members()).map(({ id }) => id),
    ['n1'],
  )
  assert.deepEqual(await client.skip(41), { index: 42, term: 3, timestamp })
  assert.deepEqual(await client.transfer('n3'), { id: 'n3', term: 4, self: false, appUrl: null })
  assert.equal((await client.transfer()).id, 'n2')
  assert.deepEqual(await client.barrier({ mode: 'lease' }), { index: 41 })
  assert.equal((await client.status()).poison, null)
  node.onSkip = () => Promise.reject(new SkipError('It is no poison.'))
  assert.equal((await failure(client.skip(41))).code, 'not-poison')
  node.onTransfer = () => Promise.reject(new TransferError('unknown-member', 'There is no n9.'))
  assert.equal((await failure(client.transfer('n9'))).code, 'unknown-member')
})
