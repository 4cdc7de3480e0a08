// Keeps the ledger in step with the commit index: entry by entry as they are committed, from the log after a start, and from a snapshot where the
// log does not reach back. Whoever applies commands follows it, so that what is left out is known before it could be delivered.

import { assert } from '../raft/assert.ts'
import type { Entry } from '../raft/entry.ts'
import { type KeyedCommand, keysAtOnce, Ledger, type LedgerLimits, type LedgerPicture } from './ledger.ts'
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
  /** It has seen everything that is known to be committed; `skips` among it. */
  readonly onProgress: (skips: readonly Skip[]) => void
  /** Answers that this node knows, and the snapshot that has become its own does not hold. */
  readonly onKnown: (results: readonly KeptResult[]) => void
  readonly onFailure: (error: unknown) => void
}

/** Of the smallest commands with keys, which cost the most: less than 10 ms of the loop. */
const readBytes = 128 * 1024

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

  /** Begins anew with what the newest snapshot holds: of an index that the log reaches back to. Another one that is installed meanwhile overtakes it. */
  async load(): Promise<void> {
    const { storage, limits } = this.#options
    const generation = this.#generation
    const giveWay = () => this.giveWay()
    const stored = await storage.openSnapshot()
    if (stored === null) return
    let picture: LedgerPicture | null
    try {
      picture = await decodeLedger(stored.ledger(), giveWay)
    } finally {
      await stored.close()
    }
    const { index } = stored.header.lastIncluded
    assert(
      picture === null || picture.index === index,
      () => `The ledger of the snapshot at ${index} is of ${picture?.index}`,
    )
    const ledger = await Ledger.of(picture ?? { index, keys: [], skips: [] }, limits, giveWay)
    const known = await this.#fill(ledger, picture?.keys ?? [])
    if (this.#generation !== generation) return
    this.#ledger = ledger
    if (known.length > 0) this.#options.onKnown(known)
  }

  /** Everything through this index is committed; `entries` are the last of it, in order. */
  committed(commitIndex: number, entries: readonly Entry[]): void {
    this.#commitIndex = commitIndex
    if (this.#loading === null && entries[0]?.index === this.#ledger.throughIndex + 1) {
      this.#options.onProgress(this.#see(entries))
    } else this.#follow()
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
    if (this.#isStopped || this.#isReading || this.#loading !== null) return
    if (this.#ledger.throughIndex >= this.#commitIndex) return
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
    const skips: Skip[] = []
    while (!this.#isStopped && this.#generation === generation && this.#ledger.throughIndex < this.#commitIndex) {
      const from = this.#ledger.throughIndex + 1
      const entries = await this.#options.read(from, this.#commitIndex, readBytes)
      if (this.#isStopped || this.#generation !== generation) return
      // Compaction never passes a snapshot, nor a snapshot what was applied, nor that what was seen here.
      assert(entries[0]?.index === from, () => `The committed entry ${from} is not in the log`)
      skips.push(...this.#see(entries))
      // Not on the way there: what is left out stands before the entry that says so.
      if (this.#ledger.throughIndex >= this.#commitIndex) this.#options.onProgress(skips.splice(0))
      await this.giveWay()
    }
  }

  #see(entries: readonly Entry[]): readonly Skip[] {
    const skips = this.#ledger.committed(entries)
    if (this.#kept.size > 0) this.#recallAll(entries)
    return skips
  }

  /** Whoever took the snapshot may not have known what this node does. Returns what no snapshot of this node holds from now on. */
  async #fill(ledger: Ledger, keys: readonly KeyedCommand[]): Promise<readonly KeptResult[]> {
    const filled: KeptResult[] = []
    for (const [i, { id, answer }] of keys.entries()) {
      if (i > 0 && i % keysAtOnce === 0) await this.giveWay()
      if (answer.type !== 'unknown') continue
      const { index } = id
      this.#recall(index, ledger)
      const known = this.#ledger.at(index)?.answer
      if (known?.type !== 'known') continue
      const result = { index, resultJson: known.json }
      if (ledger.learn(result)) filled.push(result)
    }
    return filled
  }

  #recallAll(entries: readonly Entry[]): void {
    for (const { index } of entries) this.#recall(index, this.#ledger)
    if (this.#ledger.throughIndex >= this.#lastKept) this.#kept = new Map()
  }

  #recall(index: number, ledger: Ledger): void {
    const resultJson = this.#kept.get(index)
    if (resultJson !== undefined) ledger.learn({ index, resultJson })
  }
}
