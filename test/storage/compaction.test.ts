// What leaves the log: everything, when it begins anew behind a snapshot of the leader; the entries that a snapshot stands for, when it is compacted.

import assert from 'node:assert/strict'
import test from 'node:test'
import { segmentName, segmentNumber } from '../../src/storage/segment.ts'
import { MemoryDisk, systemError } from './memory-disk.ts'
import type { Opened } from './storage-kit.ts'
import {
  directory,
  encodeSnapshot,
  entries,
  entry,
  hold,
  ids,
  isIoError,
  metadata,
  open,
  pieces,
  readAll,
  readSnapshot,
  receive,
  snapshotHeader,
  until,
} from './storage-kit.ts'

const at = (term: number) => ({ currentTerm: term, votedFor: null })
const segments = (disk: MemoryDisk) =>
  [...disk.files().keys()].map((path) => segmentNumber(path.slice(directory.length + 1))).filter((one) => one !== null)

async function install({ storage, save }: Opened, index: number, term: number, list = entries(1, 0, 1)) {
  const snapshot = encodeSnapshot(snapshotHeader(index, term), [Buffer.from(`state at ${index}`)])
  await receive(storage, snapshot)
  await save(list, at(term), metadata(snapshot.header))
}

const logs: readonly [name: string, last: number, term: number][] = [
  ['an empty log', 0, 1],
  ['a shorter log', 30, 1],
  ['a log that ends with that very index', 50, 1],
  ['a longer log of another term', 80, 1],
  ['a longer log that holds that very entry', 80, 2],
]
for (const [name, last, term] of logs) {
  test(`a snapshot takes the place of ${name}, which begins anew behind it`, async () => {
    const disk = new MemoryDisk()
    const opened = await open(disk.mount())
    const { storage, save } = opened
    await save([], at(2))
    await save(entries(1, last, term, 200))
    await install(opened, 50, 2)
    assert.deepEqual(await storage.read(1, 100, 1e6), [])
    assert.equal(storage.newestSnapshot?.lastIncluded.index, 50)
    await save(entries(51, 60, 2))
    assert.deepEqual(ids(await storage.read(51, 100, 1e6)), ids(entries(51, 60, 2)))
    assert.deepEqual(await storage.read(50, 60, 1e6), [])
    await storage.close()
    const again = await open(disk.mount())
    const { recovered } = again.storage
    assert.deepEqual(recovered.base, { index: 50, term: 2 })
    assert.deepEqual(recovered.termRuns, [{ from: 51, term: 2 }])
    assert.equal(recovered.lastIndex, 60)
    assert.deepEqual(ids(await readAll(again.storage)), ids(entries(51, 60, 2)))
    assert.deepEqual(await readSnapshot(again.storage), { id: '2/50', body: 'state at 50' })
    if (last > 0) assert(!segments(disk).includes(1), 'what is before the new beginning is gone')
  })
}

test('hard state, snapshot and entries of one save are there together after a restart', async () => {
  const disk = new MemoryDisk()
  const opened = await open(disk.mount())
  await opened.save(entries(1, 5, 1), at(1))
  await install(opened, 20, 4, entries(21, 23, 4))
  await opened.storage.close()
  const { recovered } = (await open(disk.mount())).storage
  assert.deepEqual(recovered, {
    hardState: at(4),
    snapshot: metadata(snapshotHeader(20, 4)),
    base: { index: 20, term: 4 },
    termRuns: [{ from: 21, term: 4 }],
    lastIndex: 23,
    lastTimestampMs: 1023,
    configurations: [snapshotHeader(20, 4).configuration],
  })
})

test('a log that has just begun anew may begin anew again', async () => {
  const disk = new MemoryDisk()
  const opened = await open(disk.mount())
  await opened.save(entries(1, 5, 1), at(1))
  await install(opened, 20, 2)
  await install(opened, 30, 3, entries(31, 33, 3))
  await install(opened, 40, 3)
  await opened.storage.close()
  const { recovered } = (await open(disk.mount())).storage
  assert.deepEqual(recovered.base, { index: 40, term: 3 })
  assert.equal(recovered.lastIndex, 40)
})

test('from the save on nothing old is read, and what is new once it is durable', async () => {
  const disk = new MemoryDisk()
  const opened = await open(disk.mount(), { segmentBytes: 65_536 })
  const { save, storage } = opened
  await save(entries(1, 9, 1), at(2))
  const snapshot = encodeSnapshot(snapshotHeader(20, 2), [])
  await receive(storage, snapshot)
  const syncs = hold(disk, ({ kind, path }) => kind === 'sync' && path.endsWith('.segment'))
  const inFlight = save(entries(10, 12, 1))
  await until(() => syncs.held === 1)
  const installing = save(entries(21, 25, 2), null, metadata(snapshot.header))
  const following = save(entries(24, 26, 2))
  syncs.release()
  await inFlight
  assert.deepEqual(await storage.read(1, 30, 1e6), [])
  await until(() => syncs.held === 1)
  assert.deepEqual(await storage.read(21, 30, 1e6), [], 'the beginning is not durable yet')
  disk.turn = async () => {}
  syncs.release()
  await Promise.all([installing, following])
  assert.deepEqual(ids(await storage.read(21, 30, 1e6)), ids(entries(21, 26, 2)))
})

for (const kind of ['open', 'read'] as const) {
  test(`a read that is at its ${kind} when the log begins anew ends early`, async () => {
    const disk = new MemoryDisk()
    const opened = await open(disk.mount())
    await opened.save(entries(1, 60, 1, 200), at(2))
    const reads = hold(disk, (operation) => operation.kind === kind && operation.path.endsWith(segmentName(1)))
    const reading = opened.storage.read(1, 60, 1e6)
    await until(() => reads.held === 1)
    await install(opened, 70, 2)
    await until(() => !segments(disk).includes(1))
    disk.turn = async () => {}
    reads.release()
    assert.deepEqual(await reading, [])
  })
}

/** Entries 1 to 40 over many segments, and a snapshot through 30. */
async function grown() {
  const disk = new MemoryDisk()
  const opened = await open(disk.mount())
  for (let from = 1; from <= 40; from += 4) await opened.save(entries(from, from + 3, from < 20 ? 1 : 2, 300), at(2))
  const configuration = { index: 3, configuration: { members: [] } }
  await opened.storage.takeSnapshot(snapshotHeader(30, 2, { configuration }), pieces(), pieces('state'))
  return { disk, ...opened }
}

test('entries that were compacted are not read from then on, and their segments go, and nothing else', async () => {
  const { disk, storage, save } = await grown()
  const before = segments(disk)
  storage.compact({ index: 25, term: 2 })
  assert.deepEqual(await storage.read(25, 40, 1e6), [])
  assert.deepEqual(ids(await storage.read(26, 40, 1e6)), ids(entries(26, 40, 2)))
  await until(() => segments(disk).length < before.length)
  await save(entries(41, 45, 2))
  assert.deepEqual(ids(await storage.read(38, 50, 1e6)), ids(entries(38, 45, 2)))
  storage.compact({ index: 25, term: 2 })
  storage.compact({ index: 10, term: 1 })
  await storage.close()

  const again = await open(disk.mount())
  const { recovered } = again.storage
  assert(recovered.base.index > 15 && recovered.base.index <= 25, `from ${recovered.base.index}`)
  assert.deepEqual(recovered.base.term, recovered.base.index < 21 ? 1 : 2)
  assert.equal(recovered.lastIndex, 45)
  assert.deepEqual(await readAll(again.storage), [
    ...entries(recovered.base.index + 1, 20, 1, 300),
    ...entries(Math.max(recovered.base.index + 1, 21), 40, 2, 300),
    ...entries(41, 45, 2),
  ])
  assert.deepEqual(recovered.configurations, [{ index: 3, configuration: { members: [] } }])
  assert.equal(recovered.snapshot?.lastIncluded.index, 30)
})

test('a log may be compacted through its very last entry, and goes on', async () => {
  const { disk, storage, save } = await grown()
  await storage.takeSnapshot(snapshotHeader(40, 2), pieces(), pieces('state'))
  storage.compact({ index: 40, term: 2 })
  await storage.close()
  assert(segments(disk).length <= 3)
  const again = await open(disk.mount())
  const { recovered } = again.storage
  assert(recovered.base.index <= 40 && recovered.lastIndex === 40)
  again.storage.compact({ index: 40, term: 2 })
  assert.deepEqual(await again.storage.read(40, 40, 1000), [])
  await again.save(entries(41, 42, 2))
  assert.deepEqual(ids(await again.storage.read(41, 42, 1000)), ['2/41', '2/42'])
  await assert.rejects(
    Promise.resolve().then(() => save(entries(43, 43, 2))),
    /closed/,
  )
})

test('segments go in rising order, each for good before the next', async () => {
  const { disk, storage } = await grown()
  const removed: string[] = []
  let isDurable = true
  disk.before = ({ kind, path }) => {
    if (kind === 'syncDirectory') isDurable = true
    if (kind !== 'remove') return
    assert(isDurable, `${path} goes before the one before it is gone`)
    isDurable = false
    removed.push(path)
  }
  storage.compact({ index: 30, term: 2 })
  await storage.close()
  assert(removed.length > 1 && isDurable)
  assert.deepEqual(
    removed,
    removed.map((_, before) => `${directory}/${segmentName(before + 1)}`),
  )
})

test('a read of a segment that goes meanwhile ends early, and so does one that finds it gone', async () => {
  const { disk, storage } = await grown()
  const opens = hold(disk, ({ kind, path }) => kind === 'open' && path.endsWith(segmentName(2)))
  const reading = storage.read(1, 40, 1e6)
  await until(() => opens.held === 1)
  storage.compact({ index: 30, term: 2 })
  await until(() => !segments(disk).includes(2))
  opens.release()
  disk.turn = async () => {}
  // What had been read of the first segment stands no more than the rest.
  const read = ids(await reading)
  assert.deepEqual(read, ids(entries(1, read.length, 1)))
  assert(read.length < 10)
  assert.deepEqual(await storage.read(1, 5, 1e6), [])
  assert.equal((await storage.read(31, 40, 1e6)).length, 10)
})

test('a file of entries that are still wanted is missed', async () => {
  const { disk, storage } = await grown()
  disk.take(`${directory}/${segmentName(2)}`)
  await assert.rejects(storage.read(1, 40, 1e6), isIoError)
})

test('never past the newest snapshot, nor past what is durable', async () => {
  const { storage } = await grown()
  assert.throws(() => storage.compact({ index: 31, term: 2 }), { code: 'ERR_ASSERTION' })
  storage.compact({ index: 30, term: 2 })
})

test('what was compacted is not replaced', async () => {
  const { storage, save } = await grown()
  storage.compact({ index: 30, term: 2 })
  assert.throws(() => save(entries(30, 30, 3), at(3)), { code: 'ERR_ASSERTION' })
})

test('a disk too full even to remove a segment: it is tried again, and none is left out', async () => {
  const { disk, storage, failures } = await grown()
  disk.before = ({ kind, path }) => {
    if (kind === 'remove') throw systemError('ENOSPC', 'no room', path)
  }
  storage.compact({ index: 20, term: 1 })
  await until(() => disk.count('remove') > 0)
  for (let turns = 0; turns < 20; turns++) await Promise.resolve()
  assert(segments(disk).includes(1))
  disk.before = () => {}
  storage.compact({ index: 30, term: 2 })
  await storage.close()
  assert.deepEqual(failures, [])
  const left = segments(disk)
  assert(!left.includes(1))
  assert.deepEqual(
    left,
    left.map((_, after) => (left[0] as number) + after),
  )
})

for (const kind of ['remove', 'syncDirectory'] as const) {
  test(`a disk that fails at ${kind} behind a compaction: the whole storage fails`, async () => {
    const { disk, storage, save, failures } = await grown()
    disk.before = ({ kind: current, path }) => {
      if (current === kind) throw systemError('EIO', 'broken', path)
    }
    storage.compact({ index: 30, term: 2 })
    await until(() => failures.length === 1)
    await assert.rejects(save(entries(41, 41, 2)), isIoError)
    disk.before = () => {}
    await storage.close()
  })
}

test('the first batches that are left may have been replaced by later ones that reach further back', async () => {
  const disk = new MemoryDisk()
  const first = await open(disk.mount())
  // Segment 1 holds 1 to 10, segment 2 begins with 11 to 16; from 9 on, all of it is replaced in segment 2 and behind it.
  await first.save(entries(1, 10, 1, 300), at(1))
  await first.save(entries(11, 16, 1, 300))
  await first.save(entries(9, 12, 2, 300), at(2))
  await first.save(entries(13, 40, 2, 300))
  await first.storage.takeSnapshot(snapshotHeader(30, 2), pieces(), pieces('state'))
  assert(segments(disk).includes(1))
  first.storage.compact({ index: 12, term: 2 })
  await first.storage.close()
  assert(!segments(disk).includes(1))
  const { storage, save } = await open(disk.mount())
  assert.equal(storage.recovered.base.term, storage.recovered.base.index < 9 ? 1 : 2)
  assert(storage.recovered.base.index <= 12)
  assert.deepEqual((await readAll(storage)).slice(-28), entries(13, 40, 2, 300))
  await save([entry(41, 2)])
})
