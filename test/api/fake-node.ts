// A node without Raft: it answers at once, or as a test tells it to.

import { CompactedError, type ProposalError } from '../../src/errors.ts'
import type {
  AppliedCommand,
  Backup,
  CommittedCommand,
  CommittedRead,
  LeaderView,
  LoggedCommand,
  NewCommand,
  Node,
  NodeChange,
  NodeStatus,
  ReadMode,
  SnapshotView,
} from '../../src/node/contract.ts'

export const timestampMs = Date.parse('2026-11-23T05:00:00.123Z')

export function appliedAt(index: number, change: Partial<AppliedCommand> = {}): AppliedCommand {
  return { index, term: 3, timestampMs, duplicate: false, result: { ok: true }, ...change }
}

export function loggedAt(index: number, json: string, change: Partial<LoggedCommand> = {}): LoggedCommand {
  return {
    index,
    term: 3,
    timestampMs,
    kind: 'json',
    payload: Buffer.from(json),
    key: null,
    traceparent: null,
    skipped: false,
    ...change,
  }
}

interface Waiter {
  readonly after: number
  readonly wake: () => void
}

export class FakeNode implements Node {
  readonly id = 'n1'
  readonly proposals: { readonly command: NewCommand; readonly timeoutMs: number }[] = []
  readonly batches: { readonly commands: readonly NewCommand[]; readonly wait: string; readonly timeoutMs: number }[] =
    []
  readonly barriers: number[] = []
  readonly barrierModes: (ReadMode | undefined)[] = []
  readonly reads: { readonly after: number; readonly limit: number; readonly maxBytes: number }[] = []
  readonly subscribers = new Set<(change: NodeChange) => void>()
  readonly log: LoggedCommand[] = []
  readonly waiters = new Set<Waiter>()
  firstIndex = 1
  commitIndex = 41
  appliedIndex = 41
  currentTerm = 3
  role: NodeStatus['role'] = 'leader'
  leaderView: LeaderView | null = { id: 'n1', term: 3, self: true, appUrl: null }
  quorum = true
  onAdmit: (sizeBytes: number) => ProposalError | null = () => null
  onPropose: (command: NewCommand) => Promise<AppliedCommand> = async () => appliedAt(42)
  onBatch: (commands: readonly NewCommand[]) => Promise<readonly (AppliedCommand | ProposalError)[]> = async (
    commands,
  ) => commands.map((_command, at) => appliedAt(42 + at))
  onSkip: (index: number) => Promise<CommittedCommand> = async () => appliedAt(42)
  onTransfer: (to: string | null) => Promise<LeaderView> = async (to) => ({
    id: to ?? 'n2',
    term: 4,
    self: false,
    appUrl: null,
  })
  onBarrier: () => Promise<number> = async () => this.appliedIndex
  onSnapshot: () => Promise<SnapshotView> = async () => ({ index: 40, term: 2, sizeBytes: 1_234 })
  onBackup: () => Promise<Backup> = () => Promise.reject(new Error('No backup was prepared'))
  onWait: (index: number) => Promise<void> = async (index) => {
    this.appliedIndex = index
  }

  admit(sizeBytes: number): ProposalError | null {
    return this.onAdmit(sizeBytes)
  }
  propose(command: NewCommand, timeoutMs: number): Promise<AppliedCommand> {
    this.proposals.push({ command, timeoutMs })
    return this.onPropose(command)
  }
  proposeCommitted(command: NewCommand, timeoutMs: number): Promise<CommittedCommand> {
    return this.propose(command, timeoutMs)
  }
  proposeBatch(
    commands: readonly NewCommand[],
    wait: 'applied' | 'committed',
    timeoutMs: number,
  ): Promise<readonly (AppliedCommand | ProposalError)[]> {
    this.batches.push({ commands, wait, timeoutMs })
    return this.onBatch(commands)
  }
  skip(index: number): Promise<CommittedCommand> {
    return this.onSkip(index)
  }
  transferLeadership(to: string | null): Promise<LeaderView> {
    return this.onTransfer(to)
  }
  /** Appends a command, or with null an entry that is none, and commits it. */
  commit(json: string | null, change: Partial<LoggedCommand> = {}): void {
    this.commitIndex++
    if (json !== null) this.log.push(loggedAt(this.commitIndex, json, change))
    for (const waiter of this.waiters) if (waiter.after < this.commitIndex) waiter.wake()
  }
  /** As when the time of those who wait is over. */
  wakeAll(): void {
    for (const waiter of this.waiters) waiter.wake()
  }
  /** Drops what comes before this index. */
  compact(firstIndex: number): void {
    this.firstIndex = firstIndex
    this.log.splice(0, this.log.filter(({ index }) => index < firstIndex).length)
  }
  async readCommitted(after: number, limit: number, maxBytes: number): Promise<CommittedRead> {
    this.reads.push({ after, limit, maxBytes })
    if (after + 1 < this.firstIndex) {
      throw new CompactedError(this.firstIndex, `The log begins with entry ${this.firstIndex}.`)
    }
    const behind = this.log.filter(({ index }) => index > after)
    let bytes = 0
    const commands = behind.slice(0, limit).filter(({ payload }, at) => {
      bytes += payload.length
      return at === 0 || bytes <= maxBytes
    })
    const isCut = commands.length < behind.length
    return { commands, through: isCut ? (commands.at(-1)?.index ?? after) : Math.max(after, this.commitIndex) }
  }
  waitCommitted(after: number, timeoutMs: number): Promise<number> {
    if (this.commitIndex > after) return Promise.resolve(this.commitIndex)
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.waiters.delete(waiter)
        resolve(this.commitIndex)
      }
      const waiter: Waiter = { after, wake }
      const timer = setTimeout(wake, timeoutMs)
      timer.unref()
      this.waiters.add(waiter)
    })
  }
  subscribe(changed: (change: NodeChange) => void): () => void {
    this.subscribers.add(changed)
    return () => this.subscribers.delete(changed)
  }
  tell(change: NodeChange): void {
    for (const subscriber of this.subscribers) subscriber(change)
  }
  readBarrier(timeoutMs: number, mode?: ReadMode): Promise<number> {
    this.barriers.push(timeoutMs)
    this.barrierModes.push(mode)
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
      commitIndex: this.commitIndex,
      appliedIndex: this.appliedIndex,
      lastIndex: 43,
      durableIndex: 42,
      firstIndex: this.firstIndex,
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
      poison: null,
      uptimeMs: 1_000,
    }
  }
  counters(): ReturnType<Node['counters']> {
    throw new Error('The API has no use for counters')
  }
}
