// What changes in a node, told to whoever listens: one subscription and one look at the health checks for all of them, and neither while nobody
// does. A client that does not read is cut off: it comes back, and is told the present state first.

import { Readable } from 'node:stream'
import type { NodeChange } from '../node/contract.ts'
import { type EndingStream, eventText, heartbeat, heartbeatMs } from './event-stream.ts'
import type { ApiParts } from './options.ts'
import type { Events } from './schemas.ts'
import { checksOf } from './status.ts'

const healthIntervalMs = 250
const maxQueuedBytes = 64 * 1024

export class NodeEvents {
  readonly #parts: ApiParts
  readonly #listeners = new Set<EventStream>()
  #stop: (() => void) | null = null
  #health = ''

  constructor(parts: ApiParts) {
    this.#parts = parts
  }

  get listeners(): number {
    return this.#listeners.size
  }

  /** A stream that begins with the present state. Between that and the first change nothing is missed: both are taken in one turn. */
  open(): EventStream {
    const stream = new EventStream(() => this.#leave(stream))
    this.#listeners.add(stream)
    this.#stop ??= this.#start()
    const status = this.#parts.node.status()
    stream.tell('retry: 1000\n\n')
    stream.tell(textOf('leader', { leader: status.leader, term: status.term }))
    stream.tell(textOf('membership', { index: null, members: [...status.configuration.members] }))
    stream.tell(textOf('snapshot', { snapshot: status.snapshot, installedFrom: null }))
    stream.tell(this.#health)
    return stream
  }

  #start(): () => void {
    this.#health = this.#healthText()
    const unsubscribe = this.#parts.node.subscribe((change) => {
      const text = changeText(change)
      if (text !== null) this.#tellAll(text)
    })
    let silentMs = 0
    const timer = setInterval(() => {
      this.#checkHealth()
      silentMs += healthIntervalMs
      if (silentMs < heartbeatMs) return
      silentMs = 0
      this.#tellAll(heartbeat)
    }, healthIntervalMs)
    timer.unref()
    return () => {
      clearInterval(timer)
      unsubscribe()
    }
  }

  #checkHealth(): void {
    const text = this.#healthText()
    if (text === this.#health) return
    this.#health = text
    this.#tellAll(text)
  }

  #healthText(): string {
    const checks = checksOf(this.#parts.readyChecks())
    return textOf('health', { ready: checks.every(({ ok }) => ok), checks })
  }

  #tellAll(text: string): void {
    for (const stream of this.#listeners) stream.tell(text)
  }

  #leave(stream: EventStream): void {
    this.#listeners.delete(stream)
    if (this.#listeners.size > 0) return
    this.#stop?.()
    this.#stop = null
  }
}

export class EventStream extends Readable implements EndingStream {
  readonly #left: () => void
  #isFinished = false

  constructor(left: () => void) {
    super({ highWaterMark: maxQueuedBytes })
    this.#left = left
  }

  tell(text: string): void {
    if (this.#isFinished || this.destroyed) return
    if (this.readableLength + text.length > maxQueuedBytes) this.destroy()
    else this.push(text)
  }

  finish(): void {
    if (this.#isFinished || this.destroyed) return
    this.#isFinished = true
    this.push(null)
  }

  override _read(): void {}

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#left()
    done(error)
  }
}

function textOf<Name extends keyof Events>(name: Name, data: Events[Name]): string {
  return eventText(name, JSON.stringify(data))
}

/** Null for what is no event of the API. */
function changeText(change: NodeChange): string | null {
  switch (change.type) {
    case 'leader':
      return textOf('leader', { leader: change.leader, term: change.term })
    case 'membership':
      return textOf('membership', { index: change.index, members: [...change.configuration.members] })
    case 'snapshot':
      return textOf('snapshot', { snapshot: change.snapshot, installedFrom: change.installedFrom })
    // For the application's hook.
    case 'leadership':
      return null
    default:
      return change satisfies never
  }
}
