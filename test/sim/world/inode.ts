// One file of a simulated disk: what every reader sees (the page cache), what a power loss leaves, and the writes between the two.

import { FileContent } from './file-content.ts'
import type { Random } from './random.ts'

const sectorBytes = 512

interface PendingWrite {
  readonly sequence: number
  readonly position: number
  /** Null: zeros. */
  readonly bytes: Buffer | null
  readonly length: number
}

/** What a power loss does to writes that no sync has covered. */
export type Loss = 'nothing' | 'everything' | 'prefix' | 'any-sectors'

export class Inode {
  cache = new FileContent()
  durable = new FileContent()
  #pending: PendingWrite[] = []
  #sequence = 0
  #syncedSequence = 0

  /** A file that is durable as it is. */
  static of(content: FileContent): Inode {
    const inode = new Inode()
    inode.durable = content
    inode.cache = content.copy()
    return inode
  }

  /** Counts the writes. */
  get sequence(): number {
    return this.#sequence
  }

  /** Every write up to this one is durable. */
  get syncedSequence(): number {
    return this.#syncedSequence
  }

  get hasPending(): boolean {
    return this.#pending.length > 0
  }

  write(bytes: Uint8Array | null, position: number, length: number): void {
    const copy = bytes === null ? null : Buffer.from(bytes)
    if (copy === null) this.cache.zero(position, position + length)
    else this.cache.write(copy, position)
    this.#pending.push({ sequence: ++this.#sequence, position, bytes: copy, length })
  }

  /** Every write up to `sequence` reaches the disk. */
  flush(sequence: number): void {
    let count = 0
    for (const write of this.#pending) {
      if (write.sequence > sequence) break
      put(this.durable, write, write.position, write.position + write.length)
      count++
    }
    this.#pending.splice(0, count)
    this.#syncedSequence = Math.max(this.#syncedSequence, sequence)
  }

  /**
   * A sync failed: the system takes the pages for clean all the same. Some reached the disk, the others are seen until the cache forgets them, and
   * no later sync will write them.
   */
  failFlush(random: Random): void {
    for (const write of this.#pending) {
      if (random.chance(0.5)) put(this.durable, write, write.position, write.position + write.length)
    }
    this.#pending = []
  }

  /** The process is gone and the machine is not; `forgetsClean`: the cache was needed for other things meanwhile. */
  processCrashed(forgetsClean: boolean): void {
    if (!forgetsClean) return
    this.cache = this.durable.copy()
    for (const write of this.#pending) put(this.cache, write, write.position, write.position + write.length)
  }

  powerLost(loss: Loss, random: Random): void {
    if (loss === 'nothing')
      for (const write of this.#pending) put(this.durable, write, write.position, write.position + write.length)
    if (loss === 'prefix') this.#keepPrefix(random)
    if (loss === 'any-sectors') this.#keepSectors(random)
    this.#pending = []
    this.cache = this.durable.copy()
  }

  rot(position: number, bit: number): void {
    this.durable.flip(position, bit)
    this.cache.flip(position, bit)
  }

  #keepPrefix(random: Random): void {
    const kept = random.below(this.#pending.length + 1)
    this.#pending.forEach((write, at) => {
      const end = write.position + write.length
      if (at < kept) put(this.durable, write, write.position, end)
      if (at !== kept) return
      // The one that was under way ends at some sector.
      const sectors = Math.ceil(end / sectorBytes) - Math.floor(write.position / sectorBytes)
      const torn = (Math.floor(write.position / sectorBytes) + random.below(sectors)) * sectorBytes
      if (torn > write.position) put(this.durable, write, write.position, Math.min(torn, end))
    })
  }

  /** A sector is as it was after one of the writes to it, or as before all; no order holds between sectors. */
  #keepSectors(random: Random): void {
    const writesOf = new Map<number, PendingWrite[]>()
    for (const write of this.#pending) {
      const last = Math.floor((write.position + write.length - 1) / sectorBytes)
      for (let sector = Math.floor(write.position / sectorBytes); sector <= last; sector++) {
        const writes = writesOf.get(sector)
        if (writes === undefined) writesOf.set(sector, [write])
        else writes.push(write)
      }
    }
    const keep = random.pick([0.2, 0.5, 0.9])
    for (const [sector, writes] of writesOf) {
      const kept = random.chance(keep) ? 1 + random.below(writes.length) : 0
      for (const write of writes.slice(0, kept)) {
        const from = Math.max(write.position, sector * sectorBytes)
        const to = Math.min(write.position + write.length, (sector + 1) * sectorBytes)
        put(this.durable, write, from, to)
      }
    }
  }
}

function put(content: FileContent, write: PendingWrite, from: number, to: number): void {
  if (write.bytes === null) content.zero(from, to)
  else content.write(write.bytes.subarray(from - write.position, to - write.position), from)
}
