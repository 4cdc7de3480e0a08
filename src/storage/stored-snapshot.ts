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
  readonly #chunksOffset: number
  readonly #stateOffset: number
  #closing: Promise<void> | null = null

  private constructor(disk: ReadOnlyFile, path: string, verified: VerifiedSnapshot) {
    this.#disk = disk
    this.#path = path
    this.file = verified.file
    this.header = verified.header
    this.#chunksOffset = verified.chunksOffset
    this.#stateOffset = verified.stateOffset
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

  ledger(): AsyncGenerator<Uint8Array> {
    return this.#contents('ledger', this.#chunksOffset, this.#stateOffset)
  }

  body(): AsyncGenerator<Uint8Array> {
    return this.#contents('state', this.#stateOffset, Number.POSITIVE_INFINITY)
  }

  /** Of the chunks from one offset to another, or to the end. */
  async *#contents(wanted: 'ledger' | 'state', from: number, to: number): AsyncGenerator<Uint8Array> {
    for (let offset = from; offset < to; ) {
      const head = await this.#readAll(offset, chunkHeadBytes)
      const { contentBytes, section } = this.#check(offset, () => chunkAt(head, offset))
      const chunk = await this.#readAll(offset, chunkHeadBytes + contentBytes)
      const content = this.#check(offset, () => chunkContent(chunk, offset))
      if (section === 'end' && wanted === 'state') return
      if (section !== wanted)
        throw damaged(this.#path, offset, `A chunk of the ${wanted} stood here, and another one does.`)
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
