// The durable half of a node: opens or founds a data directory, and makes saves durable in the order of the calls. One write is
// in flight at most; what arrives meanwhile goes into the next (group commit without a timer). The first error of the disk is
// the last thing that happens here: every pending and later save rejects, and nothing is tried again.

import assert from 'node:assert/strict'
import { exitCodes, FatalError, StorageFullError } from '../errors.ts'
import type { IncomingSnapshot, Run, SnapshotFile, SnapshotHeader, Storage, StoredSnapshot } from '../node/ports.ts'
import type { Entry, EntryId } from '../raft/entry.ts'
import type { SnapshotMetadata } from '../raft/snapshot.ts'
import type { Recovered, Save } from '../raft/work.ts'
import { diskFailure } from './damage.ts'
import type { Disk } from './disk.ts'
import { Group } from './group.ts'
import { Log } from './log.ts'
import { type Identity, type Metafile, metafileSlotBytes } from './metafile.ts'
import { oneAtATime } from './one-at-a-time.ts'
import type { OpenedDirectory } from './open-directory.ts'
import { openDirectory } from './open-directory.ts'
import type { TornTail } from './recover-log.ts'
import { Remover } from './remover.ts'
import { segmentHeaderBytes } from './segment.ts'
import { SnapshotStore } from './snapshot-store.ts'
import { Space } from './space.ts'

export interface StorageOptions {
  readonly disk: Disk
  readonly directory: string
  /** Who this node is meant to be; what the directory says decides, and a contradiction is refused. */
  readonly identity: Omit<Identity, 'incarnation' | 'restoredFrom'> & {
    /** 64 random bits in hexadecimal, used if the directory is founded now. */
    readonly newIncarnation: string
  }
  /** 64 random bits in hexadecimal, drawn for this process. */
  readonly newRunId: string
  /** Size of a segment of the log; 16 MiB by default. One is read into memory at a time when the node starts. */
  readonly segmentBytes?: number
  /** Size of the file that is given up when the disk is full; none by default. */
  readonly reserveBytes?: number
  /** Runs once after a delay; the returned function cancels it. */
  readonly after: (delayMs: number, run: () => void) => () => void
  /** The remains of a write that was never acknowledged were cut: worth a line in the log. */
  readonly onTornTail?: (tail: TornTail) => void
  /** There is no room on the disk, or there is again; called at each change of `isFull`, which is how it begins. */
  readonly onSpace?: (isFull: boolean) => void
  /** The disk failed, perhaps where no save waits for it: the process must stop. Called once. */
  readonly onFailure?: (error: FatalError) => void
}

export interface DurableStorage extends Storage {
  /** As stored: of an older directory, its own founding configuration and incarnation. */
  readonly identity: Identity
  readonly incarnation: string
  /** The run that began with this call. */
  readonly run: Run
  /** The directory was founded by this call. */
  readonly isNew: boolean
  /** For other files in the data directory: what hangs here never keeps a thread that the log needs. */
  readonly background: Disk
}

const defaultSegmentBytes = 16 * 1024 * 1024
const segmentBytesRange = { min: 4096, max: 1024 * 1024 * 1024 }

/** After so long without a write, what was acknowledged last is marked as durable, too. */
const idleMs = 50

/** Rejects with FatalError: `dataError` when the directory is damaged or another node's, `ioError` when the disk fails. */
export async function openStorage(options: StorageOptions): Promise<DurableStorage> {
  const segmentBytes = options.segmentBytes ?? defaultSegmentBytes
  if (!(segmentBytes >= segmentBytesRange.min && segmentBytes <= segmentBytesRange.max)) {
    throw new FatalError(
      exitCodes.configuration,
      `Cannot use segments of ${segmentBytes} bytes: ${segmentBytesRange.min} to ${segmentBytesRange.max} would do`,
    )
  }
  assert(segmentBytes > segmentHeaderBytes)
  const { disk, directory, identity, newRunId } = options
  try {
    const opened = await openDirectory({ disk, directory, identity, newRunId, segmentBytes })
    if (opened.log.tornTail) options.onTornTail?.(opened.log.tornTail)
    const failures = { report: (error: unknown): FatalError => diskFailure(`open ${directory}`, error) }
    const onFailure = (error: unknown): void => void failures.report(error)
    const failed = (error: unknown) => failures.report(error)
    const background = oneAtATime(disk)
    const reading = oneAtATime(disk)
    const space = await Space.open({
      disk: background,
      directory,
      reserveBytes: options.reserveBytes ?? 0,
      besideBytes: segmentBytes,
      after: options.after,
      onSpace: (isFull) => options.onSpace?.(isFull),
      onFailure,
    })
    const remover = new Remover({ disk: background, directory, onRemoved: () => space.freed(), onFailure })
    const log = await Log.open(
      { disk, reading, directory, identity: opened.logIdentity, segmentBytes, space, remover, onFailure },
      opened.log,
    )
    const { cluster } = opened.metafile.identity
    const snapshots = new SnapshotStore(
      { disk, background, reading, directory, cluster, space, remover, failed },
      opened.snapshots,
    )
    if (opened.isLogSuperseded) {
      log.forgetAll(opened.recovered.base.index)
      await log.beginAfter(opened.recovered.base)
    }
    const storage = new SerialStorage(options, opened, { background, space, log, snapshots, remover })
    failures.report = (error) => storage.fail(error)
    log.start()
    snapshots.start()
    space.start()
    return storage
  } catch (error) {
    throw diskFailure(`open the data directory ${directory}`, error)
  }
}

interface Parts {
  readonly background: Disk
  readonly space: Space
  readonly log: Log
  readonly snapshots: SnapshotStore
  readonly remover: Remover
}

class SerialStorage implements DurableStorage {
  readonly recovered: Recovered
  readonly run: Run
  readonly isNew: boolean
  readonly background: Disk
  readonly #options: StorageOptions
  readonly #metafile: Metafile
  readonly #log: Log
  readonly #space: Space
  readonly #snapshots: SnapshotStore
  readonly #remover: Remover
  #pending = new Group()
  /** A group or a mark is being written, and `#work` resolves when nothing is left to be. */
  #busy = false
  #work: Promise<void> = Promise.resolve()
  #inFlight: Group | null = null
  #lastSaveId = 0
  #lastIndex: number
  #currentTerm: number
  #failure: FatalError | null = null
  #closing: Promise<void> | null = null
  /** Something was acknowledged that no mark covers yet. */
  #unmarked = true
  #writes = 0
  #cancelIdle: (() => void) | null = null

  constructor(options: StorageOptions, opened: OpenedDirectory, parts: Parts) {
    const { metafile, recovered, run, isNew, isLogSuperseded } = opened
    this.#options = options
    this.#metafile = metafile
    this.background = parts.background
    this.#space = parts.space
    this.#log = parts.log
    this.#snapshots = parts.snapshots
    this.#remover = parts.remover
    this.recovered = recovered
    this.run = run
    this.isNew = isNew
    this.#lastIndex = recovered.lastIndex
    this.#currentTerm = recovered.hardState.currentTerm
    this.#unmarked = recovered.lastIndex > recovered.base.index || isLogSuperseded
    this.#watchForIdleness()
  }

  get identity(): Identity {
    return this.#metafile.identity
  }

  get incarnation(): string {
    return this.#metafile.identity.incarnation
  }

  get isFull(): boolean {
    return this.#space.isFull
  }

  save(save: Save): Promise<void> {
    assert(save.id === this.#lastSaveId + 1, `save ${save.id} follows save ${this.#lastSaveId}`)
    this.#lastSaveId = save.id
    if (this.#failure) return Promise.reject(this.#failure)
    if (this.#closing) return Promise.reject(new Error('Cannot save: the storage was closed'))
    this.#currentTerm = save.hardState?.currentTerm ?? this.#currentTerm
    if (save.snapshot) this.#replaceLog(save.snapshot)
    const first = save.entries[0]
    if (first !== undefined) {
      const { term, index } = save.entries.at(-1) as Entry
      assert(term <= this.#currentTerm, `entry ${index} is of term ${term}, the node in term ${this.#currentTerm}`)
      assert(first.index <= this.#lastIndex + 1, `entry ${first.index} would follow entry ${this.#lastIndex}`)
      assert(first.index > this.#log.baseIndex, `entry ${first.index} would replace what is in the snapshot`)
      if (first.index <= this.#lastIndex) this.#log.forget(first.index)
      this.#lastIndex = first.index + save.entries.length - 1
    }
    const durable = this.#pending.add(save)
    this.#start()
    return durable
  }

  read(from: number, through: number, maxBytes: number): Promise<readonly Entry[]> {
    return this.#log.read(from, through, maxBytes).catch((error: unknown) => {
      throw diskFailure(`read entries ${from} to ${through}`, error)
    })
  }

  compact(through: EntryId): void {
    if (this.#failure || this.#closing || through.index <= this.#log.baseIndex) return
    const newest = this.#snapshots.newest?.lastIncluded.index ?? 0
    assert(through.index <= newest, `entry ${through.index} would go, and the newest snapshot reaches to ${newest}`)
    this.#log.compact(through)
  }

  async takeSnapshot(
    header: SnapshotHeader,
    ledger: AsyncIterable<Uint8Array>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<SnapshotFile> {
    this.#checkOpen('take a snapshot')
    const { index, term } = header.lastIncluded
    assert(
      index <= this.#lastIndex && term <= this.#currentTerm,
      `a snapshot through ${index} is past ${this.#lastIndex}`,
    )
    return this.#snapshots.take(header, ledger, body)
  }

  async openSnapshot(): Promise<StoredSnapshot | null> {
    this.#checkOpen('open a snapshot')
    return this.#snapshots.open().catch((error: unknown) => {
      throw diskFailure('open the newest snapshot', error)
    })
  }

  get newestSnapshot(): SnapshotFile | null {
    return this.#snapshots.newest
  }

  async receiveSnapshot(file: SnapshotFile): Promise<IncomingSnapshot> {
    this.#checkOpen('take in a snapshot')
    return this.#snapshots.receive(file)
  }

  /** Finishes what is in flight, and marks it, so that the next start finds no doubt. Saves that wait for room are given up. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  fail(cause: unknown): FatalError {
    if (this.#failure) return this.#failure
    const failure = diskFailure(`write to the data directory ${this.#options.directory}`, cause)
    this.#failure = failure
    this.#cancelIdle?.()
    this.#cancelIdle = null
    this.#inFlight?.reject(failure)
    this.#pending.reject(failure)
    void this.#space.close()
    this.#options.onFailure?.(failure)
    return failure
  }

  #checkOpen(attempt: string): void {
    if (this.#failure) throw this.#failure
    if (this.#closing) throw new Error(`Cannot ${attempt}: the storage was closed`)
  }

  /** What was received takes the place of all that the log holds, with this save; nothing of that is read any more. */
  #replaceLog({ lastIncluded }: SnapshotMetadata): void {
    const { index, term } = lastIncluded
    assert(term <= this.#currentTerm, `the snapshot through ${index} is of term ${term}, past ${this.#currentTerm}`)
    this.#snapshots.claim(lastIncluded)
    this.#log.forgetAll(index)
    this.#lastIndex = index
  }

  #endAt(error: unknown): void {
    if (!(this.#closing && error instanceof StorageFullError)) {
      this.fail(error)
      return
    }
    // Nothing is wrong with the disk, but it has no room, and nobody waits for that any more.
    this.#inFlight?.reject(error)
    this.#pending.reject(error)
    this.#inFlight = null
    this.#pending = new Group()
  }

  #start(): void {
    if (this.#busy) return
    this.#busy = true
    this.#work = this.#commitPending()
  }

  /** Never rejects. Between the last look at what is pending and `#busy` there is no turn of the loop. */
  async #commitPending(): Promise<void> {
    try {
      while (!this.#failure && !this.#pending.isEmpty) await this.#commit(this.#takePending())
    } catch (error) {
      this.#endAt(error)
    }
    this.#busy = false
    this.#watchForIdleness()
  }

  #takePending(): Group {
    const group = this.#pending
    this.#pending = new Group()
    this.#inFlight = group
    return group
  }

  async #commit(group: Group): Promise<void> {
    const { hardState } = group
    if (hardState) await this.#whenRoom(() => this.#metafile.save(hardState))
    if (group.snapshot) {
      await this.#snapshots.install(group.snapshot.lastIncluded)
      await this.#log.beginAfter(group.snapshot.lastIncluded)
    }
    await this.#log.append(group.entries, () => this.#pending.replacesFrom)
    // A failure elsewhere has rejected these saves by now.
    if (this.#failure) return
    this.#inFlight = null
    this.#unmarked = true
    this.#writes++
    group.resolve()
  }

  /** The metafile has its place: only a file system that writes to new places can have no room for it. */
  async #whenRoom(write: () => Promise<void>): Promise<void> {
    await write().catch((error: unknown) => this.#space.retry(error, metafileSlotBytes, write))
  }

  /** One timer for many writes: it looks whether there were any, rather than being set anew by each. */
  #watchForIdleness(): void {
    if (this.#cancelIdle || !this.#unmarked || this.#closing || this.#failure) return
    const writes = this.#writes
    this.#cancelIdle = this.#options.after(idleMs, () => {
      this.#cancelIdle = null
      if (this.#busy || this.#writes !== writes || !this.#log.hasRoomForMark) this.#watchForIdleness()
      else this.#startMark()
    })
  }

  #startMark(): void {
    this.#busy = true
    this.#work = this.#mark()
  }

  /** Never rejects. Saves that arrive meanwhile follow at once. */
  async #mark(): Promise<void> {
    try {
      await this.#whenRoom(() => this.#metafile.double())
      await this.#log.mark()
      this.#unmarked = false
    } catch (error) {
      this.#endAt(error)
    }
    await this.#commitPending()
  }

  async #close(): Promise<void> {
    this.#cancelIdle?.()
    await this.#space.close()
    await this.#work
    if (this.#unmarked && !this.#failure) await this.#mark()
    try {
      await this.#snapshots.close()
      await this.#remover.close()
      await this.#log.close()
      await this.#metafile.close()
    } catch (error) {
      throw diskFailure(`close the data directory ${this.#options.directory}`, error)
    }
  }
}
