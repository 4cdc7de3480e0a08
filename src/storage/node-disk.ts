// The real disk. The only file of the storage, besides the directory lock, that imports node:fs.
// File descriptors and callbacks, because FileHandle costs more in the one place that matters: a sync for every append.

import {
  close,
  fdatasync,
  fstat,
  fsync,
  mkdir,
  open,
  read,
  readdir,
  rename,
  statfs,
  unlink,
  write,
  writeSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { Disk, DiskFile, OpenMode } from './disk.ts'

const flags: Readonly<Record<OpenMode, string>> = { read: 'r', update: 'r+', create: 'w+' }
const zeros = Buffer.alloc(256 * 1024)

const openFile = promisify(open)
const closeFile = promisify(close)
const makeDirectory = promisify(mkdir)
const syncAll = promisify(fsync)
const statFile = promisify(fstat)

export const nodeDisk: Disk = {
  async makeDirectory(path) {
    const wanted = resolve(path)
    if (await makeWithParents(wanted)) return
    // It was there, perhaps made by a process that died before this sync. A parent that may not be read is somebody else's care.
    await syncDirectory(dirname(wanted)).catch(unlessForbidden)
  },
  async list(directory) {
    return (await promisify(readdir)(directory)).sort()
  },
  async open(path, mode) {
    return new NodeFile(await openFile(path, flags[mode], 0o640))
  },
  rename: promisify(rename),
  remove: promisify(unlink),
  syncDirectory,
  async freeBytes(directory) {
    const { bavail, bsize } = await promisify(statfs)(directory)
    return bavail * bsize
  },
}

/** Each one's name is durable before the next is made in it. False: it was there. Node's own way with parents answers ENOENT where there is no room. */
async function makeWithParents(path: string): Promise<boolean> {
  let isMade = await makeOne(path)
  if (isMade === null) {
    await makeWithParents(dirname(path))
    isMade = await makeOne(path)
    if (isMade === null)
      throw Object.assign(new Error(`ENOENT: its parent leads nowhere, mkdir '${path}'`), { code: 'ENOENT' })
  }
  if (isMade) await syncDirectory(dirname(path))
  return isMade
}

/** False: it was there; null: its parent is missing. */
async function makeOne(path: string): Promise<boolean | null> {
  try {
    await makeDirectory(path, { mode: 0o750 })
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    if (hasCode(error, 'ENOENT')) return null
    throw error
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

async function syncDirectory(path: string): Promise<void> {
  const descriptor = await openFile(path, 'r')
  try {
    await syncAll(descriptor)
  } finally {
    await closeFile(descriptor)
  }
}

function unlessForbidden(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EACCES' && error.code !== 'EPERM') throw error
}

/** A write that says neither what is wrong nor that it did anything. */
function tookNoMore(done: number, bytes: number): Error {
  return Object.assign(new Error(`ENOSPC: wrote ${done} of ${bytes} bytes, then the disk took no more`), {
    code: 'ENOSPC',
  })
}

// A write may be short: then the rest follows, and says what was in the way. The kernel interrupts (EINTR) or postpones (EAGAIN) no
// operation on a regular file of a local disk, and libuv repeats what a network's was interrupted in; what is left of these is fatal.
class NodeFile implements DiskFile {
  readonly #descriptor: number

  constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  async size(): Promise<number> {
    return (await statFile(this.#descriptor)).size
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let done = 0
    while (done < into.length) {
      const count = await this.#readSome(into, done, position + done)
      if (count === 0) break
      done += count
    }
    return done
  }

  write(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length; ) {
      const count = writeSync(this.#descriptor, bytes, done, bytes.length - done, position + done)
      if (count === 0) throw tookNoMore(done, bytes.length)
      done += count
    }
  }

  async zeroFill(from: number, to: number): Promise<void> {
    for (let position = from; position < to; ) {
      const count = await this.#writeZeros(Math.min(zeros.length, to - position), position)
      if (count === 0) throw tookNoMore(position - from, to - from)
      position += count
    }
  }

  sync(): Promise<void> {
    return new Promise((done, fail) => {
      fdatasync(this.#descriptor, (error) => (error === null ? done() : fail(error)))
    })
  }

  close(): Promise<void> {
    return closeFile(this.#descriptor)
  }

  #readSome(into: Uint8Array, offset: number, position: number): Promise<number> {
    return new Promise((done, fail) => {
      read(this.#descriptor, into, offset, into.length - offset, position, (error, count) =>
        error === null ? done(count) : fail(error),
      )
    })
  }

  #writeZeros(length: number, position: number): Promise<number> {
    return new Promise((done, fail) => {
      write(this.#descriptor, zeros, 0, length, position, (error, count) =>
        error === null ? done(count) : fail(error),
      )
    })
  }
}
