// How far the log was delivered to an application that cannot tell its own position. It may lag behind what the application
// took, never run ahead of it: delivery is at least once.

import { diskFailure } from './damage.ts'
import type { Disk, ReadOnlyDisk } from './disk.ts'
import { isU48, readU48, writeU48 } from './little-endian.ts'
import type { SlotFormat } from './slot-file.ts'
import { readSlotValue, SlotFile } from './slot-file.ts'

export const cursorName = 'delivery'

const format: SlotFormat = { version: 1, slotBytes: 4096 }

export class Cursor {
  readonly #slots: SlotFile
  #last: Promise<void> = Promise.resolve()

  private constructor(slots: SlotFile) {
    this.#slots = slots
  }

  static async open(disk: Disk, directory: string): Promise<Cursor> {
    try {
      const exists = (await disk.list(directory)).includes(cursorName)
      return new Cursor(
        exists
          ? await SlotFile.open(disk, directory, cursorName, format)
          : await SlotFile.create(disk, directory, cursorName, format, encode(0)),
      )
    } catch (error) {
      throw diskFailure(`open the delivery cursor in ${directory}`, error)
    }
  }

  /** Index of the last command that was delivered; 0 for none. */
  load(): number {
    return readU48(this.#slots.value, 0)
  }

  /** Resolves when it is durable; calls follow each other. After a failure every one rejects, with FatalError. */
  save(position: number): Promise<void> {
    const value = encode(position)
    this.#last = this.#last
      .then(() => this.#slots.write(value))
      .catch((error: unknown) => {
        throw diskFailure('save the delivery cursor', error)
      })
    return this.#last
  }

  async close(): Promise<void> {
    await this.#last.catch(() => {})
    await this.#slots.close()
  }
}

/** Rejects as `open` would, where that reads what is there. */
export async function checkCursor(disk: ReadOnlyDisk, directory: string): Promise<void> {
  if (!(await disk.list(directory)).includes(cursorName)) return
  await readSlotValue(disk, `${directory}/${cursorName}`, format, () => {})
}

function encode(position: number): Buffer {
  if (!isU48(position)) throw new RangeError(`A position is a whole number of 48 bits, not ${position}`)
  const value = Buffer.alloc(6)
  writeU48(value, 0, position)
  return value
}
