// Three machines, each a sidecar and the application beside it, which is the state machine. All of it real processes on loopback.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePorts } from '../../scripts/demo/ports.ts'
import type { ApplicationState } from './application/main.ts'
import { ApplicationProcess } from './application-process.ts'
import { ClusterProcesses, type SidecarProcess, until } from './processes.ts'

export interface MachinesOptions {
  /** More settings of the sidecars. */
  readonly env?: Readonly<Record<string, string>>
  readonly applyDelayMs?: number
  /** What node runs as the sidecar; the sources by default. */
  readonly program?: readonly string[]
}

export interface Machine {
  readonly id: string
  readonly sidecar: SidecarProcess
  readonly application: ApplicationProcess
  /** Of STATUS_LISTEN. */
  readonly statusPort: number
}

const size = 3

export class Machines {
  readonly cluster: ClusterProcesses
  readonly all: readonly Machine[]
  /** Who starts them may be told to end in the midst of it. */
  readonly #leave = () => {
    for (const { id, application } of this.all) {
      this.cluster.signal(id, 'SIGKILL')
      void application.kill()
    }
  }

  private constructor(cluster: ClusterProcesses, all: readonly Machine[]) {
    this.cluster = cluster
    this.all = all
  }

  /** Starts everything, and waits for a leader and for every application. */
  static async start({ env = {}, applyDelayMs = 0, program }: MachinesOptions = {}): Promise<Machines> {
    const ports = await freePorts(size * 2)
    const portsOf = (index: number) => ({ application: ports[index * 2] ?? 0, status: ports[index * 2 + 1] ?? 0 })
    const cluster = await ClusterProcesses.prepare({
      size,
      ...(program === undefined ? {} : { program }),
      env: (_id, index) => ({
        STATE_MACHINE: 'app',
        APP_URL: `http://127.0.0.1:${portsOf(index).application}/raft`,
        ADVERTISE_APP_URL: `http://127.0.0.1:${portsOf(index).application}`,
        STATUS_LISTEN: `127.0.0.1:${portsOf(index).status}`,
        LOG_LEVEL: 'warn',
        ...env,
      }),
    })
    const all = cluster.sidecars.map((sidecar, index): Machine => {
      const { application: port, status: statusPort } = portsOf(index)
      const { id, apiUrl } = sidecar
      const journal = join(cluster.directory, `${id}.journal`)
      const application = new ApplicationProcess({ name: id, port, sidecarUrl: apiUrl, journal, applyDelayMs })
      return { id, sidecar, application, statusPort }
    })
    const machines = new Machines(cluster, all)
    process.once('exit', machines.#leave)
    for (const { id } of all) machines.start(id)
    try {
      await cluster.leader()
      for (const { application } of all)
        await until(`the application ${application.name}`, 20_000, application.state.bind(application))
    } catch (error) {
      await machines.close()
      throw error
    }
    return machines
  }

  get(id: string): Machine {
    const machine = this.all.find((candidate) => candidate.id === id)
    if (machine === undefined) throw new Error(`There is no machine ${id}`)
    return machine
  }

  async leader(): Promise<Machine> {
    return this.get((await this.cluster.leader()).id)
  }

  /** Whatever of it does not run. */
  start(id: string): void {
    const { sidecar, application } = this.get(id)
    if (sidecar.child === null) this.cluster.start(id)
    if (!application.isRunning) application.start()
  }

  /** Its power is cut: both processes get SIGKILL in the same moment. */
  async kill(id: string): Promise<void> {
    await Promise.all([this.cluster.kill(id), this.get(id).application.kill()])
  }

  /** Processes that ended though nobody had told them to. */
  get surprises(): readonly string[] {
    return [...this.cluster.surprises, ...this.all.flatMap(({ application }) => application.surprises)]
  }

  /** Waits until every application holds everything that is committed now, and returns their states. */
  async settled(): Promise<readonly ApplicationState[]> {
    for (const { id } of this.all) await this.cluster.caughtUp(id)
    return await Promise.all(
      this.all.map(async ({ id, application }) => await until(`the state of ${id}`, 10_000, () => application.state())),
    )
  }

  /** Ends every process and removes the directory. */
  async close(): Promise<void> {
    await Promise.all([this.cluster.end(), ...this.all.map(({ application }) => application.kill())])
    await this.cluster.close()
    process.off('exit', this.#leave)
  }

  /** Ends every process, leaves the directory, and puts into it what they printed last. */
  async abandon(): Promise<string> {
    await Promise.all([this.cluster.end(), ...this.all.map(({ application }) => application.kill())])
    for (const { id, sidecar, application } of this.all) {
      await writeFile(join(this.cluster.directory, `${id}.sidecar.log`), sidecar.log.join(''))
      await writeFile(join(this.cluster.directory, `${id}.application.log`), application.log.join(''))
    }
    return this.cluster.directory
  }
}
