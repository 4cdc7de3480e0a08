// The ledgers that nodes keep, in memory and in their snapshots: at one index of the log they all hold the same keys and skips, whichever way they
// came there, and of answers either nothing or what was answered.

import type { LedgerPicture } from '../../../src/node/ledger.ts'
import { digestOf } from '../../../src/node/ledger.ts'
import type { SnapshotFile } from '../../../src/node/ports.ts'
import type { NodeId } from '../../../src/raft/entry.ts'
import type { CommittedLog } from './committed-log.ts'
import type { Horizon, KeyedEntry, Keys } from './keys.ts'
import { meaningOf } from './reference-machine.ts'
import type { Truth } from './truth.ts'

/** As far as answers are compared: `null` is one that is not known there. */
interface Line {
  readonly place: string
  readonly index: number
  readonly answerJson: string | null
}

export class KeyLedgers {
  readonly #truth: Truth
  readonly #log: CommittedLog
  readonly #keys: Keys
  /** Of snapshots, by file. */
  readonly #horizons = new Map<string, Horizon>()

  constructor(truth: Truth, log: CommittedLog, keys: Keys) {
    this.#truth = truth
    this.#log = log
    this.#keys = keys
  }

  horizonOf(file: SnapshotFile): Horizon {
    return this.#horizons.get(nameOf(file)) ?? []
  }

  /** What a node holds in memory; it began with a snapshot of this horizon. */
  held(id: NodeId, picture: LedgerPicture, horizon: Horizon): void {
    const lines = picture.keys.map(({ key, id: { index, term }, timestampMs, digest, answer }) => ({
      place: `${index} ${term} ${timestampMs} ${digest} ${key}`,
      index,
      answerJson: answer.type === 'known' ? answer.json : null,
    }))
    this.#compare(`${id} holds`, picture.index, horizon, lines)
    const skips = picture.skips.map(({ index, at }) => `${index} at ${at.index}`)
    this.#compareSkips(`${id} holds`, picture.index, skips)
  }

  /** What stands in a snapshot that was written when the log had been seen through there, by a ledger that began with that horizon. */
  written(id: NodeId, file: SnapshotFile, text: string, through: number, before: Horizon): void {
    const { index } = file.lastIncluded
    const horizon = [...before.filter((step) => step.through > through), { index, through }]
    this.#horizons.set(nameOf(file), horizon)
    const lines: Line[] = []
    const skips: string[] = []
    for (const line of text.split('\n')) {
      const [kind, ...words] = line.split(' ')
      if (kind === 's') skips.push(`${words[0]} at ${words[1]}`)
      if (kind !== 'k') continue
      const answer = words.slice(5).join(' ')
      const isKnown = answer !== '!' && answer !== '~'
      lines.push({ place: words.slice(0, 5).join(' '), index: Number(words[0]), answerJson: isKnown ? answer : null })
    }
    // One that holds nothing is written as nothing.
    if (text !== '' && !text.startsWith(`raft-sidecar-ledger 1 ${index}\n`))
      this.#violated(`${id} writes a ledger of another index`)
    this.#compare(`${id} writes`, index, horizon, lines)
    this.#compareSkips(`${id} writes`, index, skips)
  }

  #compare(who: string, index: number, horizon: Horizon, lines: readonly Line[]): void {
    const expected = this.#keys.ledgerAt(index, horizon)
    lines.forEach(({ place, index: at, answerJson }, i) => {
      const keyed = expected[i]
      if (keyed === undefined || placeOf(keyed) !== place) {
        const wanted = keyed === undefined ? 'nothing' : placeOf(keyed)
        this.#violated(`${who}, at ${index}, ${place} where ${wanted} is expected`)
      } else if (answerJson !== null) this.#compareAnswer(`${who}, at ${index}, the answer`, at, answerJson)
    })
    const missing = expected[lines.length]
    if (missing !== undefined) this.#violated(`${who}, at ${index}, no ${placeOf(missing)}`)
  }

  #compareAnswer(who: string, index: number, json: string): void {
    const committed = this.#log.at(index)
    // What was left out may have been taken before that was agreed on.
    if (committed === null || committed.skippedAt !== null || meaningOf(JSON.parse(json)) === committed.result) return
    this.#violated(`${who} ${json} to ${index}, not ${committed.result}`)
  }

  #compareSkips(who: string, index: number, skips: readonly string[]): void {
    const expected = this.#log.skips(index).map((skip) => `${skip.index} at ${skip.at}`)
    if ([...skips].sort().join() === expected.sort().join()) return
    this.#violated(`${who}, at ${index}, the skips ${skips.join(', ')}, not ${expected.join(', ')}`)
  }

  #violated(message: string): void {
    this.#truth.world.violated('ledgers are a function of the log', message)
  }
}

function placeOf({ key, entry }: KeyedEntry): string {
  const digest = digestOf(entry.kind === 'json' ? 'json' : 'bytes', entry.payload)
  return `${entry.index} ${entry.term} ${entry.timestampMs} ${digest} ${key}`
}

function nameOf({ lastIncluded, checksum }: SnapshotFile): string {
  return `${lastIncluded.index}/${lastIncluded.term}/${checksum}`
}
