// A real HAProxy in front of three applications: writes go to the one beside the leader, and follow it.

import assert from 'node:assert/strict'
import { afterEach, describe, it, type TestContext } from 'node:test'
import { Haproxy, whyNoHaproxy } from './haproxy.ts'
import { Machines } from './machines.ts'
import { faultsOf } from './verdict.ts'
import { post, Writers } from './writers.ts'

const missing = whyNoHaproxy()

let machines: Machines
let haproxy: Haproxy

afterEach(async () => {
  await haproxy.stop()
  await machines.close()
})

describe('a real HAProxy in front of three applications', { skip: missing }, () => {
  it('sends writes to the application of the leader, and follows it after the SIGKILL of its machine', async (t) => {
    const writers = await begin()
    const killed = await writers.followTheLeader()
    const atMs = performance.now()
    await machines.kill(killed.id)
    await writers.acknowledges(1)
    tell(t, `first write answered ${Math.round(performance.now() - atMs)} ms after the SIGKILL`)
    const successor = await writers.followTheLeader()
    assert.notEqual(successor.id, killed.id)
    machines.start(killed.id)
    await writers.acknowledges(200)
    await end(writers)
  })

  it('follows the leader after leadership was transferred, with both applications up all the while', async (t) => {
    const writers = await begin()
    const former = await writers.followTheLeader()
    const atMs = performance.now()
    const transferred = await fetch(`${former.sidecar.apiUrl}/v1/leader/transfer`, { method: 'POST' })
    assert.equal(transferred.status, 200, await transferred.text())
    const successor = await writers.followTheLeader()
    tell(t, `twenty writes in a row answered by the next ${Math.round(performance.now() - atMs)} ms after the transfer`)
    assert.notEqual(successor.id, former.id)
    await end(writers)
  })
})

/** With the defaults of a user: what is told is what they get. */
async function begin(): Promise<Writers> {
  machines = await Machines.start()
  haproxy = await Haproxy.start(machines)
  const { url } = haproxy
  return new Writers(machines, 'w', (write) => post(`${url}/writes`, write)).start(8)
}

async function end(writers: Writers): Promise<void> {
  await writers.stop()
  assert.deepEqual(faultsOf(await machines.settled(), writers.acknowledged, writers.proposed), [])
}

function tell(t: TestContext, figure: string): void {
  t.diagnostic(`${figure}, election timeout of 1000 to 2000 ms`)
}
