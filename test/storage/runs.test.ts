// Each start on a data directory is counted before it says anything, for good, and knows those before it; who only looks is none.

import assert from 'node:assert/strict'
import test from 'node:test'
import type { Run } from '../../src/node/ports.ts'
import { inspectDirectory } from '../../src/storage/inspect-directory.ts'
import { Metafile, metafileName } from '../../src/storage/metafile.ts'
import { SlotFile } from '../../src/storage/slot-file.ts'
import { losesEverything, losesSome, MemoryDisk } from './memory-disk.ts'
import { directory, entries, founding, isDataError, open, seeded } from './storage-kit.ts'

const slotBytes = 4 * 4096

/** Opens the directory in a new process. */
async function begin(machine: MemoryDisk, newRunId: string) {
  machine.killProcesses()
  return await open(machine.mount(), { newRunId })
}

test('the first start is run 1, and each one after it the next, whatever became of the one before', async () => {
  const machine = new MemoryDisk()
  const first = await begin(machine, 'a')
  assert.deepEqual(first.storage.run, { number: 1, id: 'a', former: [] })
  await first.save(entries(1, 2, 1), { currentTerm: 1, votedFor: 'n1' })
  await first.storage.close()
  assert.deepEqual((await begin(machine, 'b')).storage.run, { number: 2, id: 'b', former: ['a'] })
  machine.failPower(losesEverything)
  const third = await begin(machine, 'c')
  assert.deepEqual(third.storage.run, { number: 3, id: 'c', former: ['b', 'a'] })
  assert.deepEqual(third.storage.recovered.hardState, { currentTerm: 1, votedFor: 'n1' })
  await third.save([], { currentTerm: 2, votedFor: null })
  machine.failPower(losesEverything)
  const { storage } = await begin(machine, 'd')
  assert.deepEqual([storage.run.number, storage.recovered.hardState.currentTerm], [4, 2])
})

test('64 of them are known by their ids, and however many there were, they are counted', async () => {
  const machine = new MemoryDisk()
  for (let number = 1; number < 200; number++) await (await begin(machine, `r${number}`)).storage.close()
  const { run } = (await begin(machine, 'r200')).storage
  const former = Array.from({ length: 63 }, (_, at) => `r${199 - at}`)
  assert.deepEqual(run, { number: 200, id: 'r200', former })
})

test('the slots have room for it beside the members, were there as many as 38 with the longest of addresses', async () => {
  const machine = new MemoryDisk()
  const peerAddress = `${'a'.repeat(253)}:65535`
  const members = Array.from({ length: 38 }, (_, at) => ({
    id: String(at).padStart(64, 'n'),
    peerAddress,
    role: 'voter' as const,
  }))
  const identity = {
    cluster: 'c'.repeat(64),
    nodeId: 'n'.repeat(64),
    newIncarnation: '0'.repeat(16),
    foundingConfiguration: { members },
  }
  for (let number = 1; number <= 65; number++) {
    const { storage } = await open(machine.mount(), { identity, newRunId: String(number).padStart(16, '0') })
    await storage.close()
  }
})

test('a crash after any operation of a start: what was shown of a run is never shown by another, nor forgotten', async () => {
  for (let operations = 0; ; operations++) {
    const machine = new MemoryDisk()
    await (await begin(machine, 'first')).storage.close()
    /** Every one that a process had, and so may have shown. */
    const shown: Run[] = []
    let left = operations
    let isHalted = false
    machine.before = () => {
      if (left-- > 0) return
      isHalted = true
      machine.halt()
    }
    await begin(machine, 'second')
      .then(({ storage }) => shown.push(storage.run))
      .catch(() => {})
    machine.before = () => {}
    machine.failPower(losesSome(seeded(operations)))
    for (const id of ['third', 'fourth']) {
      const { run } = (await begin(machine, id)).storage
      for (const { number, id: before } of shown) assert.equal(run.former[run.number - number - 1], before)
      assert(run.former.at(-1) === 'first' && run.former.length === run.number - 1, JSON.stringify(run))
      shown.push(run)
      machine.failPower(losesEverything)
    }
    if (isHalted) continue
    assert(operations > 10, 'it went through without a crash too soon')
    return
  }
})

test('no single damage takes a run back, from its first moment on', async () => {
  const machine = new MemoryDisk()
  await begin(machine, 'a')
  await begin(machine, 'b')
  const files = machine.files()
  const path = `${directory}/${metafileName}`
  for (const slot of [0, 1]) {
    const damaged = Buffer.from(files.get(path) as Buffer).fill(0xff, slot * slotBytes, slot * slotBytes + 40)
    const { run } = (await begin(MemoryDisk.holding(new Map(files).set(path, damaged)), 'c')).storage
    assert.deepEqual(run, { number: 3, id: 'c', former: ['b', 'a'] })
  }
})

test('two copies of a directory go on with runs that differ', async () => {
  const machine = new MemoryDisk()
  await (await begin(machine, 'a')).storage.close()
  const copy = MemoryDisk.holding(machine.files())
  const original = (await begin(machine, 'b')).storage.run
  const other = (await begin(copy, 'x')).storage.run
  assert.deepEqual([original.number, other.number], [2, 2])
  assert.notEqual(original.id, other.id)
  assert.deepEqual((await begin(copy, 'y')).storage.run, { number: 3, id: 'y', former: ['x', 'a'] })
})

test('who only looks into a directory is not a run of it', async () => {
  const machine = new MemoryDisk()
  await (await begin(machine, 'a')).storage.close()
  const files = machine.files()
  const inspection = await inspectDirectory({ disk: machine.mount(), directory, isHeld: false })
  assert.deepEqual(inspection.metafile?.content?.run, { number: 1, id: 'a', former: [] })
  assert.deepEqual(machine.files(), files)
})

const identity = { cluster: 'orders', nodeId: 'n1', incarnation: '00112233aabbccdd', foundingConfiguration: founding }
const hardState = { currentTerm: 7, votedFor: 'n2' }

/** With this metafile in place of its own, in both slots. */
async function withMetafile(value: object): Promise<MemoryDisk> {
  const machine = new MemoryDisk()
  await (await begin(machine, 'a')).storage.close()
  const written = new MemoryDisk()
  const disk = written.mount()
  await disk.makeDirectory(directory)
  const format = { version: 1, slotBytes }
  const bytes = Buffer.from(JSON.stringify(value))
  await (await SlotFile.create(disk, directory, metafileName, format, bytes)).close()
  const path = `${directory}/${metafileName}`
  return MemoryDisk.holding(machine.files().set(path, written.files().get(path) as Buffer))
}

test('a directory from before runs were counted begins with the first, and keeps all else', async () => {
  const { storage } = await begin(await withMetafile({ ...identity, ...hardState }), 'b')
  assert.deepEqual(storage.run, { number: 1, id: 'b', former: [] })
  assert.deepEqual(storage.identity, { ...identity, restoredFrom: null })
  assert.deepEqual(storage.recovered.hardState, hardState)
})

for (const run of [
  1,
  {},
  { number: 1, id: 'a' },
  { number: '1', id: 'a', former: [] },
  { number: 2, id: 'a', former: [1] },
]) {
  test(`a metafile of another program, with the run ${JSON.stringify(run)}, is refused`, async () => {
    await assert.rejects(begin(await withMetafile({ ...identity, ...hardState, run }), 'b'), isDataError)
  })
}

test('a metafile that is made and not begun upon has no run: a restored directory waits for its first', async () => {
  const machine = new MemoryDisk()
  await machine.mount().makeDirectory(directory)
  const metafile = await Metafile.create(machine.mount(), directory, { ...identity, restoredFrom: null })
  assert.equal(metafile.run, null)
  assert.deepEqual(await metafile.beginRun('a'), { number: 1, id: 'a', former: [] })
  machine.failPower(losesEverything)
  assert.deepEqual((await Metafile.open(machine.mount(), directory)).run, { number: 1, id: 'a', former: [] })
})
