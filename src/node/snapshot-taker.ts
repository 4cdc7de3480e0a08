// When and how this node takes snapshots of its own state machine: every so many applied entries, on request, and at once when the disk runs
// full. One at a time, beside everything else; and never so often that snapshots are all that the disk does.

import { FatalError, SnapshotError, StorageFullError } from '../errors.ts'
import type { SnapshotMetadata } from '../raft/snapshot.ts'
import type { Applier, Clock, MachineSnapshot, NodeObserver, SnapshotFile, Storage } from './ports.ts'

export interface SnapshotTakerOptions {
  readonly storage: Pick<Storage, 'takeSnapshot' | 'newestSnapshot' | 'isFull'>
  readonly applier: Pick<Applier, 'appliedIndex' | 'snapshot'>
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly observer: NodeObserver
  /** Applied entries between two snapshots. */
  readonly threshold: number
  /** What the log says of this entry. Throws SnapshotError when that is no ground for a snapshot: the leader's has replaced the log. */
  readonly describe: (index: number) => SnapshotMetadata
  /** What this node keeps of the log through this entry. */
  readonly ledgerAt: (index: number) => AsyncIterable<Uint8Array>
  readonly onTaken: (snapshot: SnapshotMetadata, file: SnapshotFile) => void
  readonly onFailure: (error: unknown) => void
}

/** After a snapshot that took so long, this many times as long passes before the next: a fifth of the time at most goes into them. */
const restFactor = 4
/** What failed is tried again after this share of the threshold; on a full disk, where nothing more may come, after a while. */
const retryShare = 0.1
const retryMs = 1000

export class SnapshotTaker {
  readonly #options: SnapshotTakerOptions
  #taking: Promise<SnapshotFile> | null = null
  /** After an attempt that failed: not before this many entries are applied. */
  #notBefore = 0
  #restUntilMs = Number.NEGATIVE_INFINITY
  #unsupported = false
  #isStopped = false

  constructor(options: SnapshotTakerOptions) {
    this.#options = options
  }

  /** The state machine offered none when it was last asked. */
  get isUnsupported(): boolean {
    return this.#unsupported
  }

  /** To be called now and then; a snapshot that is due is begun. */
  tick(): void {
    const { storage, applier, clock, threshold } = this.#options
    const isUrgent = storage.isFull && !this.#unsupported
    const dueIndex = isUrgent ? this.#newestIndex + 1 : Math.max(this.#newestIndex + threshold, this.#notBefore)
    if (applier.appliedIndex < dueIndex || clock.monotonicMs() < this.#restUntilMs) return
    this.#beginUnasked()
  }

  /** The disk is full since just now: what a snapshot can free is wanted, without a rest. */
  hurry(): void {
    if (this.#options.applier.appliedIndex > this.#newestIndex) this.#beginUnasked()
  }

  /** Of everything that is applied now. Rejects with SnapshotError. */
  async take(): Promise<SnapshotFile> {
    const wanted = this.#options.applier.appliedIndex
    for (;;) {
      this.#mustGoOn()
      const { newestSnapshot } = this.#options.storage
      if (newestSnapshot !== null && newestSnapshot.lastIncluded.index >= wanted) return newestSnapshot
      // One that is under way may have begun too early.
      if (this.#taking === null) return await this.#begin()
      await this.#taking.catch(() => {})
    }
  }

  /** What is under way comes to nothing, and nothing else is begun. */
  stop(): void {
    this.#isStopped = true
  }

  get #newestIndex(): number {
    return this.#options.storage.newestSnapshot?.lastIncluded.index ?? 0
  }

  #beginUnasked(): void {
    if (this.#taking !== null) return
    this.#begin().catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error)
      this.#options.observer.event({ type: 'snapshotSkipped', reason })
    })
  }

  #begin(): Promise<SnapshotFile> {
    this.#taking = this.#take().finally(() => {
      this.#taking = null
    })
    return this.#taking
  }

  async #take(): Promise<SnapshotFile> {
    const { applier, clock, observer, threshold, onTaken, onFailure } = this.#options
    const startedMs = clock.monotonicMs()
    this.#notBefore = applier.appliedIndex + Math.max(1, Math.ceil(threshold * retryShare))
    try {
      const picture = await applier.snapshot()
      this.#unsupported = picture === null
      if (picture === null) {
        this.#notBefore = applier.appliedIndex + threshold
        throw new SnapshotError('snapshot-unsupported', 'Cannot take a snapshot: the application offers none')
      }
      const { metadata, file } = await this.#store(picture)
      const durationMs = clock.monotonicMs() - startedMs
      this.#restUntilMs = startedMs + durationMs * (1 + restFactor)
      if (!this.#isStopped) onTaken(metadata, file)
      observer.event({ type: 'snapshotTaken', file, durationMs })
      return file
    } catch (error) {
      const nowMs = clock.monotonicMs()
      this.#restUntilMs = Math.max(startedMs + (nowMs - startedMs) * (1 + restFactor), nowMs + retryMs)
      if (error instanceof FatalError) onFailure(error)
      throw asSnapshotError(error)
    }
  }

  async #store(
    picture: MachineSnapshot,
  ): Promise<{ readonly metadata: SnapshotMetadata; readonly file: SnapshotFile }> {
    const { storage, describe, ledgerAt } = this.#options
    try {
      this.#mustGoOn()
      if (picture.appliedIndex === 0)
        throw new SnapshotError('snapshot-failed', 'Cannot take a snapshot: nothing is applied yet')
      const metadata = describe(picture.appliedIndex)
      const header = { ...metadata, machinePosition: picture.position }
      const ledger = this.#untilStopped(ledgerAt(picture.appliedIndex))
      const file = await storage.takeSnapshot(header, ledger, this.#untilStopped(picture.body))
      return { metadata, file }
    } catch (error) {
      // Whatever stopped the reading, or kept it from being begun: the state machine need not hold the picture any longer.
      picture.body[Symbol.asyncIterator]()
        .return?.()
        .catch(() => {})
      throw error
    }
  }

  /** A state may be large: a node that stops does not wait for the rest of it. */
  async *#untilStopped(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const part of body) {
      this.#mustGoOn()
      yield part
    }
  }

  #mustGoOn(): void {
    if (this.#isStopped) throw new SnapshotError('shutting-down', 'Cannot take a snapshot: this node is shutting down')
  }
}

function asSnapshotError(error: unknown): SnapshotError {
  if (error instanceof SnapshotError) return error
  const reason = error instanceof Error ? error.message : String(error)
  const code = error instanceof StorageFullError ? 'storage-full' : 'snapshot-failed'
  return new SnapshotError(code, `Cannot take a snapshot: ${reason}`, { cause: error })
}
