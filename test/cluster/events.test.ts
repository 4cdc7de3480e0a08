// What whoever watches a cluster is told, over the kill of the node that told it.

import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import { type ServerEvent, serverEvents } from './event-stream.ts'
import { type Machine, Machines } from './machines.ts'
import { until } from './processes.ts'
import { faultsOf } from './verdict.ts'
import { post, Writers } from './writers.ts'

let machines: Machines
const watching = new Set<AbortController>()

afterEach(async () => {
  for (const abort of watching) abort.abort()
  watching.clear()
  await machines.close()
})

describe('a watcher of a real cluster', () => {
  it('is told by GET /v1/events of a follower who leads after the leader was killed', async () => {
    machines = await Machines.start()
    const former = await machines.leader()
    const follower = another(former)
    const seen: ServerEvent[] = []
    void watch(follower, '/v1/events', {}, seen)
    await until('the first word of who leads', 10_000, async () => leaderIn(seen))
    assert.equal(leaderIn(seen), former.id)
    await machines.kill(former.id)
    const successor = await machines.leader()
    await until(`${follower.id} to tell that ${successor.id} leads`, 10_000, async () =>
      leaderIn(seen) === successor.id ? true : null,
    )
  })

  it('reads every command once and in order, by Last-Event-ID at another node when its own was killed', async () => {
    machines = await Machines.start()
    const writers = new Writers(machines, 'w', (write) => {
      const { sidecar } = machines.all[Math.floor(Math.random() * machines.all.length)] as Machine
      return post(`${sidecar.apiUrl}/v1/commands?timeout=3s`, write)
    }).start(8)
    const seen: ServerEvent[] = []
    const first = another(await machines.leader())
    const reading = watch(first, '/v1/commands', {}, seen)
    await writers.acknowledges(100)
    await until('a hundred commands to be seen', 10_000, async () => (seen.length >= 100 ? true : null))
    await machines.kill(first.id)
    await reading
    const interruptedAt = seen.length
    void watch(another(first), '/v1/commands', { 'last-event-id': seen.at(-1)?.id ?? '' }, seen)
    await writers.acknowledges(100)
    machines.start(first.id)
    await writers.stop()
    const [state, ...others] = await machines.settled()
    assert(state !== undefined)
    assert.deepEqual(faultsOf([state, ...others], writers.acknowledged, writers.proposed), [])
    const goal = state.effects.length
    await until(`${goal} commands to be seen`, 10_000, async () => (seen.length >= goal ? true : null))
    assert.ok(interruptedAt < goal, 'it went on at another node')
    assert.deepEqual(
      seen.map(({ id, event, data }) => [id, event, data]),
      state.effects.map(({ index, term, timestamp, idempotencyKey: key, write: command }) => [
        String(index),
        'command',
        { index, term, timestamp, key, command },
      ]),
    )
  })
})

function another({ id }: Machine): Machine {
  const found = machines.all.find((machine) => machine.id !== id)
  assert(found !== undefined)
  return found
}

/** Resolves when the connection ends. */
async function watch(
  { sidecar }: Machine,
  path: string,
  headers: Readonly<Record<string, string>>,
  seen: ServerEvent[],
): Promise<void> {
  const abort = new AbortController()
  watching.add(abort)
  for await (const event of serverEvents(`${sidecar.apiUrl}${path}`, headers, abort.signal)) seen.push(event)
}

/** The last that was named; null: nobody. */
function leaderIn(seen: readonly ServerEvent[]): string | null {
  const last = seen.filter(({ event }) => event === 'leader').at(-1)
  const { leader } = (last?.data ?? {}) as { readonly leader?: { readonly id: string } | null }
  return leader?.id ?? null
}
