// Keeps the ledger in step with the commit index: entry by entry as they are committed, from the log after a start, and from a snapshot where the
// log does not reach back. Whoever applies commands follows it, so that what is left out is known before it could be delivered.

import { assert } from '../raft/assert.ts'
import type { Entry } from '../raft/entry.ts'
import { Ledger, type LedgerLimits, type LedgerPicture } from './ledger.ts'
import { decodeLedger } from './ledger-codec.ts'
import type { Clock, CommittedEntries, KeptResult, Storage } from './ports.ts'
import type { Skip } from './skip.ts'

export interface LedgerKeeperOptions {
  readonly limits: LedgerLimits
  readonly storage: Pick<Storage, 'openSnapshot'>
  readonly clock: Pick<Clock, 'defer'>
  readonly read: CommittedEntries['read']
  /** Answers of earlier processes, by index. */
  readonly kept: readonly KeptResult[]
  /** It has seen more; `skips` among it. */
  readonly onProgress: (skips: readonly Skip[]) => void
  readonly onFailure: (error: unknown) => void
}

const readBytes = 1024 * 1024

export class LedgerKeeper {
  readonly #options: LedgerKeeperOptions
  #ledger: Ledger
  /** Answers of earlier processes to commands that the ledger has not seen yet. */
  #kept: ReadonlyMap<number, string>
  readonly #lastKept: number
  #commitIndex = 0
  /** Counts snapshots that took the log's place: what was begun before one is of no use. */
  #generation = 0
  #loading: Promise<void> | null = null
  #isReading = false
  #isStopped = false

  constructor(options: LedgerKeeperOptions) {
    this.#options = options
    this.#ledger = new Ledger(options.limits)
    this.#kept = new Map(options.kept.map(({ index, resultJson }) => [index, resultJson]))
    this.#lastKept = options.kept.reduce((last, { index }) => Math.max(last, index), 0)
  }

  get ledger(): Ledger {
    return this.#ledger
  }

  /** Begins anew with what the newest snapshot holds: of an index that the log reaches back to. */
  async load(): Promise<void> {
    const { storage, limits } = this.#options
    const stored = await storage.openSnapshot()
    if (stored === null) return
    let picture: LedgerPicture | null
    try {
      picture = await decodeLedger(stored.ledger(), () => this.giveWay())
    } finally {
      await stored.close()
    }
    const { index } = stored.header.lastIncluded
    assert(
      picture === null || picture.index === index,
      () => `The ledger of the snapshot at ${index} is of ${picture?.index}`,
    )
    const before = this.#ledger
    this.#ledger = new Ledger(limits, picture ?? { index, keys: [], skips: [] })
    for (const { id, answer } of picture?.keys ?? []) {
      if (answer.type !== 'unknown') continue
      this.#recall(id.index)
      // Whoever took the snapshot may not have known what this node does.
      const known = before.at(id.index)?.answer
      if (known?.type === 'known') this.#ledger.learn({ index: id.index, resultJson: known.json })
    }
  }

  /** Everything through this index is committed; `entries` are the last of it, in order. */
  committed(commitIndex: number, entries: readonly Entry[]): void {
    this.#commitIndex = commitIndex
    if (this.#loading === null && entries[0]?.index === this.#ledger.throughIndex + 1) this.#see(entries)
    else this.#follow()
  }

  /** A snapshot takes the log's place, from when `durable` resolves; `index`: its last entry. */
  install(index: number, durable: Promise<void>): void {
    this.#commitIndex = index
    this.#generation++
    const generation = this.#generation
    this.#loading = durable.then(async () => {
      if (this.#generation !== generation || this.#isStopped) return
      await this.load()
      if (this.#generation !== generation || this.#isStopped) return
      this.#loading = null
      this.#options.onProgress([])
      this.#follow()
    })
    this.#loading.catch((error: unknown) => {
      if (!this.#isStopped) this.#options.onFailure(error)
    })
  }

  /** Resolves when no snapshot's ledger is being loaded. */
  get loaded(): Promise<void> {
    return this.#loading ?? Promise.resolve()
  }

  giveWay(): Promise<void> {
    return new Promise((resolve) => this.#options.clock.defer(resolve))
  }

  stop(): void {
    this.#isStopped = true
  }

  #follow(): void {
    if (this.#isReading || this.#loading !== null || this.#ledger.throughIndex >= this.#commitIndex) return
    this.#isReading = true
    this.#readOn().then(
      () => {
        this.#isReading = false
        this.#follow()
      },
      (error: unknown) => {
        if (!this.#isStopped) this.#options.onFailure(error)
      },
    )
  }

  async #readOn(): Promise<void> {
    const generation = this.#generation
    while (!this.#isStopped && this.#generation === generation && this.#ledger.throughIndex < this.#commitIndex) {
      const from = this.#ledger.throughIndex + 1
      const entries = await this.#options.read(from, this.#commitIndex, readBytes)
      if (this.#isStopped || this.#generation !== generation) return
      // Compaction never passes a snapshot, nor a snapshot what was applied, nor that what was seen here.
      assert(entries[0]?.index === from, () => `The committed entry ${from} is not in the log`)
      this.#see(entries)
      await this.giveWay()
    }
  }

  #see(entries: readonly Entry[]): void {
    const skips = this.#ledger.committed(entries)
    if (this.#kept.size > 0) this.#recallAll(entries)
    this.#options.onProgress(skips)
  }

  #recallAll(entries: readonly Entry[]): void {
    for (const { index } of entries) this.#recall(index)
    if (this.#ledger.throughIndex >= this.#lastKept) this.#kept = new Map()
  }

  #recall(index: number): void {
    const resultJson = this.#kept.get(index)
    if (resultJson !== undefined) this.#ledger.learn({ index, resultJson })
  }
}
