// The snapshots of a data directory: takes them, takes them in, hands out the newest, and keeps the one before. A snapshot is durable, and
// verified, before it bears a snapshot's name, and a name never changes what it stands for.

import assert from 'node:assert/strict'
import { StorageFullError } from '../errors.ts'
import type { IncomingSnapshot, SnapshotFile, SnapshotHeader, StoredSnapshot } from '../node/ports.ts'
import type { EntryId } from '../raft/entry.ts'
import type { Disk, DiskFile } from './disk.ts'
import { createTemporary, isOutOfRoom, temporaryEnding } from './disk.ts'
import { IncomingFile } from './incoming-snapshot.ts'
import type { RecoveredSnapshots } from './recover-snapshots.ts'
import type { Remover } from './remover.ts'
import type { VerifiedSnapshot } from './snapshot-file.ts'
import { SnapshotEncoder, snapshotName } from './snapshot-file.ts'
import type { Space } from './space.ts'
import { SteadyWriter } from './steady-writer.ts'
import { OpenSnapshot } from './stored-snapshot.ts'

const kept = 2
const incomingPattern = /^received-\d+\.snapshot\.tmp$/

export interface SnapshotStoreOptions {
  readonly disk: Disk
  /** The same, for work that may take its time. */
  readonly background: Disk
  /** The same, for reading what was written long ago. */
  readonly reading: Disk
  readonly space: Space
  readonly directory: string
  readonly cluster: string
  readonly remover: Remover
  /** The disk failed; gives back what to reject with. */
  readonly failed: (error: unknown) => Error
}

/** Of a snapshot that was being received: it was never used. */
export function isIncomingName(name: string): boolean {
  return incomingPattern.test(name)
}

export class SnapshotStore {
  readonly #options: SnapshotStoreOptions
  /** In rising order, the newest and the one before. */
  #stored: EntryId[]
  #newest: VerifiedSnapshot | null
  readonly #superfluous: readonly string[]
  #incoming: IncomingFile | null = null
  #received = 0
  /** Named by saves that are not done yet, in rising order. */
  readonly #claimed: IncomingFile[] = []
  #taking: Promise<unknown> | null = null
  /** Ends the wait for what a state machine gives. */
  #interrupt: ((reason: Error) => void) | null = null
  #isClosed = false
  /** Names are given one at a time. */
  #naming: Promise<unknown> = Promise.resolve()

  constructor(options: SnapshotStoreOptions, recovered: RecoveredSnapshots) {
    this.#options = options
    this.#stored = [...recovered.stored]
    this.#newest = recovered.newest
    this.#superfluous = recovered.superfluous
  }

  /** Begins to remove what is not kept. */
  start(): void {
    for (const name of this.#superfluous) this.#options.remover.remove(name)
    this.#prune()
  }

  get newest(): SnapshotFile | null {
    return this.#newest?.file ?? null
  }

  /** See Storage.takeSnapshot. */
  take(
    header: SnapshotHeader,
    ledger: AsyncIterable<Uint8Array>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<SnapshotFile> {
    assert(this.#taking === null, 'a snapshot is being taken already')
    const taking = this.#take(header, ledger, body)
    this.#taking = taking
      .catch(() => {})
      .finally(() => {
        this.#taking = null
      })
    return taking
  }

  async open(): Promise<StoredSnapshot | null> {
    while (this.#newest !== null) {
      const newest = this.#newest
      try {
        return await OpenSnapshot.open(this.#options.reading, this.#path(newest.file.lastIncluded), newest)
      } catch (error) {
        // Only if two newer ones came meanwhile may it be gone.
        if (this.#newest === newest) throw error
      }
    }
    return null
  }

  /** See Storage.receiveSnapshot. */
  async receive(file: SnapshotFile): Promise<IncomingSnapshot> {
    const current = this.#incoming
    if (current !== null && isSame(current.file, file)) return current
    const { background, directory, cluster, space, failed } = this.#options
    const path = `${directory}/received-${++this.#received}.snapshot${temporaryEnding}`
    const incoming = new IncomingFile({ disk: background, path, cluster, space, failed }, file)
    this.#incoming = incoming
    await current?.giveUp()
    return incoming
  }

  /** What was received is named by a save now, and is kept until that is done; a later save supersedes it. */
  claim(lastIncluded: EntryId): void {
    const incoming = this.#incoming
    assert(incoming !== null, `no snapshot was received, let alone one through ${lastIncluded.index}`)
    const { index, term } = incoming.file.lastIncluded
    assert(
      incoming.verified !== null && index === lastIncluded.index && term === lastIncluded.term,
      `a snapshot through ${index} was received, and one through ${lastIncluded.index} is to be installed`,
    )
    this.#incoming = null
    this.#claimed.push(incoming)
  }

  /** Resolves when the one that was claimed is durable under its name, and the newest. */
  async install(lastIncluded: EntryId): Promise<void> {
    while (true) {
      const incoming = this.#claimed.shift()
      assert(incoming !== undefined, `no snapshot through ${lastIncluded.index} was claimed`)
      if (incoming.file.lastIncluded.index !== lastIncluded.index) {
        await incoming.giveUp()
        continue
      }
      const { verified, path } = incoming
      assert(verified !== null, 'a snapshot that was claimed was given up')
      const { disk, space } = this.#options
      await this.#name(disk, path, verified).catch((error: unknown) =>
        space.retry(error, 0, () => this.#name(disk, path, verified)),
      )
      space.freed()
      return
    }
  }

  /** Ends what is under way, leaving no open file behind. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#interrupt?.(closed())
    await this.#taking
    await this.#incoming?.giveUp()
    for (const incoming of this.#claimed) await incoming.giveUp()
    await this.#naming
  }

  async #take(
    header: SnapshotHeader,
    ledger: AsyncIterable<Uint8Array>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<SnapshotFile> {
    const { background: disk, cluster, space } = this.#options
    const encoder = new SnapshotEncoder(cluster, header)
    const temporary = `${this.#path(header.lastIncluded)}${temporaryEnding}`
    const source = { failure: null as { readonly error: unknown } | null }
    try {
      await createTemporary(disk, temporary, (file) =>
        this.#fill(file, encoder, this.#pieces(ledger, source), this.#pieces(body, source)),
      )
      await this.#name(disk, temporary, encoder.verified)
      space.freed()
      return encoder.file
    } catch (error) {
      if (source.failure?.error === error) throw error
      if (isOutOfRoom(error)) {
        await disk.remove(temporary).catch(() => {})
        await space.noRoomFor(Math.max(encoder.file.sizeBytes, this.newest?.sizeBytes ?? 0))
        const { index } = header.lastIncluded
        throw new StorageFullError(`Cannot take a snapshot through entry ${index}: the disk is full`, { cause: error })
      }
      throw this.#options.failed(error)
    }
  }

  async #fill(
    file: DiskFile,
    encoder: SnapshotEncoder,
    ledger: AsyncIterable<Uint8Array>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const writer = new SteadyWriter(file)
    await writer.write(encoder.begin())
    for await (const piece of ledger) for (const chunk of encoder.addLedger(piece)) await writer.write(chunk)
    for await (const piece of body) for (const chunk of encoder.add(piece)) await writer.write(chunk)
    for (const chunk of encoder.end()) await writer.write(chunk)
  }

  /** What it gives, until it ends or the storage is closed; says in `source` when it was the giver that failed, not the disk. */
  async *#pieces(
    given: AsyncIterable<Uint8Array>,
    source: { failure: { readonly error: unknown } | null },
  ): AsyncGenerator<Uint8Array> {
    const iterator = given[Symbol.asyncIterator]()
    try {
      while (true) {
        const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
          if (this.#isClosed) throw closed()
          this.#interrupt = reject
          iterator.next().then(resolve, reject)
        }).catch((error: unknown) => {
          source.failure = { error }
          throw error
        })
        if (next.done) return
        yield next.value
      }
    } finally {
      this.#interrupt = null
      // Not awaited: it may be the very giver that hangs.
      iterator.return?.().catch(() => {})
    }
  }

  /** The temporary file becomes the snapshot that it is. Resolves when that is durable. */
  #name(disk: Disk, temporary: string, verified: VerifiedSnapshot): Promise<void> {
    const naming = this.#naming.then(async () => {
      const { directory, failed } = this.#options
      const { lastIncluded } = verified.file
      if (this.#stored.some((one) => one.index === lastIncluded.index)) {
        // Of one entry there is one state (State Machine Safety, §5.4.3): what is here already is as good.
        await disk.remove(temporary)
        return
      }
      await disk.rename(temporary, this.#path(lastIncluded))
      // From here on a full disk is no excuse: nobody could say whether it is there.
      await disk.syncDirectory(directory).catch((error: unknown) => {
        throw failed(error)
      })
      this.#stored = [...this.#stored, lastIncluded].sort((a, b) => a.index - b.index)
      if (this.#stored.at(-1) === lastIncluded) this.#newest = verified
      this.#prune()
    })
    this.#naming = naming.catch(() => {})
    return naming
  }

  #prune(): void {
    for (const old of this.#stored.splice(0, Math.max(this.#stored.length - kept, 0))) {
      this.#options.remover.remove(snapshotName(old))
    }
  }

  #path(lastIncluded: EntryId): string {
    return `${this.#options.directory}/${snapshotName(lastIncluded)}`
  }
}

function isSame(a: SnapshotFile, b: SnapshotFile): boolean {
  return (
    a.lastIncluded.index === b.lastIncluded.index &&
    a.lastIncluded.term === b.lastIncluded.term &&
    a.sizeBytes === b.sizeBytes &&
    a.checksum === b.checksum
  )
}

function closed(): Error {
  return new Error('Cannot take a snapshot: the storage was closed')
}
