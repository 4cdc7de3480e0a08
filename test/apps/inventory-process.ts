// The inventory of inventory.py as a process: started, asked, killed and started again.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type { TestContext } from 'node:test'

const probe =
  'import hmac, http.server, sqlite3, sys; sys.exit(sqlite3.sqlite_version_info < (3, 24) or sys.version_info < (3, 9))'

/** In a sentence; false: there is. For `skip`. */
export function whyNoPython(): string | false {
  const { status } = spawnSync('python3', ['-c', probe])
  return status === 0
    ? false
    : 'there is no python3 with its standard library here: Debian has it in the package python3'
}

export interface InventoryOptions {
  readonly directory: string
  /** Any free one by default. */
  readonly port?: number
  readonly sidecarUrl?: string
  readonly secrets?: string
}

export class Inventory {
  readonly url: string
  readonly #process: ChildProcess

  private constructor(url: string, process: ChildProcess) {
    this.url = url
    this.#process = process
  }

  /** `directory` holds its database; the process ends with the test. */
  static async start(
    t: TestContext,
    { directory, port = 0, sidecarUrl, secrets }: InventoryOptions,
  ): Promise<Inventory> {
    const database = join(directory, 'inventory.db')
    const sidecar = sidecarUrl === undefined ? [] : ['--sidecar', sidecarUrl]
    const script = join(import.meta.dirname, 'inventory.py')
    const process = spawn('python3', [script, '--port', String(port), '--database', database, ...sidecar], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...globalThis.process.env, APP_SECRET: secrets ?? '' },
    })
    t.after(() => process.kill('SIGKILL'))
    const [url] = (await once(createInterface(process.stdout as Readable), 'line')) as [string]
    return new Inventory(url, process)
  }

  get hooks(): string {
    return `${this.url}/raft`
  }

  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
    const ended = once(this.#process, 'exit')
    this.#process.kill(signal)
    const [exitCode] = (await ended) as [number | null]
    return exitCode
  }

  async move(article: string, move: 'receive' | 'reserve', quantity: unknown, key?: string) {
    const response = await fetch(`${this.url}/articles/${article}/${move}`, {
      method: 'POST',
      headers: key === undefined ? {} : { 'idempotency-key': key },
      body: JSON.stringify({ quantity }),
    })
    return { status: response.status, body: await response.json() }
  }

  async get(path: string) {
    const response = await fetch(`${this.url}${path}`)
    return { status: response.status, body: await response.json() }
  }
}
