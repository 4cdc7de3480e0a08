// Makes a data directory from a backup: that of a node of a new cluster, which goes on from the backup's state with members of its own. As long
// as it is not whole, a file in it says so; no node starts beside that file, and a restore may begin anew there and nowhere else but in an
// empty directory. Memory does not grow with the backup.

import { exitCodes, FatalError, InvalidSnapshotError, StorageFullError } from '../errors.ts'
import type { SnapshotFile, SnapshotHeader } from '../node/ports.ts'
import type { Configuration } from '../raft/configuration.ts'
import { diskFailure } from './damage.ts'
import type { Disk, DiskFile, ReadOnlyDisk } from './disk.ts'
import { createDurably, isOutOfRoom, temporaryEnding } from './disk.ts'
import { restoringName } from './judge-directory.ts'
import { isLockName } from './lock-owner.ts'
import { Metafile, metafileName } from './metafile.ts'
import type { LogIdentity } from './segment.ts'
import {
  batchHeaderBytes,
  beginningBytes,
  encodeBeginning,
  encodeSegmentHeader,
  logIdentity,
  sealBatch,
  segmentHeaderBytes,
  segmentName,
  segmentNumber,
} from './segment.ts'
import type { VerifiedSnapshot } from './snapshot-file.ts'
import {
  isOfCluster,
  SnapshotEncoder,
  SnapshotFileError,
  snapshotHeaderBytes,
  snapshotId,
  snapshotName,
} from './snapshot-file.ts'
import { OpenSnapshot, verifySnapshot } from './stored-snapshot.ts'

export interface CheckedBackup {
  readonly path: string
  readonly verified: VerifiedSnapshot
}

export interface RestoreOptions {
  readonly disk: Disk
  readonly directory: string
  readonly backup: CheckedBackup
  readonly identity: {
    readonly cluster: string
    readonly nodeId: string
    /** 64 random bits in hexadecimal. */
    readonly incarnation: string
    /** Whom the new cluster has, this node among them. */
    readonly configuration: Configuration
  }
  readonly segmentBytes: number
  /** Throws when the directory may not be written to any more. */
  readonly mayGoOn: () => void
}

/** Reads the backup through. Rejects with InvalidSnapshotError when it is not a whole one. */
export async function checkBackup(disk: ReadOnlyDisk, path: string): Promise<CheckedBackup> {
  try {
    return { path, verified: await verifySnapshot(disk, path, null) }
  } catch (error) {
    if (!(error instanceof SnapshotFileError)) throw unreadable(path, error)
    const message = `Cannot restore ${path}: ${error.message} Nothing was changed; restore another backup.`
    throw new InvalidSnapshotError(message, { cause: error })
  }
}

/** Whether the backup was taken of a cluster of that name. */
export async function isBackupOf(disk: ReadOnlyDisk, { path }: CheckedBackup, cluster: string): Promise<boolean> {
  const file = await disk.open(path, 'read').catch((error: unknown) => {
    throw unreadable(path, error)
  })
  try {
    const header = Buffer.alloc(snapshotHeaderBytes)
    await file.read(header, 0)
    return isOfCluster(header, cluster)
  } finally {
    await file.close()
  }
}

/** Rejects with FatalError (dataError) unless the directory is empty, or what a restore left that did not come to its end. Only reads. */
export async function refuseUsed(disk: ReadOnlyDisk, directory: string): Promise<void> {
  const names = await namesIn(disk, directory)
  const isInterrupted = names.includes(restoringName)
  const used = names.filter((name) => !isHarmless(name) && !(isInterrupted && isOfRestore(name)))
  if (used.length === 0) return
  const some = used.length > 3 ? `${used.slice(0, 3).join(', ')} and ${used.length - 3} more` : used.join(', ')
  throw new FatalError(
    exitCodes.dataError,
    `Cannot restore into ${directory}: it holds ${some}. Nothing was changed; give an empty directory as DATA_DIR.`,
  )
}

/**
 * Resolves with the snapshot that the node begins with, durable as all of the directory is, which nobody else may write to meanwhile. Rejects
 * with StorageFullError when there is no room, and then, as after any failure, a restore may be tried again there.
 */
export async function restoreDirectory(options: RestoreOptions): Promise<SnapshotFile> {
  const { disk, directory, backup } = options
  await refuseUsed(disk, directory)
  try {
    await createDurably(disk, directory, restoringName, (file) => file.write(notice, 0))
    await removeRemains(disk, directory)
    const snapshot = await createSnapshot(options)
    options.mayGoOn()
    await createLog(options, snapshot)
    options.mayGoOn()
    const { configuration, ...identity } = options.identity
    const metafile = await Metafile.create(
      disk,
      directory,
      { ...identity, foundingConfiguration: configuration, restoredFrom: backup.verified.file },
      snapshot.lastIncluded.term,
    )
    await metafile.close()
    await disk.remove(`${directory}/${restoringName}`)
    await disk.syncDirectory(directory)
    return snapshot
  } catch (error) {
    if (isOutOfRoom(error)) {
      await removeRemains(disk, directory).catch(() => {})
      const message = `Cannot restore into ${directory}: the disk is full. Make room, and restore again.`
      throw new StorageFullError(message, { cause: error })
    }
    throw diskFailure(`restore into ${directory}`, error)
  }
}

const notice = Buffer.from(
  'A backup is being restored here, or was and did not come to its end: then restore it again.\n',
)

/** With the members of the new cluster in place of those of the old one; all else is what the backup says. */
async function createSnapshot({ disk, directory, backup, identity, mayGoOn }: RestoreOptions): Promise<SnapshotFile> {
  const { verified, path } = backup
  const { lastIncluded } = verified.header
  const header: SnapshotHeader = {
    ...verified.header,
    configuration: { index: lastIncluded.index, configuration: identity.configuration },
  }
  const encoder = new SnapshotEncoder(identity.cluster, header)
  const source = await OpenSnapshot.open(disk, path, verified)
  try {
    await createDurably(disk, directory, snapshotName(lastIncluded), async (file) => {
      append(file, encoder, encoder.begin())
      for await (const content of source.ledger()) {
        mayGoOn()
        for (const chunk of encoder.addLedger(content)) append(file, encoder, chunk)
      }
      for await (const content of source.body()) {
        mayGoOn()
        for (const chunk of encoder.add(content)) append(file, encoder, chunk)
      }
      for (const chunk of encoder.end()) append(file, encoder, chunk)
    })
  } finally {
    await source.close()
  }
  return encoder.file
}

/** What the encoder handed out last belongs at the end of what it has handed out. */
function append(file: DiskFile, encoder: SnapshotEncoder, bytes: Uint8Array): void {
  file.write(bytes, encoder.file.sizeBytes - bytes.length)
}

/** An empty log that begins behind the snapshot. */
async function createLog(
  { disk, directory, identity, segmentBytes }: RestoreOptions,
  snapshot: SnapshotFile,
): Promise<void> {
  const logOf = logIdentity(identity.cluster, identity.incarnation)
  const beginning = encodeFirstBatch(logOf, snapshot)
  await createDurably(disk, directory, segmentName(1), async (file) => {
    file.write(encodeSegmentHeader(logOf, 1), 0)
    file.write(beginning, segmentHeaderBytes)
    await file.zeroFill(segmentHeaderBytes + beginning.length, segmentBytes)
  })
}

function encodeFirstBatch(identity: LogIdentity, { lastIncluded }: SnapshotFile): Buffer {
  const batch = Buffer.alloc(batchHeaderBytes + beginningBytes)
  encodeBeginning(batch.subarray(batchHeaderBytes), lastIncluded.term)
  const position = { segment: 1, offset: segmentHeaderBytes }
  sealBatch(batch, { identity, position, mark: position, records: 0, firstIndex: lastIncluded.index + 1 })
  return batch
}

/** All that a restore makes but the file that says that it goes on. */
async function removeRemains(disk: Disk, directory: string): Promise<void> {
  for (const name of await disk.list(directory)) {
    if (isOfRestore(name) && name !== restoringName) await disk.remove(`${directory}/${name}`)
  }
  await disk.syncDirectory(directory)
}

function isOfRestore(name: string): boolean {
  const finished = name.endsWith(temporaryEnding) ? name.slice(0, -temporaryEnding.length) : name
  return (
    finished === restoringName ||
    finished === metafileName ||
    segmentNumber(finished) !== null ||
    snapshotId(finished) !== null
  )
}

/** What stands in a directory that was never used: the lock, and what a file system and a restore that had hardly begun leave. */
function isHarmless(name: string): boolean {
  return isLockName(name) || name === 'lost+found' || name === restoringName + temporaryEnding
}

async function namesIn(disk: ReadOnlyDisk, directory: string): Promise<string[]> {
  try {
    return await disk.list(directory)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw diskFailure(`look into ${directory}`, error)
  }
}

function unreadable(path: string, cause: unknown): FatalError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new FatalError(exitCodes.ioError, `Cannot read the backup ${path}: ${reason}`, { cause })
}
