// A cluster of real sidecar processes on loopback, for tests and benchmarks. Ends only what it started, by pid.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../../scripts/demo/ports.ts'

export interface SidecarProcess {
  readonly id: string
  readonly apiUrl: string
  readonly apiPort: number
  readonly peerAddress: string
  readonly dataDir: string
  readonly env: Readonly<Record<string, string>>
  child: ChildProcess | null
  /** What it logged so far; kept short. */
  log: string[]
}

export interface ClusterOptions {
  readonly size: number
  /** More settings, by node id; DATA_DIR may be one of them. */
  readonly env?: (id: string, index: number) => Record<string, string>
  /** Where the data directories are made; the system's temporary directory by default. */
  readonly parentDir?: string
  /** What node runs; the sources by default. */
  readonly program?: readonly string[]
}

export interface Status {
  readonly id: string
  readonly role: string
  readonly term: number
  readonly leader: { readonly id: string } | null
  readonly holdsQuorum: boolean
  readonly commitIndex: number
  readonly appliedIndex: number
  readonly lastIndex: number
  readonly isStorageFull: boolean
  readonly isStorageStalled: boolean
  readonly applierBlocked: string | null
  readonly uptimeMs: number
}

export class ClusterProcesses {
  readonly directory: string
  readonly sidecars: readonly SidecarProcess[]
  /** Ends that nobody ordered. */
  readonly surprises: string[] = []
  readonly #program: readonly string[]
  readonly #doomed = new WeakSet<ChildProcess>()
  #isClosed = false

  private constructor(directory: string, sidecars: readonly SidecarProcess[], program: readonly string[]) {
    this.directory = directory
    this.sidecars = sidecars
    this.#program = program
  }

  /** Chooses ports and directories; starts nothing yet. */
  static async prepare(options: ClusterOptions): Promise<ClusterProcesses> {
    const directory = await mkdtemp(join(options.parentDir ?? tmpdir(), 'raft-sidecar-'))
    const ports = await freePorts(options.size * 2)
    const nodes = Array.from({ length: options.size }, (_, i) => ({
      id: `n${i + 1}`,
      peerAddress: `127.0.0.1:${ports[i * 2]}`,
      apiPort: ports[i * 2 + 1] ?? 0,
    }))
    const members = nodes.map(({ id, peerAddress }) => `${id}=${peerAddress}`).join(',')
    const sidecars = nodes.map(({ id, peerAddress, apiPort }, i): SidecarProcess => {
      const own = options.env?.(id, i) ?? {}
      const dataDir = own.DATA_DIR ?? join(directory, id)
      return {
        id,
        peerAddress,
        apiPort,
        dataDir,
        apiUrl: `http://127.0.0.1:${apiPort}`,
        env: {
          PATH: process.env.PATH ?? '',
          NODE_ID: id,
          CLUSTER: 'test',
          MEMBERS: members,
          PEER_LISTEN: peerAddress,
          DATA_DIR: dataDir,
          API_LISTEN: `127.0.0.1:${apiPort}`,
          ...own,
        },
        child: null,
        log: [],
      }
    })
    return new ClusterProcesses(directory, sidecars, options.program ?? ['--import', 'tsx', 'src/main.ts'])
  }

  static async start(options: ClusterOptions): Promise<ClusterProcesses> {
    const cluster = await ClusterProcesses.prepare(options)
    for (const { id } of cluster.sidecars) cluster.start(id)
    return cluster
  }

  get(id: string): SidecarProcess {
    const sidecar = this.sidecars.find((candidate) => candidate.id === id)
    if (sidecar === undefined) throw new Error(`There is no node ${id}`)
    return sidecar
  }

  start(id: string): SidecarProcess {
    const sidecar = this.get(id)
    if (sidecar.child !== null) throw new Error(`${id} runs already`)
    const child = spawn(process.execPath, [...this.#program, 'run'], {
      env: { ...sidecar.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    sidecar.child = child
    const keep = (chunk: Buffer) => {
      sidecar.log.push(chunk.toString())
      if (sidecar.log.length > 200) sidecar.log.shift()
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    child.once('exit', (code, end) => {
      if (sidecar.child === child) sidecar.child = null
      if (!this.#doomed.has(child)) this.surprises.push(`the sidecar ${id} ended with ${end ?? `exit code ${code}`}`)
    })
    return sidecar
  }

  signal(id: string, signal: NodeJS.Signals): void {
    this.get(id).child?.kill(signal)
  }

  /** Sends the signal and waits for the end of the process. */
  async kill(id: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    const { child } = this.get(id)
    if (child === null) return null
    const exited = once(child, 'exit')
    this.#doomed.add(child)
    child.kill(signal)
    const [code] = (await exited) as [number | null]
    return code
  }

  async status(id: string): Promise<Status | null> {
    try {
      const response = await fetch(`${this.get(id).apiUrl}/v1/status`, { signal: AbortSignal.timeout(2000) })
      return (await response.json()) as Status
    } catch {
      return null
    }
  }

  /** The node that leads and holds a quorum, as soon as there is one. */
  async leader(withinMs = 20_000): Promise<SidecarProcess> {
    return await until('a leader with a quorum', withinMs, async () => {
      const running = this.sidecars.filter(({ child }) => child !== null)
      const states = await Promise.all(running.map(({ id }) => this.status(id)))
      const found = states.find((status) => status?.role === 'leader' && status.holdsQuorum)
      return found === undefined || found === null ? null : this.get(found.id)
    })
  }

  /** Waits until this node has applied everything that is committed now. */
  async caughtUp(id: string): Promise<void> {
    const goal = await until('a leader that says what is committed', 20_000, async () => {
      const leader = await this.leader()
      return (await this.status(leader.id))?.commitIndex ?? null
    })
    await until(`${id} to apply index ${goal}`, 20_000, async () => {
      const status = await this.status(id)
      return status !== null && status.appliedIndex >= goal ? true : null
    })
  }

  /** Whoever still works with it should stop. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Ends every process; the directories stay. */
  async end(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.sidecars.map(({ id }) => this.kill(id)))
  }

  /** Ends every process and removes the directories. */
  async close(): Promise<void> {
    await this.end()
    await rm(this.directory, { recursive: true, force: true })
  }
}

/** Polls until `probe` gives something, for at most `withinMs`. */
export async function until<T>(what: string, withinMs: number, probe: () => Promise<T | null>): Promise<T> {
  const deadline = Date.now() + withinMs
  for (;;) {
    const found = await probe()
    if (found !== null) return found
    if (Date.now() > deadline) throw new Error(`Waited ${withinMs} ms in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}
