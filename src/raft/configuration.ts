// Who belongs to the cluster. It takes effect when its entry is appended, rolls back when that entry is
// truncated, and is read from configuration entries and snapshots only.

import type { NodeId } from './entry.ts'

export interface Member {
  readonly id: NodeId
  /** host:port that peers dial; a name is resolved again at each dial. */
  readonly peerAddress: string
  /** A learner receives the log but neither votes nor counts towards a majority. */
  readonly role: 'voter' | 'learner'
}

export interface Configuration {
  readonly members: readonly Member[]
}

/** A configuration and the index of the entry that brought it; 0 for the one a cluster was founded with. */
export interface IndexedConfiguration {
  readonly index: number
  readonly configuration: Configuration
}

export function isVoter(configuration: Configuration, id: NodeId): boolean {
  return configuration.members.some((member) => member.id === id && member.role === 'voter')
}

export function isMember(configuration: Configuration, id: NodeId): boolean {
  return configuration.members.some((member) => member.id === id)
}

export function voterIds(configuration: Configuration): NodeId[] {
  return configuration.members.filter((member) => member.role === 'voter').map((member) => member.id)
}

/** N/2 + 1 of N voters. */
export function quorum(voters: number): number {
  return Math.floor(voters / 2) + 1
}

/** The largest value that a majority of voters has reached, given one value a voter (§5.3, §5.4). */
export function majorityReached(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => b - a)
  return sorted[quorum(sorted.length) - 1] ?? 0
}

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(configuration))
}

/** The payload of a configuration entry; what is not one throws. */
export function decodeConfiguration(payload: Uint8Array): Configuration {
  const value: unknown = JSON.parse(new TextDecoder().decode(payload))
  if (!isConfiguration(value)) throw new Error('A configuration entry holds something else than a list of members')
  return value
}

function isConfiguration(value: unknown): value is Configuration {
  if (typeof value !== 'object' || value === null || !('members' in value) || !Array.isArray(value.members))
    return false
  return value.members.every(
    (member: Partial<Member>) =>
      typeof member.id === 'string' &&
      typeof member.peerAddress === 'string' &&
      (member.role === 'voter' || member.role === 'learner'),
  )
}
