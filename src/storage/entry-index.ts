// Where the record of each entry stands, at 8 bytes an entry, so that a log of millions can be read anywhere.

import assert from 'node:assert/strict'
import type { Position } from './segment.ts'

const chunkEntries = 8192

interface Chunk {
  readonly segments: Uint32Array
  readonly offsets: Uint32Array
}

/** Covers the entries after `baseIndex` without gaps. */
export class EntryIndex {
  #chunks: Chunk[] = []
  #baseIndex: number
  #lastIndex: number
  /** The entry before the first one that there is room for in the chunks; at or before the base. */
  #origin: number

  constructor(baseIndex: number) {
    this.#baseIndex = baseIndex
    this.#lastIndex = baseIndex
    this.#origin = baseIndex
  }

  get baseIndex(): number {
    return this.#baseIndex
  }

  get lastIndex(): number {
    return this.#lastIndex
  }

  append(segment: number, offset: number): void {
    const at = this.#lastIndex - this.#origin
    const slot = at % chunkEntries
    if (slot === 0) {
      this.#chunks.push({ segments: new Uint32Array(chunkEntries), offsets: new Uint32Array(chunkEntries) })
    }
    const chunk = this.#chunks.at(-1) as Chunk
    chunk.segments[slot] = segment
    chunk.offsets[slot] = offset
    this.#lastIndex++
  }

  /** Forgets the entries from `index` on. */
  truncate(index: number): void {
    assert(index > this.#baseIndex, `cannot truncate from ${index}: the log begins after ${this.#baseIndex}`)
    if (index > this.#lastIndex) return
    this.#lastIndex = index - 1
    this.#chunks.length = Math.ceil((this.#lastIndex - this.#origin) / chunkEntries)
  }

  /** Forgets the entries through `index`. */
  compact(index: number): void {
    assert(index >= this.#baseIndex && index <= this.#lastIndex, `cannot compact through ${index}: ${this.#range()}`)
    this.#baseIndex = index
    const forgotten = Math.floor((index - this.#origin) / chunkEntries)
    this.#chunks.splice(0, forgotten)
    this.#origin += forgotten * chunkEntries
  }

  /** Forgets everything; the next entry is the one after `baseIndex`. */
  reset(baseIndex: number): void {
    this.#chunks = []
    this.#baseIndex = baseIndex
    this.#lastIndex = baseIndex
    this.#origin = baseIndex
  }

  /** Null: there is no such entry. */
  position(index: number): Position | null {
    if (index <= this.#baseIndex || index > this.#lastIndex) return null
    const at = index - this.#origin - 1
    const chunk = this.#chunks[Math.floor(at / chunkEntries)] as Chunk
    const slot = at % chunkEntries
    return { segment: chunk.segments[slot] as number, offset: chunk.offsets[slot] as number }
  }

  #range(): string {
    return `the log holds ${this.#baseIndex + 1} to ${this.#lastIndex}`
  }
}
