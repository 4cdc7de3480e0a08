// Opens a data directory, or founds it. The log's first segment is made before the metafile, and each of them appears whole or not at
// all: a directory without a metafile, whose log was never written, was not founded yet. Nothing is changed in the log before everything
// that is known of it was checked. Last of all, the run that begins with it is counted: only who looks, or restores, is none.

import { exitCodes, FatalError } from '../errors.ts'
import type { Run, SnapshotHeader } from '../node/ports.ts'
import type { Recovered } from '../raft/work.ts'
import { noRoomToFound } from './damage.ts'
import type { Disk } from './disk.ts'
import { createDurably, isOutOfRoom, temporaryEnding } from './disk.ts'
import { judge, refuseHalfRestored, refuseWithoutMetafile } from './judge-directory.ts'
import type { LogContents } from './log-contents.ts'
import type { Identity } from './metafile.ts'
import { Metafile, metafileName } from './metafile.ts'
import type { RecoveredLog } from './recover-log.ts'
import { settleLog } from './recover-log.ts'
import type { RecoveredSnapshots } from './recover-snapshots.ts'
import type { LogIdentity } from './segment.ts'
import { encodeSegmentHeader, logIdentity, segmentName, segmentNumber } from './segment.ts'
import { snapshotId } from './snapshot-file.ts'
import { isIncomingName } from './snapshot-store.ts'

export interface DirectoryOptions {
  readonly disk: Disk
  readonly directory: string
  readonly identity: Omit<Identity, 'incarnation' | 'restoredFrom'> & { readonly newIncarnation: string }
  readonly newRunId: string
  readonly segmentBytes: number
}

export interface OpenedDirectory {
  readonly metafile: Metafile
  readonly log: RecoveredLog
  readonly logIdentity: LogIdentity
  readonly snapshots: RecoveredSnapshots
  /** The log is to begin anew behind the newest snapshot, and `recovered` says so already. */
  readonly isLogSuperseded: boolean
  readonly recovered: Recovered
  readonly run: Run
  readonly isNew: boolean
}

export async function openDirectory(options: DirectoryOptions): Promise<OpenedDirectory> {
  const { disk, directory } = options
  await disk.makeDirectory(directory)
  const names = await disk.list(directory)
  refuseHalfRestored(directory, names)
  for (const name of names) if (isUnfinished(name)) await disk.remove(`${directory}/${name}`)
  const isNew = !names.includes(metafileName)
  const metafile = isNew
    ? await found(options).catch((error) => refuseWithoutRoom(options, error))
    : await Metafile.open(disk, directory)
  try {
    checkIdentity(options, metafile.identity)
    const { scanned, snapshots, isLogSuperseded, logIdentity } = await judge(disk, directory, metafile)
    const log = await settleLog(disk, directory, scanned)
    const recovered = recover(metafile, snapshots.newest?.header ?? null, isLogSuperseded ? null : log.contents)
    const run = await metafile.beginRun(options.newRunId)
    return { metafile, log, logIdentity, snapshots, isLogSuperseded, recovered, run, isNew }
  } catch (error) {
    await metafile.close()
    throw error
  }
}

/** Whether the directory is a node's already; then it knows the cluster's members. */
export async function isFounded(disk: Disk, directory: string): Promise<boolean> {
  return (await disk.list(directory)).includes(metafileName)
}

async function found(options: DirectoryOptions): Promise<Metafile> {
  const { disk, directory, segmentBytes } = options
  const names = await disk.list(directory)
  await refuseWithoutMetafile(disk, directory, names)
  for (const name of names) {
    if (segmentNumber(name) !== null) await disk.remove(`${directory}/${name}`)
  }
  const { newIncarnation, ...rest } = options.identity
  const identity: Identity = { ...rest, incarnation: newIncarnation, restoredFrom: null }
  const header = encodeSegmentHeader(logIdentity(identity.cluster, newIncarnation), 1)
  await createDurably(disk, directory, segmentName(1), async (file) => {
    file.write(header, 0)
    await file.zeroFill(header.length, segmentBytes)
  })
  return Metafile.create(disk, directory, identity)
}

function refuseWithoutRoom({ directory, segmentBytes }: DirectoryOptions, error: unknown): never {
  throw isOutOfRoom(error) ? noRoomToFound(directory, segmentBytes, error) : error
}

function isUnfinished(name: string): boolean {
  if (!name.endsWith(temporaryEnding)) return false
  const finished = name.slice(0, -temporaryEnding.length)
  return (
    finished === metafileName ||
    segmentNumber(finished) !== null ||
    snapshotId(finished) !== null ||
    isIncomingName(name)
  )
}

function checkIdentity({ directory, identity: wanted }: DirectoryOptions, stored: Identity): void {
  for (const [what, mine, theirs] of [
    ['cluster', wanted.cluster, stored.cluster],
    ['node', wanted.nodeId, stored.nodeId],
  ]) {
    if (mine === theirs) continue
    throw new FatalError(
      exitCodes.dataError,
      `Cannot use the data directory ${directory} for ${what} ${mine}: it belongs to ${what} ${theirs}. Set the ${what} back to ${theirs}, or choose an empty directory.`,
    )
  }
}

/** `contents` null: the log begins anew behind the snapshot. */
function recover(
  { hardState, identity }: Metafile,
  header: SnapshotHeader | null,
  contents: LogContents | null,
): Recovered {
  // A node that was told to join belongs to nothing until the log says so.
  const founding = { index: 0, configuration: identity.foundingConfiguration ?? { members: [] } }
  const { lastIncluded, timestampMs, configuration } = header ?? {
    lastIncluded: { index: 0, term: 0 },
    timestampMs: 0,
    configuration: founding,
  }
  const base = contents?.base ?? lastIncluded
  return {
    hardState,
    snapshot: header && { lastIncluded, timestampMs, configuration },
    base,
    termRuns: contents?.termRuns ?? [],
    lastIndex: contents?.lastIndex ?? base.index,
    lastTimestampMs: Math.max(contents?.lastTimestampMs ?? 0, timestampMs),
    configurations: [
      configuration,
      ...(contents?.configurations.filter((one) => one.index > lastIncluded.index) ?? []),
    ],
  }
}
