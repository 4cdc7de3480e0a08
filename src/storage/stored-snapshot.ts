// Reads the snapshots that stand on the disk: all of one, to verify it, or any part of one that was verified.

import type { SnapshotFile, SnapshotHeader, StoredSnapshot } from '../node/ports.ts'
import { damaged, diskFailure } from './damage.ts'
import type { ReadOnlyDisk, ReadOnlyFile } from './disk.ts'
import type { VerifiedSnapshot } from './snapshot-file.ts'
import { chunkAt, chunkContent, chunkHeadBytes, SnapshotFileError, SnapshotVerifier } from './snapshot-file.ts'

const readBytes = 256 * 1024

/** Reads it through. Rejects with SnapshotFileError when it cannot be used; `cluster` null: whatever cluster it is of. */
export async function verifySnapshot(
  disk: ReadOnlyDisk,
  path: string,
  cluster: string | null,
): Promise<VerifiedSnapshot> {
  const verifier = new SnapshotVerifier(cluster)
  const file = await disk.open(path, 'read')
  try {
    const buffer = Buffer.allocUnsafeSlow(readBytes)
    for (let position = 0; ; ) {
      const count = await file.read(buffer, position)
      verifier.push(buffer.subarray(0, count))
      position += count
      if (count < buffer.length) return verifier.end()
    }
  } finally {
    await file.close()
  }
}

/** Holds the file open, so that it can be read to its end though its name is gone. */
export class OpenSnapshot implements StoredSnapshot {
  readonly file: SnapshotFile
  readonly header: SnapshotHeader
  readonly #disk: ReadOnlyFile
  readonly #path: string
  readonly #bodyOffset: number
  #closing: Promise<void> | null = null

  private constructor(disk: ReadOnlyFile, path: string, verified: VerifiedSnapshot) {
    this.#disk = disk
    this.#path = path
    this.file = verified.file
    this.header = verified.header
    this.#bodyOffset = verified.bodyOffset
  }

  static async open(disk: ReadOnlyDisk, path: string, verified: VerifiedSnapshot): Promise<OpenSnapshot> {
    return new OpenSnapshot(await disk.open(path, 'read'), path, verified)
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    try {
      return await this.#disk.read(into, position)
    } catch (error) {
      throw diskFailure(`read ${this.#path}`, error)
    }
  }

  async *body(): AsyncGenerator<Uint8Array> {
    for (let offset = this.#bodyOffset; ; ) {
      const head = await this.#readAll(offset, chunkHeadBytes)
      const { contentBytes, isEnd } = this.#check(offset, () => chunkAt(head, offset))
      const chunk = await this.#readAll(offset, chunkHeadBytes + contentBytes)
      const content = this.#check(offset, () => chunkContent(chunk, offset))
      if (isEnd) return
      yield content
      offset += chunk.length
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#disk.close()
    return this.#closing
  }

  async #readAll(offset: number, bytes: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(bytes)
    const count = await this.read(buffer, offset)
    if (count < bytes) throw damaged(this.#path, offset, 'The file ends before what begins here does.')
    return buffer
  }

  #check<T>(offset: number, decode: () => T): T {
    try {
      return decode()
    } catch (error) {
      if (error instanceof SnapshotFileError) throw damaged(this.#path, error.offset ?? offset, error.problem)
      throw error
    }
  }
}
