// There is one way to end, whatever ends the demo: the guard hears the end of its stdin, kills the children and removes their directories.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { nodeArguments } from './child-environment.ts'
import { killGroup } from './process-group.ts'
import type { Screen } from './screen.ts'

export class Ending {
  readonly #guard: ChildProcess & { readonly stdin: Writable }
  readonly #screen: Screen
  readonly #groups = new Set<number>()
  #leaving = false

  static async prepare(screen: Screen): Promise<Ending> {
    const guard = spawn(process.execPath, nodeArguments('scripts/demo/guard-process.ts'), {
      stdio: ['pipe', 'ignore', 'inherit'],
      detached: true,
    })
    await once(guard, 'spawn')
    return new Ending(guard, screen)
  }

  constructor(guard: ChildProcess & { readonly stdin: Writable }, screen: Screen) {
    this.#guard = guard
    this.#screen = screen
    // A guard that is gone is noticed by its exit; a write to it must not end the demo in another way.
    guard.stdin.on('error', () => undefined)
    guard.once('exit', () => this.leaveWith(1, 'The guard of the demo was killed.'))
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () =>
        this.leaveWith(128 + constants.signals[signal], `Interrupted by ${signal}: stopping everything.`),
      )
    }
    process.on('uncaughtException', (error) => this.leaveWith(1, `The demo broke: ${error.stack}`))
    // Whoever read the output has gone.
    process.stdout.on('error', () => this.leaveWith(1, null))
    // The last resort, in case that the guard was not there to do it.
    process.on('exit', () => {
      for (const pid of this.#groups) killGroup(pid)
    })
  }

  get leaving(): boolean {
    return this.#leaving
  }

  watch(pid: number): void {
    this.#groups.add(pid)
    this.#tell('watch', pid)
  }

  forget(pid: number): void {
    this.#groups.delete(pid)
    this.#tell('forget', pid)
  }

  temporaryDirectory(): string {
    const directory = mkdtempSync(join(tmpdir(), 'raft-sidecar-demo-'))
    this.#tell('remove', directory)
    return directory
  }

  keepDirectory(directory: string): void {
    this.#tell('keep', directory)
  }

  /** Stops everything and ends the process; the first caller decides on the exit code. */
  async leave(exitCode: number): Promise<never> {
    if (!this.#leaving) {
      this.#leaving = true
      this.#screen.close()
      this.#guard.stdin.end()
      if (this.#guard.exitCode === null && this.#guard.signalCode === null) await once(this.#guard, 'exit')
      if (this.#guard.exitCode === 0) this.#groups.clear()
      process.exit(exitCode)
    }
    return new Promise(() => undefined)
  }

  leaveWith(exitCode: number, why: string | null): void {
    if (this.#leaving) return
    if (why !== null) this.#screen.say(why)
    void this.leave(exitCode)
  }

  #tell(verb: string, subject: number | string): void {
    this.#guard.stdin.write(`${verb}\t${subject}\n`)
  }
}
