// Makes the segments of the log ahead of need and off the hot path, so that an append never waits for space. The work is spread over the
// appends: twice as much of the next segment is made as was used of the current one, so that it never comes as one burst that holds up the disk.
// A segment appears under its name only when its header and its zeros are durable. Want of room is never an error here: it ends some time.

import { StorageFullError } from '../errors.ts'
import type { Disk, DiskFile } from './disk.ts'
import { createDurably } from './disk.ts'
import type { LogIdentity } from './segment.ts'
import { encodeSegmentHeader, segmentHeaderBytes, segmentName } from './segment.ts'
import type { Space } from './space.ts'

// Between two chunks the appends of the running segment get their turn at the disk.
const chunkBytes = 256 * 1024

export interface AllocatorOptions {
  readonly disk: Disk
  readonly space: Space
  readonly directory: string
  readonly identity: LogIdentity
  readonly segmentBytes: number
  /** The disk failed while a segment was made that nobody waits for yet. */
  readonly onFailure: (error: unknown) => void
}

export interface Segment {
  readonly number: number
  readonly file: DiskFile
}

export class SegmentAllocator {
  readonly #options: AllocatorOptions
  readonly #ready: number[]
  #next: number
  #making: Promise<void> | null = null
  #closing = false
  /** How much of the next segment is due by now, and what waits for more to be. */
  #dueBytes = chunkBytes
  #becomesDue: (() => void) | null = null

  /** `current` is the segment in use, `ready` those behind it that exist unused. */
  constructor(options: AllocatorOptions, current: number, ready: readonly number[]) {
    this.#options = options
    this.#ready = [...ready]
    this.#next = (ready.at(-1) ?? current) + 1
  }

  /** Sees to it that a segment will be ready when the current one is full. */
  prepare(): void {
    if (this.#making || this.#ready.length > 0 || this.#closing) return
    this.#making = this.#makeSomeTime().finally(() => {
      this.#making = null
    })
    // Perhaps nobody waits for it yet. That there is no room when the storage is closed is no failure.
    this.#making.catch((error: unknown) => {
      if (!this.#closing && !(error instanceof StorageFullError)) this.#options.onFailure(error)
    })
  }

  /** So much of the current segment is used. */
  used(bytes: number): void {
    this.#due(2 * bytes)
  }

  /** The next segment exists: to take it needs no room, and no time. */
  get isReady(): boolean {
    return this.#ready.length > 0
  }

  /** The next segment, opened; on a full disk that takes until there is room. Rejects when the disk fails, or is closed before that. */
  async take(): Promise<Segment> {
    this.#due(Number.POSITIVE_INFINITY)
    this.prepare()
    if (this.#making) await this.#making
    const number = this.#ready.shift() as number
    const file = await this.#options.disk.open(`${this.#options.directory}/${segmentName(number)}`, 'update')
    this.#dueBytes = chunkBytes
    this.prepare()
    return { number, file }
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#due(Number.POSITIVE_INFINITY)
    await this.#making?.catch(() => {})
  }

  #moreIsDue(): Promise<void> {
    return new Promise((resolve) => {
      this.#becomesDue = resolve
    })
  }

  #due(bytes: number): void {
    if (bytes <= this.#dueBytes) return
    this.#dueBytes = bytes
    this.#becomesDue?.()
    this.#becomesDue = null
  }

  async #makeSomeTime(): Promise<void> {
    const { space, segmentBytes } = this.#options
    await this.#make().catch((error: unknown) => {
      // The reserve comes back after this one, so it must not wait for appends that may be refused until then.
      this.#due(Number.POSITIVE_INFINITY)
      return space.retry(error, segmentBytes, () => this.#make())
    })
  }

  async #make(): Promise<void> {
    const { disk, directory, identity, segmentBytes } = this.#options
    const number = this.#next
    await createDurably(disk, directory, segmentName(number), async (file) => {
      file.write(encodeSegmentHeader(identity, number), 0)
      for (let from = segmentHeaderBytes; from < segmentBytes; from += chunkBytes) {
        while (from >= this.#dueBytes) await this.#moreIsDue()
        if (this.#closing) throw new Error('The log was closed while a segment was being made')
        await file.zeroFill(from, Math.min(from + chunkBytes, segmentBytes))
        await file.sync()
      }
    })
    this.#next = number + 1
    this.#ready.push(number)
  }
}
