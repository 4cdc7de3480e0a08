// Three sidecars, each with an application in this process and a typed client: what a user of the contract has.

import assert from 'node:assert/strict'
import { type Client, createClient, SidecarError } from '../../src/client/client.ts'
import { type ApplicationOptions, HookedApplication } from './hooked-application.ts'
import { ClusterProcesses, type SidecarProcess, until } from './processes.ts'

export interface HookedNode {
  readonly id: string
  readonly sidecar: SidecarProcess
  readonly application: HookedApplication
  readonly client: Client
}

export interface HookedClusterOptions {
  readonly env?: (id: string) => Readonly<Record<string, string>>
  readonly application?: (id: string) => Omit<ApplicationOptions, 'id'>
}

const ids = ['n1', 'n2', 'n3'] as const

export class HookedCluster {
  readonly processes: ClusterProcesses
  readonly nodes: readonly [HookedNode, HookedNode, HookedNode]

  private constructor(processes: ClusterProcesses, applications: readonly HookedApplication[]) {
    this.processes = processes
    this.nodes = processes.sidecars.map((sidecar, at) => {
      const application = applications[at]
      assert(application !== undefined)
      return { id: sidecar.id, sidecar, application, client: createClient({ url: sidecar.apiUrl }) }
    }) as [HookedNode, HookedNode, HookedNode]
  }

  static async start({ env, application }: HookedClusterOptions = {}): Promise<HookedCluster> {
    const applications = await Promise.all(ids.map((id) => HookedApplication.start({ id, ...application?.(id) })))
    const processes = await ClusterProcesses.start({
      size: 3,
      env: (id, at) => ({ STATE_MACHINE: 'app', APP_URL: applications[at]?.url ?? '', ...env?.(id) }),
    })
    const cluster = new HookedCluster(processes, applications)
    // However long three processes take to start on a busy machine, it is not what is tested.
    await processes.leader(60_000)
    return cluster
  }

  /** The leader first. */
  async ranked(): Promise<[HookedNode, HookedNode, HookedNode]> {
    const { id } = await this.processes.leader()
    return [...this.nodes].sort((a, b) => Number(b.id === id) - Number(a.id === id)) as [
      HookedNode,
      HookedNode,
      HookedNode,
    ]
  }

  /** Kills these sidecars at once, and starts them again. */
  async restart(nodes: readonly HookedNode[], signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await Promise.all(nodes.map(({ id }) => this.processes.kill(id, signal)))
    for (const { id } of nodes) this.processes.start(id)
  }

  /** Every application holds what is committed now, and it is the same. */
  async isWhole(): Promise<void> {
    await Promise.all(this.nodes.map(({ client }) => client.barrier()))
    const [first, ...others] = this.nodes
    for (const { id, application } of others) {
      assert.deepEqual(application.effects, first.application.effects, `${id} and ${first.id}`)
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map(({ client }) => client.close()))
    await this.processes.close()
    await Promise.all(this.nodes.map(({ application }) => application.close()))
  }
}

/** What a call of the client rejects with. */
export async function failureOf(call: Promise<unknown>): Promise<SidecarError> {
  try {
    await call
  } catch (error) {
    if (error instanceof SidecarError) return error
    throw error
  }
  throw new Error('It did not fail')
}

/** Resolves with what /readyz says of its application, once that is this. */
export async function becomesNotReady({ id, apiUrl }: SidecarProcess, why: RegExp): Promise<string> {
  return await until(`/readyz of ${id} to say ${why}`, 20_000, async () => {
    const response = await fetch(`${apiUrl}/readyz/application`).catch(() => null)
    const text = (await response?.text()) ?? ''
    return response?.status === 503 && why.test(text) ? text : null
  })
}
