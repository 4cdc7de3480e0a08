// The state machine of the task queue. Deterministic: the same commands with the same timestamps give the same state on every node, so
// there is no clock, no randomness and no exception in here: what cannot be done is answered with the reason.

import { type Static, Type } from 'typebox'
import { Compile } from 'typebox/compile'

const Text = Type.String()
const Command = Type.Union([
  Type.Object({ op: Type.Literal('enqueue'), id: Text, path: Text }),
  Type.Object({ op: Type.Literal('lease'), worker: Text, leaseMs: Type.Integer(), max: Type.Integer() }),
  Type.Object({ op: Type.Literal('complete'), id: Text, leaseId: Text, result: Text }),
])
const commands = Compile(Command)
export type Command = Static<typeof Command>

/** A task with everything that ever happened to it: the audit is the state. */
export interface Task {
  readonly id: string
  readonly path: string
  /** Held from (inclusive) until (exclusive), in cluster time. */
  readonly leases: { leaseId: string; worker: string; fromMs: number; untilMs: number }[]
  readonly completions: { leaseId: string; atMs: number; result: string }[]
}

export interface Answer {
  readonly ok: boolean
  readonly reason?: string
  readonly tasks?: readonly { readonly id: string; readonly path: string; readonly leaseId: string }[]
}

export class Queue {
  /** In the order in which they came, and are leased. */
  readonly tasks: Map<string, Task>
  readonly #open: Set<Task>

  constructor(tasks: readonly Task[] = []) {
    this.tasks = new Map(tasks.map((task) => [task.id, task]))
    this.#open = new Set(tasks.filter((task) => task.completions.length === 0))
  }

  apply(command: unknown, nowMs: number): Answer {
    if (!commands.Check(command)) return { ok: false, reason: 'not a command of this queue' }
    if (command.op === 'lease') return { ok: true, tasks: this.#lease(command, nowMs) }
    const { id } = command
    const task = this.tasks.get(id)
    if (command.op === 'enqueue') {
      if (task !== undefined) return { ok: false, reason: `there is a task ${id} already` }
      const added = { id, path: command.path, leases: [], completions: [] }
      this.tasks.set(id, added)
      this.#open.add(added)
    } else {
      const { leaseId, result } = command
      const isHeld = task?.leases.at(-1)?.leaseId === leaseId && this.#open.has(task) && !isFree(task, nowMs)
      if (!isHeld) return { ok: false, reason: `lease ${leaseId} is not held any more` }
      task.completions.push({ leaseId, atMs: nowMs, result })
      this.#open.delete(task)
    }
    return { ok: true }
  }

  /** Not done, and not leased. By the local clock that is but a hint: the timestamp of a lease decides. */
  free(nowMs: number): Task[] {
    return [...this.#open].filter((task) => isFree(task, nowMs))
  }

  stats(nowMs: number) {
    const queued = this.free(nowMs).length
    return { queued, leased: this.#open.size - queued, done: this.tasks.size - this.#open.size }
  }

  #lease({ worker, leaseMs, max }: Extract<Command, { readonly op: 'lease' }>, fromMs: number) {
    return this.free(fromMs)
      .slice(0, Math.max(0, Math.min(max, 100)))
      .map(({ id, path, leases }) => {
        const leaseId = `${id}#${leases.length + 1}`
        leases.push({ leaseId, worker, fromMs, untilMs: fromMs + leaseMs })
        return { id, path, leaseId }
      })
  }
}

function isFree({ leases }: Task, nowMs: number): boolean {
  return (leases.at(-1)?.untilMs ?? nowMs) <= nowMs
}
