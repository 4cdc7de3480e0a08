// Writes a large file from front to back beside a log that must not wait: never much at once, and synced all along, so that no sync finds
// more to do than the appends can wait for.

import type { DiskFile } from './disk.ts'

const writeBytes = 256 * 1024
const unsyncedBytes = 1024 * 1024

export class SteadyWriter {
  readonly #file: DiskFile
  #sizeBytes: number
  #unsynced = 0

  /** Behind the bytes that it has. */
  constructor(file: DiskFile, sizeBytes = 0) {
    this.#file = file
    this.#sizeBytes = sizeBytes
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Resolves when the bytes are written, and may be overwritten. One call at a time. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; from += writeBytes) {
      const some = bytes.subarray(from, from + writeBytes)
      this.#file.write(some, this.#sizeBytes)
      this.#sizeBytes += some.length
      this.#unsynced += some.length
      if (this.#unsynced >= unsyncedBytes) await this.sync()
    }
  }

  async sync(): Promise<void> {
    this.#unsynced = 0
    await this.#file.sync()
  }
}
