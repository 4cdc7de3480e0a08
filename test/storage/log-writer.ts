// A process of its own that opens the directory it is given, proves what it finds there, and appends for ever, saying what was acknowledged. When
// the disk fails it goes on for a while, as nothing that stops at once could: whatever would still be acknowledged must show.

import { writeSync } from 'node:fs'
import { FatalError } from '../../src/errors.ts'
import { systemClock } from '../../src/node/system-clock.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { encodeEntry } from '../../src/storage/record.ts'
import { openStorage } from '../../src/storage/storage.ts'
import { seeded, turn } from './storage-kit.ts'

const directory = process.argv[2] as string
const random = seeded(Number(process.argv[3]))

function say(sentence: string): void {
  writeSync(1, `${sentence}\n`)
}

function payload(index: number): Buffer {
  return Buffer.alloc(20 + ((index * 7919) % 3000), index % 251)
}

async function leave(error: unknown): Promise<never> {
  say('failed')
  for (let turns = 0; turns < 200; turns++) await turn()
  say(error instanceof FatalError ? error.message : String(error))
  process.exit(error instanceof FatalError ? error.exitCode : 1)
}

async function main(): Promise<void> {
  const storage = await openStorage({
    disk: nodeDisk,
    directory,
    identity: { cluster: 'c', nodeId: 'n1', newIncarnation: '0011223344556677', foundingConfiguration: null },
    newRunId: '8899aabbccddeeff',
    segmentBytes: 64 * 1024,
    reserveBytes: 512 * 1024,
    after: systemClock.after,
    onFailure: (error) => void leave(error),
  })
  let { lastIndex } = storage.recovered
  let { currentTerm } = storage.recovered.hardState
  for (let index = 1; index <= lastIndex; ) {
    const entries = await storage.read(index, lastIndex, 1024 * 1024)
    for (const entry of entries) {
      if (entry.index !== index || payload(index).compare(entry.payload) !== 0)
        throw new Error(`entry ${index} is another one`)
      index++
    }
    if (entries.length === 0) throw new Error(`entry ${index} is missing`)
  }
  say(`found ${lastIndex} ${currentTerm}`)
  for (let id = 1; ; id++) {
    const hardState = random() < 0.1 || currentTerm === 0 ? { currentTerm: ++currentTerm, votedFor: 'n1' } : null
    const entries = Array.from({ length: Math.floor(random() * 6) }, () => {
      const index = ++lastIndex
      const kind = 'bytes'
      return encodeEntry({
        index,
        term: currentTerm,
        kind,
        timestampMs: 0,
        origin: 0,
        sequence: 0,
        key: null,
        traceparent: null,
        payload: payload(index),
      })
    })
    const [index, term] = [lastIndex, currentTerm]
    const saved = storage.save({ id, hardState, snapshot: null, entries })
    saved.then(() => say(`saved ${index} ${term}`)).catch(() => {})
    // Some in flight together, some alone.
    if (random() < 0.5) await saved
  }
}

main().catch(leave)
