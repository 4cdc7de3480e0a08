// The disk for work that may take its time. Node has four threads for all disks and name look-ups of the process; an operation that hangs keeps
// its thread. Whatever goes through one of these views holds one thread at most, so that the sync of the log always finds another.

import type { Disk, DiskFile, OpenMode } from './disk.ts'

/** A view of the disk whose asynchronous operations, those of its files included, wait for each other, in the order of the calls. */
export function oneAtATime(disk: Disk): Disk {
  let last: Promise<unknown> = Promise.resolve()
  const inTurn: Turn = (operation) => {
    const result = last.then(operation)
    last = result.catch(() => {})
    return result
  }
  return {
    makeDirectory: (path) => inTurn(() => disk.makeDirectory(path)),
    list: (directory) => inTurn(() => disk.list(directory)),
    freeBytes: (directory) => inTurn(() => disk.freeBytes(directory)),
    open: (path, mode: OpenMode) => inTurn(async () => new FileInTurn(await disk.open(path, mode), inTurn)),
    rename: (from, to) => inTurn(() => disk.rename(from, to)),
    remove: (path) => inTurn(() => disk.remove(path)),
    syncDirectory: (path) => inTurn(() => disk.syncDirectory(path)),
  }
}

type Turn = <T>(operation: () => Promise<T>) => Promise<T>

class FileInTurn implements DiskFile {
  readonly #file: DiskFile
  readonly #inTurn: Turn

  constructor(file: DiskFile, inTurn: Turn) {
    this.#file = file
    this.#inTurn = inTurn
  }

  size(): Promise<number> {
    return this.#inTurn(() => this.#file.size())
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return this.#inTurn(() => this.#file.read(into, position))
  }

  write(bytes: Uint8Array, position: number): void {
    this.#file.write(bytes, position)
  }

  zeroFill(from: number, to: number): Promise<void> {
    return this.#inTurn(() => this.#file.zeroFill(from, to))
  }

  sync(): Promise<void> {
    return this.#inTurn(() => this.#file.sync())
  }

  close(): Promise<void> {
    return this.#inTurn(() => this.#file.close())
  }
}
