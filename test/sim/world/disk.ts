// The disk of one machine, which outlives its processes, as the storage's `Disk`: with a page cache, latency, syncs that are slow, hang or fail,
// room that ends, and a power loss that leaves any part of what was not synced.

import type { Disk, DiskFile, OpenMode } from '../../../src/storage/disk.ts'
import { FileContent } from './file-content.ts'
import { Inode, type Loss } from './inode.ts'
import type { Random } from './random.ts'
import type { Owner, World } from './world.ts'

type NameChange =
  | { readonly type: 'link'; readonly path: string; readonly inode: Inode }
  | { readonly type: 'rename'; readonly from: string; readonly to: string }
  | { readonly type: 'unlink'; readonly path: string }

/** All that a disk durably held at some time. */
export type DiskImage = ReadonlyMap<string, Buffer>

export interface DiskEvents {
  /** A sync of this file failed: whoever asked for it must not go on. */
  readonly syncFailed: (owner: Owner, path: string) => void
}

export class SimDisk {
  readonly #world: World
  readonly #random: Random
  readonly #syncMs: number
  readonly #events: DiskEvents
  #names = new Map<string, Inode>()
  #durableNames = new Map<string, Inode>()
  #changes: NameChange[] = []
  /** Syncs take this many times as long. */
  slowness = 1
  hungUntilMs = 0
  /** Of each sync. */
  syncErrorChance = 0
  /** What fits on it; what is there already stays. */
  #capacityBytes = Number.POSITIVE_INFINITY
  /** What is changed goes to a new place, so that even that wants room. */
  #copiesOnWrite = false
  #writesToWait = 0
  #onWrite: (() => void) | null = null
  #changesToWait = 0
  #onChange: (() => void) | null = null
  /** A fault has struck that excuses a node which gives up on this disk. */
  hasFailed = false
  /** It had no room for something; and not even for what was changed in its place. */
  hadNoRoom = false
  hadNoRoomInPlace = false
  hasRotted = false

  constructor(world: World, random: Random, syncMs: number, events: DiskEvents) {
    this.#world = world
    this.#random = random
    this.#syncMs = syncMs
    this.#events = events
  }

  /** The files as a power loss now would leave those that are synced. */
  get durableFiles(): ReadonlyMap<string, Inode> {
    return this.#durableNames
  }

  file(path: string): Inode | undefined {
    return this.#names.get(path)
  }

  processCrashed(): void {
    const forgetsClean = this.#random.chance(0.5)
    for (const inode of this.#names.values()) inode.processCrashed(forgetsClean)
  }

  powerLost(): void {
    const loss: Loss = this.#random.pick(['nothing', 'everything', 'prefix', 'prefix', 'any-sectors', 'any-sectors'])
    // The journal of the file system keeps the order of its changes.
    const kept = loss === 'nothing' ? this.#changes.length : this.#random.below(this.#changes.length + 1)
    for (const change of this.#changes.slice(0, kept)) apply(this.#durableNames, change)
    this.#changes = []
    this.#names = new Map(this.#durableNames)
    for (const inode of this.#names.values()) inode.powerLost(loss, this.#random)
  }

  image(): DiskImage {
    return new Map([...this.#durableNames].map(([path, inode]) => [path, Buffer.from(inode.durable.bytes)]))
  }

  /** Nobody uses it: all that it holds from now on is what an image says. */
  setBack(image: DiskImage): void {
    this.#changes = []
    this.#names = new Map([...image].map(([path, bytes]) => [path, Inode.of(new FileContent(Buffer.from(bytes)))]))
    this.#durableNames = new Map(this.#names)
  }

  /** Runs `strike` when so many more writes were made, while none of the last of them is synced. */
  beforeNextWrites(count: number, strike: () => void): void {
    this.#writesToWait = count
    this.#onWrite = strike
  }

  /** The same when so many more files were made, renamed or removed, while the last change is not durable. */
  beforeNextChanges(count: number, strike: () => void): void {
    this.#changesToWait = count
    this.#onChange = strike
  }

  /** Others write to it, too, and leave so much room. */
  fillUp(roomBytes: number, copiesOnWrite: boolean): void {
    this.#capacityBytes = this.#usedBytes() + roomBytes
    this.#copiesOnWrite = copiesOnWrite
  }

  makeRoom(): void {
    this.#capacityBytes = Number.POSITIVE_INFINITY
    this.#copiesOnWrite = false
  }

  heal(): void {
    this.#onWrite = null
    this.#onChange = null
    this.slowness = 1
    this.hungUntilMs = 0
    this.syncErrorChance = 0
    this.makeRoom()
  }

  /** The disk as one process sees it: what it began is never heard of again once it is dead. */
  of(owner: Owner): Disk {
    const act = <T>(scale: number, action: () => T): Promise<T> => this.#act(owner, scale, action)
    return {
      makeDirectory: () => act(0.1, () => {}),
      list: (directory) =>
        act(0.05, () =>
          [...this.#names.keys()]
            .filter((path) => path.startsWith(`${directory}/`))
            .map((path) => path.slice(directory.length + 1))
            .sort(),
        ),
      open: (path, mode) => act(0.02, () => this.#open(owner, path, mode)),
      rename: (from, to) => act(0.05, () => this.#change(owner, { type: 'rename', from, to })),
      remove: (path) => act(0.05, () => this.#remove(owner, path)),
      freeBytes: () => act(0.01, () => Math.max(this.#roomBytes(), 0)),
      syncDirectory: (directory) => {
        const count = this.#changes.length
        return act(1, () => {
          this.#failSyncByChance(owner, directory)
          for (const change of this.#changes.splice(0, count)) apply(this.#durableNames, change)
        })
      },
    }
  }

  #remove(owner: Owner, path: string): void {
    if (!this.#names.has(path)) throw systemError('ENOENT', `no such file: ${path}`)
    this.#change(owner, { type: 'unlink', path })
  }

  #change(owner: Owner, change: NameChange): void {
    apply(this.#names, change)
    this.#changes.push(change)
    if (this.#world.trace.isTold) this.#world.tell(owner.name, `disk  ${describeChange(change)}`)
    if (this.#onChange === null || --this.#changesToWait > 0) return
    this.#strikeSoon(this.#onChange)
    this.#onChange = null
  }

  #open(owner: Owner, path: string, mode: OpenMode): DiskFile {
    if (mode === 'create') {
      if (this.#roomBytes() <= 0) throw this.#noRoom()
      this.#change(owner, { type: 'link', path, inode: new Inode() })
    }
    const inode = this.#names.get(path)
    if (inode === undefined) throw systemError('ENOENT', `no such file: ${path}`)
    return this.#file(owner, path, inode)
  }

  #file(owner: Owner, path: string, inode: Inode): DiskFile {
    return {
      size: () => this.#act(owner, 0.01, () => inode.cache.size),
      read: (into, position) => this.#act(owner, 0.05, () => inode.cache.read(into, position)),
      write: (bytes, position) => {
        if (!owner.isAlive) return
        const fits = this.#fitting(inode, position, bytes.length)
        this.#world.trace.mix(fits)
        if (this.#world.trace.isTold)
          this.#world.tell(
            owner.name,
            `disk  write ${path} ${position}+${bytes.length}${fits < bytes.length ? ' FULL' : ''}`,
          )
        if (fits > 0) inode.write(bytes.subarray(0, fits), position, fits)
        if (fits < bytes.length) throw this.#noRoom()
        this.#strikeIfDue()
      },
      zeroFill: (from, to) =>
        this.#act(owner, 0.2, () => {
          const fits = to > from ? this.#fitting(inode, from, to - from) : 0
          if (fits > 0) inode.write(null, from, fits)
          if (from + fits < to) throw this.#noRoom()
        }),
      sync: () => this.#sync(owner, path, inode),
      close: () => this.#act(owner, 0.01, () => {}),
    }
  }

  /** How many of these bytes there is room for. */
  #fitting(inode: Inode, position: number, length: number): number {
    if (this.#capacityBytes === Number.POSITIVE_INFINITY) return length
    const inPlace = this.#copiesOnWrite ? 0 : Math.min(Math.max(inode.cache.size - position, 0), length)
    return Math.min(inPlace + Math.max(this.#roomBytes(), 0), length)
  }

  #roomBytes(): number {
    return this.#capacityBytes === Number.POSITIVE_INFINITY
      ? this.#capacityBytes
      : this.#capacityBytes - this.#usedBytes()
  }

  /** What was removed takes its room until that is durable. */
  #usedBytes(): number {
    let used = 0
    for (const inode of new Set([...this.#names.values(), ...this.#durableNames.values()])) used += inode.cache.size
    return used
  }

  #noRoom(): Error {
    this.hadNoRoom = true
    if (this.#copiesOnWrite) this.hadNoRoomInPlace = true
    return systemError('ENOSPC', 'no space left on device')
  }

  #strikeIfDue(): void {
    if (this.#onWrite === null || --this.#writesToWait > 0) return
    this.#strikeSoon(this.#onWrite)
    this.#onWrite = null
  }

  /** Before what was done last can be synced, or soon after. */
  #strikeSoon(strike: () => void): void {
    this.#world.after(this.#world.nature, this.#random.exponential(this.#syncMs * this.slowness * 0.7), strike)
  }

  #sync(owner: Owner, path: string, inode: Inode): Promise<void> {
    const { sequence } = inode
    return this.#act(owner, 1, () => {
      this.#failSyncByChance(owner, path, inode)
      inode.flush(sequence)
      if (this.#world.trace.isTold) this.#world.tell(owner.name, `disk  sync ${path} through write ${sequence}`)
    })
  }

  #failSyncByChance(owner: Owner, path: string, inode?: Inode): void {
    if (this.syncErrorChance === 0 || !this.#random.chance(this.syncErrorChance)) return
    this.hasFailed = true
    inode?.failFlush(this.#random)
    this.#world.tell(owner.name, `disk  sync ${path} FAILS`)
    this.#events.syncFailed(owner, path)
    throw systemError('EIO', 'i/o error')
  }

  #act<T>(owner: Owner, scale: number, action: () => T): Promise<T> {
    const latencyMs = this.#syncMs * scale * (0.5 + this.#random.exponential(0.5)) * this.slowness
    const delayMs = Math.max(latencyMs, this.hungUntilMs - this.#world.nowMs)
    return new Promise((resolve, reject) => {
      this.#world.after(owner, delayMs, () => {
        try {
          resolve(action())
        } catch (error) {
          reject(error)
        }
      })
    })
  }
}

function apply(names: Map<string, Inode>, change: NameChange): void {
  if (change.type === 'link') names.set(change.path, change.inode)
  if (change.type === 'unlink') names.delete(change.path)
  if (change.type !== 'rename') return
  const inode = names.get(change.from)
  if (inode === undefined) throw systemError('ENOENT', `no such file: ${change.from}`)
  names.delete(change.from)
  names.set(change.to, inode)
}

function describeChange(change: NameChange): string {
  return change.type === 'rename' ? `rename ${change.from} to ${change.to}` : `${change.type} ${change.path}`
}

function systemError(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code })
}
