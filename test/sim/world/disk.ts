// The disk of one machine, which outlives its processes, as the storage's `Disk`: with a page cache, latency, syncs that are slow, hang or fail,
// and a power loss that leaves any part of what was not synced.

import type { Disk, DiskFile, OpenMode } from '../../../src/storage/disk.ts'
import { Inode, type Loss } from './inode.ts'
import type { Random } from './random.ts'
import type { Owner, World } from './world.ts'

type NameChange =
  | { readonly type: 'link'; readonly path: string; readonly inode: Inode }
  | { readonly type: 'rename'; readonly from: string; readonly to: string }
  | { readonly type: 'unlink'; readonly path: string }

export class SimDisk {
  readonly #world: World
  readonly #random: Random
  readonly #syncMs: number
  #names = new Map<string, Inode>()
  #durableNames = new Map<string, Inode>()
  #changes: NameChange[] = []
  /** Syncs take this many times as long. */
  slowness = 1
  hungUntilMs = 0
  /** Of each sync. */
  syncErrorChance = 0
  isFull = false
  #writesToWait = 0
  #onWrite: (() => void) | null = null
  /** A fault has struck that excuses a node which gives up on this disk. */
  hasFailed = false
  hasRotted = false

  constructor(world: World, random: Random, syncMs: number) {
    this.#world = world
    this.#random = random
    this.#syncMs = syncMs
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

  /** Runs `strike` when so many more writes were made, while none of the last of them is synced. */
  beforeNextWrites(count: number, strike: () => void): void {
    this.#writesToWait = count
    this.#onWrite = strike
  }

  heal(): void {
    this.#onWrite = null
    this.slowness = 1
    this.hungUntilMs = 0
    this.syncErrorChance = 0
    this.isFull = false
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
      rename: (from, to) => act(0.05, () => this.#change({ type: 'rename', from, to })),
      remove: (path) => act(0.05, () => this.#change({ type: 'unlink', path })),
      freeBytes: () => act(0.01, () => (this.isFull ? 0 : Number.POSITIVE_INFINITY)),
      syncDirectory: () => {
        const count = this.#changes.length
        return act(1, () => {
          for (const change of this.#changes.splice(0, count)) apply(this.#durableNames, change)
        })
      },
    }
  }

  #change(change: NameChange): void {
    apply(this.#names, change)
    this.#changes.push(change)
  }

  #open(owner: Owner, path: string, mode: OpenMode): DiskFile {
    if (mode === 'create') this.#change({ type: 'link', path, inode: new Inode() })
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
        if (this.isFull) {
          this.hasFailed = true
          throw systemError('ENOSPC', 'no space left on device')
        }
        this.#world.trace.mix(bytes.length)
        if (this.#world.trace.isTold) this.#world.tell(owner.name, `disk  write ${path} ${position}+${bytes.length}`)
        inode.write(bytes, position, bytes.length)
        this.#strikeIfDue()
      },
      zeroFill: (from, to) =>
        this.#act(owner, 0.2, () => {
          if (to > from) inode.write(null, from, to - from)
        }),
      sync: () => this.#sync(owner, path, inode),
      close: () => this.#act(owner, 0.01, () => {}),
    }
  }

  #strikeIfDue(): void {
    if (this.#onWrite === null || --this.#writesToWait > 0) return
    // Before that write can be synced, or soon after.
    this.#world.after(this.#world.nature, this.#random.exponential(this.#syncMs * this.slowness * 0.7), this.#onWrite)
    this.#onWrite = null
  }

  #sync(owner: Owner, path: string, inode: Inode): Promise<void> {
    const { sequence } = inode
    return this.#act(owner, 1, () => {
      if (this.syncErrorChance > 0 && this.#random.chance(this.syncErrorChance)) {
        this.hasFailed = true
        inode.failFlush(this.#random)
        this.#world.tell(owner.name, `disk  sync ${path} FAILS`)
        throw systemError('EIO', 'i/o error')
      }
      inode.flush(sequence)
      if (this.#world.trace.isTold) this.#world.tell(owner.name, `disk  sync ${path} through write ${sequence}`)
    })
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

function systemError(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code })
}
