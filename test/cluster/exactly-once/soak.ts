// Exactly once, with real processes that are killed all the time: clients try every failure again under the same key, at any node, while SIGKILL
// hits sidecars and applications. Then everything heals, and the verdict is given.

import { setTimeout as delay } from 'node:timers/promises'
import { Random } from '../../sim/world/random.ts'
import type { Write } from '../application/journal.ts'
import type { ApplicationState } from '../application/main.ts'
import { Machines } from '../machines.ts'
import { until } from '../processes.ts'
import { faultsOf } from '../verdict.ts'
import { type Answered, post, Writers } from '../writers.ts'
import { KillPlan, type Strike, type Victim } from './kill-plan.ts'
import { Losses } from './losses.ts'

export interface SoakOptions {
  readonly seed: number
  /** Processes that get SIGKILL, at least. */
  readonly kills: number
  readonly clients?: number
  /** What node runs as the sidecar; the sources by default. */
  readonly program?: readonly string[]
  readonly tell?: (line: string) => void
}

export interface SoakReport {
  readonly kills: number
  readonly strikes: ReadonlyMap<string, number>
  readonly acknowledged: number
  /** Acknowledged by a repeat: the answer to the attempt that was applied had been lost. */
  readonly duplicates: number
  readonly failures: string
  readonly terms: number
  readonly restores: number
  /** Repeats at the end, and those of which nobody knew the result any more. */
  readonly repeats: number
  readonly unknownResults: number
  /** Empty: exactly once. */
  readonly faults: readonly string[]
  /** Kept for whoever looks into it; null when there is nothing to look into. */
  readonly directory: string | null
}

/** Snapshots often, so that keys, answers and positions go through them, and a machine that was away for a while gets one. */
const env = { SNAPSHOT_THRESHOLD: '150', MAX_LOG_ENTRIES: '100', SEGMENT_BYTES: '2MiB', DISK_RESERVE_BYTES: '1MiB' }
export async function soak({ seed, kills, clients = 8, program, tell = () => {} }: SoakOptions): Promise<SoakReport> {
  const machines = await Machines.start({ env, ...(program === undefined ? {} : { program }) })
  const run = new Soak(machines, seed, tell)
  try {
    const report = await run.run(kills, clients)
    if (report.faults.length > 0) return { ...report, directory: await machines.abandon() }
    await machines.close()
    return report
  } catch (cause) {
    throw new Error(`The soak of seed ${seed} failed; see ${await machines.abandon()}`, { cause })
  }
}

class Soak {
  readonly #machines: Machines
  readonly #ids: readonly string[]
  readonly #random: Random
  readonly #plan: KillPlan
  readonly #losses = new Losses()
  readonly #writers: Writers
  readonly #tell: (line: string) => void
  /** Of victims that are to be started again. */
  readonly #recoveries = new Set<Promise<void>>()
  readonly #strikes = new Map<string, number>()
  #kills = 0
  #failure: Error | null = null

  constructor(machines: Machines, seed: number, tell: (line: string) => void) {
    this.#machines = machines
    this.#ids = machines.all.map(({ id }) => id)
    this.#random = new Random(seed, 'clients')
    this.#plan = new KillPlan(seed, this.#ids)
    this.#tell = tell
    this.#writers = new Writers(machines, `s${seed}`, (write) => this.#attempt(write))
  }

  async run(kills: number, clients: number): Promise<SoakReport> {
    this.#writers.start(clients)
    while (this.#kills < kills && this.#failure === null && this.#writers.failure === null) {
      const strike = this.#plan.next(await this.#leader())
      await this.#writes(strike.afterWrites, strike.patienceMs)
      await this.#strike(strike)
    }
    while (this.#recoveries.size > 0) await Promise.all(this.#recoveries)
    if (this.#failure !== null) throw this.#failure
    await this.#writers.acknowledges(clients)
    await this.#writers.stop()
    const states = await this.#machines.settled()
    return await this.#report(states)
  }

  /** Until so many more are acknowledged, or none was for so long. */
  async #writes(more: number, patienceMs: number): Promise<void> {
    const { acknowledged } = this.#writers
    const goal = acknowledged.length + more
    let last = { count: acknowledged.length, atMs: performance.now() }
    while (acknowledged.length < goal && performance.now() - last.atMs < patienceMs) {
      await delay(5)
      if (acknowledged.length > last.count) last = { count: acknowledged.length, atMs: performance.now() }
    }
  }

  async #strike({ kind, victims, downForWrites, downPatienceMs }: Strike): Promise<void> {
    const alive = victims.filter(({ id, part }) => {
      const { sidecar, application } = this.#machines.get(id)
      return part === 'sidecar' ? sidecar.child !== null : application.isRunning
    })
    if (alive.length === 0) return
    this.#kills += alive.length
    this.#strikes.set(kind, (this.#strikes.get(kind) ?? 0) + 1)
    const names = alive.map(({ id, part }) => `${part} ${id}`).join(', ')
    this.#tell(`${this.#kills} kills, ${this.#writers.acknowledged.length} writes acknowledged: ${kind} (${names})`)
    await Promise.all(
      alive.map(({ id, part }) =>
        part === 'sidecar' ? this.#machines.cluster.kill(id) : this.#machines.get(id).application.kill(),
      ),
    )
    for (const victim of alive) {
      const recovery: Promise<void> = this.#recover(victim, downForWrites, downPatienceMs)
        .catch((error) => {
          this.#failure ??= error instanceof Error ? error : new Error(String(error))
        })
        .finally(() => this.#recoveries.delete(recovery))
      this.#recoveries.add(recovery)
    }
  }

  async #recover({ id, part }: Victim, downForWrites: number, patienceMs: number): Promise<void> {
    const { application } = this.#machines.get(id)
    await this.#writes(downForWrites, patienceMs)
    this.#losses.killed(id, application.journal)
    if (part === 'sidecar') this.#machines.cluster.start(id)
    else application.start()
  }

  /** Anybody when nobody leads: the plan wants a name. */
  async #leader(): Promise<string> {
    for (const id of this.#ids) {
      const status = await this.#machines.cluster.status(id)
      if (status?.holdsQuorum) return id
    }
    return this.#random.pick(this.#ids)
  }

  /** At any node, and now and then at two of them at once, which must agree. */
  async #attempt(write: Write): Promise<Answered | string> {
    const ids = this.#random.shuffled(this.#ids).slice(0, this.#random.chance(0.1) ? 2 : 1)
    const answers = await Promise.all(ids.map((id) => this.#ask(id, write)))
    const placed = answers.filter((answer): answer is Answered => typeof answer !== 'string')
    const [first, second] = placed
    if (first === undefined) return answers[0] ?? 'no answer'
    if (second === undefined) return first
    const isSame =
      first.index === second.index &&
      first.term === second.term &&
      (first.result === null || second.result === null || same(first.result, second.result))
    if (isSame && (first.duplicate || second.duplicate)) return first.result === null ? second : first
    throw new Error(`Two nodes answered ${write.key} differently: ${JSON.stringify(placed)}`)
  }

  async #ask(id: string, write: Write): Promise<Answered | string> {
    const answer = await post(this.#url(id), write, 5_000)
    if (typeof answer !== 'string' || !answer.endsWith('apply-pending')) return answer
    const why = (await this.#machines.cluster.status(id))?.applierBlocked ?? 'nothing blocks it by now'
    return `${answer} (${why.replaceAll(/[0-9]+/g, 'N').slice(0, 80)})`
  }

  #url(id: string): string {
    return `${this.#machines.get(id).sidecar.apiUrl}/v1/commands?timeout=3s`
  }

  async #report(states: readonly ApplicationState[]): Promise<SoakReport> {
    const { acknowledged, proposed, failureText } = this.#writers
    const faults = [...faultsOf(states, acknowledged, proposed), ...this.#machines.surprises]
    const repeated = await this.#repeatAll(states)
    const reused = await this.#reuseKeys()
    const effects = states[0]?.effects ?? []
    return {
      kills: this.#kills,
      strikes: this.#strikes,
      acknowledged: acknowledged.length,
      duplicates: acknowledged.filter(({ duplicate }) => duplicate).length,
      failures: failureText,
      terms: new Set(effects.map(({ term }) => term)).size,
      restores: states.reduce((sum, { restores }) => sum + restores, 0),
      repeats: repeated.count,
      unknownResults: repeated.unknown,
      faults: [...faults, ...repeated.faults, ...reused].slice(0, 30),
      directory: null,
    }
  }

  /** Every acknowledged key once more, at every node: the same place and the same result, from wherever it is asked. */
  async #repeatAll(states: readonly ApplicationState[]): Promise<{ count: number; unknown: number; faults: string[] }> {
    const effects = new Map(states[0]?.effects.map((effect) => [effect.write.key, effect]))
    const faults: string[] = []
    let count = 0
    let unknown = 0
    const queue = this.#writers.acknowledged.flatMap((each) => this.#ids.map((id) => ({ ...each, id })))
    const work = async () => {
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
        const { write, id, index, term } = next
        const answer = await this.#repeat(id, write)
        count++
        const effect = effects.get(write.key)
        const isRight = answer.duplicate && answer.index === index && answer.term === term
        if (isRight && answer.result === null) {
          unknown++
          if (!this.#losses.explain(index, this.#ids)) {
            faults.push(
              `${write.key}: ${id} does not know the result of ${index}, which some machine was not killed at`,
            )
          }
        } else if (!isRight || !same(answer.result, { count: effect?.count, digest: effect?.digest })) {
          faults.push(`${write.key} at ${index} of term ${term}: ${id} answers a repeat with ${JSON.stringify(answer)}`)
        }
      }
    }
    await Promise.all(Array.from({ length: 16 }, work))
    return { count, unknown, faults }
  }

  async #repeat(id: string, write: Write): Promise<Answered> {
    return await until(`${id} to answer a repeat of ${write.key}`, 20_000, async () => {
      const answer = await post(this.#url(id), write)
      return typeof answer === 'string' ? null : answer
    })
  }

  /** Another command under a key that was given: refused, at every node. */
  async #reuseKeys(): Promise<string[]> {
    const faults: string[] = []
    for (const { write } of this.#random.shuffled(this.#writers.acknowledged).slice(0, 10)) {
      for (const id of this.#ids) {
        const response = await fetch(this.#url(id), {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'idempotency-key': write.key },
          body: JSON.stringify({ ...write, value: 'another' }),
        })
        const { code } = (await response.json()) as { readonly code?: string }
        if (response.status !== 422 || code !== 'idempotency-key-reused') {
          faults.push(`${write.key} with another command: ${id} answers ${response.status} ${code}`)
        }
      }
    }
    return faults
  }
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
