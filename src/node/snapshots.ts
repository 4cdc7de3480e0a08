// Snapshots between nodes, as the loop sees them: those that this node sends, the one that it receives, and backups.

import { FatalError, SnapshotError } from '../errors.ts'
import type { NodeId } from '../raft/entry.ts'
import type { Raft } from '../raft/raft.ts'
import type { SnapshotToSend } from '../raft/work.ts'
import type { Backup, SnapshotView } from './contract.ts'
import type {
  Clock,
  NodeObserver,
  SnapshotAck,
  SnapshotChunk,
  SnapshotFile,
  SnapshotOffer,
  Storage,
  StoredSnapshot,
  Transport,
} from './ports.ts'
import { type ReceivedSnapshot, SnapshotReceiver } from './snapshot-receiver.ts'
import { SnapshotSender } from './snapshot-sender.ts'

export interface SnapshotsOptions {
  readonly id: NodeId
  readonly raft: Raft
  readonly storage: Storage
  readonly transport: Pick<Transport, 'send'>
  readonly clock: Clock
  readonly observer: NodeObserver
  readonly bytesPerSecond: number
  readonly chunkBytes: number
  readonly repeatAfterMs: number
  readonly patienceMs: number
  readonly onReceived: (received: ReceivedSnapshot) => void
  /** A snapshot that was to be sent is not there, or its follower takes nothing of it. */
  readonly onUnsendable: (to: NodeId) => void
  readonly onFailure: (error: unknown) => void
}

export class Snapshots {
  readonly #options: SnapshotsOptions
  readonly #receiver: SnapshotReceiver
  readonly #senders = new Map<NodeId, SnapshotSender>()
  /** Being opened. */
  readonly #opening = new Set<NodeId>()
  #isStopped = false

  constructor(options: SnapshotsOptions) {
    const { id, storage, transport, observer, onReceived, onFailure } = options
    this.#options = options
    this.#receiver = new SnapshotReceiver({
      id,
      storage,
      transport,
      onReceived,
      onSetback: (error) => observer.event({ type: 'snapshotSkipped', reason: error.message }),
      onFailure,
    })
  }

  /** The core asks for it. */
  send(wanted: SnapshotToSend): void {
    if (this.#opening.has(wanted.to)) return
    this.#opening.add(wanted.to)
    this.#open(wanted).catch(this.#options.onFailure)
  }

  async #open({ to, lastIncluded }: SnapshotToSend): Promise<void> {
    const snapshot = await this.#options.storage.openSnapshot()
    this.#opening.delete(to)
    if (this.#isStopped || !this.#isWanted(to)) {
      await snapshot?.close()
    } else if (snapshot === null || snapshot.file.lastIncluded.index < lastIncluded.index) {
      // The one that was asked for is not durable yet: an older one would not reach to where the log begins.
      this.#options.onUnsendable(to)
      await snapshot?.close()
    } else {
      this.#begin(to, snapshot)
    }
  }

  #begin(to: NodeId, snapshot: StoredSnapshot): void {
    this.#senders.get(to)?.stop()
    const {
      id,
      raft,
      transport,
      clock,
      observer,
      bytesPerSecond,
      chunkBytes,
      repeatAfterMs,
      patienceMs,
      onUnsendable,
      onFailure,
    } = this.#options
    const { file } = snapshot
    const sender = new SnapshotSender({
      id,
      to,
      term: raft.currentTerm,
      snapshot,
      transport,
      clock,
      bytesPerSecond,
      chunkBytes,
      repeatAfterMs,
      patienceMs,
      onStuck: () => onUnsendable(to),
      onSent: (durationMs) => observer.event({ type: 'snapshotSent', to, file, durationMs }),
      onFailure,
    })
    this.#senders.set(to, sender)
  }

  /** After each turn: what the core no longer waits for is sent no further. */
  reconcile(): void {
    if (this.#senders.size === 0) return
    for (const [to, sender] of this.#senders) {
      if (this.#isWanted(to) && sender.term === this.#options.raft.currentTerm) continue
      sender.stop()
      this.#senders.delete(to)
    }
  }

  received(message: SnapshotOffer | SnapshotChunk | SnapshotAck): void {
    const { raft } = this.#options
    if (message.type === 'SnapshotAck') {
      this.#senders.get(message.from)?.acknowledged(message)
      return
    }
    if (message.term !== raft.currentTerm || raft.leader !== message.from) return
    if (message.type === 'SnapshotOffer') this.#receiver.offered(message, raft.commitIndex)
    else this.#receiver.chunk(message)
  }

  /** What was received is installed, or is not wanted. */
  settled(): void {
    this.#receiver.settled()
  }

  peerUp(id: NodeId): void {
    this.#senders.get(id)?.offer()
  }

  stop(): void {
    this.#isStopped = true
    this.#receiver.stop()
    for (const sender of this.#senders.values()) sender.stop()
    this.#senders.clear()
  }

  #isWanted(to: NodeId): boolean {
    const { role } = this.#options.raft
    return role.name === 'leader' && role.progress.get(to)?.state === 'snapshot'
  }
}

export function viewOf({ lastIncluded, sizeBytes }: SnapshotFile): SnapshotView {
  return { index: lastIncluded.index, term: lastIncluded.term, sizeBytes }
}

/** Rejects with SnapshotError. What is found damaged on the way is a failure of this node, too: `onFailure` hears of it. */
export async function openBackup(
  storage: Pick<Storage, 'openSnapshot'>,
  onFailure: (error: FatalError) => void,
): Promise<Backup> {
  const report = (error: unknown) => {
    if (error instanceof FatalError) onFailure(error)
    return error
  }
  const stored = await storage.openSnapshot().catch((error: unknown) => {
    report(error)
    throw new SnapshotError('snapshot-failed', `Cannot open the snapshot: ${reasonOf(error)}`, { cause: error })
  })
  if (stored === null) throw new SnapshotError('snapshot-failed', 'Cannot open the snapshot: it is gone')
  return {
    snapshot: viewOf(stored.file),
    read: (into, position) =>
      stored.read(into, position).catch((error: unknown) => {
        throw report(error)
      }),
    close: () => stored.close(),
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
