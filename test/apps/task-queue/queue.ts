// The state machine of the task queue. Deterministic: the same commands with the same timestamps give the same state on every node, so
// there is no clock, no randomness and no exception in here: what cannot be done is answered with the reason.

import { createHash } from 'node:crypto'

export interface Lease {
  readonly leaseId: string
  readonly worker: string
  /** Held from (inclusive) until (exclusive), in cluster time. */
  readonly fromMs: number
  untilMs: number
}

/** A task with everything that ever happened to it: the audit is the state. */
export interface Task {
  readonly id: string
  readonly path: string
  readonly leases: Lease[]
  readonly completions: { readonly leaseId: string; readonly atMs: number; readonly result: string }[]
}

export interface LeasedTask {
  readonly id: string
  readonly path: string
  readonly leaseId: string
  /** 1 for the first lease of the task. */
  readonly attempt: number
}

export type Command =
  | { readonly op: 'enqueue'; readonly id: string; readonly path: string }
  | { readonly op: 'lease'; readonly worker: string; readonly leaseMs: number; readonly max: number }
  | { readonly op: 'complete'; readonly id: string; readonly leaseId: string; readonly result: string }
  | { readonly op: 'retry'; readonly id: string; readonly leaseId: string; readonly reason: string }

/** `known`: an earlier copy of this command has done it already, so a client may repeat what it got no answer to. */
export type Answer =
  | { readonly ok: true; readonly known?: boolean; readonly tasks?: readonly LeasedTask[] }
  | { readonly ok: false; readonly reason: string }

/** Everything that the queue is: tasks in the order in which they came, and by number which of them wait and which are leased, in their order. */
export interface QueueState {
  readonly tasks: readonly Task[]
  readonly queued: readonly number[]
  readonly leased: readonly number[]
  readonly refused: number
}

const fields = new Map<unknown, Readonly<Record<string, 'string' | 'number'>>>([
  ['enqueue', { id: 'string', path: 'string' }],
  ['lease', { worker: 'string', leaseMs: 'number', max: 'number' }],
  ['complete', { id: 'string', leaseId: 'string', result: 'string' }],
  ['retry', { id: 'string', leaseId: 'string', reason: 'string' }],
])

export class Queue {
  readonly #tasks = new Map<string, Task>()
  readonly #queued = new Set<Task>()
  readonly #leased = new Set<Task>()
  #refused = 0

  /** Throws when it is not the state of a queue. */
  static from({ tasks, queued, leased, refused }: QueueState): Queue {
    const queue = new Queue()
    for (const task of tasks) queue.#tasks.set(task.id, task)
    const numbered = (number: number): Task => {
      const task = tasks[number]
      if (task === undefined) throw new Error(`There is no task number ${number}`)
      return task
    }
    for (const number of queued) queue.#queued.add(numbered(number))
    for (const number of leased) queue.#leased.add(numbered(number))
    queue.#refused = refused
    return queue
  }

  /** Shares its tasks with the queue: to be written down before the next command. */
  state(): QueueState {
    const tasks = this.history()
    const numbers = new Map(tasks.map((task, number) => [task, number]))
    const numbered = (some: ReadonlySet<Task>) => [...some].map((task) => numbers.get(task) ?? -1)
    return { tasks, queued: numbered(this.#queued), leased: numbered(this.#leased), refused: this.#refused }
  }

  apply(command: unknown, timestampMs: number): Answer {
    this.#returnExpired(timestampMs)
    if (!isCommand(command)) return { ok: false, reason: 'not a command of this queue' }
    switch (command.op) {
      case 'enqueue':
        return this.#enqueue(command.id, command.path)
      case 'lease':
        return this.#lease(command.worker, timestampMs, timestampMs + command.leaseMs, Math.min(command.max, 100))
      case 'complete':
        return this.#complete(command.id, command.leaseId, timestampMs, command.result)
      case 'retry':
        return this.#retry(command.id, command.leaseId, timestampMs)
      default:
        return command satisfies never
    }
  }

  /** Whether a lease could find something. The local clock is only a hint here: the command's timestamp decides. */
  claimable(nowMs: number): boolean {
    if (this.#queued.size > 0) return true
    for (const task of this.#leased) if (currentLease(task).untilMs <= nowMs) return true
    return false
  }

  stats() {
    const done = this.#tasks.size - this.#queued.size - this.#leased.size
    return { queued: this.#queued.size, leased: this.#leased.size, done, refused: this.#refused }
  }

  history(): readonly Task[] {
    return [...this.#tasks.values()]
  }

  digest(): string {
    return createHash('sha256')
      .update(JSON.stringify([this.stats(), this.history()]))
      .digest('hex')
  }

  #enqueue(id: string, path: string): Answer {
    if (this.#tasks.has(id)) return { ok: true, known: true }
    const task: Task = { id, path, leases: [], completions: [] }
    this.#tasks.set(id, task)
    this.#queued.add(task)
    return { ok: true, known: false }
  }

  #lease(worker: string, fromMs: number, untilMs: number, max: number): Answer {
    const tasks: LeasedTask[] = []
    for (const task of this.#queued) {
      if (tasks.length >= max) break
      const attempt = task.leases.length + 1
      const leaseId = `${task.id}#${attempt}`
      task.leases.push({ leaseId, worker, fromMs, untilMs })
      this.#queued.delete(task)
      this.#leased.add(task)
      tasks.push({ id: task.id, path: task.path, leaseId, attempt })
    }
    return { ok: true, tasks }
  }

  #complete(id: string, leaseId: string, atMs: number, result: string): Answer {
    const task = this.#tasks.get(id)
    if (task?.completions.some((completion) => completion.leaseId === leaseId)) return { ok: true, known: true }
    if (task === undefined || !this.#holds(task, leaseId)) return this.#refuse(leaseId)
    task.completions.push({ leaseId, atMs, result })
    this.#leased.delete(task)
    return { ok: true, known: false }
  }

  #retry(id: string, leaseId: string, atMs: number): Answer {
    const task = this.#tasks.get(id)
    if (task === undefined || !this.#holds(task, leaseId)) return this.#refuse(leaseId)
    currentLease(task).untilMs = atMs
    this.#returnExpired(atMs)
    return { ok: true }
  }

  #refuse(leaseId: string): Answer {
    this.#refused++
    return { ok: false, reason: `lease ${leaseId} is not held any more` }
  }

  #holds(task: Task, leaseId: string): boolean {
    return this.#leased.has(task) && currentLease(task).leaseId === leaseId
  }

  #returnExpired(nowMs: number): void {
    for (const task of this.#leased) {
      if (currentLease(task).untilMs > nowMs) continue
      this.#leased.delete(task)
      this.#queued.add(task)
    }
  }
}

function currentLease(task: Task): Lease {
  const lease = task.leases.at(-1)
  if (lease === undefined) throw new Error(`Task ${task.id} counts as leased, but no lease was ever given`)
  return lease
}

function isCommand(value: unknown): value is Command {
  if (typeof value !== 'object' || value === null || !('op' in value)) return false
  const expected = fields.get(value.op)
  return (
    expected !== undefined && Object.entries(expected).every(([name, type]) => typeof Reflect.get(value, name) === type)
  )
}
