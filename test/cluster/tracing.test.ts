// What a proposer says about its command, all the way to every application.

import assert from 'node:assert/strict'
import { afterEach, it } from 'node:test'
import { Machines } from './machines.ts'

let machines: Machines

afterEach(() => machines.close())

it('traceparent and Idempotency-Key of a proposer at a follower reach the webhooks of all three', async () => {
  machines = await Machines.start()
  const leader = await machines.leader()
  const followers = machines.all.filter(({ id }) => id !== leader.id)
  const sent = new Map<number, { readonly key: string; readonly traceparent: string }>()
  for (const [number, { sidecar }] of [...followers, leader].entries()) {
    const key = `order-${number}`
    const traceparent = `00-0af7651916cd43dd8448eb211c80319${number}-b7ad6b716920333${number}-01`
    const response = await fetch(`${sidecar.apiUrl}/v1/commands`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key, traceparent },
      body: JSON.stringify({ key, value: number }),
    })
    const { index } = (await response.json()) as { readonly index: number }
    assert.equal(response.status, 200)
    sent.set(index, { key, traceparent })
  }
  for (const { deliveries } of await machines.settled()) {
    const delivered = new Map(
      deliveries.flatMap(({ attributes }) =>
        attributes.map(({ index, key, traceparent }) => [index, { key, traceparent }]),
      ),
    )
    assert.deepEqual(delivered, sent)
    // Where a command came alone, the request itself belongs to its trace.
    for (const { indexes, headers } of deliveries) {
      if (indexes.length === 1) assert.equal(headers.traceparent, sent.get(indexes[0] ?? 0)?.traceparent)
    }
  }
})
