// Frames that wait for the socket, oldest first, counted in bytes.

import type { Frame } from './frames.ts'

export class FrameQueue {
  #frames: (Frame | undefined)[] = []
  #head = 0
  #sizeBytes = 0

  get length(): number {
    return this.#frames.length - this.#head
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  push(frame: Frame): void {
    this.#frames.push(frame)
    this.#sizeBytes += frame.sizeBytes
  }

  shift(): Frame | undefined {
    const frame = this.#frames[this.#head]
    if (frame === undefined) return undefined
    this.#frames[this.#head++] = undefined
    this.#sizeBytes -= frame.sizeBytes
    if (this.#head === this.#frames.length) {
      this.#frames.length = 0
      this.#head = 0
    } else if (this.#head >= 1024 && this.#head * 2 >= this.#frames.length) {
      // Moving the rest only when half is gone keeps a long queue linear.
      this.#frames = this.#frames.slice(this.#head)
      this.#head = 0
    }
    return frame
  }

  /** Takes back the newest one. */
  pop(): Frame | undefined {
    if (this.length === 0) return undefined
    const frame = this.#frames.pop()
    if (frame !== undefined) this.#sizeBytes -= frame.sizeBytes
    return frame
  }

  clear(): void {
    this.#frames = []
    this.#head = 0
    this.#sizeBytes = 0
  }
}
