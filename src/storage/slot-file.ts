// A small value that is replaced as a whole: two slots in sectors of their own, written alternately, one write and one sync
// each. The higher valid version wins; a slot whose checksum does not fit was torn, and the other one still stands. The slot
// of the newest version is never overwritten with anything else.
//
//  slot 0 begins at 0, slot 1 at the slots' size (a multiple of 4096 bytes); little-endian
//  offset  bytes
//       0      4  "RSLT"
//       4      4  crc32 over the bytes from 8 to the end of the value
//       8      4  format version, of the kind of file that it is
//      12      4  size of the value
//      16      6  version: counts the writes
//      22      2  0
//      24      …  the value

import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import { misplaced } from './damage.ts'
import type { Disk, DiskFile, ReadOnlyDisk, ReadOnlyFile } from './disk.ts'
import { createDurably } from './disk.ts'
import { readU32, readU48, writeU32, writeU48 } from './little-endian.ts'

const headerBytes = 24
const magic = Buffer.from('RSLT').readUInt32LE()

export interface SlotFormat {
  readonly version: number
  /** Of one slot, a multiple of 4096. */
  readonly slotBytes: number
}

interface Slot {
  readonly number: 0 | 1
  readonly version: number
  readonly value: Buffer
}

/** A slot as it is found: its version, or, in a sentence, why it has none. */
export type SlotState = { readonly version: number } | { readonly problem: string }

export class SlotFile {
  readonly #file: DiskFile
  readonly #format: SlotFormat
  #newest: Slot
  /** Both slots hold the value: either may rot. */
  #doubled: boolean
  #writing = false

  private constructor(file: DiskFile, format: SlotFormat, newest: Slot, doubled: boolean) {
    this.#file = file
    this.#format = format
    this.#newest = newest
    this.#doubled = doubled
  }

  /** Creates the file with a first value, or not at all. */
  static async create(
    disk: Disk,
    directory: string,
    name: string,
    format: SlotFormat,
    value: Uint8Array,
  ): Promise<SlotFile> {
    await createDurably(disk, directory, name, async (file) => {
      await file.zeroFill(0, 2 * format.slotBytes)
      for (const number of [0, 1] as const) {
        file.write(encodeSlot(format, number + 1, value), number * format.slotBytes)
      }
    })
    return SlotFile.open(disk, directory, name, format)
  }

  /** Throws FatalError when no slot can be trusted. What it returns is durable. */
  static async open(disk: Disk, directory: string, name: string, format: SlotFormat): Promise<SlotFile> {
    const path = `${directory}/${name}`
    const file = await disk.open(path, 'update')
    try {
      const [newest, older] = await readSlots(file, path, format, () => {})
      const opened = new SlotFile(file, format, newest, older?.value.equals(newest.value) ?? false)
      await opened.#makeCertain()
      return opened
    } catch (error) {
      await file.close()
      throw error
    }
  }

  get value(): Buffer {
    return this.#newest.value
  }

  /** Resolves when the value is durable. One call at a time. When there is no room for it, it may be called again: the newest slot stands. */
  async write(value: Uint8Array): Promise<void> {
    assert(!this.#writing, 'a slot was written while the other one was being written')
    const number = this.#newest.number === 0 ? 1 : 0
    const version = this.#newest.version + 1
    this.#file.write(encodeSlot(this.#format, version, value), number * this.#format.slotBytes)
    this.#writing = true
    await this.#file.sync().catch(neverAgain)
    this.#doubled = this.#newest.value.equals(value)
    this.#newest = { number, version, value: Buffer.from(value) }
    this.#writing = false
  }

  /** Puts the value into the other slot as well: from then on no single damage can bring back an older one. */
  async double(): Promise<void> {
    if (!this.#doubled) await this.write(this.#newest.value)
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  /**
   * The newest slot may have been read from the page cache of a process that died before its sync, or whose sync failed: the same bytes in
   * the same place, synced, make it certain. Only then may the other slot change.
   */
  async #makeCertain(): Promise<void> {
    const { number, version, value } = this.#newest
    this.#file.write(encodeSlot(this.#format, version, value), number * this.#format.slotBytes)
    await this.#file.sync()
    await this.double()
  }
}

/** The value that `open` would find, or the error that it would throw; `report` is told of the slots first. Only reads. */
export async function readSlotValue(
  disk: ReadOnlyDisk,
  path: string,
  format: SlotFormat,
  report: (slots: readonly SlotState[]) => void,
): Promise<Buffer> {
  const file = await disk.open(path, 'read')
  try {
    const [newest] = await readSlots(file, path, format, report)
    return newest.value
  } finally {
    await file.close()
  }
}

async function readSlots(
  file: ReadOnlyFile,
  path: string,
  format: SlotFormat,
  report: (slots: readonly SlotState[]) => void,
): Promise<[newest: Slot, older: Slot | null]> {
  const slots = [await readSlot(file, format, 0), await readSlot(file, format, 1)] as const
  report(slots.map((slot) => ('value' in slot ? { version: slot.version } : { problem: slot.problem })))
  for (const slot of slots) if ('formatVersion' in slot) throw misplaced(path, slot.problem)
  const [a, b] = slots.map((slot) => ('value' in slot ? slot : null))
  return pick(path, a ?? null, b ?? null)
}

/** Want of room, too, is final where a sync meets it: what is on the disk is not known, and it is not to be tried again. */
function neverAgain(error: unknown): never {
  throw new Error(error instanceof Error ? error.message : String(error), { cause: error })
}

function encodeSlot(format: SlotFormat, version: number, value: Uint8Array): Buffer {
  const size = headerBytes + value.length
  if (size > format.slotBytes) throw new RangeError(`A slot of ${format.slotBytes} bytes cannot take ${size}`)
  const slot = Buffer.alloc(size)
  writeU32(slot, 0, magic)
  writeU32(slot, 8, format.version)
  writeU32(slot, 12, value.length)
  writeU48(slot, 16, version)
  slot.set(value, headerBytes)
  writeU32(slot, 4, crc32(slot.subarray(8)))
  return slot
}

interface UnusableSlot {
  readonly problem: string
  /** Of a slot that is whole: another program's. */
  readonly formatVersion?: number
}

async function readSlot(file: ReadOnlyFile, format: SlotFormat, number: 0 | 1): Promise<Slot | UnusableSlot> {
  const whole = Buffer.alloc(format.slotBytes)
  const count = await file.read(whole, number * format.slotBytes)
  const size = headerBytes + readU32(whole, 12)
  if (readU32(whole, 0) !== magic || size > count) return { problem: 'It is torn, short or was never written.' }
  const slot = whole.subarray(0, size)
  if (readU32(slot, 4) !== crc32(slot.subarray(8))) return { problem: 'It does not fit its checksum.' }
  const formatVersion = readU32(slot, 8)
  if (formatVersion !== format.version) {
    const problem = `It is of format ${formatVersion}, this program reads format ${format.version}.`
    return { problem, formatVersion }
  }
  return { number, version: readU48(slot, 16), value: slot.subarray(headerBytes) }
}

function pick(path: string, a: Slot | null, b: Slot | null): [newest: Slot, older: Slot | null] {
  if (a === null && b === null) throw misplaced(path, 'Both of its slots are damaged.')
  if (a === null) return [b as Slot, null]
  if (b === null) return [a, null]
  if (a.version === b.version) throw misplaced(path, `Both of its slots say that they are version ${a.version}.`)
  return a.version > b.version ? [a, b] : [b, a]
}
