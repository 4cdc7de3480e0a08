// A node without Raft: it answers at once, or as a test tells it to.

import type {
  AppliedCommand,
  Backup,
  CommittedCommand,
  LeaderView,
  NewCommand,
  Node,
  NodeStatus,
  SnapshotView,
} from '../../src/node/contract.ts'

export const timestampMs = Date.parse('2026-11-23T05:00:00.123Z')

export class FakeNode implements Node {
  readonly id = 'n1'
  readonly proposals: { readonly command: NewCommand; readonly timeoutMs: number }[] = []
  readonly barriers: number[] = []
  appliedIndex = 41
  currentTerm = 3
  role: NodeStatus['role'] = 'leader'
  leaderView: LeaderView | null = { id: 'n1', term: 3, self: true, appUrl: null }
  quorum = true
  onPropose: (command: NewCommand) => Promise<AppliedCommand> = async () => ({
    index: 42,
    term: 3,
    timestampMs,
    result: { ok: true },
  })
  onBarrier: () => Promise<number> = async () => this.appliedIndex
  onSnapshot: () => Promise<SnapshotView> = async () => ({ index: 40, term: 2, sizeBytes: 1_234 })
  onBackup: () => Promise<Backup> = () => Promise.reject(new Error('No backup was prepared'))
  onWait: (index: number) => Promise<void> = async (index) => {
    this.appliedIndex = index
  }

  propose(command: NewCommand, timeoutMs: number): Promise<AppliedCommand> {
    this.proposals.push({ command, timeoutMs })
    return this.onPropose(command)
  }
  proposeCommitted(command: NewCommand, timeoutMs: number): Promise<CommittedCommand> {
    return this.propose(command, timeoutMs)
  }
  readBarrier(timeoutMs: number): Promise<number> {
    this.barriers.push(timeoutMs)
    return this.onBarrier()
  }
  waitApplied(index: number): Promise<void> {
    return this.onWait(index)
  }
  leader(): LeaderView | null {
    return this.leaderView
  }
  holdsQuorum(): boolean {
    return this.quorum
  }
  takeSnapshot(): Promise<SnapshotView> {
    return this.onSnapshot()
  }
  openBackup(): Promise<Backup> {
    return this.onBackup()
  }
  status(): NodeStatus {
    return {
      id: this.id,
      role: this.role,
      term: this.currentTerm,
      leader: this.leaderView,
      holdsQuorum: this.quorum,
      commitIndex: 41,
      appliedIndex: this.appliedIndex,
      lastIndex: 43,
      durableIndex: 42,
      firstIndex: 1,
      members: [
        {
          id: 'n1',
          peerAddress: '127.0.0.1:4000',
          role: 'voter',
          self: true,
          leader: true,
          reachable: true,
          refusal: null,
          matchIndex: 43,
          lag: 0,
        },
      ],
      configuration: { members: [{ id: 'n1', peerAddress: '127.0.0.1:4000', role: 'voter' }] },
      pendingProposals: 0,
      snapshot: { index: 40, term: 2, sizeBytes: 1_234 },
      compactionBlocked: null,
      isStorageStalled: false,
      isStorageFull: false,
      applierBlocked: null,
      observerBlocked: null,
      uptimeMs: 1_000,
    }
  }
  counters(): ReturnType<Node['counters']> {
    throw new Error('The API has no use for counters')
  }
}
