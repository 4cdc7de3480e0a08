// Whether there is room on the disk: the one owner of that answer. It is no from the moment that something had none, until the reserve stands
// whole again; meanwhile the reserve gives way, and what cannot be done without is tried again as long as it takes.

import { StorageFullError } from '../errors.ts'
import type { Disk } from './disk.ts'
import { isOutOfRoom } from './disk.ts'
import { Reserve } from './reserve.ts'

const retryMs = 500
/** Where the disk says that it has room and has none after all (a quota), a reserve is not written in vain all the time. */
const maxRetryMs = 30_000

export interface SpaceOptions {
  /** For work that may take its time. */
  readonly disk: Disk
  readonly directory: string
  /** 0: none is kept. */
  readonly reserveBytes: number
  /** What must have room beside the reserve before it is made: it would be given up again at once. */
  readonly besideBytes: number
  readonly after: (delayMs: number, run: () => void) => () => void
  /** Called at each change; `isFull` says how it begins. */
  readonly onSpace: (isFull: boolean) => void
  /** The disk failed for another reason than room, where no call waits for it. */
  readonly onFailure: (error: unknown) => void
}

export class Space {
  readonly #options: SpaceOptions
  readonly #reserve: Reserve
  #isFull: boolean
  #besideBytes: number
  /** How many things are being tried again: the reserve comes after them. */
  #needs = 0
  /** How often something had no room. */
  #shortages = 0
  #wake: (() => void)[] = []
  #restoring: Promise<void> | null = null
  #restoreMs = retryMs
  #cancelTimer: (() => void) | null = null
  #closed = false

  private constructor(options: SpaceOptions, reserve: Reserve, isFull: boolean) {
    this.#options = options
    this.#reserve = reserve
    this.#isFull = isFull
    this.#besideBytes = options.besideBytes
  }

  /** Looks, and makes nothing yet. */
  static async open(options: SpaceOptions): Promise<Space> {
    const { disk, directory, reserveBytes: bytes, besideBytes, after } = options
    const reserve = await Reserve.find({ disk, directory, bytes, after })
    const isFull = !reserve.isWhole && (await disk.freeBytes(directory)) < reserve.missingBytes + besideBytes
    return new Space(options, reserve, isFull)
  }

  get isFull(): boolean {
    return this.#isFull
  }

  /** Begins to make the reserve, if it is not there. */
  start(): void {
    if (!this.#isSettled) this.#look()
  }

  /**
   * There was no room for something of so many bytes, or more. Resolves, always, when the room of the reserve is free for it. The reserve does not take it
   * back before there is room for both, or before `freed` says that this one has found its room.
   */
  async noRoomFor(bytes: number): Promise<void> {
    this.#shortages++
    this.#besideBytes = Math.max(this.#besideBytes, bytes)
    this.#set(true)
    this.#schedule()
    try {
      await this.#reserve.giveUp()
    } catch (error) {
      // A file system that writes what it changes to new places may have no room even for a removal.
      if (!isOutOfRoom(error)) this.#options.onFailure(error)
    }
  }

  /** Something was removed, or found its room at last. */
  freed(): void {
    this.#besideBytes = this.#options.besideBytes
    this.#restoreMs = retryMs
    if (!this.#isSettled) this.#look()
  }

  /**
   * For what there must be room for, some time: `error` ended `attempt`, of so many bytes. Resolves with what the attempt gives once there is room.
   * Rejects with another error than want of room, and with StorageFullError when this is closed before there is room.
   */
  async retry<T>(error: unknown, bytes: number, attempt: () => T | Promise<T>): Promise<T> {
    if (!isOutOfRoom(error)) throw error
    this.#needs++
    this.#unschedule()
    try {
      while (true) {
        await this.noRoomFor(bytes)
        try {
          return await attempt()
        } catch (again) {
          if (!isOutOfRoom(again)) throw again
        }
        if (!this.#closed) await this.#moment()
        if (this.#closed) throw new StorageFullError('Cannot write: closed before there was room', { cause: error })
      }
    } finally {
      this.#needs--
      this.#schedule()
    }
  }

  /** Nothing is tried again from now on. Resolves when the reserve is not being made any more. */
  async close(): Promise<void> {
    this.#closed = true
    this.#unschedule()
    this.#wakeAll()
    await this.#reserve.interrupt()
    await this.#restoring
  }

  /** There is nothing to look for. */
  get #isSettled(): boolean {
    return this.#closed || (this.#reserve.isWhole && !this.#isFull)
  }

  #set(isFull: boolean): void {
    if (this.#isFull === isFull) return
    this.#isFull = isFull
    this.#options.onSpace(isFull)
  }

  #moment(): Promise<void> {
    this.#schedule()
    return new Promise((resolve) => {
      this.#wake.push(resolve)
    })
  }

  #wakeAll(): void {
    const woken = this.#wake
    this.#wake = []
    for (const wake of woken) wake()
  }

  /** Sees to it that somebody looks again before long. */
  #schedule(): void {
    if (this.#cancelTimer || this.#isSettled) return
    this.#cancelTimer = this.#options.after(this.#needs > 0 ? retryMs : this.#restoreMs, () => {
      this.#cancelTimer = null
      this.#look()
    })
  }

  #unschedule(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = null
  }

  #look(): void {
    this.#wakeAll()
    if (this.#needs > 0 || this.#restoring) return
    this.#restoring = this.#restore()
      .catch((error: unknown) => {
        if (!this.#closed) this.#options.onFailure(error)
      })
      .finally(() => {
        this.#restoring = null
        this.#schedule()
      })
  }

  async #restore(): Promise<void> {
    const { disk, directory, besideBytes } = this.#options
    const shortages = this.#shortages
    const freeBytes = await disk.freeBytes(directory)
    // Whoever had no room meanwhile goes first.
    if (this.#shortages !== shortages) return
    if (freeBytes < this.#reserve.missingBytes + this.#besideBytes) {
      this.#set(true)
      return
    }
    try {
      if (!(await this.#reserve.make())) return
    } catch (error) {
      if (!isOutOfRoom(error)) throw error
      this.#restoreMs = Math.min(2 * this.#restoreMs, maxRetryMs)
      this.#set(true)
      return
    }
    if (this.#shortages !== shortages) return
    this.#besideBytes = besideBytes
    this.#restoreMs = retryMs
    this.#set(false)
  }
}
