// Takes away files that are no longer wanted, in the background and one after the other: each is gone for good before the next one goes, so
// that a crash leaves what was asked for last. One that cannot be removed holds up those behind it.

import type { Disk } from './disk.ts'
import { isOutOfRoom } from './disk.ts'

export interface RemoverOptions {
  readonly disk: Disk
  readonly directory: string
  /** The room of one more file is free. */
  readonly onRemoved: () => void
  /** The disk failed. */
  readonly onFailure: (error: unknown) => void
}

export class Remover {
  readonly #options: RemoverOptions
  readonly #names: string[] = []
  #hasFailed = false
  #isWorking = false
  #work: Promise<void> = Promise.resolve()

  constructor(options: RemoverOptions) {
    this.#options = options
  }

  remove(name: string): void {
    this.#names.push(name)
    if (this.#isWorking || this.#hasFailed) return
    this.#isWorking = true
    this.#work = this.#removeAll()
  }

  /** Resolves when everything is gone that can be. */
  async close(): Promise<void> {
    await this.#work
  }

  /** Never rejects. Between the last look at the names and `#isWorking` there is no turn of the loop. */
  async #removeAll(): Promise<void> {
    const { disk, directory, onRemoved, onFailure } = this.#options
    try {
      for (let name = this.#names[0]; name !== undefined; name = this.#names[0]) {
        await disk.remove(`${directory}/${name}`).catch(unlessGone)
        await disk.syncDirectory(directory)
        this.#names.shift()
        onRemoved()
      }
    } catch (error) {
      // On some file systems even this wants room: then it is tried again with the next file.
      if (!isOutOfRoom(error)) {
        this.#hasFailed = true
        onFailure(error)
      }
    }
    this.#isWorking = false
  }
}

function unlessGone(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
}
