// Opens a data directory, or founds it. The log's first segment is made before the metafile, and each of them appears whole or not at
// all: a directory without a metafile, whose log was never written, was not founded yet.

import { exitCodes, FatalError } from '../errors.ts'
import type { EntryId } from '../raft/entry.ts'
import type { Recovered } from '../raft/work.ts'
import { misplaced } from './damage.ts'
import type { Disk } from './disk.ts'
import { createDurably, temporaryEnding } from './disk.ts'
import type { LogContents } from './log-contents.ts'
import type { Identity } from './metafile.ts'
import { Metafile, metafileName } from './metafile.ts'
import type { RecoveredLog } from './recover-log.ts'
import { isLogUnused, recoverLog } from './recover-log.ts'
import type { LogIdentity } from './segment.ts'
import { encodeSegmentHeader, logIdentity, segmentName, segmentNumber } from './segment.ts'

export interface DirectoryOptions {
  readonly disk: Disk
  readonly directory: string
  readonly identity: Omit<Identity, 'incarnation' | 'restoredFrom'> & { readonly newIncarnation: string }
  readonly segmentBytes: number
}

export interface OpenedDirectory {
  readonly metafile: Metafile
  readonly log: RecoveredLog
  readonly logIdentity: LogIdentity
  readonly recovered: Recovered
  readonly isNew: boolean
}

const base: EntryId = { term: 0, index: 0 }

export async function openDirectory(options: DirectoryOptions): Promise<OpenedDirectory> {
  const { disk, directory } = options
  await disk.makeDirectory(directory)
  const names = await disk.list(directory)
  for (const name of names) if (isUnfinished(name)) await disk.remove(`${directory}/${name}`)
  const isNew = !names.includes(metafileName)
  const metafile = isNew ? await found(options) : await Metafile.open(disk, directory)
  try {
    checkIdentity(options, metafile.identity)
    const { cluster, incarnation } = metafile.identity
    const identity = logIdentity(cluster, incarnation)
    const log = await recoverLog(disk, directory, identity, base)
    return { metafile, log, logIdentity: identity, recovered: recovered(directory, metafile, log.contents), isNew }
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
  if (!(await isLogUnused(disk, directory))) {
    throw misplaced(
      `${directory}/${metafileName}`,
      'It is missing, but there is a log: this node would forget its votes.',
    )
  }
  for (const name of await disk.list(directory)) {
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

function isUnfinished(name: string): boolean {
  if (!name.endsWith(temporaryEnding)) return false
  const finished = name.slice(0, -temporaryEnding.length)
  return finished === metafileName || segmentNumber(finished) !== null
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

function recovered(directory: string, metafile: Metafile, contents: LogContents): Recovered {
  const { hardState, identity } = metafile
  if (contents.lastTerm > hardState.currentTerm) {
    throw misplaced(
      `${directory}/${metafileName}`,
      `It says term ${hardState.currentTerm}, the log has entries of term ${contents.lastTerm}: it is older than the log.`,
    )
  }
  // A node that was told to join belongs to nothing until the log says so.
  const founding = { index: 0, configuration: identity.foundingConfiguration ?? { members: [] } }
  return {
    hardState,
    base: contents.base,
    termRuns: contents.termRuns,
    lastIndex: contents.lastIndex,
    lastTimestampMs: contents.lastTimestampMs,
    configurations: [founding, ...contents.configurations],
  }
}
