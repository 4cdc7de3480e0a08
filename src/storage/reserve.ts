// A file of zeros that stands for an emergency: it is given up when the disk has no room, so that the next segment, a snapshot and the
// compaction behind it have some. It appears under its name only when all of it is truly allocated.

import type { Disk } from './disk.ts'
import { createDurably, temporaryEnding } from './disk.ts'

export const reserveName = 'reserve'

// Between two chunks, and while it pauses, the appends have the disk to themselves.
const chunkBytes = 256 * 1024
const pauseMs = 10

export interface ReserveOptions {
  readonly disk: Disk
  readonly directory: string
  /** 0: there is none to keep. */
  readonly bytes: number
  /** Runs once after a delay; the returned function cancels it. */
  readonly after: (delayMs: number, run: () => void) => () => void
}

export class Reserve {
  readonly #options: ReserveOptions
  readonly #path: string
  /** Under its name is a file. */
  #exists: boolean
  #making: Promise<void> | null = null
  #givesWay = false
  #endPause: (() => void) | null = null

  private constructor(options: ReserveOptions, exists: boolean) {
    this.#options = options
    this.#path = `${options.directory}/${reserveName}`
    this.#exists = exists
  }

  /** Looks at what an earlier process left: only a whole one of this size is kept. */
  static async find(options: ReserveOptions): Promise<Reserve> {
    const { disk, directory, bytes } = options
    const names = await disk.list(directory)
    const unfinished = reserveName + temporaryEnding
    if (names.includes(unfinished)) await disk.remove(`${directory}/${unfinished}`)
    const reserve = new Reserve(options, names.includes(reserveName))
    if (reserve.#exists && (bytes === 0 || (await sizeOf(disk, reserve.#path)) !== bytes)) await reserve.giveUp()
    return reserve
  }

  get isWhole(): boolean {
    return this.#exists || this.#options.bytes === 0
  }

  /** How much more room it takes. */
  get missingBytes(): number {
    return this.isWhole ? 0 : this.#options.bytes
  }

  /** Resolves with whether it stands; not, when it was given up meanwhile. Rejects, leaving nothing, with what the disk answered. One call at a time. */
  async make(): Promise<boolean> {
    if (this.isWhole) return true
    this.#givesWay = false
    this.#making = this.#fill()
    try {
      await this.#making
    } finally {
      this.#making = null
    }
    return this.#exists && !this.#givesWay
  }

  /** Resolves when its room is free. */
  async giveUp(): Promise<void> {
    await this.interrupt()
    if (!this.#exists) return
    this.#exists = false
    const { disk, directory } = this.#options
    await disk.remove(this.#path).catch(unlessMissing)
    // The file system may use the room again only once the removal is durable.
    await disk.syncDirectory(directory)
  }

  /** Resolves when it is not being made any more; what was made by then is gone, or whole. */
  async interrupt(): Promise<void> {
    this.#givesWay = true
    this.#endPause?.()
    await this.#making?.catch(() => {})
  }

  async #fill(): Promise<void> {
    const { disk, directory, bytes } = this.#options
    try {
      await createDurably(disk, directory, reserveName, async (file) => {
        for (let from = 0; from < bytes; from += chunkBytes) {
          if (from > 0) await this.#pause()
          if (this.#givesWay) throw new GivenUp()
          await file.zeroFill(from, Math.min(from + chunkBytes, bytes))
          await file.sync()
        }
      })
      this.#exists = true
    } catch (error) {
      if (!(error instanceof GivenUp)) throw error
    }
  }

  async #pause(): Promise<void> {
    if (this.#givesWay) return
    await new Promise<void>((resolve) => {
      const cancel = this.#options.after(pauseMs, resolve)
      this.#endPause = () => {
        cancel()
        resolve()
      }
    })
    this.#endPause = null
  }
}

class GivenUp extends Error {}

async function sizeOf(disk: Disk, path: string): Promise<number> {
  const file = await disk.open(path, 'read')
  try {
    return await file.size()
  } finally {
    await file.close()
  }
}

/** Somebody who needed the room took it away already. */
function unlessMissing(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
}
