// A disk whose syncs take long, for one running process: strace holds every fdatasync of it back, and leaves it alone otherwise. Where that
// cannot be, the test that wants it says so and is skipped.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

/** Attaches to a process that soon ends. */
const probe = `
sleep 0.3 &
strace -qq --output=/dev/null --follow-forks --trace=fdatasync --inject=fdatasync:delay_exit=1 --attach=$!
`

/** In a sentence; false: there can be one. For `skip`. */
export function whyNoSlowSync(): string | false {
  const { status, stderr } = spawnSync('sh', ['-c', probe], { encoding: 'utf8' })
  return status === 0 ? false : `strace cannot hold back a sync here: ${stderr.trim() || `status ${status}`}`
}

export class SlowSync {
  readonly #strace: ChildProcess

  private constructor(strace: ChildProcess) {
    this.#strace = strace
  }

  /** Resolves when every sync that begins from now on takes so much longer. */
  static async of(pid: number, delayMs: number): Promise<SlowSync> {
    const inject = `--inject=fdatasync:delay_exit=${delayMs}ms`
    const options = ['--output=/dev/null', '--follow-forks', '--trace=fdatasync', inject, `--attach=${pid}`]
    const strace = spawn('strace', options, { stdio: ['ignore', 'ignore', 'pipe'] })
    await new Promise<void>((resolve, reject) => {
      let said = ''
      strace.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        if (said.includes(' attached')) resolve()
      })
      strace.once('close', () => reject(new Error(`strace ended: ${said}`)))
      strace.once('error', reject)
    })
    return new SlowSync(strace)
  }

  /** What is being held back returns at once. */
  async end(): Promise<void> {
    if (this.#strace.exitCode !== null || this.#strace.signalCode !== null) return
    const ended = once(this.#strace, 'exit')
    this.#strace.kill('SIGTERM')
    await ended
  }
}
