// Tells two foundings of a cluster apart. Ids and roles decide who may elect whom; addresses do not, and each node may see
// another node under another one.

import { createHash } from 'node:crypto'
import type { Configuration } from '../raft/configuration.ts'

export function foundingDigest(configuration: Configuration): string {
  const members = configuration.members.map(({ id, role }) => JSON.stringify([id, role])).sort()
  return createHash('sha256').update(members.join('\n')).digest('hex').slice(0, 16)
}
