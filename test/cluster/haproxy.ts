// A real HAProxy in front of the applications, set up by the example that users get, with other addresses. Ends only the process that it started.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePorts } from '../../scripts/demo/ports.ts'
import type { Machines } from './machines.ts'
import { until } from './processes.ts'

export const exampleUrl = new URL('../../systemd/haproxy.cfg', import.meta.url)

/** In a sentence; false: there is one. For `skip`. */
export function whyNoHaproxy(): string | false {
  return spawnSync('haproxy', ['-v']).error === undefined ? false : 'haproxy is not installed'
}

export class Haproxy {
  readonly url: string
  readonly #child: ChildProcess
  readonly #log: string[] = []

  private constructor(url: string, child: ChildProcess) {
    this.url = url
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#log.push(chunk.toString())
        if (this.#log.length > 200) this.#log.shift()
      })
    }
  }

  /** Resolves when it answers, if only by 503. */
  static async start(machines: Machines): Promise<Haproxy> {
    const [port = 0] = await freePorts(1)
    const file = join(machines.cluster.directory, 'haproxy.cfg')
    await writeFile(file, configurationFor(await readFile(exampleUrl, 'utf8'), machines, port))
    const child = spawn('haproxy', ['-db', '-f', file], { stdio: ['ignore', 'pipe', 'pipe'] })
    const haproxy = new Haproxy(`http://127.0.0.1:${port}`, child)
    await until('HAProxy to answer', 10_000, async () => {
      if (!haproxy.isRunning) throw new Error(`HAProxy ended by itself: ${haproxy.log}`)
      return await fetch(haproxy.url).then(
        async (response) => await response.text(),
        () => null,
      )
    })
    return haproxy
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  get log(): string {
    return this.#log.join('')
  }

  async stop(): Promise<void> {
    if (!this.isRunning) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}

function configurationFor(example: string, machines: Machines, port: number): string {
  let text = replaceOnce(example, 'bind 0.0.0.0:8200', `bind 127.0.0.1:${port}`)
  machines.all.forEach(({ application, statusPort }, index) => {
    const host = `10.0.0.${index + 1}`
    const own = `127.0.0.1:${application.port} check addr 127.0.0.1 port ${statusPort}`
    text = replaceOnce(text, `${host}:8080 check addr ${host} port 4002`, own)
  })
  return text
}

function replaceOnce(text: string, part: string, by: string): string {
  const parts = text.split(part)
  if (parts.length !== 2) throw new Error(`The example has ${parts.length - 1} times: ${part}`)
  return parts.join(by)
}
