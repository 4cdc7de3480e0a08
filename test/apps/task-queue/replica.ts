// This instance's copy of the queue and the log index that it stands at. Every command takes effect once, in log order.

import type { Answer, Queue } from './queue.ts'

export interface Delivery {
  readonly after: number
  readonly commands: readonly { readonly index: number; readonly timestamp: string; readonly command?: unknown }[]
}

export class Replica {
  readonly queue: Queue
  position = 0

  constructor(queue: Queue) {
    this.queue = queue
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
