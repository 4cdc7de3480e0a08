// What the six processes say of themselves, asked again and again.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Machine } from './cluster.ts'
import { getJson } from './http.ts'

export interface SidecarView {
  readonly role: string
  readonly term: number
  readonly commitIndex: number
  readonly appliedIndex: number
  readonly leader: { readonly id: string } | null
}

export interface ApplicationView {
  readonly position: number
  readonly queued: number
  readonly leased: number
  readonly done: number
}

export interface MachineView {
  readonly id: string
  /** Null while it does not answer. */
  readonly sidecar: SidecarView | null
  readonly application: ApplicationView | null
}

const intervalMs = 100

export class Observer {
  readonly #machines: readonly Machine[]
  readonly #onView: (views: readonly MachineView[]) => void
  views: readonly MachineView[] = []

  constructor(machines: readonly Machine[], onView: (views: readonly MachineView[]) => void) {
    this.#machines = machines
    this.#onView = onView
  }

  /** Looks until the condition holds; throws at the deadline, saying what was awaited. */
  async until(awaited: string, timeoutMs: number, condition: () => boolean): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs
    for (;;) {
      await this.#look()
      if (condition()) return
      if (performance.now() > deadlineMs) throw new Error(`Waited ${timeoutMs / 1000} s in vain for ${awaited}`)
      await sleep(intervalMs)
    }
  }

  /** The sidecar that says of itself that it leads, in the highest term. */
  leader(): MachineView | null {
    const leaders = this.views.filter(({ sidecar }) => sidecar?.role === 'leader')
    leaders.sort((a, b) => (b.sidecar?.term ?? 0) - (a.sidecar?.term ?? 0))
    return leaders[0] ?? null
  }

  /** Tasks done, as the most advanced application has it. */
  done(): number {
    return Math.max(0, ...this.views.map(({ application }) => application?.done ?? 0))
  }

  async #look(): Promise<void> {
    this.views = await Promise.all(
      this.#machines.map(async ({ id, apiUrl, appUrl }) => {
        const [sidecar, application] = await Promise.all([
          getJson<SidecarView>(`${apiUrl}/v1/status`),
          getJson<ApplicationView>(`${appUrl}/stats`),
        ])
        return { id, sidecar, application }
      }),
    )
    this.#onView(this.views)
  }
}
