// Sends frames over one socket, in order. What is sent during one turn of the event loop leaves in one write; what the
// socket does not take waits in a queue bounded by bytes, and past the bound the oldest frames go, or the newest.

import type { Socket } from 'node:net'
import type { ChannelLimits } from './channel.ts'
import { FrameQueue } from './frame-queue.ts'
import type { Frame } from './frames.ts'
import { Gatherer, writeBytes } from './gather.ts'

export interface SocketWriterEvents {
  /** Bytes that had to wait are with the kernel now: the other end takes them, if slowly. */
  progress(): void
  /** The queue is full, frames are being dropped. */
  dropped(frames: number): void
}

export class SocketWriter {
  readonly #socket: Socket
  readonly #limits: ChannelLimits
  readonly #events: SocketWriterEvents
  readonly #queue = new FrameQueue()
  readonly #gatherer = new Gatherer()
  /** Gathered and so no longer to be dropped: a frame that was begun must be ended. */
  #pieces: Uint8Array[] = []
  #pieceBytes = 0
  #urgent: Frame | null = null
  #scheduled = false
  #writes = 0
  /** The number of the write that the socket has not finished; 0 when there is none. */
  #unfinished = 0
  #stopped = false

  constructor(socket: Socket, limits: ChannelLimits, events: SocketWriterEvents) {
    this.#socket = socket
    this.#limits = limits
    this.#events = events
  }

  push(frame: Frame): void {
    if (this.#stopped) return
    this.#queue.push(frame)
    this.#dropPastBound()
    this.#schedule()
  }

  /** Goes ahead of all that waits. */
  pushUrgent(frame: Frame): void {
    if (this.#stopped) return
    this.#urgent = frame
    this.#schedule()
  }

  flush(): void {
    while (!this.#stopped && this.#unfinished === 0) {
      if (this.#pieces.length === 0) this.#gather()
      if (this.#pieces.length === 0) return
      this.#write()
    }
  }

  stop(): void {
    this.#stopped = true
    this.#queue.clear()
    this.#pieces = []
    this.#pieceBytes = 0
  }

  #schedule(): void {
    if (this.#scheduled || this.#unfinished !== 0) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.flush()
    })
  }

  #dropPastBound(): void {
    const { maxQueueBytes, dropsPastQueue } = this.#limits
    if (this.#waitingBytes() <= maxQueueBytes) return
    // A burst within one turn is no reason to drop, if only the socket takes it.
    this.flush()
    let dropped = 0
    while (this.#queue.length > 1 && this.#waitingBytes() > maxQueueBytes) {
      if (dropsPastQueue === 'oldest') this.#queue.shift()
      else this.#queue.pop()
      dropped++
    }
    if (dropped > 0) this.#events.dropped(dropped)
  }

  #waitingBytes(): number {
    return this.#socket.writableLength + this.#pieceBytes + this.#queue.sizeBytes
  }

  #gather(): void {
    let bytes = 0
    if (this.#urgent !== null) {
      this.#gatherer.add(this.#urgent)
      bytes += this.#urgent.sizeBytes
      this.#urgent = null
    }
    while (bytes < writeBytes) {
      const frame = this.#queue.shift()
      if (frame === undefined) break
      this.#gatherer.add(frame)
      bytes += frame.sizeBytes
    }
    this.#pieces = this.#gatherer.take()
    this.#pieceBytes = bytes
  }

  #write(): void {
    let count = 0
    let bytes = 0
    for (const piece of this.#pieces) {
      if (count > 0 && bytes + piece.length > writeBytes) break
      bytes += piece.length
      count++
    }
    const now = this.#pieces.splice(0, count)
    this.#pieceBytes -= bytes
    const last = now.pop()
    if (last === undefined) return
    const write = ++this.#writes
    this.#socket.cork()
    for (const piece of now) this.#socket.write(piece)
    this.#socket.write(last, (error) => this.#written(write, error))
    this.#socket.uncork()
    // Taken by the kernel at once when nothing is left in the socket; otherwise its callback tells.
    if (this.#socket.writableLength > 0) this.#unfinished = write
  }

  #written(write: number, error: Error | null | undefined): void {
    // After an error the socket is gone, and whoever owns it hears of that.
    if (write !== this.#unfinished || error) return
    this.#unfinished = 0
    if (this.#stopped) return
    this.#events.progress()
    this.flush()
  }
}
