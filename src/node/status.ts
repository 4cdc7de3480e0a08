// What a node knows of itself and its cluster, in one value.

import type { Raft } from '../raft/raft.ts'
import type { LeaderView, MemberStatus, NodeStatus, SnapshotView } from './contract.ts'
import type { Peer } from './ports.ts'

interface Known {
  readonly raft: Raft
  readonly peers: readonly Peer[]
  readonly leader: LeaderView | null
  readonly holdsQuorum: boolean
  readonly appliedIndex: number
  readonly applierBlocked: string | null
  readonly observerBlocked: string | null
  readonly poison: NodeStatus['poison']
  readonly snapshot: SnapshotView | null
  readonly compactionBlocked: string | null
  readonly isStorageStalled: boolean
  readonly isStorageFull: boolean
  readonly pendingProposals: number
  readonly uptimeMs: number
}

export function describeStatus(known: Known): NodeStatus {
  const { raft, leader } = known
  const { configuration } = raft.log.configuration
  const isLearner = configuration.members.some((member) => member.id === raft.id && member.role === 'learner')
  return {
    id: raft.id,
    role: isLearner ? 'learner' : raft.role.name,
    term: raft.currentTerm,
    leader,
    holdsQuorum: known.holdsQuorum,
    commitIndex: raft.commitIndex,
    appliedIndex: known.appliedIndex,
    lastIndex: raft.log.lastIndex,
    durableIndex: raft.log.durableIndex,
    firstIndex: raft.log.base.index + 1,
    members: configuration.members.map((member): MemberStatus => {
      const self = member.id === raft.id
      const progress = raft.role.name === 'leader' ? raft.role.progress.get(member.id) : undefined
      const matchIndex = self && raft.role.name === 'leader' ? raft.log.durableIndex : (progress?.matchIndex ?? null)
      return {
        ...member,
        self,
        leader: leader?.id === member.id,
        reachable: self || known.peers.some((peer) => peer.id === member.id && peer.connected),
        refusal: known.peers.find((peer) => peer.id === member.id)?.refusal ?? null,
        matchIndex,
        lag: matchIndex === null ? null : raft.log.lastIndex - matchIndex,
      }
    }),
    configuration,
    snapshot: known.snapshot,
    compactionBlocked: known.compactionBlocked,
    isStorageStalled: known.isStorageStalled,
    isStorageFull: known.isStorageFull,
    pendingProposals: known.pendingProposals,
    applierBlocked: known.applierBlocked,
    observerBlocked: known.observerBlocked,
    poison: known.poison,
    uptimeMs: known.uptimeMs,
  }
}
