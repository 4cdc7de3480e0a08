// Clients that write distinct keys to a cluster of sidecars until they are told to stop, and remember what was acknowledged.

import { type ClusterProcesses, until } from './processes.ts'

export interface Acknowledged {
  readonly key: string
  readonly value: number
  readonly index: number
}

export class Workload {
  readonly acknowledged: Acknowledged[] = []
  /** Answers that were not 200, by status, code and outcome. */
  readonly failures = new Map<string, number>()
  #stopped = false
  #running: Promise<unknown> = Promise.resolve()
  readonly #cluster: ClusterProcesses
  readonly #name: string
  #next = 0

  /** `name` begins every key, so that several workloads do not meet. */
  constructor(cluster: ClusterProcesses, name: string) {
    this.#cluster = cluster
    this.#name = name
  }

  /** The clients go from node to node, of all or of those `through` which alone they write. */
  start(clients: number, through: readonly string[] = this.#cluster.sidecars.map(({ id }) => id)): this {
    this.#running = Promise.all(Array.from({ length: clients }, (_, i) => this.#client(i, through)))
    return this
  }

  /** Waits for so many more writes to be acknowledged from now on. */
  async acknowledges(more: number): Promise<void> {
    const goal = this.acknowledged.length + more
    await until(`${more} more acknowledged writes`, 30_000, async () =>
      this.acknowledged.length >= goal ? true : null,
    )
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  /** One write through the given node; null when it was not acknowledged. */
  async write(id: string): Promise<Acknowledged | null> {
    const value = this.#next++
    const key = `${this.#name}/${value}`
    try {
      const response = await fetch(`${this.#cluster.get(id).apiUrl}/v1/commands?timeout=5s`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ op: 'set', key, value }),
        signal: AbortSignal.timeout(10_000),
      })
      const body = (await response.json()) as { index: number; code?: string; outcome?: string }
      if (response.status !== 200) {
        this.#failed(`${response.status} ${body.code} ${body.outcome}`)
        return null
      }
      const acknowledged = { key, value, index: body.index }
      this.acknowledged.push(acknowledged)
      return acknowledged
    } catch {
      this.#failed('no answer')
      return null
    }
  }

  async #client(number: number, through: readonly string[]): Promise<void> {
    for (let i = number; !this.#stopped && !this.#cluster.isClosed; i++) {
      const id = through[i % through.length] as string
      if (this.#cluster.get(id).child !== null) await this.write(id)
      else await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  #failed(what: string): void {
    this.failures.set(what, (this.failures.get(what) ?? 0) + 1)
  }
}

/** Reads each key on the given node and names those that are missing, hold something else, or were written twice. */
export async function missingOn(
  cluster: ClusterProcesses,
  id: string,
  acknowledged: readonly Acknowledged[],
  consistency: 'linearizable' | 'local',
): Promise<string[]> {
  const missing: string[] = []
  const query = consistency === 'local' ? '?consistency=local' : ''
  const queue = [...acknowledged]
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
        const response = await fetch(`${cluster.get(id).apiUrl}/v1/kv/${next.key}${query}`)
        const body = (await response.json()) as { value?: number; createdIndex?: number; modifiedIndex?: number }
        const isSame =
          body.value === next.value && body.createdIndex === next.index && body.modifiedIndex === next.index
        if (response.status !== 200 || !isSame) missing.push(next.key)
      }
    }),
  )
  return missing
}
