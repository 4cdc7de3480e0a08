// `restore`: makes this node's data directory anew from a backup, by the settings that `run` will find.

import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { exitCodes, FatalError } from '../errors.ts'
import { lockDirectory } from '../storage/directory-lock.ts'
import { nodeDisk } from '../storage/node-disk.ts'
import { checkBackup, isBackupOf, refuseUsed, restoreDirectory } from '../storage/restore-directory.ts'
import type { CliEnvironment } from './environment.ts'
import { type OutputOptions, print } from './sidecar-call.ts'

export async function restore(environment: CliEnvironment, path: string, options: OutputOptions): Promise<number> {
  const { nodeId, cluster, members, dataDir, segmentBytes } = environment.config()
  if (members === null) {
    const advice = 'name the members of the new cluster, the same on each of them'
    throw new FatalError(exitCodes.configuration, `MEMBERS is not set: ${advice}`)
  }
  // Before anything is touched.
  const backup = await checkBackup(nodeDisk, resolve(path))
  const isOfThisName = await isBackupOf(nodeDisk, backup, cluster)
  await refuseUsed(nodeDisk, dataDir)

  let lost: FatalError | null = null
  const unlock = await lockDirectory(dataDir, (error) => {
    lost = error
  })
  try {
    const incarnation = randomBytes(8).toString('hex')
    const { lastIncluded, sizeBytes } = await restoreDirectory({
      disk: nodeDisk,
      directory: dataDir,
      backup,
      identity: { cluster, nodeId, incarnation, configuration: { members } },
      segmentBytes,
      mayGoOn: () => {
        if (lost !== null) throw lost
      },
    })
    const ids = members.map((member) => member.id)
    const { index, term } = lastIncluded
    const lines = [
      `Restored ${dataDir}: node ${nodeId} of a new cluster ${cluster} of ${ids.join(', ')}, which goes on from entry ${index} of term ${term}.`,
      ids.length === 1
        ? 'Start it.'
        : 'Restore the same backup with the same MEMBERS on each of them, then start them; nodes of the cluster before are refused.',
      ...(isOfThisName
        ? []
        : [`The backup was taken of a cluster of another name: its state is that of ${cluster} now.`]),
    ]
    const json = {
      dataDir,
      cluster,
      node: nodeId,
      members: ids,
      incarnation,
      index,
      term,
      sizeBytes,
      renamed: !isOfThisName,
    }
    return await print(environment, options, { json, text: lines.join('\n') })
  } finally {
    await unlock()
  }
}
