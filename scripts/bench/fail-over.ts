// How long a client that writes through HAProxy is without an answer when the machine of the leader dies, and one that goes by its own application.

import { Haproxy, whyNoHaproxy } from '../../test/cluster/haproxy.ts'
import { type Machine, Machines } from '../../test/cluster/machines.ts'
import { until } from '../../test/cluster/processes.ts'
import { post } from '../../test/cluster/writers.ts'

const pauseMs = 5
const restMs = 3_000

export async function measureFailOver(rounds: number): Promise<void> {
  const machines = await Machines.start({ program: ['dist/main.js'] })
  const missing = whyNoHaproxy()
  const haproxy = missing === false ? await Haproxy.start(machines) : null
  const ways: Readonly<Record<string, (survivors: readonly Machine[]) => string>> = {
    'through a survivor': ([first]) => `${first?.application.url}/writes`,
    ...(haproxy === null ? {} : { 'through HAProxy': () => `${haproxy.url}/writes` }),
  }
  try {
    if (missing !== false) console.log(`Without HAProxy: ${missing}`)
    console.log('The leader’s machine is killed, election timeout of 1000 to 2000 ms: first write answered after')
    for (const [way, urlOf] of Object.entries(ways)) {
      const gapsMs: number[] = []
      for (let round = 0; round < rounds; round++) {
        const leader = await machines.leader()
        const url = urlOf(machines.all.filter(({ id }) => id !== leader.id))
        await writeUntilAnswered(url, `${way}-${round}-before`)
        const killed = machines.kill(leader.id)
        const startedMs = performance.now()
        await writeUntilAnswered(url, `${way}-${round}-after`)
        gapsMs.push(performance.now() - startedMs)
        await killed
        machines.start(leader.id)
        await machines.settled()
        await atRest(machines)
      }
      const [least = 0, ...rest] = gapsMs.sort((a, b) => a - b)
      const median = gapsMs[Math.floor(gapsMs.length / 2)] ?? least
      const most = rest.at(-1) ?? least
      console.log(
        `${way.padEnd(20)} median ${median.toFixed(0)} ms, ${least.toFixed(0)} to ${most.toFixed(0)} ms, ${rounds} rounds`,
      )
    }
  } finally {
    await haproxy?.stop()
    await machines.close()
  }
}

/** A node that has just been started helps elect nobody for a while, and a machine is rarely lost right after another one. */
async function atRest({ cluster }: Machines): Promise<void> {
  for (const { id } of cluster.sidecars) {
    await until(`${id} to be up for a while`, 30_000, async () => {
      const uptimeMs = (await cluster.status(id))?.uptimeMs ?? 0
      return uptimeMs >= restMs ? true : null
    })
  }
}

/** Under one key, however often it takes. */
async function writeUntilAnswered(url: string, name: string): Promise<void> {
  const write = { key: name.replaceAll(' ', '-'), value: null }
  while (typeof (await post(url, write, 2_000)) === 'string') {
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}
