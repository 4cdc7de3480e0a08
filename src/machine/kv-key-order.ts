// The keys of the key-value state in order: by UTF-16 code units, as JavaScript compares strings. Kept up with every key that comes or goes, so that a
// listing may begin anywhere at once; sorted chunks, because one array of a million keys would move half of them for each that comes.

/** Moving this many references is not felt; twice as many chunks would only make the array of chunks longer. */
const maxChunkKeys = 512
/** In one turn of the loop, of what is put in its place for the first time. */
const keysInTurn = 2000

export class KeyOrder {
  /** None is empty; each begins above the end of the one before. */
  readonly #chunks: string[][] = []
  /** The first key of each chunk, or one below it that is above the chunk before: found without a look into the chunks. */
  readonly #heads: string[] = []

  /**
   * Takes in keys that came in no order, each once; there were none before. For a million of them a third of the time that adding each would take.
   * Pivots from the sample part them into buckets that are sorted at once; it should be small, and fairly drawn.
   */
  async fill(keys: Iterable<string>, sample: readonly string[], giveWay: () => Promise<void>): Promise<void> {
    const pivots = sample.toSorted().filter((_key, i) => i % 4 === 0)
    const buckets: string[][] = Array.from({ length: pivots.length + 1 }, () => [])
    let inTurn = 0
    for (const key of keys) {
      buckets[firstAtOrAbove(pivots, key)]?.push(key)
      if (++inTurn % keysInTurn === 0) await giveWay()
    }
    let chunk: string[] = []
    for (const bucket of buckets) {
      for (const key of bucket.sort()) {
        chunk.push(key)
        if (chunk.length < maxChunkKeys) continue
        this.#insert(this.#chunks.length, chunk)
        chunk = []
      }
      inTurn += bucket.length
      if (inTurn < keysInTurn) continue
      inTurn = 0
      await giveWay()
    }
    if (chunk.length > 0) this.#insert(this.#chunks.length, chunk)
  }

  /** The key is not there yet. */
  add(key: string): void {
    const at = this.#chunkOf(key)
    const chunk = this.#chunks[at]
    if (chunk === undefined) {
      this.#chunks.push([key])
      this.#heads.push(key)
      return
    }
    const place = firstAtOrAbove(chunk, key)
    if (place === 0) this.#heads[at] = key
    if (chunk.length < maxChunkKeys) {
      chunk.splice(place, 0, key)
    } else if (place === chunk.length) {
      // Keys that rise fill whole chunks.
      this.#insert(at + 1, [key])
    } else {
      const upper = chunk.splice(maxChunkKeys / 2)
      this.#insert(at + 1, upper)
      if (place <= chunk.length) chunk.splice(place, 0, key)
      else upper.splice(place - chunk.length, 0, key)
    }
  }

  /** The key is there. */
  remove(key: string): void {
    const at = this.#chunkOf(key)
    const chunk = this.#chunks[at] as string[]
    if (chunk.length > 1) {
      chunk.splice(firstAtOrAbove(chunk, key), 1)
      return
    }
    this.#chunks.splice(at, 1)
    this.#heads.splice(at, 1)
  }

  /** Those that begin with the prefix, from the first one above `after` on. The keys must not change meanwhile. */
  *above(after: string | null, prefix: string): Generator<string, void, undefined> {
    const isFromPrefix = after === null || after < prefix
    const start = isFromPrefix ? prefix : after
    let at = this.#chunkOf(start)
    let place = firstAtOrAbove(this.#chunks[at] ?? [], start)
    for (; at < this.#chunks.length; at++, place = 0) {
      const chunk = this.#chunks[at] as string[]
      for (; place < chunk.length; place++) {
        const key = chunk[place] as string
        if (key === after) continue
        if (!key.startsWith(prefix)) return
        yield key
      }
    }
  }

  #insert(at: number, chunk: string[]): void {
    this.#chunks.splice(at, 0, chunk)
    this.#heads.splice(at, 0, chunk[0] as string)
  }

  /** The last chunk that begins at or below the key; the first one when all begin above it. */
  #chunkOf(key: string): number {
    const place = firstAtOrAbove(this.#heads, key)
    return Math.max(this.#heads[place] === key ? place : place - 1, 0)
  }
}

function firstAtOrAbove(keys: readonly string[], key: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}
