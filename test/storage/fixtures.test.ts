// Data directories that were written once and for all: this version must find in them everything that was put there (fixture-contents.ts).
// `node --import tsx test/storage/write-fixtures.ts test/storage/fixtures/format-N` wrote them; a new format adds a directory, and none is made again.

import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import test from 'node:test'
import { AcquaintanceFile } from '../../src/storage/acquaintances.ts'
import { Cursor } from '../../src/storage/cursor.ts'
import { inspectDirectory } from '../../src/storage/inspect-directory.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import {
  acquaintances,
  compacted,
  deliveredThrough,
  entryFields,
  firstRun,
  identity,
  installed,
} from './fixture-contents.ts'
import { metadata, open, readAll, temporaryDirectory } from './storage-kit.ts'

for (const format of ['format-1']) {
  for (const fixture of [compacted, installed]) {
    test(`${format}, ${fixture.name}: every entry, the snapshot, term and vote, identity, run, cursor and acquaintances are found`, async (t) => {
      const directory = await temporaryDirectory(t)
      await cp(new URL(`./fixtures/${format}/${fixture.name}`, import.meta.url), directory, { recursive: true })
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
      assert.equal(base.term, entryFields(base.index).term)
      assert.equal(lastIndex, fixture.lastIndex)
      assert.deepEqual(
        recovered.configurations.map((one) => one.index),
        [...new Set([fixture.snapshot.configuration.index, 31])],
      )
      const found = await readAll(storage)
      assert.equal(found.length, lastIndex - base.index)
      for (const { index, term, kind, timestampMs, origin, sequence, payload } of found) {
        const expected = entryFields(index)
        assert.deepEqual(
          { index, term, kind, timestampMs, origin, sequence, payload: Buffer.from(payload).toString('hex') },
          { ...expected, payload: Buffer.from(expected.payload).toString('hex') },
        )
      }

      const snapshot = await storage.openSnapshot()
      assert(snapshot)
      assert.deepEqual(snapshot.header, fixture.snapshot)
      const body: Uint8Array[] = []
      for await (const part of snapshot.body()) body.push(part)
      assert(Buffer.concat(body).equals(fixture.body))
      await snapshot.close()

      const cursor = await Cursor.open(nodeDisk, directory)
      assert.equal(cursor.load(), deliveredThrough)
      await cursor.close()

      const known = await AcquaintanceFile.open(nodeDisk, directory)
      assert.deepEqual(known.load(), acquaintances)
      await known.close()

      await save([], { currentTerm: 10, votedFor: null })
      await storage.close()
    })
  }
}
