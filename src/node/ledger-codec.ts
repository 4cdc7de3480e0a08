// A ledger as it stands in a snapshot, in lines:
//
//   raft-sidecar-ledger 1 <index>
//   s <index of the command> <index of the skip> <term of the skip> <reason as JSON>
//   k <index> <term> <timestamp ms> <digest> <key> <answer>      in the order of the log; answer: JSON, ! when it is unknown, ~ when it was too long
//   end <lines before this one>
//
// One that holds nothing is written as nothing, as in versions that knew none. Writing and reading both give the loop back after each chunk.

import { InvalidSnapshotError } from '../errors.ts'
import type { Answer, KeyedCommand, LedgerPicture } from './ledger.ts'
import type { Skip } from './skip.ts'

const chunkChars = 64 * 1024
const linesAtOnce = 1000

export async function* encodeLedger(
  { index, keys, skips }: LedgerPicture,
  giveWay: () => Promise<void>,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (keys.length === 0 && skips.length === 0) return
  let text = `raft-sidecar-ledger 1 ${index}\n`
  for (const skip of skips) text += `s ${skip.index} ${skip.at.index} ${skip.at.term} ${JSON.stringify(skip.reason)}\n`
  for (const { key, id, timestampMs, digest, answer } of keys) {
    text += `k ${id.index} ${id.term} ${timestampMs} ${digest} ${key} ${encodeAnswer(answer)}\n`
    if (text.length < chunkChars) continue
    yield Buffer.from(text)
    text = ''
    await giveWay()
  }
  yield Buffer.from(`${text}end ${1 + skips.length + keys.length}\n`)
}

/** Null: there is none in this snapshot. Throws InvalidSnapshotError, or what the chunks threw. */
export async function decodeLedger(
  chunks: AsyncIterable<Uint8Array>,
  giveWay: () => Promise<void>,
): Promise<LedgerPicture | null> {
  const reader = new LedgerReader()
  let rest = Buffer.alloc(0)
  for await (const chunk of chunks) {
    const bytes = Buffer.concat([rest, chunk])
    const end = bytes.lastIndexOf('\n') + 1
    rest = bytes.subarray(end)
    const lines = end === 0 ? [] : bytes.toString('utf8', 0, end - 1).split('\n')
    for (const [i, line] of lines.entries()) {
      if (i > 0 && i % linesAtOnce === 0) await giveWay()
      reader.line(line)
    }
    await giveWay()
  }
  if (rest.length > 0) throw invalid('it ends in the middle of a line')
  return reader.end()
}

function encodeAnswer(answer: Answer): string {
  switch (answer.type) {
    case 'known':
      return answer.json
    case 'unknown':
      return '!'
    case 'too-long':
      return '~'
    default:
      return answer satisfies never
  }
}

class LedgerReader {
  readonly #keys: KeyedCommand[] = []
  readonly #skips: Skip[] = []
  #index: number | null = null
  #lines = 0
  #ended = false

  line(line: string): void {
    if (this.#ended) throw invalid('something follows its end')
    if (this.#index === null) {
      const [, index] = /^raft-sidecar-ledger 1 (\d+)$/.exec(line) ?? []
      if (index === undefined) throw invalid('it does not begin with the head of version 1')
      this.#index = Number(index)
    } else if (line.startsWith('k ')) this.#key(line)
    else if (line.startsWith('s ')) this.#skip(line)
    else this.#end(line)
    this.#lines++
  }

  end(): LedgerPicture | null {
    if (this.#index === null) return null
    if (!this.#ended) throw invalid('it ends before its end')
    return { index: this.#index, keys: this.#keys, skips: this.#skips }
  }

  #key(line: string): void {
    const [, index, term, timestampMs, digest, key, answer] =
      /^k (\d+) (\d+) (\d+) ([jb][A-Za-z0-9+/]{22}) ([\x21-\x7e]{1,255}) (.+)$/s.exec(line) ?? []
    if (digest === undefined || key === undefined || answer === undefined) throw this.#wrong('is no key')
    const id = { term: Number(term), index: Number(index) }
    const last = this.#keys.at(-1)
    if (last !== undefined && last.id.index >= id.index) throw this.#wrong('is not in the order of the log')
    this.#keys.push({ key, id, timestampMs: Number(timestampMs), digest, answer: decodeAnswer(answer) })
  }

  #skip(line: string): void {
    const [, index, at, term, reasonJson] = /^s (\d+) (\d+) (\d+) (".*")$/s.exec(line) ?? []
    if (reasonJson === undefined) throw this.#wrong('is no skip')
    this.#skips.push({
      index: Number(index),
      reason: this.#text(reasonJson),
      at: { term: Number(term), index: Number(at) },
    })
  }

  #text(json: string): string {
    try {
      return String(JSON.parse(json))
    } catch {
      throw this.#wrong('is no skip')
    }
  }

  #end(line: string): void {
    if (line !== `end ${this.#lines}`) throw this.#wrong('is neither a key nor a skip nor its end')
    this.#ended = true
  }

  #wrong(what: string): InvalidSnapshotError {
    return invalid(`line ${this.#lines + 1} ${what}`)
  }
}

function decodeAnswer(text: string): Answer {
  if (text === '!') return { type: 'unknown' }
  if (text === '~') return { type: 'too-long' }
  return { type: 'known', json: text }
}

function invalid(what: string): InvalidSnapshotError {
  return new InvalidSnapshotError(`Cannot use the snapshot's ledger of keys: ${what}; restore from another snapshot`)
}
