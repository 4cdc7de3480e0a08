// One process of the application in application/, which keeps its state over SIGKILL. Ends only what it started.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { ApplicationState } from './application/main.ts'

export interface ApplicationOptions {
  readonly name: string
  readonly port: number
  readonly sidecarUrl: string
  /** The file of its state. */
  readonly journal: string
  readonly applyDelayMs?: number
}

export class ApplicationProcess {
  readonly name: string
  readonly url: string
  readonly port: number
  readonly journal: string
  /** What it printed so far; kept short. */
  readonly log: string[] = []
  /** Ends that nobody ordered. */
  readonly surprises: string[] = []
  readonly #arguments: readonly string[]
  #child: ChildProcess | null = null

  constructor({ name, port, sidecarUrl, journal, applyDelayMs = 0 }: ApplicationOptions) {
    this.name = name
    this.port = port
    this.journal = journal
    this.url = `http://127.0.0.1:${port}`
    const main = new URL('application/main.ts', import.meta.url).pathname
    const flags = { name, port, sidecar: sidecarUrl, journal, 'apply-delay-ms': applyDelayMs }
    const given = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)])
    this.#arguments = ['--import', 'tsx', main, ...given]
  }

  get isRunning(): boolean {
    return this.#child !== null
  }

  start(): void {
    if (this.#child !== null) throw new Error(`The application ${this.name} runs already`)
    const child = spawn(process.execPath, this.#arguments, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.log.push(chunk.toString())
        if (this.log.length > 200) this.log.shift()
      })
    }
    child.once('exit', (code, signal) => {
      if (this.#child !== child) return
      this.#child = null
      this.surprises.push(`the application ${this.name} ended with ${signal ?? `exit code ${code}`}`)
    })
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === null) return
    this.#child = null
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  /** Null: it does not answer. */
  async state(): Promise<ApplicationState | null> {
    try {
      const response = await fetch(`${this.url}/state`, { signal: AbortSignal.timeout(5_000) })
      return (await response.json()) as ApplicationState
    } catch {
      return null
    }
  }
}
