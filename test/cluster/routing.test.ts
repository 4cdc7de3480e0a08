// Applications that route by themselves: each takes writes, asks its sidecar who leads, and passes them on to the application there.

import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import type { ApplicationState } from './application/main.ts'
import { Machines } from './machines.ts'
import { until } from './processes.ts'
import { faultsOf } from './verdict.ts'
import { post, Writers } from './writers.ts'

let machines: Machines

afterEach(() => machines.close())

describe('applications that route by GET /v1/leader', () => {
  it('take writes everywhere, propose them at the leader alone, and go on after its machine was killed', async () => {
    machines = await Machines.start()
    const first = await machines.leader()
    const to = new Set<string>()
    const writers = new Writers('w', async (write) => {
      const taking = machines.all.filter(({ application }) => application.isRunning)
      const { id, application } = taking[Math.floor(Math.random() * taking.length)] ?? first
      const answer = await post(`${application.url}/routed-writes`, write, 15_000)
      if (typeof answer !== 'string') to.add(id)
      return answer
    }).start(8)
    await writers.acknowledges(200)
    assert.deepEqual([...to].sort(), ['n1', 'n2', 'n3'])
    assert.deepEqual([...new Set(writers.acknowledged.map(({ by }) => by))], [first.id])

    const before = await states()
    await machines.kill(first.id)
    const atKill = writers.acknowledged.length
    await writers.acknowledges(200)
    const successor = await machines.leader()
    assert.notEqual(successor.id, first.id)
    machines.start(first.id)
    await until('writes to be taken again by the application that was killed', 20_000, async () => {
      to.clear()
      await writers.acknowledges(50)
      return to.has(first.id) ? true : null
    })
    await writers.stop()
    const settled = await machines.settled()
    assert.deepEqual(faultsOf(settled, writers.acknowledged, writers.proposed), [])
    // Those that were under way at the kill may have been proposed by the old leader, whose answer was lost.
    const later = writers.acknowledged.slice(atKill).filter(({ term }) => term > lastToken(before, first.id))
    assert.deepEqual([...new Set(later.map(({ by }) => by))], [successor.id])
    settled.forEach(({ fencingTokens }, i) => {
      const id = machines.all[i]?.id
      assert.deepEqual(fencingTokens, [...fencingTokens].sort(numerically), `${id} saw a token fall`)
      assert.ok(Number(fencingTokens.at(-1)) > lastToken(before, first.id), `${id} saw no newer token after the kill`)
    })
  })
})

function numerically(a: number, b: number): number {
  return a - b
}

async function states(): Promise<ReadonlyMap<string, ApplicationState>> {
  const found = new Map<string, ApplicationState>()
  for (const { id, application } of machines.all) {
    found.set(id, await until(`the state of ${id}`, 10_000, () => application.state()))
  }
  return found
}

function lastToken(found: ReadonlyMap<string, ApplicationState>, id: string): number {
  return found.get(id)?.fencingTokens.at(-1) ?? 0
}
