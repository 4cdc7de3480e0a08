// The answer of `status` for a person: who leads, where the log stands, the members, and one sentence on what is wrong.

import type { Status } from '../client/client.ts'
import { columns } from './columns.ts'
import { memberTable } from './member-table.ts'
import { printable } from './printable.ts'

export function statusScreen(status: Status): string {
  const { leader } = status
  const led =
    leader === null
      ? 'none'
      : `${leader.id}${leader.self ? ' (this node)' : ''}${leader.appUrl === null ? '' : `, ${leader.appUrl}`}`
  const facts = [
    [
      'Node',
      `${status.id} of cluster ${status.cluster}, ${status.role}, up ${uptime(status.uptimeMs)}, version ${status.version}`,
    ],
    ['Leader', led],
    ['Term', String(status.term)],
    [
      'Log',
      `entries ${status.firstIndex} to ${status.lastIndex}, durable to ${status.durableIndex}, committed to ${status.commitIndex}, applied to ${status.appliedIndex}`,
    ],
    ['Snapshot', snapshotOf(status)],
    ['Waiting', `${status.pendingProposals} ${status.pendingProposals === 1 ? 'proposal' : 'proposals'}`],
  ]
  return printable([...columns(facts), '', ...memberTable(status.members), '', status.diagnosis, ''].join('\n'))
}

function snapshotOf({ snapshot }: Status): string {
  if (snapshot === null) return 'none'
  return `through entry ${snapshot.index} of term ${snapshot.term}, ${snapshot.sizeBytes} bytes`
}

function uptime(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ]
  if (days > 0) return `${days}d ${hours}h`
  if (hours > 0) return `${hours}h ${minutes}m`
  return minutes > 0 ? `${minutes}m ${seconds % 60}s` : `${seconds}s`
}
