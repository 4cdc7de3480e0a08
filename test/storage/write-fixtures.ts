// Writes data directories of this version: `node --import tsx test/storage/write-fixtures.ts DIRECTORY`, where the directory does not exist yet.
// A disk in memory does the same at every run.

import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { AcquaintanceFile } from '../../src/storage/acquaintances.ts'
import { Cursor } from '../../src/storage/cursor.ts'
import { encodeEntry } from '../../src/storage/record.ts'
import type { Fixture } from './fixture-contents.ts'
import {
  acquaintances,
  compacted,
  deliveredThrough,
  entryFields,
  firstRun,
  identity,
  installed,
} from './fixture-contents.ts'
import { MemoryDisk } from './memory-disk.ts'
import type { Opened } from './storage-kit.ts'
import { directory, encodeSnapshot, entry, metadata, open, pieces, receive } from './storage-kit.ts'

const list = (from: number, through: number) =>
  Array.from({ length: through - from + 1 }, (_, at) => encodeEntry(entryFields(from + at)))

async function writeCompacted(
  { save, storage, settle }: Opened,
  { snapshot, body, hardState }: Fixture,
): Promise<void> {
  await save(list(1, 4), { currentTerm: 1, votedFor: 'n1' })
  await save(list(5, 9))
  // Entries that a later leader replaced.
  await save([entry(10, 1), entry(11, 1), entry(12, 1)])
  await settle()
  await save(list(10, 20), { currentTerm: 2, votedFor: null })
  await storage.takeSnapshot(
    { ...snapshot, lastIncluded: { index: 15, term: 2 }, machinePosition: 15 },
    pieces('before'),
  )
  for (let from = 21; from <= 40; from += 5) await save(list(from, from + 4), { currentTerm: 7, votedFor: 'n1' })
  await storage.takeSnapshot(snapshot, pieces(body.subarray(0, 1000), body.subarray(1000)))
  storage.compact({ index: 22, term: 2 })
  await save([], hardState)
}

async function writeInstalled({ save, storage }: Opened, { snapshot, body, hardState }: Fixture): Promise<void> {
  await save(list(1, 6), { currentTerm: 1, votedFor: 'n1' })
  await receive(storage, encodeSnapshot(snapshot, [body]))
  await save(list(33, 36), { currentTerm: 7, votedFor: null }, metadata(snapshot))
  await save(list(37, 40))
  await save([], hardState)
}

async function write(
  root: string,
  fixture: Fixture,
  fill: (opened: Opened, fixture: Fixture) => Promise<void>,
): Promise<void> {
  const machine = new MemoryDisk()
  const { incarnation: newIncarnation, ...rest } = identity
  const opened = await open(machine.mount(), {
    identity: { ...rest, newIncarnation },
    newRunId: firstRun.id,
  })
  await fill(opened, fixture)
  const cursor = await Cursor.open(machine.mount(), directory)
  await cursor.save(deliveredThrough - 1)
  await cursor.save(deliveredThrough)
  await cursor.close()
  const known = await AcquaintanceFile.open(machine.mount(), directory)
  await known.save(acquaintances)
  await known.close()
  await opened.storage.close()
  await mkdir(join(root, fixture.name), { recursive: true })
  for (const [path, bytes] of machine.files()) {
    await writeFile(join(root, fixture.name, basename(path)), bytes, { flag: 'wx' })
  }
}

const [root] = process.argv.slice(2)
assert(root, 'Say where to write them')
await write(root, compacted, writeCompacted)
await write(root, installed, writeInstalled)
