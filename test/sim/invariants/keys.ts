// Exactly once, from outside: no committed log holds a live key twice, and whoever asks again under a key is answered by the one entry that stands
// there, on whatever node. What a ledger of keys must hold is told here a second time, by looking at the whole log.

import type { LedgerLimits } from '../../../src/node/ledger.ts'
import type { Entry, NodeId } from '../../../src/raft/entry.ts'
import type { World } from '../world/world.ts'

export interface KeyedEntry {
  readonly key: string
  readonly entry: Entry
  /** Counts the entries with keys. */
  readonly number: number
  /** Somebody was answered that it is no duplicate. */
  isFirstTold: boolean
}

/**
 * A snapshot is written when its node has seen more of the log: of its keys, those through `index` are missing that had expired by `through`. One
 * that is written by a node which began with another snapshot may have several such steps.
 */
export type Horizon = readonly { readonly index: number; readonly through: number }[]

/** The same day as production's; written down again, so that a change there is noticed. */
const lifetimeMs = 86_400_000

export class Keys {
  readonly #world: World
  readonly #limits: LedgerLimits
  readonly #entries: KeyedEntry[] = []
  readonly #newest = new Map<string, KeyedEntry>()
  /** Cluster time by index. */
  readonly #timestamps: number[] = [0]
  /** How many entries have a key, through each index. */
  readonly #counts: number[] = [0]
  /** What was proposed under each key. */
  readonly #bodies = new Map<string, Set<string>>()

  constructor(world: World, limits: LedgerLimits) {
    this.#world = world
    this.#limits = limits
  }

  /** `body` tells a command from every other one. */
  proposed(key: string, body: string): void {
    const bodies = this.#bodies.get(key)
    if (bodies === undefined) this.#bodies.set(key, new Set([body]))
    else bodies.add(body)
  }

  /** The next entry that is committed. */
  committed(entry: Entry): void {
    const { index, key, timestampMs } = entry
    this.#timestamps[index] = timestampMs
    const before = this.#counts[index - 1] ?? 0
    this.#counts[index] = before
    if (key === null) return
    this.#counts[index] = before + 1
    const earlier = this.#newest.get(key)
    if (earlier !== undefined && this.isLive(earlier, index - 1)) {
      const message = `entry ${index} has the key ${key} of entry ${earlier.entry.index}`
      this.#world.violated('a live key stands in the log once', message)
    }
    const keyed = { key, entry, number: before + 1, isFirstTold: false }
    this.#entries.push(keyed)
    this.#newest.set(key, keyed)
  }

  /** Through this index of the log. */
  isLive({ entry, number }: KeyedEntry, index: number): boolean {
    if (index < entry.index) return false
    const isAmongNewest = (this.#counts[index] ?? 0) - number < this.#limits.maxKeys
    return isAmongNewest && entry.timestampMs + lifetimeMs > (this.#timestamps[index] ?? 0)
  }

  /** The entry under this key, if it is live behind all that is committed anywhere. */
  find(key: string): KeyedEntry | null {
    const newest = this.#newest.get(key)
    return newest !== undefined && this.isLive(newest, this.#counts.length - 1) ? newest : null
  }

  /** What a ledger through `index` holds, in the order of the log, if it began with a snapshot of this horizon. */
  ledgerAt(index: number, horizon: Horizon): readonly KeyedEntry[] {
    return this.#entries.filter((keyed) => {
      const at = keyed.entry.index
      let seenThrough = index
      for (const step of horizon) if (at <= step.index) seenThrough = Math.max(seenThrough, step.through)
      return at <= index && this.isLive(keyed, seenThrough)
    })
  }

  /** A proposal under a key was answered with the entry at this index. */
  answered(by: NodeId, key: string, index: number, duplicate: boolean): void {
    const keyed = this.#entries.find(({ entry }) => entry.index === index)
    if (keyed?.key !== key) {
      this.#world.violated(
        'answers reach their proposer',
        `${by} answers the key ${key} with entry ${index}, which lacks it`,
      )
      return
    }
    if (duplicate) return
    if (keyed.isFirstTold) {
      const message = `${by} answers the key ${key} with entry ${index} as no duplicate, and somebody was told so before`
      this.#world.violated('one proposal of a key is the first', message)
    }
    keyed.isFirstTold = true
  }

  /** `firstBefore`: what stood under the key when it was asked. */
  reused(
    by: NodeId,
    key: string,
    body: string,
    firstBefore: KeyedEntry | null,
    bodyOf: (entry: Entry) => string,
  ): void {
    const isSame = (entry: Entry) => bodyOf(entry) === body
    const isAlone = (this.#bodies.get(key)?.size ?? 0) <= 1
    const isKnown = firstBefore !== null && isSame(firstBefore.entry) && this.#expiresNever
    if (!isAlone && !isKnown) return
    const why = isAlone
      ? 'nothing else was proposed under it'
      : `entry ${firstBefore?.entry.index} is that very command`
    this.#world.violated(
      'a key is reused by another body only',
      `${by} refuses ${body} under the key ${key}, and ${why}`,
    )
  }

  /** As far as it was seen: what is found under a key then is there for good. */
  get #expiresNever(): boolean {
    const last = this.#counts.length - 1
    const oldest = this.#entries[0]
    return oldest === undefined || this.isLive(oldest, last)
  }
}
