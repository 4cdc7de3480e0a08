// The map of the key-value machine, of which pictures can be taken while it goes on changing. A picture costs nothing to begin: it walks
// the live map and is handed the old item whenever one that it has not reached yet is replaced or deleted.

import { KeyOrder } from './kv-key-order.ts'

/** Never changed once it is in the map: a write puts another in its place. */
export interface KvItem {
  readonly key: string
  /** JSON text, as it was sent: a third less memory than the parsed value, half of the work for the collector, and nothing lost. */
  readonly valueJson: string
  readonly createdIndex: number
  readonly modifiedIndex: number
}

interface PlacedItem extends KvItem {
  /** Rises along the iteration order of a shard: tells a picture whether it has passed the item. */
  readonly place: number
}

type Shard = Map<string, PlacedItem>

// One Map of a million keys holds the loop for 50 to 100 ms when it grows; the growth of one of these is not felt.
const shardCount = 256

export class KvStore {
  readonly #shards: readonly Shard[] = Array.from({ length: shardCount }, () => new Map())
  readonly #pictures = new Set<KvPicture>()
  readonly #order = new KeyOrder()
  #size = 0
  #nextPlace = 1

  get size(): number {
    return this.#size
  }

  get(key: string): KvItem | undefined {
    return this.#shards[shardOf(key)]?.get(key)
  }

  /** Those whose keys begin with the prefix, in order of keys, from the first one above `after` on. Nothing must be changed meanwhile. */
  *list(prefix: string, after: string | null): Generator<KvItem, void, undefined> {
    for (const key of this.#order.above(after, prefix)) yield this.#shard(key).get(key) as KvItem
  }

  /** Returns the item that is now in place. */
  set(key: string, valueJson: string, index: number): KvItem {
    const shard = this.#shard(key)
    const old = shard.get(key)
    if (old === undefined) {
      this.#size++
      this.#order.add(key)
      return this.#place(shard, { key, valueJson, createdIndex: index, modifiedIndex: index, place: this.#nextPlace++ })
    }
    this.#preserve(old)
    const { createdIndex, place } = old
    return this.#place(shard, { key, valueJson, createdIndex, modifiedIndex: index, place })
  }

  delete(key: string): boolean {
    const shard = this.#shard(key)
    const old = shard.get(key)
    if (old === undefined) return false
    this.#preserve(old)
    shard.delete(key)
    this.#order.remove(key)
    this.#size--
    return true
  }

  /** Takes an item from a snapshot as it is; false when the key is there already. `order` must follow the last one. */
  load(item: KvItem): boolean {
    const shard = this.#shard(item.key)
    if (shard.has(item.key)) return false
    const { key, valueJson, createdIndex, modifiedIndex } = item
    this.#place(shard, { key, valueJson, createdIndex, modifiedIndex, place: this.#nextPlace++ })
    this.#size++
    return true
  }

  /** Puts what was loaded in order; nothing can be listed before, nor changed meanwhile. */
  async order(giveWay: () => Promise<void>): Promise<void> {
    // A hash has drawn which keys share a shard.
    const sample = this.#shards.flatMap((shard) => [...take(shard.keys(), 16)])
    await this.#order.fill(this.#keys(), sample, giveWay)
  }

  /** The items as they are now, when every command through `position` is applied. The picture must be closed. */
  picture(position: number): KvPicture {
    const picture = new KvPicture(this.#shards, this.#size, position, () => this.#pictures.delete(picture))
    this.#pictures.add(picture)
    return picture
  }

  *#keys(): Generator<string, void, undefined> {
    for (const shard of this.#shards) yield* shard.keys()
  }

  #shard(key: string): Shard {
    return this.#shards[shardOf(key)] as Shard
  }

  #place(shard: Shard, item: PlacedItem): KvItem {
    shard.set(item.key, item)
    return item
  }

  #preserve(old: PlacedItem): void {
    for (const picture of this.#pictures) picture.preserve(old)
  }
}

export class KvPicture {
  /** How many items there are in all. */
  readonly count: number
  readonly position: number
  readonly #shards: readonly Shard[]
  readonly #release: () => void
  /** By shard, for the same reason as the live map; those of a shard that was walked are let go. */
  readonly #preserved: (Map<string, KvItem> | undefined)[] = []
  #shard = 0
  #place = 0

  constructor(shards: readonly Shard[], count: number, position: number, release: () => void) {
    this.#shards = shards
    this.count = count
    this.position = position
    this.#release = release
  }

  /** One step each: an item, or null where the live map holds none that belongs here. */
  *steps(): Generator<KvItem | null, void, undefined> {
    for (; this.#shard < this.#shards.length; this.#shard++, this.#place = 0) {
      for (const item of (this.#shards[this.#shard] as Shard).values()) {
        this.#place = item.place
        yield item.modifiedIndex <= this.position ? item : this.#takePreserved(item.key)
      }
      // What is left was deleted before the walk came to it.
      yield* this.#preserved[this.#shard]?.values() ?? []
      this.#preserved[this.#shard] = undefined
    }
  }

  /** Called before the item leaves the map. */
  preserve(old: PlacedItem): void {
    if (old.modifiedIndex > this.position) return
    const shard = shardOf(old.key)
    if (shard < this.#shard || (shard === this.#shard && old.place <= this.#place)) return
    let preserved = this.#preserved[shard]
    if (preserved === undefined) {
      preserved = new Map()
      this.#preserved[shard] = preserved
    }
    preserved.set(old.key, old)
  }

  close(): void {
    this.#preserved.length = 0
    this.#release()
  }

  #takePreserved(key: string): KvItem | null {
    const preserved = this.#preserved[this.#shard]
    const item = preserved?.get(key) ?? null
    preserved?.delete(key)
    return item
  }
}

function* take<T>(values: Iterable<T>, count: number): Generator<T, void, undefined> {
  let left = count
  for (const value of values) {
    if (left-- === 0) return
    yield value
  }
}

function shardOf(key: string): number {
  let hash = 0
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) | 0
  return (hash ^ (hash >>> 8) ^ (hash >>> 16)) & (shardCount - 1)
}
