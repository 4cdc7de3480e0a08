// Tells two foundings of a cluster apart. Ids and roles decide who may elect whom; addresses do not, and each node may see
// another node under another one. A cluster that was restored from a backup is another one than the cluster that it was taken of, and than
// one that was restored from another backup: their logs differ under the same indexes and terms.

import { createHash } from 'node:crypto'
import type { SnapshotFile } from '../node/ports.ts'
import type { Configuration } from '../raft/configuration.ts'

/** `restoredFrom` is the backup that the cluster was made from; null: it began with an empty log. */
export function foundingDigest(configuration: Configuration, restoredFrom: SnapshotFile | null = null): string {
  const lines = configuration.members.map(({ id, role }) => JSON.stringify([id, role])).sort()
  if (restoredFrom !== null) {
    const { lastIncluded, sizeBytes, checksum } = restoredFrom
    lines.push(`restored from ${lastIncluded.index} ${lastIncluded.term} ${sizeBytes} ${checksum}`)
  }
  return createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16)
}
