// A real HAProxy in front of three applications: writes go to the one beside the leader, and follow it.

import assert from 'node:assert/strict'
import { afterEach, describe, it, type TestContext } from 'node:test'
import type { Write } from './application/journal.ts'
import { Haproxy, whyNoHaproxy } from './haproxy.ts'
import { type Machine, Machines } from './machines.ts'
import { until } from './processes.ts'
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
  it('sends writes to the leader’s application, and follows it after the SIGKILL of its machine', async (t) => {
    await begin()
    const killed = await machines.leader()
    const { writers, by } = write()
    await writers.acknowledges(100)
    await answersAreBy(killed, by)
    const atMs = performance.now()
    await machines.kill(killed.id)
    by.length = 0
    await writers.acknowledges(1)
    tell(t, `first write answered ${Math.round(performance.now() - atMs)} ms after the SIGKILL`)
    const successor = await machines.leader()
    assert.notEqual(successor.id, killed.id)
    await answersAreBy(successor, by)
    await writers.acknowledges(100)
    machines.start(killed.id)
    await writers.acknowledges(100)
    await writers.stop()
    assert.deepEqual(faultsOf(await machines.settled(), writers.acknowledged, writers.proposed), [])
  })

  it('follows the leader after it has handed over in order', async (t) => {
    await begin()
    const former = await machines.leader()
    const { writers, by } = write()
    await writers.acknowledges(100)
    const atMs = performance.now()
    // Stopped in order, it transfers leadership first; its application stays.
    await machines.cluster.kill(former.id, 'SIGTERM')
    by.length = 0
    await writers.acknowledges(1)
    tell(t, `first write answered ${Math.round(performance.now() - atMs)} ms after the sidecar had stopped`)
    const successor = await machines.leader()
    assert.notEqual(successor.id, former.id)
    await answersAreBy(successor, by)
    machines.start(former.id)
    await writers.acknowledges(100)
    await writers.stop()
    assert.deepEqual(faultsOf(await machines.settled(), writers.acknowledged, writers.proposed), [])
  })
})

/** Defaults of a user: what is measured is what they get. */
async function begin(): Promise<void> {
  machines = await Machines.start()
  haproxy = await Haproxy.start(machines)
}

/** Clients that write through HAProxy; `by` tells whose application answered, in order. */
function write(): { readonly writers: Writers; readonly by: string[] } {
  const by: string[] = []
  const writers = new Writers('w', async (write: Write) => {
    const answer = await post(`${haproxy.url}/writes`, write)
    if (typeof answer !== 'string') by.push(answer.by ?? '')
    return answer
  }).start(8)
  return { writers, by }
}

/** All of the last answers; those under way while it took over may be of another. */
async function answersAreBy({ id }: Machine, by: readonly string[]): Promise<void> {
  await until(`twenty writes in a row to be answered by ${id}; HAProxy: ${haproxy.log}`, 20_000, async () => {
    const last = by.slice(-20)
    return last.length === 20 && last.every((each) => each === id) ? true : null
  })
}

function tell(t: TestContext, figure: string): void {
  t.diagnostic(`${figure}, election timeout of 1000 to 2000 ms`)
}
