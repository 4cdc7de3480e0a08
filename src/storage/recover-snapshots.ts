// Which snapshots a directory holds at the start, and how the log stands to the newest one. That one is read through before anything rests
// on it: it was durable before it had its name, so damage is never the remains of a crash.

import type { EntryId } from '../raft/entry.ts'
import { damaged, misplaced } from './damage.ts'
import type { ReadOnlyDisk } from './disk.ts'
import type { LogContents } from './log-contents.ts'
import type { ScannedLog } from './recover-log.ts'
import { segmentName } from './segment.ts'
import type { VerifiedSnapshot } from './snapshot-file.ts'
import { SnapshotFileError, snapshotId, snapshotName } from './snapshot-file.ts'
import { verifySnapshot } from './stored-snapshot.ts'

export interface RecoveredSnapshots {
  /** In rising order. */
  readonly stored: readonly EntryId[]
  readonly newest: VerifiedSnapshot | null
  /** Files that bear a snapshot's name and hold nothing. */
  readonly superfluous: readonly string[]
}

/** Rejects with FatalError (dataError) when the newest one cannot be used. */
export async function recoverSnapshots(
  disk: ReadOnlyDisk,
  directory: string,
  cluster: string,
  log: LogContents,
): Promise<RecoveredSnapshots> {
  const stored: EntryId[] = []
  const superfluous: string[] = []
  for (const name of await disk.list(directory)) {
    const id = snapshotId(name)
    if (id === null) continue
    if (await isEmpty(disk, `${directory}/${name}`)) superfluous.push(name)
    else stored.push(id)
  }
  stored.sort((a, b) => a.index - b.index || a.term - b.term)
  const newest = stored.at(-1)
  if (newest === undefined) return { stored, newest: null, superfluous }
  const path = `${directory}/${snapshotName(newest)}`
  try {
    return { stored, newest: await verifyNamed(disk, directory, cluster, newest), superfluous }
  } catch (error) {
    if (!(error instanceof SnapshotFileError)) throw error
    const remedy = await otherRemedy(disk, directory, cluster, log, newest, stored.at(-2) ?? null)
    throw error.offset === null
      ? misplaced(path, error.problem, remedy)
      : damaged(path, error.offset, error.problem, remedy)
  }
}

/**
 * Whether the log holds the snapshot's last entry, and all that it holds may stay. If not, the snapshot stands for more than the log, and the
 * log begins anew behind it. Throws FatalError (dataError) when entries are missing between the two.
 */
export function isLogCurrent(directory: string, { contents, segments }: ScannedLog, snapshot: EntryId | null): boolean {
  const { base } = contents
  const first = segments[0] as number
  if (base === null) {
    throw misplaced(
      `${directory}/${segmentName(first - 1)}`,
      'It is missing, and nothing in the segments behind it says where the log begins.',
    )
  }
  if (base.index > (snapshot?.index ?? 0)) {
    const held = snapshot === null ? 'there is no snapshot' : `the newest snapshot ends with entry ${snapshot.index}`
    throw misplaced(
      `${directory}/${segmentName(Math.max(first - 1, 1))}`,
      `The log goes back to entry ${base.index} only, and ${held}: what is between them is missing.`,
    )
  }
  return snapshot === null || contents.termAt(snapshot.index) === snapshot.term
}

async function isEmpty(disk: ReadOnlyDisk, path: string): Promise<boolean> {
  const file = await disk.open(path, 'read')
  try {
    return (await file.size()) === 0
  } finally {
    await file.close()
  }
}

/** Rejects with SnapshotFileError when the snapshot cannot be used; `cluster` null: whatever cluster it is of. */
export async function verifyNamed(
  disk: ReadOnlyDisk,
  directory: string,
  cluster: string | null,
  id: EntryId,
): Promise<VerifiedSnapshot> {
  const verified = await verifySnapshot(disk, `${directory}/${snapshotName(id)}`, cluster)
  const { index, term } = verified.file.lastIncluded
  if (index !== id.index || term !== id.term) {
    throw new SnapshotFileError(null, `It is the snapshot through entry ${index} of term ${term}: it was renamed.`)
  }
  return verified
}

/** When the node has all that it acknowledged without this file, too, that is worth knowing. Undefined: there is only the usual remedy. */
async function otherRemedy(
  disk: ReadOnlyDisk,
  directory: string,
  cluster: string,
  log: LogContents,
  newest: EntryId,
  older: EntryId | null,
): Promise<string | undefined> {
  const behind = older ?? { index: 0, term: 0 }
  if (log.termAt(newest.index) !== newest.term || log.termAt(behind.index) !== behind.term) return undefined
  if (older !== null && !(await verifyNamed(disk, directory, cluster, older).catch(() => null))) return undefined
  const others = older === null ? 'the log holds' : `${snapshotName(older)} and the log hold`
  return `This one file can be removed without loss: ${others} everything that it was made of. Then start the node again.`
}
