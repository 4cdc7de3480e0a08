// Three sidecars and three applications: their addresses, and how each is started.

import { nodeArguments } from './child-environment.ts'
import type { ChildPlan, Children } from './children.ts'
import { freePorts } from './ports.ts'

export interface Machine {
  readonly id: string
  readonly apiUrl: string
  readonly appUrl: string
  readonly sidecar: ChildPlan
  readonly application: ChildPlan
}

/** How long a worker may keep a task. Short, so that the tasks of a dead node are seen to come back. */
const leaseMs = 3000
const workers = 2

export async function planMachines(folder: string): Promise<Machine[]> {
  const ids = ['n1', 'n2', 'n3']
  const ports = await freePorts(ids.length * 3)
  const address = (at: number) => `127.0.0.1:${ports[at]}`
  const members = ids.map((id, at) => `${id}=${address(at * 3)}`).join(',')
  return ids.map((id, at) => {
    const apiUrl = `http://${address(at * 3 + 1)}`
    const appUrl = `http://${address(at * 3 + 2)}`
    const options = { name: id, port: String(ports[at * 3 + 2]), sidecar: apiUrl, folder, workers, 'lease-ms': leaseMs }
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
    return {
      id,
      apiUrl,
      appUrl,
      application: {
        name: `application-${id}`,
        arguments: nodeArguments('test/apps/task-queue/main.ts', ...flags),
        environment: {},
      },
      sidecar: {
        name: `sidecar-${id}`,
        arguments: nodeArguments('src/main.ts', 'run'),
        environment: {
          NODE_ID: id,
          CLUSTER: 'demo',
          MEMBERS: members,
          PEER_LISTEN: address(at * 3),
          DATA_DIR: 'data',
          API_LISTEN: address(at * 3 + 1),
          STATE_MACHINE: 'app',
          APP_URL: `${appUrl}/raft`,
          ADVERTISE_APP_URL: appUrl,
        },
      },
    }
  })
}

export function startAll(machines: readonly Machine[], children: Children): void {
  for (const machine of machines) children.start(machine.application)
  for (const machine of machines) children.start(machine.sidecar)
}
