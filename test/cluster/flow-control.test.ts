// Far more load than a node can take: it refuses what is too much, and stays what it was. On Linux, which tells the peak of a process's memory.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { afterEach, describe, it } from 'node:test'
import { Agent, request } from 'undici'
import { peakMiB, residentMiB } from '../../scripts/bench/resident.ts'
import type { Write } from './application/journal.ts'
import { type Machine, Machines } from './machines.ts'
import { until } from './processes.ts'
import { faultsOf } from './verdict.ts'
import type { Acknowledged, Answered } from './writers.ts'

const missing = process.platform === 'linux' ? false : 'the peak of a process is read from /proc'
const clients = 1000
const commandBytes = 512 * 1024

/**
 * Each client has one command under way at a time, so that a queue without bounds would hold nearly all of their commands: 500 MiB, less the ten a
 * second, 5 MiB, that the application takes. What is not a queue has to fit in here: 64 KiB of each of a thousand requests that wait to be read, the
 * log's tail of 16 MiB, garbage. Tried without the limits, memory grew past it within a second, and by 1.3 GiB in the end.
 */
const boundMiB = 250

/** One command at a time, a tenth of a second each. The timeouts are for machines that have others to serve as well. */
const slow = {
  applyDelayMs: 100,
  env: {
    APPLY_BATCH_COMMANDS: '1',
    ELECTION_TIMEOUT_MIN_MS: '3000',
    ELECTION_TIMEOUT_MAX_MS: '6000',
    LOG_LEVEL: 'info',
  },
}

const limits: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'MAX_PENDING_PROPOSALS, 20': { MAX_PENDING_PROPOSALS: '20' },
  'MAX_PENDING_BYTES, 5 MiB': { MAX_PENDING_BYTES: '5MiB' },
}

let machines: Machines

afterEach(() => machines.close())

describe('a leader under far more load than its application can take', { skip: missing }, () => {
  for (const [limit, env] of Object.entries(limits)) {
    it(`keeps to ${limit}: answers 429, stays up and leading, holds no more in memory, and each 200 is there once`, async (t) => {
      machines = await Machines.start({ applyDelayMs: slow.applyDelayMs, env: { ...slow.env, ...env } })
      const leader = await machines.leader()
      const before = await machines.cluster.status(leader.id)
      const pid = leader.sidecar.child?.pid
      await resetPeak(pid)
      const restingMiB = residentMiB(pid)

      const crowd = new Crowd(leader)
      await crowd.until(() => crowd.refusals >= clients && crowd.acknowledged.length >= 30)
      const duringLoad = await machines.cluster.status(leader.id)
      await crowd.stop()

      const grownMiB = peakMiB(pid) - restingMiB
      t.diagnostic(`${crowd.text}; the leader's memory grew by ${grownMiB} MiB at most`)
      assert.ok(grownMiB < boundMiB, `it grew by ${grownMiB} MiB, from ${restingMiB} MiB`)
      assert.deepEqual([duringLoad?.role, duringLoad?.term], ['leader', before?.term], rolesTold(machines))
      for (const { id } of machines.all) assert.equal((await machines.cluster.status(id))?.term, before?.term)
      const states = await machines.settled()
      assert.deepEqual(faultsOf(states, crowd.acknowledged, crowd.proposed), [])
      // Who was refused, and did not ask again, has no effect.
      const keys = states[0]?.effects.map(({ write }) => write.key)
      assert.deepEqual(keys?.sort(), crowd.acknowledged.map(({ write }) => write.key).sort())
    })
  }
})

/** Why somebody else leads, if so. */
function rolesTold({ all }: Machines): string {
  const lines = all.flatMap(({ id, sidecar }) => sidecar.log.map((line) => `${id}: ${line}`))
  return `Another election:\n${lines.filter((line) => /"event":"(role|storage|leader)"/.test(line)).join('')}`
}

/** Clients that know no manners: who is refused asks again at once. Those of the same key have the same body. */
class Crowd {
  readonly acknowledged: Acknowledged[] = []
  readonly proposed = new Map<string, Write>()
  refusals = 0
  readonly #url: string
  readonly #agent = new Agent({ connections: clients, pipelining: 1, headersTimeout: 90_000 })
  readonly #padding = 'x'.repeat(commandBytes)
  #isStopping = false
  #failure: unknown = null
  readonly #running: Promise<unknown>

  constructor({ sidecar }: Machine) {
    this.#url = `${sidecar.apiUrl}/v1/commands?timeout=60s`
    this.#running = Promise.all(Array.from({ length: clients }, (_, client) => this.#client(client))).catch((error) => {
      this.#isStopping = true
      this.#failure = error
    })
  }

  get text(): string {
    return `${this.acknowledged.length} acknowledged, ${this.refusals} refused`
  }

  /** Rejects with what went wrong otherwise than by a refusal. */
  async until(isEnough: () => boolean): Promise<void> {
    await until('enough refusals and answers', 60_000, async () =>
      isEnough() || this.#failure !== null ? true : null,
    ).catch((cause) => {
      throw new Error(this.text, { cause })
    })
    if (this.#failure !== null) throw this.#failure
  }

  /** When everything that was taken is answered. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#running
    await this.#agent.close()
    if (this.#failure !== null) throw this.#failure
  }

  async #client(client: number): Promise<void> {
    for (let number = 1; !this.#isStopping; number++) {
      const write = { key: `${client}-${number}`, value: number }
      this.proposed.set(write.key, write)
      const body = JSON.stringify({ ...write, padding: this.#padding })
      while (!this.#isStopping) {
        const answer = await this.#post(write.key, body)
        if (answer === null) continue
        this.acknowledged.push({ ...answer, write, client, attempts: 1 })
        break
      }
    }
  }

  /** Null: refused. */
  async #post(key: string, body: string): Promise<Answered | null> {
    const headers = { 'content-type': 'application/json', 'idempotency-key': key }
    const response = await request(this.#url, { method: 'POST', headers, body, dispatcher: this.#agent })
    const answer = (await response.body.json()) as Answered & { readonly code?: string; readonly outcome?: string }
    if (response.statusCode === 200) return { ...answer, duplicate: false, by: null }
    assert.deepEqual(
      [response.statusCode, answer.code, answer.outcome],
      [429, 'too-many-proposals', 'not_applied'],
      JSON.stringify(answer),
    )
    assert.match(String(response.headers['retry-after']), /^[1-9][0-9]?$/)
    this.refusals++
    return null
  }
}

/** The most that it ever held begins anew. */
async function resetPeak(pid: number | undefined): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5')
}
