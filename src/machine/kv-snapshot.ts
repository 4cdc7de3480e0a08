// The key-value state as a stream of lines:
//
//   {"format":"raft-sidecar-kv","version":1,"position":41,"count":2}
//   ["key",createdIndex,modifiedIndex]<tab>value as JSON        once an item, in no particular order
//   {"crc32":3735928559}                                        over every byte before this line
//
// Writing and reading both give the loop back after each chunk, whatever the size of the state.

import { isUtf8 } from 'node:buffer'
import { crc32 } from 'node:zlib'
import { InvalidSnapshotError } from '../errors.ts'
import type { KvItem, KvPicture } from './kv-store.ts'
import { KvStore } from './kv-store.ts'

const format = 'raft-sidecar-kv'
const version = 1
const chunkChars = 64 * 1024
const chunkSteps = 2000
/** Far above any command that the gateway lets in. */
const maxLineBytes = 256 * 1024 * 1024
const newline = 0x0a
const quote = 0x22
const backslash = 0x5c
const openBrace = 0x7b
const tab = 0x09

export type GiveWay = () => Promise<void>

/** Closes the picture when it has been read or given up (`return`); one of the two must happen. */
export function encodeSnapshot(picture: KvPicture, giveWay: GiveWay): AsyncIterableIterator<Uint8Array> {
  const chunks = encodeChunks(picture)
  // Written out, because a generator that was never begun would skip its `finally` on `return`.
  return {
    async next() {
      await giveWay()
      const step = chunks.next()
      if (step.done === true) picture.close()
      return step
    },
    async return() {
      chunks.return(undefined)
      picture.close()
      return { done: true, value: undefined }
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

function* encodeChunks(picture: KvPicture): Generator<Uint8Array, undefined, undefined> {
  const { position, count } = picture
  let text = `${JSON.stringify({ format, version, position, count })}\n`
  let checksum = 0
  let steps = 0
  for (const item of picture.steps()) {
    if (item !== null) text += encodeItem(item)
    if (text.length < chunkChars && ++steps < chunkSteps) continue
    const chunk = Buffer.from(text)
    checksum = crc32(chunk, checksum)
    text = ''
    steps = 0
    yield chunk
  }
  const rest = Buffer.from(text)
  yield Buffer.concat([rest, Buffer.from(`${JSON.stringify({ crc32: crc32(rest, checksum) })}\n`)])
}

function encodeItem({ key, valueJson, createdIndex, modifiedIndex }: KvItem): string {
  // A line break in valid JSON text is mere spacing: within a string it is escaped.
  const value = valueJson.includes('\n') ? valueJson.replaceAll('\n', ' ') : valueJson
  return `${JSON.stringify([key, createdIndex, modifiedIndex])}\t${value}\n`
}

/** Reads a whole snapshot into a new store, or throws InvalidSnapshotError. */
export async function decodeSnapshot(
  body: AsyncIterable<Uint8Array>,
  position: number,
  giveWay: GiveWay,
): Promise<KvStore> {
  const reader = new SnapshotReader(position)
  let carried: Buffer[] = []
  let carriedBytes = 0
  let bytesInTurn = 0
  for await (const chunk of body) {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    for (let end = rest.indexOf(newline); end !== -1; end = rest.indexOf(newline)) {
      const line =
        carriedBytes === 0 ? rest.subarray(0, end + 1) : Buffer.concat([...carried, rest.subarray(0, end + 1)])
      carried = []
      carriedBytes = 0
      reader.line(line)
      rest = rest.subarray(end + 1)
      bytesInTurn += line.length
      if (bytesInTurn < chunkChars) continue
      bytesInTurn = 0
      await giveWay()
    }
    if (rest.length === 0) continue
    // A copy: the source may use its chunk again.
    carried.push(Buffer.from(rest))
    carriedBytes += rest.length
    if (carriedBytes > maxLineBytes) throw invalid(`a line is longer than ${maxLineBytes} bytes`)
  }
  if (carriedBytes > 0) throw invalid('it ends in the middle of a line')
  const store = reader.end()
  await store.order(giveWay)
  return store
}

class SnapshotReader {
  readonly #store = new KvStore()
  readonly #position: number
  #count = 0
  #checksum = 0
  #lines = 0
  #ended = false

  constructor(position: number) {
    this.#position = position
  }

  line(line: Buffer): void {
    this.#lines++
    if (this.#ended) throw this.#wrong('something follows the checksum')
    if (this.#lines === 1) this.#head(line)
    else if (line[0] === openBrace) this.#trailer(line)
    else this.#item(line)
    this.#checksum = crc32(line, this.#checksum)
  }

  end(): KvStore {
    if (!this.#ended) throw invalid('it ends before its checksum')
    if (this.#store.size !== this.#count) {
      throw invalid(`it announces ${this.#count} items and holds ${this.#store.size}`)
    }
    return this.#store
  }

  #head(line: Buffer): void {
    const head = parse(line) as Partial<Record<string, unknown>> | null | undefined
    if (head?.format !== format) throw this.#wrong(`it does not begin with the head of ${format}`)
    if (head.version !== version) {
      throw this.#wrong(`its version is ${JSON.stringify(head.version)} where this release reads ${version}`)
    }
    if (head.position !== this.#position) {
      throw this.#wrong(`it was taken at ${JSON.stringify(head.position)} and is restored as one of ${this.#position}`)
    }
    if (!isIndex(head.count)) throw this.#wrong('its count is not a number of items')
    this.#count = head.count
  }

  #trailer(line: Buffer): void {
    const trailer = parse(line) as Partial<Record<string, unknown>> | undefined
    if (trailer?.crc32 !== this.#checksum) throw this.#wrong('its bytes do not match their checksum')
    this.#ended = true
  }

  #item(line: Buffer): void {
    const split = line.indexOf(tab)
    const head = split === -1 ? undefined : parseItemHead(line.subarray(0, split))
    if (!Array.isArray(head) || head.length !== 3) throw this.#wrong('it is not an item')
    const [key, createdIndex, modifiedIndex] = head as readonly unknown[]
    if (typeof key !== 'string' || key === '' || !isIndex(createdIndex) || !isIndex(modifiedIndex)) {
      throw this.#wrong('it is not an item')
    }
    if (createdIndex === 0 || createdIndex > modifiedIndex || modifiedIndex > this.#position) {
      throw this.#wrong(`its indexes ${createdIndex} and ${modifiedIndex} do not fit a state of ${this.#position}`)
    }
    const value = line.subarray(split + 1, line.length - 1)
    const valueJson = jsonText(value)
    if (valueJson === null) throw this.#wrong('its value is not JSON')
    if (!this.#store.load({ key, valueJson, createdIndex, modifiedIndex })) {
      throw this.#wrong('its key was there before')
    }
  }

  #wrong(what: string): InvalidSnapshotError {
    return invalid(`line ${this.#lines}: ${what}`)
  }
}

function invalid(what: string): InvalidSnapshotError {
  return new InvalidSnapshotError(`Cannot restore the key-value state: ${what}; restore from another snapshot`)
}

/**
 * By hand where nothing is escaped: JSON.parse puts every short key into the engine's table of shared strings, and a million of them make that
 * hold the loop for 30 ms when it grows.
 */
function parseItemHead(head: Buffer): unknown {
  const end = head.indexOf(quote, 2)
  const numbers = /^,(\d+),(\d+)]$/.exec(head.toString('latin1', end + 1))
  const key = head.subarray(2, end)
  const isPlain = head.indexOf('["') === 0 && !key.includes(backslash) && isUtf8(key)
  if (numbers === null || !isPlain) return parse(head)
  return [key.toString('utf8'), Number(numbers[1]), Number(numbers[2])]
}

/** Null when it is not JSON. */
function jsonText(bytes: Buffer): string | null {
  if (!isUtf8(bytes)) return null
  const text = bytes.toString('utf8')
  try {
    JSON.parse(text)
    return text
  } catch {
    return null
  }
}

/** Undefined when it is not JSON. */
function parse(text: Buffer): unknown {
  if (!isUtf8(text)) return undefined
  try {
    return JSON.parse(text.toString('utf8'))
  } catch {
    return undefined
  }
}

function isIndex(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
