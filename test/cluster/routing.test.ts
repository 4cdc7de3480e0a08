// Applications that route by themselves: each takes writes, asks its sidecar who leads, and passes them on to the application there.

import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import { Machines } from './machines.ts'
import { until } from './processes.ts'
import { faultsOf } from './verdict.ts'
import { post, Writers } from './writers.ts'

let machines: Machines

afterEach(() => machines.close())

describe('applications that route by GET /v1/leader', () => {
  it('take writes everywhere, have them proposed beside the leader, and go on after its machine was killed', async () => {
    machines = await Machines.start()
    const takenBy = new Set<string>()
    const writers = new Writers(machines, 'w', async (write) => {
      const running = machines.all.filter(({ application }) => application.isRunning)
      const taking = running[Math.floor(Math.random() * running.length)]
      if (taking === undefined) return 'nobody is there'
      const answer = await post(`${taking.application.url}/routed-writes`, write, 15_000)
      if (typeof answer !== 'string') takenBy.add(taking.id)
      return answer
    }).start(8)
    await takenEverywhere(writers, takenBy)
    const killed = await writers.followTheLeader()
    const before = await until('its state', 10_000, () => killed.application.state())
    const acknowledgedBefore = writers.acknowledged.map(({ index }) => index)
    await machines.kill(killed.id)
    const successor = await writers.followTheLeader()
    assert.notEqual(successor.id, killed.id)
    machines.start(killed.id)
    takenBy.clear()
    await takenEverywhere(writers, takenBy)
    await writers.stop()
    const states = await machines.settled()
    assert.deepEqual(faultsOf(states, writers.acknowledged, writers.proposed), [])

    const lastToken = before.fencingTokens.at(-1) ?? 0
    assert.ok(lastToken > 0)
    states.forEach(({ fencingTokens }, i) => {
      const id = machines.all[i]?.id
      assert.deepEqual(fencingTokens, [...fencingTokens].sort(numerically), `${id} saw a token fall`)
      assert.ok(Number(fencingTokens.at(-1)) > lastToken, `${id} saw no newer token after the kill`)
    })
    // The successor's application was told so when it held everything that had been acknowledged before.
    const { leadership = [] } = states[machines.all.indexOf(successor)] ?? {}
    const acquired = leadership.filter(({ event }) => event === 'acquired')
    assert.ok(acquired.length > 0, JSON.stringify(leadership))
    for (const { term, fencingToken, position } of acquired) {
      assert.equal(fencingToken, term)
      if (term > lastToken) assert.ok(position >= Math.max(...acknowledgedBefore), `${position} in term ${term}`)
    }
  })
})

function numerically(a: number, b: number): number {
  return a - b
}

async function takenEverywhere(writers: Writers, takenBy: ReadonlySet<string>): Promise<void> {
  await until('writes to be taken by all three applications', 30_000, async () => {
    await writers.acknowledges(1)
    return takenBy.size === 3 ? true : null
  })
}
