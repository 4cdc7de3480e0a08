// The processes of the cluster, by name. One that ends without being told to ends the demo, with its last words.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { childEnvironment } from './child-environment.ts'
import type { Ending } from './ending.ts'
import { killGroup } from './process-group.ts'

export interface ChildPlan {
  readonly name: string
  readonly arguments: readonly string[]
  readonly environment: Readonly<Record<string, string>>
}

interface Child {
  readonly process: ChildProcess
  readonly pid: number
  doomed: boolean
}

const lastLines = 15

export class Children {
  readonly #directory: string
  readonly #ending: Ending
  readonly #children = new Map<string, Child>()

  /** Each child gets a directory below this one, to run in; its log stands beside it. */
  constructor(directory: string, ending: Ending) {
    this.#directory = directory
    this.#ending = ending
  }

  start(plan: ChildPlan): void {
    const cwd = join(this.#directory, plan.name)
    mkdirSync(cwd, { recursive: true })
    const log = openSync(this.logFile(plan.name), 'a')
    const started = spawn(process.execPath, plan.arguments, {
      cwd,
      env: childEnvironment(plan.environment),
      stdio: ['ignore', log, log],
      detached: true,
    })
    closeSync(log)
    if (started.pid === undefined) throw new Error(`Cannot start ${plan.name}: ${process.execPath} could not be run`)
    const child: Child = { process: started, pid: started.pid, doomed: false }
    this.#children.set(plan.name, child)
    this.#ending.watch(child.pid)
    started.once('exit', (code, signal) => {
      if (child.doomed || this.#ending.leaving) return
      const end = signal === null ? `with exit code ${code}` : `by ${signal}`
      this.#ending.leaveWith(
        1,
        `${plan.name} ended unexpectedly, ${end}. Its last lines:\n${this.#lastWords(plan.name)}`,
      )
    })
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(name: string): Promise<void> {
    const child = this.#children.get(name)
    if (child === undefined) throw new Error(`Cannot kill ${name}: it was never started`)
    child.doomed = true
    const gone = once(child.process, 'exit')
    killGroup(child.pid)
    await gone
    this.#ending.forget(child.pid)
  }

  logFile(name: string): string {
    return join(this.#directory, `${name}.log`)
  }

  #lastWords(name: string): string {
    const lines = readFileSync(this.logFile(name), 'utf8').trimEnd().split('\n')
    return lines
      .slice(-lastLines)
      .map((line) => `  ${line}`)
      .join('\n')
  }
}
