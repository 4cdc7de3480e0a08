// The members of the cluster, one on a line, as one node sees them.

import type { Member } from '../client/client.ts'
import { columns } from './columns.ts'

export function memberTable(members: readonly Member[]): readonly string[] {
  const rows = members.map((member) => [
    member.id,
    member.leader ? 'leader' : member.role,
    member.peerAddress,
    member.self ? 'this node' : member.refusal !== null ? 'REFUSED' : member.reachable ? 'yes' : 'NO',
    member.matchIndex === null ? '-' : String(member.matchIndex),
    member.lag === null ? '-' : String(member.lag),
  ])
  return columns([['MEMBER', 'ROLE', 'ADDRESS', 'REACHABLE', 'MATCH', 'LAG'], ...rows])
}
