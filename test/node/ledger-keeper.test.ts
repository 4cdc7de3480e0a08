// The ledger in step with the commit index: whatever is loaded, installed and committed meanwhile, it ends with what the log says, and whoever
// applies commands learns of nothing before it is known what is left out.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Ledger } from '../../src/node/ledger.ts'
import { encodeLedger } from '../../src/node/ledger-codec.ts'
import { LedgerKeeper } from '../../src/node/ledger-keeper.ts'
import type { StoredSnapshot } from '../../src/node/ports.ts'
import { encodeSkip } from '../../src/node/skip.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { encodeEntry, snapshotOf } from '../raft/entries.ts'
import { entryOf, otherOrigin } from './node-kit.ts'

const limits = { maxKeys: 100_000, maxAnswerBytes: 10_000 }

function keyed(index: number): Entry {
  return encodeEntry({ ...entryOf(1, index, otherOrigin, index), key: `key-${index}` })
}

/** Entries from 1 on, each under a key. */
function keyedLog(through: number): Entry[] {
  return Array.from({ length: through }, (_, i) => keyed(i + 1))
}

/** A snapshot through this index; its ledger comes when `ready` resolves. */
async function snapshotAt(index: number, ready: Promise<void> = Promise.resolve()): Promise<StoredSnapshot> {
  const ledger = new Ledger(limits)
  ledger.committed(keyedLog(index))
  const parts: Uint8Array[] = []
  for await (const part of encodeLedger(ledger.picture(index), async () => {})) parts.push(part)
  return {
    file: { lastIncluded: { term: 1, index }, sizeBytes: 0, checksum: 0 },
    header: { ...snapshotOf(1, index), machinePosition: index },
    async *ledger() {
      await ready
      yield* parts
    },
    read: async () => 0,
    async *body() {},
    async close() {},
  }
}

class Bench {
  log: Entry[] = []
  /** Read at a time. */
  readSize = Number.POSITIVE_INFINITY
  newest: StoredSnapshot | null = null
  turns = 0
  readonly failures: unknown[] = []
  /** How far it was when it said so, and what was left out by then. */
  readonly progress: (readonly [number, readonly number[]])[] = []
  readonly keeper = new LedgerKeeper({
    limits,
    storage: { openSnapshot: async () => this.newest },
    clock: {
      defer: (run) => {
        this.turns++
        setImmediate(run)
      },
    },
    read: async (from, through) => {
      const wanted = this.log.filter(({ index }) => index >= from && index <= through)
      return wanted.slice(0, this.readSize)
    },
    kept: [],
    onKnown: () => {},
    onProgress: (skips) => this.progress.push([this.keeper.ledger.throughIndex, skips.map(({ index }) => index)]),
    onFailure: (error) => this.failures.push(error),
  })

  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await turn()
  }
}

test('What is left out is known before anything is said of the command, however the log is read', async () => {
  const bench = new Bench()
  const skip = { ...entryOf(1, 6, otherOrigin, 6), kind: 'skip', payload: encodeSkip(2, 'bad') } as const
  bench.log = [...keyedLog(5), encodeEntry(skip)]
  bench.readSize = 2
  bench.keeper.committed(6, [])
  await bench.settle()
  assert.deepEqual(bench.progress, [[6, [2]]])
})

test('A snapshot that is installed while the ledger of one before it is still being read is the one that counts', async () => {
  const bench = new Bench()
  let letFirstGo = () => {}
  const first = new Promise<void>((resolve) => {
    letFirstGo = resolve
  })
  bench.newest = await snapshotAt(10, first)
  bench.keeper.install(10, Promise.resolve())
  await bench.settle()
  bench.newest = await snapshotAt(20)
  bench.keeper.install(20, Promise.resolve())
  await bench.settle()
  assert.equal(bench.keeper.ledger.throughIndex, 20)
  letFirstGo()
  await bench.settle()
  assert.equal(bench.keeper.ledger.throughIndex, 20)
  bench.log = [keyed(21)]
  bench.keeper.committed(21, bench.log)
  await bench.settle()
  assert.deepEqual([bench.keeper.ledger.size, bench.progress.at(-1), bench.failures], [21, [21, []], []])
})

test('However many keys a snapshot holds, taking them in gives the loop back on the way', async () => {
  const bench = new Bench()
  bench.newest = await snapshotAt(10_000)
  await bench.keeper.load()
  assert.equal(bench.keeper.ledger.size, 10_000)
  assert(bench.turns >= 10, `${bench.turns} turns`)
})

test('One that is stopped while it is behind comes to an end', async () => {
  const bench = new Bench()
  bench.log = keyedLog(3)
  bench.readSize = 1
  bench.keeper.committed(3, keyedLog(3).slice(2))
  bench.keeper.stop()
  // It would go round for ever, and never give the loop back.
  await turn()
  await turn()
  const { throughIndex } = bench.keeper.ledger
  bench.keeper.committed(3, [])
  await turn()
  assert.equal(bench.keeper.ledger.throughIndex, throughIndex)
  assert.deepEqual(bench.failures, [])
})
