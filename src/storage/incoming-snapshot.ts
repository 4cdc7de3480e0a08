// A snapshot on its way from the leader: bytes go behind each other into a temporary file, which is verified as a whole, read back from the
// disk, before anything is made of it. Whatever goes wrong, it begins anew, and nothing is left behind.

import assert from 'node:assert/strict'
import { InvalidSnapshotError, StorageFullError } from '../errors.ts'
import type { IncomingSnapshot, SnapshotFile, SnapshotHeader } from '../node/ports.ts'
import type { Disk, DiskFile } from './disk.ts'
import { isOutOfRoom } from './disk.ts'
import type { VerifiedSnapshot } from './snapshot-file.ts'
import { SnapshotFileError } from './snapshot-file.ts'
import type { Space } from './space.ts'
import { SteadyWriter } from './steady-writer.ts'
import { verifySnapshot } from './stored-snapshot.ts'

export interface IncomingOptions {
  readonly disk: Disk
  /** Of the temporary file. */
  readonly path: string
  readonly cluster: string
  readonly space: Space
  /** The disk failed; gives back what to reject with. */
  readonly failed: (error: unknown) => Error
}

export class IncomingFile implements IncomingSnapshot {
  readonly path: string
  /** As the leader announced it. */
  readonly file: SnapshotFile
  readonly #options: IncomingOptions
  #open: { readonly disk: DiskFile; readonly writer: SteadyWriter } | null = null
  #verified: VerifiedSnapshot | null = null
  #isGivenUp = false
  /** Calls follow each other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: IncomingOptions, file: SnapshotFile) {
    this.#options = options
    this.path = options.path
    this.file = file
  }

  get sizeBytes(): number {
    return this.#verified?.file.sizeBytes ?? this.#open?.writer.sizeBytes ?? 0
  }

  /** It is whole, and durable under its temporary name. */
  get verified(): VerifiedSnapshot | null {
    return this.#verified
  }

  append(bytes: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      if (this.sizeBytes + bytes.length > this.file.sizeBytes) {
        throw new InvalidSnapshotError(
          `A snapshot that was announced with ${this.file.sizeBytes} bytes has more of them`,
        )
      }
      this.#open ??= await this.#create()
      await this.#open.writer.write(bytes)
    })
  }

  finish(): Promise<SnapshotHeader> {
    return this.#inTurn(async () => {
      this.#verified ??= await this.#verify()
      return this.#verified.header
    })
  }

  /** Removes what there is of it, unless it was made use of. */
  giveUp(): Promise<void> {
    this.#isGivenUp = true
    this.#last = this.#last.then(() => this.#discard())
    return this.#last.then(() => {})
  }

  async #create() {
    const disk = await this.#options.disk.open(this.path, 'create')
    return { disk, writer: new SteadyWriter(disk) }
  }

  async #verify(): Promise<VerifiedSnapshot> {
    assert(this.sizeBytes === this.file.sizeBytes, `${this.sizeBytes} of ${this.file.sizeBytes} bytes are here`)
    const open = this.#open
    if (open === null) throw new InvalidSnapshotError('A snapshot of no bytes was announced')
    await open.writer.sync()
    const verified = await verifySnapshot(this.#options.disk, this.path, this.#options.cluster)
    const { lastIncluded, checksum } = verified.file
    const announced = this.file
    if (
      checksum !== announced.checksum ||
      lastIncluded.index !== announced.lastIncluded.index ||
      lastIncluded.term !== announced.lastIncluded.term
    ) {
      throw new InvalidSnapshotError(
        `A snapshot through ${format(announced)} was announced, and one through ${format(verified.file)} came`,
      )
    }
    await open.disk.close()
    this.#open = null
    return verified
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last.then(async () => {
      if (this.#isGivenUp) throw new InvalidSnapshotError('A snapshot was given up for another one')
      try {
        return await run()
      } catch (error) {
        const invalid = asInvalid(error)
        // Where the disk fails the process is to stop at once: nothing is tidied up first.
        if (invalid === null && !isOutOfRoom(error)) throw this.#options.failed(error)
        await this.#discard()
        throw invalid ?? (await this.#full(error))
      }
    })
    this.#last = result.catch(() => {})
    return result
  }

  async #full(cause: unknown): Promise<Error> {
    const { sizeBytes } = this.file
    await this.#options.space.noRoomFor(sizeBytes)
    return new StorageFullError(`Cannot take in a snapshot of ${sizeBytes} bytes: the disk is full`, { cause })
  }

  /** On a full disk the room counts; should a removal fail, the next start removes the file. */
  async #discard(): Promise<void> {
    const exists = this.#open !== null || this.#verified !== null
    const open = this.#open
    this.#open = null
    this.#verified = null
    if (open) await open.disk.close().catch(() => {})
    if (exists) await this.#options.disk.remove(this.path).catch(() => {})
  }
}

/** Null: it is not the bytes that are wrong. */
function asInvalid(error: unknown): InvalidSnapshotError | null {
  if (error instanceof InvalidSnapshotError) return error
  if (!(error instanceof SnapshotFileError)) return null
  return new InvalidSnapshotError(`A snapshot that came cannot be used: ${error.message}`, { cause: error })
}

function format({ lastIncluded, checksum }: SnapshotFile): string {
  return `entry ${lastIncluded.index} of term ${lastIncluded.term} (checksum ${checksum.toString(16)})`
}
