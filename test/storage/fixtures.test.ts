// Data directories that were written once and for all: this version must find in them everything that was put there (fixture-contents.ts).
// `node --import tsx test/storage/write-fixtures.ts test/storage/fixtures/VERSION NAME…` wrote them; a version that writes something new adds a
// directory, and none is made again.

import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import test, { type TestContext } from 'node:test'
import { AcquaintanceFile } from '../../src/storage/acquaintances.ts'
import { Cursor } from '../../src/storage/cursor.ts'
import { inspectDirectory } from '../../src/storage/inspect-directory.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
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
import { metadata, open, readAll, readLedger, readSnapshot, temporaryDirectory } from './storage-kit.ts'

/** Of a directory that is a copy of the fixture. */
async function copyOf(t: TestContext, { writer, name }: Fixture): Promise<string> {
  const directory = await temporaryDirectory(t)
  await cp(new URL(`./fixtures/${writer}/${name}`, import.meta.url), directory, { recursive: true })
  return directory
}

/** Finds everything that the storage itself was given, and saves something more. */
async function check(directory: string, fixture: Fixture): Promise<void> {
  const looked = await inspectDirectory({ disk: nodeDisk, directory, isHeld: false })
  assert.deepEqual([looked.verdict.kind, looked.log?.lastIndex], ['sound', fixture.lastIndex])
  const { cluster, nodeId } = identity
  const wanted = { cluster, nodeId, newIncarnation: 'ffffffffffffffff', foundingConfiguration: null }
  const { storage, save, tornTails } = await open(nodeDisk, {
    directory,
    identity: wanted,
    newRunId: '0000000000000002',
  })
  assert.equal(storage.isNew, false)
  assert.deepEqual(storage.identity, { ...identity, restoredFrom: null })
  assert.deepEqual(storage.run, { number: 2, id: '0000000000000002', former: [firstRun.id] })
  assert.deepEqual(tornTails, [])

  const { recovered } = storage
  assert.deepEqual(recovered.hardState, fixture.hardState)
  assert.deepEqual(recovered.snapshot, metadata(fixture.snapshot))
  const { base, lastIndex } = recovered
  assert(base.index >= fixture.baseIndex && base.index < fixture.firstIndex, `from ${base.index}`)
  assert.equal(base.term, base.index === 0 ? 0 : fixture.entryFields(base.index).term)
  assert.equal(lastIndex, fixture.lastIndex)
  assert.deepEqual(
    recovered.configurations.map((one) => one.index),
    fixture.configurationIndexes,
  )
  const found = await readAll(storage)
  assert.equal(found.length, lastIndex - base.index)
  for (const { index, term, kind, timestampMs, origin, sequence, key, traceparent, payload } of found) {
    const expected = fixture.entryFields(index)
    assert.deepEqual(
      {
        ...{ index, term, kind, timestampMs, origin, sequence, key, traceparent },
        payload: Buffer.from(payload).toString('hex'),
      },
      { ...expected, payload: Buffer.from(expected.payload).toString('hex') },
    )
  }

  const snapshot = await storage.openSnapshot()
  assert.deepEqual(snapshot?.header, fixture.snapshot)
  await snapshot?.close()
  assert.equal(await readLedger(storage), fixture.ledger.toString())
  assert.equal((await readSnapshot(storage))?.body, fixture.body.toString())

  await save([], { currentTerm: 10, votedFor: null })
  await storage.close()
}

for (const fixture of [compacted, installed]) {
  test(`${fixture.writer}, ${fixture.name}: every entry, the snapshot, term and vote, identity, run, cursor and acquaintances are found`, async (t) => {
    const directory = await copyOf(t, fixture)
    await check(directory, fixture)

    const cursor = await Cursor.open(nodeDisk, directory)
    assert.equal(cursor.load(), deliveredThrough)
    await cursor.close()

    const known = await AcquaintanceFile.open(nodeDisk, directory)
    assert.deepEqual(known.load(), acquaintances)
    await known.close()
  })
}

test(`${keyed.writer}, ${keyed.name}: keys, trace contexts and the skip, the snapshot's ledger, and what commands answered are found`, async (t) => {
  const directory = await copyOf(t, keyed)
  await check(directory, keyed)

  const options = {
    identity,
    isFull: () => false,
    onDamage: ({ problem }: { problem: string }) => assert.fail(problem),
    onLost: assert.fail,
  }
  const results = await ResultFile.open(nodeDisk, directory, options)
  assert.deepEqual(results.load(), keptResults)
  results.append([{ index: 13, resultJson: '{}' }])
  await results.close()
  const again = await ResultFile.open(nodeDisk, directory, options)
  assert.equal(again.load().length, keptResults.length + 1)
  await again.close()
})
