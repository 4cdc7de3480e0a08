// A disk in memory that forgets as a real one does: what was not synced may be lost in a power failure, whole or in sectors, and
// so may names in a directory. The machine's disk outlives its processes; each process sees it through a mount, which a crash
// makes useless, so that nothing of a dead process can write any more.

import type { Disk, DiskFile, OpenMode } from '../../src/storage/disk.ts'

export type OperationKind =
  | 'makeDirectory'
  | 'list'
  | 'open'
  | 'rename'
  | 'remove'
  | 'syncDirectory'
  | 'freeBytes'
  | 'size'
  | 'read'
  | 'write'
  | 'zeroFill'
  | 'sync'
  | 'close'

export interface Operation {
  readonly kind: OperationKind
  readonly path: string
  /** Of the first byte; 0 where there is none. */
  readonly position: number
  readonly bytes: number
}

/** What a power failure leaves of what was not synced. */
export interface PowerFailure {
  /** Whether the 512 bytes at this position, of one write that was not synced, reached the disk. */
  keepsSector(path: string, position: number): boolean
  /** How many of the directory's changes that were not synced reached the disk, the oldest first. */
  keepsNames(directory: string, changes: number): number
}

export const losesEverything: PowerFailure = { keepsSector: () => false, keepsNames: () => 0 }
export const losesNothing: PowerFailure = { keepsSector: () => true, keepsNames: (_, changes) => changes }

/** `random` gives fractions from 0 to less than 1. */
export function losesSome(random: () => number): PowerFailure {
  return { keepsSector: () => random() < 0.5, keepsNames: (_, changes) => Math.floor(random() * (changes + 1)) }
}

const sectorBytes = 512

export class MemoryDisk {
  /** Called before each operation; what it throws is the operation's error, and the operation has no effect. */
  before: (operation: Operation) => void = () => {}
  /** Awaited before each asynchronous operation takes effect: here a simulator delays it, or a test holds it. */
  turn: (operation: Operation) => Promise<void> = async () => {}
  /** Of all files together; what would grow beyond it ends with ENOSPC where there is no more room. */
  capacityBytes = Number.POSITIVE_INFINITY
  /** How many bytes of a write or of zeros the disk takes, though it has room for them: fewer than there are end it with ENOSPC. */
  takes: (operation: Operation) => number = ({ bytes }) => bytes
  readonly #directories = new Map<string, Directory>()
  readonly #counts = new Map<OperationKind, number>()
  #boot = 0
  #halted = false

  /** The disk as a process sees it that starts now. */
  mount(): Disk {
    return new Mount(this, this.#boot)
  }

  /** How many operations of the kind were begun. */
  count(kind: OperationKind): number {
    return this.#counts.get(kind) ?? 0
  }

  /** From now on every operation fails and has no effect, until the machine is started again. */
  halt(): void {
    this.#halted = true
  }

  /** The processes die; the page cache survives. */
  killProcesses(): void {
    this.#boot++
    this.#halted = false
  }

  failPower(failure: PowerFailure): void {
    this.killProcesses()
    const files = new Map<Inode, string>()
    for (const [path, directory] of this.#directories) {
      for (const [name, inode] of [...directory.durable, ...directory.live]) files.set(inode, `${path}/${name}`)
    }
    for (const [inode, path] of files) inode.failPower((position) => failure.keepsSector(path, position))
    for (const [path, directory] of this.#directories) {
      directory.failPower(failure.keepsNames(path, directory.changes.length))
    }
  }

  /** Every file as the processes see it, by path. */
  files(): Map<string, Buffer> {
    const files = new Map<string, Buffer>()
    for (const [path, directory] of this.#directories) {
      for (const [name, inode] of directory.live) files.set(`${path}/${name}`, Buffer.from(inode.live.view()))
    }
    return files
  }

  get freeBytes(): number {
    let used = 0
    for (const directory of this.#directories.values())
      for (const { live } of directory.live.values()) used += live.length
    return Math.max(this.capacityBytes - used, 0)
  }

  /** A disk that holds these files, durably. */
  static holding(files: ReadonlyMap<string, Uint8Array>): MemoryDisk {
    const disk = new MemoryDisk()
    for (const [path, bytes] of files) disk.put(path, bytes)
    return disk
  }

  /** Replaces or creates a file behind everybody's back, durably. */
  put(path: string, bytes: Uint8Array): void {
    const [directory, name] = split(path)
    const inode = new Inode()
    inode.live.write(bytes, 0)
    inode.durable.write(bytes, 0)
    const entries = this.createDirectory(directory)
    entries.live.set(name, inode)
    entries.durable.set(name, inode)
  }

  /** Takes a file away behind everybody's back. */
  take(path: string): void {
    const [directory, name] = split(path)
    this.#directories.get(directory)?.live.delete(name)
    this.#directories.get(directory)?.durable.delete(name)
  }

  /** Changes one bit of a file under everybody's hands, in the page cache and on the disk. */
  rot(path: string, offset: number, bit: number): void {
    const [directory, name] = split(path)
    const inode = this.#directories.get(directory)?.live.get(name)
    for (const bytes of [inode?.live.view(), inode?.durable.view()]) {
      if (bytes !== undefined && offset < bytes.length) bytes[offset] = (bytes[offset] as number) ^ (1 << bit)
    }
  }

  // For the mounts.

  check(operation: Operation, boot: number): void {
    if (this.#halted || boot !== this.#boot) throw systemError('EIO', 'the machine stopped', operation.path)
    this.#counts.set(operation.kind, this.count(operation.kind) + 1)
    this.before(operation)
    // The hook may have halted it.
    if (this.#halted) throw systemError('EIO', 'the machine stopped', operation.path)
  }

  /** Of a write that would let its file grow by so many bytes: how many of its bytes there is room for. */
  room(operation: Operation, growth: number): number {
    const short = Math.max(growth - this.freeBytes, 0)
    return Math.min(operation.bytes - short, this.takes(operation))
  }

  async wait(operation: Operation, boot: number): Promise<void> {
    this.check(operation, boot)
    await this.turn(operation)
    if (this.#halted || boot !== this.#boot) throw systemError('EIO', 'the machine stopped', operation.path)
  }

  directory(path: string): Directory {
    const directory = this.#directories.get(path)
    if (!directory) throw systemError('ENOENT', 'no such directory', path)
    return directory
  }

  createDirectory(path: string): Directory {
    const directory = this.#directories.get(path) ?? new Directory()
    this.#directories.set(path, directory)
    return directory
  }
}

class Mount implements Disk {
  readonly #machine: MemoryDisk
  readonly #boot: number

  constructor(machine: MemoryDisk, boot: number) {
    this.#machine = machine
    this.#boot = boot
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#wait('makeDirectory', path)
    this.#machine.createDirectory(path)
  }

  async list(directory: string): Promise<string[]> {
    await this.#wait('list', directory)
    return [...this.#machine.directory(directory).live.keys()].sort()
  }

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    await this.#wait('open', path)
    const [directory, name] = split(path)
    const names = this.#machine.directory(directory)
    if (mode === 'create') names.change({ set: [name, new Inode()] })
    const inode = names.live.get(name)
    if (!inode) throw systemError('ENOENT', 'no such file', path)
    return new MountedFile(this.#machine, this.#boot, path, inode, mode !== 'read')
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#wait('rename', from)
    const [directory, name] = split(from)
    const [target, newName] = split(to)
    if (directory !== target) throw new Error(`Cannot move ${from} into another directory, ${target}`)
    const names = this.#machine.directory(directory)
    const inode = names.live.get(name)
    if (!inode) throw systemError('ENOENT', 'no such file', from)
    names.change({ remove: name, set: [newName, inode] })
  }

  async remove(path: string): Promise<void> {
    await this.#wait('remove', path)
    const [directory, name] = split(path)
    const names = this.#machine.directory(directory)
    if (!names.live.has(name)) throw systemError('ENOENT', 'no such file', path)
    names.change({ remove: name })
  }

  async syncDirectory(path: string): Promise<void> {
    const changes = this.#machine.directory(path).changes.length
    await this.#wait('syncDirectory', path)
    this.#machine.directory(path).sync(changes)
  }

  async freeBytes(directory: string): Promise<number> {
    await this.#wait('freeBytes', directory)
    return this.#machine.freeBytes
  }

  #wait(kind: OperationKind, path: string): Promise<void> {
    return this.#machine.wait({ kind, path, position: 0, bytes: 0 }, this.#boot)
  }
}

class MountedFile implements DiskFile {
  readonly #machine: MemoryDisk
  readonly #boot: number
  readonly #path: string
  readonly #inode: Inode
  readonly #writable: boolean
  #open = true

  constructor(machine: MemoryDisk, boot: number, path: string, inode: Inode, writable: boolean) {
    this.#machine = machine
    this.#boot = boot
    this.#path = path
    this.#inode = inode
    this.#writable = writable
  }

  async size(): Promise<number> {
    await this.#wait('size')
    return this.#inode.live.length
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    await this.#wait('read', position, into.length)
    const bytes = this.#inode.live.view().subarray(position, position + into.length)
    into.set(bytes)
    return bytes.length
  }

  write(bytes: Uint8Array, position: number): void {
    const operation = this.#operation('write', position, bytes.length)
    this.#machine.check(operation, this.#boot)
    this.#put(operation, Buffer.from(bytes))
  }

  async zeroFill(from: number, to: number): Promise<void> {
    await this.#wait('zeroFill', from, to - from)
    if (to > from) this.#put(this.#operation('zeroFill', from, to - from), Buffer.alloc(to - from))
  }

  async sync(): Promise<void> {
    const covered = this.#inode.written
    try {
      await this.#wait('sync')
    } catch (error) {
      this.#inode.abandon(covered)
      throw error
    }
    this.#inode.sync(covered)
  }

  async close(): Promise<void> {
    await this.#wait('close')
    this.#open = false
  }

  #put(operation: Operation, bytes: Buffer): void {
    const { position } = operation
    const room = this.#machine.room(operation, Math.max(position + bytes.length - this.#inode.live.length, 0))
    if (room > 0) this.#inode.write(bytes.subarray(0, room), position)
    if (room < bytes.length) throw systemError('ENOSPC', 'no space left', this.#path)
  }

  #wait(kind: OperationKind, position = 0, bytes = 0): Promise<void> {
    return this.#machine.wait(this.#operation(kind, position, bytes), this.#boot)
  }

  #operation(kind: OperationKind, position: number, bytes: number): Operation {
    if (!this.#open) throw systemError('EBADF', 'the file was closed', this.#path)
    if (!this.#writable && (kind === 'write' || kind === 'zeroFill')) {
      throw systemError('EBADF', 'the file was opened for reading', this.#path)
    }
    return { kind, path: this.#path, position, bytes }
  }
}

interface PendingWrite {
  readonly order: number
  readonly position: number
  readonly bytes: Buffer
  /** A sync over it failed: the page counts as clean from then on, and no later sync writes it. */
  abandoned: boolean
}

class Inode {
  /** What processes read. */
  readonly live = new Bytes()
  /** What survives for certain. */
  readonly durable = new Bytes()
  /** How many writes there were. */
  written = 0
  #pending: PendingWrite[] = []

  write(bytes: Buffer, position: number): void {
    this.live.write(bytes, position)
    this.#pending.push({ order: ++this.written, position, bytes, abandoned: false })
  }

  sync(through: number): void {
    for (const write of this.#pending) {
      if (write.order <= through && !write.abandoned) this.durable.write(write.bytes, write.position)
    }
    this.#pending = this.#pending.filter((write) => write.order > through || write.abandoned)
  }

  abandon(through: number): void {
    for (const write of this.#pending) if (write.order <= through) write.abandoned = true
  }

  failPower(keepsSector: (position: number) => boolean): void {
    for (const { position, bytes, abandoned } of this.#pending) {
      if (abandoned) continue
      for (let from = position; from < position + bytes.length; ) {
        const to = Math.min((Math.floor(from / sectorBytes) + 1) * sectorBytes, position + bytes.length)
        if (keepsSector(from)) this.durable.write(bytes.subarray(from - position, to - position), from)
        from = to
      }
    }
    this.#pending = []
    this.live.replace(this.durable)
  }
}

type NameChange = { readonly remove?: string; readonly set?: readonly [name: string, inode: Inode] }

class Directory {
  live = new Map<string, Inode>()
  readonly durable = new Map<string, Inode>()
  changes: NameChange[] = []

  change(change: NameChange): void {
    apply(this.live, change)
    this.changes.push(change)
  }

  sync(changes: number): void {
    for (const change of this.changes.splice(0, changes)) apply(this.durable, change)
  }

  failPower(kept: number): void {
    this.sync(kept)
    this.changes = []
    this.live = new Map(this.durable)
  }
}

function apply(names: Map<string, Inode>, change: NameChange): void {
  if (change.remove !== undefined) names.delete(change.remove)
  if (change.set !== undefined) names.set(change.set[0], change.set[1])
}

/** Bytes that grow. */
class Bytes {
  length = 0
  #buffer = Buffer.alloc(0)

  view(): Buffer {
    return this.#buffer.subarray(0, this.length)
  }

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length
    if (end > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(end, this.#buffer.length * 2))
      this.#buffer.copy(larger)
      this.#buffer = larger
    }
    this.#buffer.set(bytes, position)
    this.length = Math.max(this.length, end)
  }

  replace(other: Bytes): void {
    this.#buffer = Buffer.from(other.view())
    this.length = other.length
  }
}

function split(path: string): [directory: string, name: string] {
  const slash = path.lastIndexOf('/')
  return [path.slice(0, slash), path.slice(slash + 1)]
}

export function systemError(code: string, problem: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${problem}, ${path}`), { code })
}
