// Tasks arrive at a steady rate and are given to the three applications in turn. One that is not acknowledged is given to the next
// application, until it is: the id of a task is the key of the command that enqueues it, so nothing is enqueued twice.

import { setTimeout as sleep } from 'node:timers/promises'
import type { NewTask } from './files.ts'
import { postJson } from './http.ts'

interface Acknowledgement {
  /** When the request that was acknowledged was sent, and when it was answered. */
  readonly sentMs: number
  readonly answeredMs: number
}

const inFlight = 64
const requestTimeoutMs = 12_000
const pauseMs = 50

export class Enqueuer {
  readonly acknowledged = new Map<string, Acknowledgement>()
  /** Acknowledged only when they were sent again. */
  repeated = 0
  /** Of these, an earlier attempt had made it after all. */
  duplicates = 0
  readonly #urls: readonly string[]

  constructor(urls: readonly string[]) {
    this.#urls = urls
  }

  /** Resolves when each of these tasks is acknowledged. */
  async run(tasks: readonly NewTask[], perSecond: number): Promise<void> {
    const startedMs = performance.now()
    let next = 0
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        for (let at = next++; at < tasks.length; at = next++) {
          const task = tasks[at]
          if (task === undefined) break
          const dueMs = startedMs + (at * 1000) / perSecond
          await sleep(Math.max(0, dueMs - performance.now()))
          await this.#enqueue(task, at)
        }
      }),
    )
  }

  /** Milliseconds from a moment to the first acknowledgement of what was sent after it; null while there is none. */
  firstAcknowledgedAfter(momentMs: number): number | null {
    let first = Number.POSITIVE_INFINITY
    for (const { sentMs, answeredMs } of this.acknowledged.values()) {
      if (sentMs > momentMs) first = Math.min(first, answeredMs)
    }
    return Number.isFinite(first) ? first - momentMs : null
  }

  async #enqueue(task: NewTask, turn: number): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const sentMs = performance.now()
      const url = this.#urls[(turn + attempt) % this.#urls.length]
      const answer = await postJson<{ readonly duplicate?: boolean }>(`${url}/tasks`, task, requestTimeoutMs)
      if (answer !== null) {
        this.acknowledged.set(task.id, { sentMs, answeredMs: performance.now() })
        if (attempt === 0) return
        this.repeated++
        if (answer.duplicate === true) this.duplicates++
        return
      }
      await sleep(pauseMs)
    }
  }
}
