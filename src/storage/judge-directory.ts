// Whether a data directory can be trusted: the whole verdict, and nothing changed in it. By this a node starts or refuses to, and by this
// the offline commands say beforehand which of the two it will do. All of it throws FatalError (dataError) to refuse.

import { misplaced } from './damage.ts'
import type { ReadOnlyDisk } from './disk.ts'
import type { MetafileContent } from './metafile.ts'
import { metafileName, readMetafile } from './metafile.ts'
import type { LogWitness, ScannedLog } from './recover-log.ts'
import { isLogUnused, scanLog } from './recover-log.ts'
import type { RecoveredSnapshots } from './recover-snapshots.ts'
import { isLogCurrent, recoverSnapshots } from './recover-snapshots.ts'
import type { LogIdentity } from './segment.ts'
import { logIdentity } from './segment.ts'
import type { SlotState } from './slot-file.ts'
import { snapshotId } from './snapshot-file.ts'

/** Stands in a directory from before the first to after the last file that a restore puts there. */
export const restoringName = 'restoring'

export interface JudgedDirectory {
  readonly scanned: ScannedLog
  readonly snapshots: RecoveredSnapshots
  /** The newest snapshot stands for more than the log, which is to begin anew behind it. */
  readonly isLogSuperseded: boolean
  readonly logIdentity: LogIdentity
}

/** Is told what is read, in order and before it is judged. */
export interface DirectoryWitness {
  slots(slots: readonly SlotState[]): void
  metafile(content: MetafileContent): void
  readonly log: LogWitness
}

/** For whoever only looks. Null: no node was founded here yet. */
export async function judgeDirectory(
  disk: ReadOnlyDisk,
  directory: string,
  witness: DirectoryWitness,
): Promise<JudgedDirectory | null> {
  const names = await disk.list(directory)
  refuseHalfRestored(directory, names)
  if (!names.includes(metafileName)) {
    await refuseWithoutMetafile(disk, directory, names)
    return null
  }
  const content = await readMetafile(disk, directory, (slots) => witness.slots(slots))
  witness.metafile(content)
  return judge(disk, directory, content, witness.log)
}

/** Everything but the metafile, which says what it has to fit. */
export async function judge(
  disk: ReadOnlyDisk,
  directory: string,
  { identity, hardState }: MetafileContent,
  witness: LogWitness | null = null,
): Promise<JudgedDirectory> {
  const { cluster, incarnation } = identity
  const logOf = logIdentity(cluster, incarnation)
  const scanned = await scanLog(disk, directory, logOf, witness)
  const snapshots = await recoverSnapshots(disk, directory, cluster, scanned.contents)
  const newest = snapshots.newest?.file.lastIncluded ?? null
  const term = Math.max(scanned.contents.lastTerm, newest?.term ?? 0)
  if (term > hardState.currentTerm) {
    throw misplaced(
      `${directory}/${metafileName}`,
      `It says term ${hardState.currentTerm}, the log and the snapshots reach term ${term}: it is older than they are.`,
    )
  }
  const isLogSuperseded = !isLogCurrent(directory, scanned, newest)
  return { scanned, snapshots, isLogSuperseded, logIdentity: logOf }
}

/** A restore that did not come to its end may have left anything. */
export function refuseHalfRestored(directory: string, names: readonly string[]): void {
  if (!names.includes(restoringName)) return
  throw misplaced(
    `${directory}/${restoringName}`,
    'It says that a backup is being restored here, or was and did not come to its end.',
    'Restore the backup again, or empty the directory.',
  )
}

/** Without a metafile there must be nothing yet that a node could have promised something about. */
export async function refuseWithoutMetafile(
  disk: ReadOnlyDisk,
  directory: string,
  names: readonly string[],
): Promise<void> {
  if ((await isLogUnused(disk, directory)) && names.every((name) => snapshotId(name) === null)) return
  throw misplaced(
    `${directory}/${metafileName}`,
    'It is missing, but there is a log or a snapshot: this node would forget its votes.',
  )
}
