// The disk as the storage needs it, and no more: a simulator implements the same. Whatever can fail throws or rejects with
// the system's error; nothing here retries. A path is a directory's path and a name, joined with '/'.

export interface Disk {
  /** Creates the directory with its parents where they are missing, durably. */
  makeDirectory(path: string): Promise<void>
  /** The names in the directory, sorted. */
  list(directory: string): Promise<string[]>
  /** `read` and `update` (reading and writing) want a file that exists; `create` makes an empty one, emptying what was there. */
  open(path: string, mode: OpenMode): Promise<DiskFile>
  /** Replaces `to` at once or not at all. Durable after `syncDirectory`, as are `create` and `remove`. */
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  syncDirectory(path: string): Promise<void>
  /** How much a file in the directory could take. A quota may leave less. */
  freeBytes(directory: string): Promise<number>
}

export type OpenMode = 'read' | 'update' | 'create'

export interface DiskFile {
  size(): Promise<number>
  /** Fills `into` from `position`; fewer bytes only where the file ends. */
  read(into: Uint8Array, position: number): Promise<number>
  /**
   * Into the page cache, at once and whole: it costs a few microseconds, and saves a trip through a thread pool. The bytes may be
   * overwritten by the caller as soon as it returns. The file grows when it must.
   */
  write(bytes: Uint8Array, position: number): void
  /** Writes zeros over `from` to `to`, off the caller's thread. */
  zeroFill(from: number, to: number): Promise<void>
  /** fdatasync: resolves once every write that returned before the call is on the disk, with the size that it needs. */
  sync(): Promise<void>
  close(): Promise<void>
}

/** A disk for those who only look: whoever is given no more cannot change anything. */
export interface ReadOnlyDisk {
  list(directory: string): Promise<string[]>
  open(path: string, mode: 'read'): Promise<ReadOnlyFile>
}

export type ReadOnlyFile = Pick<DiskFile, 'size' | 'read' | 'close'>

/** The disk took not all of it, and nothing else is wrong with it. */
export function isOutOfRoom(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}

/** Exists only until its content is durable and it is renamed; whatever bears this ending was never used, and is removed. */
export const temporaryEnding = '.tmp'

/** A file that appears under its name whole or not at all, even over a crash. */
export async function createDurably(
  disk: Disk,
  directory: string,
  name: string,
  fill: (file: DiskFile) => void | Promise<void>,
): Promise<void> {
  const temporary = `${directory}/${name}${temporaryEnding}`
  await createTemporary(disk, temporary, fill)
  await disk.rename(temporary, `${directory}/${name}`)
  await disk.syncDirectory(directory)
}

/** A file whose content is durable, its name not yet; when that fails there is none, or soon. */
export async function createTemporary(
  disk: Disk,
  path: string,
  fill: (file: DiskFile) => void | Promise<void>,
): Promise<void> {
  const file = await disk.open(path, 'create')
  try {
    await fill(file)
    await file.sync()
  } catch (error) {
    const removed = disk
      .remove(path)
      .then(() => file.close())
      .catch(() => {})
    // On a full disk the space counts. But where the disk fails nobody may wait: the process is to stop at once, and the next start removes the file.
    if (isOutOfRoom(error)) await removed
    throw error
  }
  await file.close()
}
