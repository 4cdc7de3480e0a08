// This instance's copy of the queue and the log index that it stands at. Every command takes effect once, in log order.

import { type Answer, Queue, type QueueState } from './queue.ts'

export interface Delivery {
  readonly after: number
  readonly commands: readonly { readonly index: number; readonly timestamp: string; readonly command?: unknown }[]
}

export class Replica {
  queue = new Queue()
  position = 0

  /** The queue as it is now, in one piece: nothing that comes later is in it. */
  snapshot(): string {
    return JSON.stringify(this.queue.state())
  }

  /** Puts another queue in the place of this one, or throws and leaves it. */
  restore(snapshot: string, position: number): void {
    this.queue = Queue.from(JSON.parse(snapshot) as QueueState)
    this.position = position
  }

  /** One answer a command, null for those that were here before; null instead of a list when commands are missing in between. */
  deliver({ after, commands }: Delivery): (Answer | null)[] | null {
    if (after > this.position) return null
    return commands.map(({ index, timestamp, command }) => {
      if (index <= this.position) return null
      this.position = index
      return this.queue.apply(command, Date.parse(timestamp))
    })
  }
}
