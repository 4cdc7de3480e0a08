// Turns frames into few buffers for one writev: what is small is copied together, what is big goes as it is.

import { type Frame, prefixBytes, writePrefix } from './frames.ts'

const blockBytes = 64 * 1024
const copiedBelowBytes = 8 * 1024
/** One write takes about this much, so that a slow line shows progress before the RPC timeout. */
export const writeBytes = 256 * 1024

export class Gatherer {
  #block = Buffer.alloc(0)
  #start = 0
  #end = 0
  #pieces: Uint8Array[] = []

  add(frame: Frame): void {
    this.#reserve(prefixBytes + frame.header.length)
    writePrefix(this.#block, this.#end, frame)
    this.#block.set(frame.header, this.#end + prefixBytes)
    this.#end += prefixBytes + frame.header.length
    for (const part of frame.body) {
      if (part.length >= copiedBelowBytes) {
        this.#addWhole(part)
        continue
      }
      this.#reserve(part.length)
      this.#block.set(part, this.#end)
      this.#end += part.length
    }
  }

  /** Everything added since the last call, in pieces of at most `writeBytes`. */
  take(): Uint8Array[] {
    this.#seal()
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  #addWhole(part: Uint8Array): void {
    this.#seal()
    for (let at = 0; at < part.length; at += writeBytes) this.#pieces.push(part.subarray(at, at + writeBytes))
  }

  #reserve(sizeBytes: number): void {
    if (this.#block.length - this.#end >= sizeBytes) return
    this.#seal()
    this.#block = Buffer.allocUnsafeSlow(Math.max(blockBytes, sizeBytes))
    this.#start = 0
    this.#end = 0
  }

  #seal(): void {
    if (this.#end > this.#start) this.#pieces.push(this.#block.subarray(this.#start, this.#end))
    this.#start = this.#end
  }
}
