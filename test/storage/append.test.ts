import assert from 'node:assert/strict'
import test from 'node:test'
import { maxBatchBytes } from '../../src/storage/log.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { MemoryDisk, systemError } from './memory-disk.ts'
import type { Opened } from './storage-kit.ts'
import {
  entries,
  entry,
  founding,
  hold,
  ids,
  isIoError,
  open,
  readAll,
  temporaryDirectory,
  turn,
  until,
} from './storage-kit.ts'

const term1 = { currentTerm: 1, votedFor: 'n1' }

function holdSyncs(disk: MemoryDisk): { readonly held: number; release(): void } {
  return hold(disk, ({ kind, path }) => kind === 'sync' && path.endsWith('.segment'))
}

test('a new directory holds an empty log, the founding configuration and no vote', async () => {
  const { storage } = await open(new MemoryDisk().mount())
  assert.deepEqual(storage.recovered, {
    hardState: { currentTerm: 0, votedFor: null },
    snapshot: null,
    base: { term: 0, index: 0 },
    termRuns: [],
    lastIndex: 0,
    lastTimestampMs: 0,
    configurations: [{ index: 0, configuration: founding }],
  })
  assert.equal(storage.isNew, true)
  assert.equal(storage.incarnation, '00112233aabbccdd')
  assert.deepEqual(await storage.read(1, 10, 1000), [])
})

for (const [name, makeDisk] of [
  ['memory', async () => ({ disk: new MemoryDisk().mount(), directory: '/data' })],
  [
    'the real disk',
    async (t: test.TestContext) => ({ disk: nodeDisk, directory: `${await temporaryDirectory(t)}/a/b` }),
  ],
] as const) {
  test(`on ${name}: what was saved is there after a restart, over many segments, in reads of any size`, async (t) => {
    const { disk, directory } = await makeDisk(t)
    const first = await open(disk, { directory })
    const list = [...entries(1, 60, 1, 100), ...entries(61, 300, 2)]
    await first.save(list.slice(0, 60), term1)
    await first.save([], { currentTerm: 2, votedFor: null })
    for (let from = 60; from < list.length; from += 13) await first.save(list.slice(from, from + 13))
    await first.storage.close()

    const { storage, tornTails } = await open(disk, { directory })
    assert.deepEqual(tornTails, [])
    assert.equal(storage.isNew, false)
    assert.deepEqual(storage.recovered, {
      hardState: { currentTerm: 2, votedFor: null },
      snapshot: null,
      base: { term: 0, index: 0 },
      termRuns: [
        { from: 1, term: 1 },
        { from: 61, term: 2 },
      ],
      lastIndex: 300,
      lastTimestampMs: 1300,
      configurations: [{ index: 0, configuration: founding }],
    })
    assert.deepEqual(await storage.read(1, 300, 1e9), list)
    assert.deepEqual(await storage.read(55, 190, 1e9), list.slice(54, 190))
    assert.deepEqual(await storage.read(300, 999, 1), list.slice(299))
    assert.deepEqual(await storage.read(301, 999, 1), [])
    for (const maxBytes of [1, 139, 140, 141, 280, 1000, 5000]) {
      for (let from = 1; from <= 300; ) {
        const read = await storage.read(from, 300, maxBytes)
        assert.deepEqual(read, list.slice(from - 1, from - 1 + read.length))
        const bytes = read.reduce((sum, { record }) => sum + record.length, 0)
        assert(read.length === 1 || (read.length > 1 && bytes <= maxBytes))
        from += read.length
      }
    }
    await storage.close()
  })
}

test('records of every size, from none to larger than a segment and than a batch', async () => {
  const disk = new MemoryDisk()
  const sizes = [
    0,
    1,
    7,
    8,
    9,
    500,
    3900,
    4000,
    4096,
    5000,
    70_000,
    0,
    maxBatchBytes - 40,
    maxBatchBytes,
    3 * maxBatchBytes,
    1,
  ]
  const list = sizes.map((size, at) => entry(at + 1, 1, { kind: 'bytes', payload: Buffer.alloc(size, at + 1) }))
  const first = await open(disk.mount())
  await first.save(list.slice(0, 5), term1)
  for (const one of list.slice(5, 12)) await first.save([one])
  await first.save(list.slice(12))
  assert.deepEqual(await readAll(first.storage, list.length), list)
  await first.storage.close()
  const { storage } = await open(disk.mount())
  assert.deepEqual(await readAll(storage), list)
})

test('a save replaces the tail from its first index on, with its terms and configurations', async () => {
  const disk = new MemoryDisk()
  const payload = Buffer.from(JSON.stringify({ members: [{ id: 'n9', peerAddress: 'c:1', role: 'voter' }] }))
  const first = await open(disk.mount())
  await first.save(entries(1, 5, 1), term1)
  await first.save([entry(6, 1, { kind: 'configuration', payload }), ...entries(7, 90, 1)])
  await first.save([entry(4, 2, { kind: 'configuration', payload })], { currentTerm: 2, votedFor: null })
  const expected = ['1/1', '1/2', '1/3', '2/4']
  assert.deepEqual(ids(await first.storage.read(1, 90, 1e6)), expected)
  await first.storage.close()
  const second = await open(disk.mount())
  const { termRuns, lastIndex, configurations, lastTimestampMs } = second.storage.recovered
  assert.deepEqual(termRuns, [
    { from: 1, term: 1 },
    { from: 4, term: 2 },
  ])
  assert.equal(lastIndex, 4)
  assert.equal(lastTimestampMs, 1004)
  assert.deepEqual(
    configurations.map(({ index }) => index),
    [0, 4],
  )
  await second.save(entries(1, 2, 3), { currentTerm: 3, votedFor: null })
  await second.storage.close()
  const third = await open(disk.mount())
  assert.deepEqual(ids(await readAll(third.storage)), ['3/1', '3/2'])
  assert.deepEqual(
    third.storage.recovered.configurations.map(({ index }) => index),
    [0],
  )
})

test('saves that arrive during a write share the next one, and resolve in their order', async () => {
  const disk = new MemoryDisk()
  const { save, storage } = await open(disk.mount(), { segmentBytes: 65_536 })
  await save([], term1)
  await until(() => disk.count('rename') === 3)
  const syncs = holdSyncs(disk)
  const before = { write: disk.count('write'), sync: disk.count('sync') }
  const order: number[] = []
  const saves = Array.from({ length: 100 }, (_, at) => save(entries(at + 1, at + 1, 1)).then(() => order.push(at + 1)))
  await until(() => syncs.held === 1)
  assert.deepEqual(order, [])
  syncs.release()
  await until(() => syncs.held === 1)
  assert.deepEqual(order, [1])
  assert.deepEqual(ids(await storage.read(1, 100, 1e6)), ['1/1'], 'only what is durable is read')
  syncs.release()
  await Promise.all(saves)
  assert.deepEqual(
    order,
    Array.from({ length: 100 }, (_, at) => at + 1),
  )
  assert.equal(disk.count('write') - before.write, 2)
  assert.equal(disk.count('sync') - before.sync, 2)
  assert.equal((await storage.read(1, 100, 1e6)).length, 100)
})

test('merged saves supersede each other as they would have one by one', async () => {
  const disk = new MemoryDisk()
  const { save, storage } = await open(disk.mount(), { segmentBytes: 65_536 })
  const syncs = holdSyncs(disk)
  const saves = [
    save(entries(1, 5, 1), term1),
    save(entries(6, 9, 1)),
    save(entries(8, 10, 2), { currentTerm: 2, votedFor: null }),
    save(entries(3, 4, 3), { currentTerm: 3, votedFor: 'n2' }),
    save(entries(5, 6, 3)),
  ]
  await until(() => syncs.held === 1)
  syncs.release()
  await saves[0]
  // Entries 3 to 5 were durable for a moment, but are replaced by what is being written.
  assert.deepEqual(ids(await storage.read(1, 9, 1e6)), ['1/1', '1/2'])
  await until(() => syncs.held === 1)
  syncs.release()
  await Promise.all(saves)
  const expected = ['1/1', '1/2', '3/3', '3/4', '3/5', '3/6']
  assert.deepEqual(ids(await storage.read(1, 9, 1e6)), expected)
  disk.turn = async () => {}
  await storage.close()
  const again = await open(disk.mount())
  assert.deepEqual(ids(await readAll(again.storage)), expected)
  assert.deepEqual(again.storage.recovered.hardState, { currentTerm: 3, votedFor: 'n2' })
})

test('a read that races with a truncation returns what still stands', async () => {
  const disk = new MemoryDisk()
  const { save, storage } = await open(disk.mount(), { segmentBytes: 65_536 })
  await save(entries(1, 9, 1), term1)
  const reads = hold(disk, (operation) => operation.kind === 'read')
  const reading = storage.read(2, 8, 1e6)
  await until(() => reads.held === 1)
  await save(entries(5, 6, 2), { currentTerm: 2, votedFor: null })
  disk.turn = async () => {}
  reads.release()
  assert.deepEqual(ids(await reading), ['1/2', '1/3', '1/4'])
  assert.deepEqual(ids(await storage.read(2, 8, 1e6)), ['1/2', '1/3', '1/4', '2/5', '2/6'])
})

test('in an idle moment one empty batch marks what was acknowledged; busy traffic pays nothing for it', async () => {
  const disk = new MemoryDisk()
  const { save, time } = await open(disk.mount(), { segmentBytes: 65_536 })
  await save([], term1)
  await until(() => disk.count('rename') === 3)
  const syncs = () => disk.count('sync')
  const before = syncs()
  for (let index = 1; index <= 20; index++) {
    await save(entries(index, index, 1))
    await turn()
    time.fire()
  }
  assert.equal(syncs() - before, 20)
  assert.equal(time.pending, 1)
  time.fire()
  // The mark of the log, and the second copy of term and vote.
  await until(() => syncs() - before === 22)
  assert.equal(time.pending, 0)
})

for (const kind of ['write', 'sync'] as const) {
  test(`when a ${kind} fails, every pending and later save rejects and nothing is tried again`, async () => {
    const disk = new MemoryDisk()
    const { save, failures, storage, time } = await open(disk.mount())
    await save(entries(1, 3, 1), term1)
    await until(() => disk.count('rename') === 3)
    disk.before = (operation) => {
      if (operation.kind === kind) throw systemError('EIO', 'broken', operation.path)
    }
    const saves = [save(entries(4, 4, 1)), save(entries(5, 5, 1))]
    for (const one of saves) await assert.rejects(one, isIoError)
    disk.before = () => {}
    const count = disk.count('write')
    await assert.rejects(save(entries(6, 6, 1)), isIoError)
    time.fire()
    await storage.close()
    assert.equal(disk.count('write'), count)
    assert.equal(failures.length, 1)
    const again = await open(disk.mount())
    const list = ids(await readAll(again.storage))
    assert.deepEqual(list.slice(0, 3), ['1/1', '1/2', '1/3'])
    const { lastIndex } = again.storage.recovered
    // A sync that failed left its bytes in the page cache; once recovered they must be certain.
    disk.failPower({ keepsSector: () => false, keepsNames: () => 0 })
    assert.equal((await open(disk.mount())).storage.recovered.lastIndex, lastIndex)
  })
}

test('close finishes what is in flight and refuses what comes after', async () => {
  const disk = new MemoryDisk()
  const { save, storage } = await open(disk.mount())
  const saves = [save(entries(1, 3, 1), term1), save(entries(4, 90, 1))]
  const closing = storage.close()
  await assert.rejects(save(entries(91, 91, 1)), /closed/)
  await Promise.all(saves)
  await closing
  const again = await open(disk.mount())
  assert.equal(again.storage.recovered.lastIndex, 90)
})

const brokenSaves: readonly [name: string, save: (opened: Opened) => unknown][] = [
  ['a gap behind the log', ({ save }) => save(entries(3, 4, 1))],
  ['a gap among the entries', ({ save }) => save([...entries(2, 2, 1), ...entries(4, 4, 1)])],
  ['an entry of a term that the node has not reached', ({ save }) => save(entries(2, 2, 2))],
  ['a number out of order', ({ storage }) => storage.save({ id: 7, hardState: null, snapshot: null, entries: [] })],
]
for (const [name, broken] of brokenSaves) {
  test(`${name} is never saved`, async () => {
    const opened = await open(new MemoryDisk().mount())
    await opened.save(entries(1, 1, 1), term1)
    assert.throws(() => broken(opened), { code: 'ERR_ASSERTION' })
  })
}

test('the next segment is made in step with the use of the current one, and is ready before it is needed', async () => {
  const MiB = 1024 * 1024
  const disk = new MemoryDisk()
  const zeroed = new Map<string, number>()
  disk.before = ({ kind, path }) => {
    if (kind === 'zeroFill') zeroed.set(path, (zeroed.get(path) ?? 0) + 1)
  }
  const { save } = await open(disk.mount(), { segmentBytes: 4 * MiB })
  const chunksOfNext = () => zeroed.get([...zeroed.keys()].find((path) => path.includes('0000000002')) ?? '') ?? 0
  await until(() => chunksOfNext() === 1)
  await save(entries(1, 1, 1, 0.9 * MiB), term1)
  await until(() => chunksOfNext() === 8)
  for (let settled = 0; settled < 100; settled++) await turn()
  assert.equal(chunksOfNext(), 8, 'twice what was used, in chunks of a quarter of a MiB')
  await save(entries(2, 2, 1, 0.9 * MiB))
  await save(entries(3, 3, 1, 0.9 * MiB))
  await until(() => chunksOfNext() === 16)
})
