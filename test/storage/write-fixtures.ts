// Writes data directories of this version: `node --import tsx test/storage/write-fixtures.ts DIRECTORY NAME…`, where none of that name stands in the
// directory yet. A disk in memory does the same at every run.

import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { AcquaintanceFile } from '../../src/storage/acquaintances.ts'
import { Cursor } from '../../src/storage/cursor.ts'
import { encodeEntry } from '../../src/storage/record.ts'
import { ResultFile } from '../../src/storage/result-file.ts'
import type { Fixture } from './fixture-contents.ts'
import {
  acquaintances,
  compacted,
  deliveredThrough,
  firstRun,
  identity,
  installed,
  keptResults,
  keyed,
} from './fixture-contents.ts'
import { MemoryDisk } from './memory-disk.ts'
import type { Opened } from './storage-kit.ts'
import { directory, encodeSnapshot, entry, metadata, open, pieces, receive } from './storage-kit.ts'

type Fill = (opened: Opened, machine: MemoryDisk) => Promise<void>

const list = ({ entryFields }: Fixture, from: number, through: number) =>
  Array.from({ length: through - from + 1 }, (_, at) => encodeEntry(entryFields(from + at)))

const fillCompacted: Fill = async ({ save, storage, settle }, machine) => {
  const { snapshot, body, ledger, hardState } = compacted
  await save(list(compacted, 1, 4), { currentTerm: 1, votedFor: 'n1' })
  await save(list(compacted, 5, 9))
  // Entries that a later leader replaced.
  await save([entry(10, 1), entry(11, 1), entry(12, 1)])
  await settle()
  await save(list(compacted, 10, 20), { currentTerm: 2, votedFor: null })
  const before = { ...snapshot, lastIncluded: { index: 15, term: 2 }, machinePosition: 15 }
  await storage.takeSnapshot(before, pieces(), pieces('before'))
  for (let from = 21; from <= 40; from += 5)
    await save(list(compacted, from, from + 4), { currentTerm: 7, votedFor: 'n1' })
  await storage.takeSnapshot(snapshot, pieces(ledger), pieces(body.subarray(0, 1000), body.subarray(1000)))
  storage.compact({ index: 22, term: 2 })
  await save([], hardState)
  await writeFirstCompanions(machine)
}

const fillInstalled: Fill = async ({ save, storage }, machine) => {
  const { snapshot, body, hardState } = installed
  await save(list(installed, 1, 6), { currentTerm: 1, votedFor: 'n1' })
  await receive(storage, encodeSnapshot(snapshot, [body]))
  await save(list(installed, 33, 36), { currentTerm: 7, votedFor: null }, metadata(snapshot))
  await save(list(installed, 37, 40))
  await save([], hardState)
  await writeFirstCompanions(machine)
}

const fillKeyed: Fill = async ({ save, storage }, machine) => {
  const { snapshot, body, ledger, hardState } = keyed
  await save(list(keyed, 1, 5), { currentTerm: 1, votedFor: 'n1' })
  await save(list(keyed, 6, 8))
  await storage.takeSnapshot(snapshot, pieces(ledger), pieces(body))
  await save(list(keyed, 9, 12), hardState)
  const results = await ResultFile.open(machine.mount(), directory, {
    identity,
    isFull: () => false,
    onDamage: ({ problem }) => assert.fail(problem),
    onLost: assert.fail,
  })
  results.append(keptResults.slice(0, 1))
  results.append(keptResults.slice(1))
  await results.close()
}

/** What stood beside the storage at first. */
async function writeFirstCompanions(machine: MemoryDisk): Promise<void> {
  const cursor = await Cursor.open(machine.mount(), directory)
  await cursor.save(deliveredThrough - 1)
  await cursor.save(deliveredThrough)
  await cursor.close()
  const known = await AcquaintanceFile.open(machine.mount(), directory)
  await known.save(acquaintances)
  await known.close()
}

async function write(root: string, name: string, fill: Fill): Promise<void> {
  const machine = new MemoryDisk()
  const { incarnation: newIncarnation, ...rest } = identity
  const opened = await open(machine.mount(), {
    identity: { ...rest, newIncarnation },
    newRunId: firstRun.id,
  })
  await fill(opened, machine)
  await opened.storage.close()
  await mkdir(join(root, name), { recursive: true })
  for (const [path, bytes] of machine.files()) {
    await writeFile(join(root, name, basename(path)), bytes, { flag: 'wx' })
  }
}

const fills: Readonly<Record<string, Fill>> = { compacted: fillCompacted, installed: fillInstalled, keyed: fillKeyed }
const [root, ...names] = process.argv.slice(2)
assert(root && names.length > 0, `Say where to write them, and which: ${Object.keys(fills).join(', ')}`)
for (const name of names) {
  const fill = fills[name]
  assert(fill, `There is no ${name}`)
  await write(root, name, fill)
}
