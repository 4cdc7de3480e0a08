// Applications that do not take everything from everybody at any time: delivery waits for them, and nothing is lost.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { becomesNotReady, failureOf, HookedCluster, type HookedNode } from './hooked-cluster.ts'
import { until } from './processes.ts'

const [older, newer, another] = [secret(), secret(), secret()]

/** Every sidecar signs with both secrets, while the applications change from the one to the other. */
const checkedBy: Readonly<Record<string, string>> = { n1: older, n2: newer, n3: another }

const illness = /The application is not healthy: GET http:\S+\/healthz answered 503, and delivery waits for 2xx there/

let cluster: HookedCluster
let n1: HookedNode
let n2: HookedNode
let n3: HookedNode

before(async () => {
  cluster = await HookedCluster.start({
    env: () => ({ APP_SECRET: `${older} ${newer}`, APP_HEALTH: '/healthz' }),
    application: (id) => ({ secret: checkedBy[id] ?? '', isHealthy: id !== 'n2' }),
  })
  ;[n1, n2, n3] = cluster.nodes
})
after(() => cluster.close())

describe('an application that says by APP_HEALTH that it is not well', () => {
  it('is called for nothing from the start on, and gets all of it by itself once it is well', async () => {
    const { index } = await n1.client.propose('while n2 is not well')
    await becomesNotReady(n2.sidecar, illness)
    const pending = await failureOf(n2.client.propose('at n2', { timeoutMs: 300 }))
    assert.deepEqual([pending.code, pending.outcome], ['apply-pending', 'committed'])
    assert.deepEqual(
      n2.application.calls.filter((call) => call !== 'POST leadership'),
      [],
    )

    n2.application.isHealthy = true
    await n2.client.barrier({ minIndex: index })
    assert.deepEqual(commands(n2), ['while n2 is not well', 'at n2'])
  })

  it('is called no more when it falls ill, while the others go on', async () => {
    n2.application.isHealthy = false
    await becomesNotReady(n2.sidecar, illness)
    const { calls, position } = n2.application
    const before = calls.length
    const { index } = await n1.client.propose('while n2 is ill')
    await until('n2 to have it committed', 10_000, async () =>
      (await n2.client.status()).commitIndex >= index ? true : null,
    )
    assert.equal((await failureOf(n2.client.barrier({ timeoutMs: 300 }))).code, 'read-timeout')
    assert.deepEqual([n2.application.position, calls.length], [position, before])
    n2.application.isHealthy = true
    await n2.client.barrier()
    assert.equal(commands(n2).at(-1), 'while n2 is ill')
  })
})

describe('an application that checks signatures', () => {
  it('takes what is signed with the older or the newer of two secrets, and by another one nothing, until it is mended', async () => {
    await becomesNotReady(n3.sidecar, /answered 401 .*The signature is not one by this secret.*let it accept what/)
    await n1.client.propose('signed')
    const pending = await failureOf(n3.client.propose('at n3', { timeoutMs: 300 }))
    assert.deepEqual([pending.code, pending.outcome], ['apply-pending', 'committed'])
    assert.deepEqual([commands(n3), n3.application.news], [[], []])
    assert.match(n3.sidecar.log.join(''), /"event":"delivery-blocked","machine":"application"/)

    for (const { client, application } of [n1, n2]) {
      await client.barrier()
      await client.snapshot()
      application.forget()
    }
    Object.assign(n3.sidecar.env, { APP_SECRET: `${another} ${newer}` })
    await cluster.restart(cluster.nodes)
    await cluster.isWhole()
    assert.deepEqual(commands(n3).slice(-2), ['signed', 'at n3'])
    for (const { application } of [n1, n2]) {
      assert.equal(application.restores, 1)
      const hooks = ['GET position', 'POST apply', 'POST leadership', 'POST snapshot', 'PUT snapshot']
      assert.deepEqual([...new Set(application.calls)].sort(), hooks)
    }
    for (const { id, application } of cluster.nodes) {
      await until(`${id} to be told who leads`, 10_000, async () => application.news.at(-1)?.leader ?? null)
    }
  })
})

function commands({ application }: HookedNode): unknown[] {
  return application.effects.map(({ command }) => command)
}

function secret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`
}
