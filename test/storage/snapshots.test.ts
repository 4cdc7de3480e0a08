// Snapshots of a node's own: whole or not at all, beside a log that goes on.

import assert from 'node:assert/strict'
import test from 'node:test'
import { StorageFullError } from '../../src/errors.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { maxChunkBytes, SnapshotVerifier, snapshotName } from '../../src/storage/snapshot-file.ts'
import type { OperationKind } from './memory-disk.ts'
import { MemoryDisk, systemError } from './memory-disk.ts'
import {
  directory,
  entries,
  hold,
  ids,
  isDataError,
  isIoError,
  metadata,
  open,
  pieces,
  readAll,
  readLedger,
  readSnapshot,
  snapshotHeader,
  temporaryDirectory,
  until,
} from './storage-kit.ts'

const term1 = { currentTerm: 1, votedFor: 'n1' }
const path = (index: number, term = 1) => `${directory}/${snapshotName({ index, term })}`

/** A log of 30 entries, and whatever the disk does behind it done. */
async function started() {
  const disk = new MemoryDisk()
  const opened = await open(disk.mount(), { segmentBytes: 65_536 })
  await opened.save(entries(1, 30, 1), term1)
  await until(() => disk.count('rename') === 3)
  const take = (
    index: number,
    body: AsyncIterable<Uint8Array> = pieces(`state at ${index}`),
    ledger: AsyncIterable<Uint8Array> = pieces(`ledger at ${index}`),
  ) => opened.storage.takeSnapshot(snapshotHeader(index, 1), ledger, body)
  const snapshots = () => [...disk.files().keys()].filter((name) => name.includes('snapshot'))
  return { ...opened, disk, take, snapshots }
}

for (const [name, makeDisk] of [
  ['memory', async () => ({ disk: new MemoryDisk().mount(), directory })],
  ['the real disk', async (t: test.TestContext) => ({ disk: nodeDisk, directory: await temporaryDirectory(t) })],
] as const) {
  test(`on ${name}: a snapshot is there with all that it is, at once and after a restart`, async (t) => {
    const where = await makeDisk(t)
    const first = await open(where.disk, where)
    await first.save(entries(1, 9, 1), term1)
    assert.equal(first.storage.newestSnapshot, null)
    assert.equal(await first.storage.openSnapshot(), null)
    const header = snapshotHeader(8, 1, { machinePosition: 7, timestampMs: 5_000 })
    const large = Buffer.alloc(3 * maxChunkBytes, 'large')
    const ledger = Buffer.alloc(maxChunkBytes + 1, 'keys')
    const taken = await first.storage.takeSnapshot(
      header,
      pieces(ledger.subarray(0, 9), '', ledger.subarray(9)),
      pieces('small', large, '', 'end'),
    )
    await first.storage.close()

    const { storage } = await open(where.disk, where)
    assert.deepEqual(storage.newestSnapshot, taken)
    assert.deepEqual(storage.recovered.snapshot, metadata(header))
    assert.deepEqual(storage.recovered.base, { term: 0, index: 0 })
    assert.equal(storage.recovered.lastTimestampMs, 5_000)
    assert.equal((await readAll(storage)).length, 9)
    const snapshot = await storage.openSnapshot()
    assert(snapshot)
    assert.deepEqual(snapshot.header, header)
    assert.deepEqual(snapshot.file, taken)
    assert.equal((await readSnapshot(storage))?.body, `small${large}end`)
    assert.equal(await readLedger(storage), ledger.toString())
    const bytes = Buffer.alloc(taken.sizeBytes + 10)
    assert.equal(await snapshot.read(bytes, 0), taken.sizeBytes)
    const verifier = new SnapshotVerifier('orders')
    verifier.push(bytes.subarray(0, taken.sizeBytes))
    assert.deepEqual(verifier.end().file, taken)
    await snapshot.close()
    await storage.close()
  })
}

test('the newest and the one before are kept; one that is open stays readable though it is gone', async () => {
  const { disk, storage, take, snapshots } = await started()
  await take(10)
  const oldest = await storage.openSnapshot()
  assert(oldest)
  await take(15)
  await take(20)
  await until(() => snapshots().length === 2)
  assert.deepEqual(snapshots(), [path(15), path(20)])
  const body: Uint8Array[] = []
  for await (const part of oldest.body()) body.push(part)
  assert.equal(Buffer.concat(body).toString(), 'state at 10')
  await oldest.close()
  await storage.close()
  const again = await open(disk.mount())
  assert.deepEqual(await readSnapshot(again.storage), { id: '1/20', body: 'state at 20' })
})

test('one that was overtaken by a later one does not become the newest', async () => {
  const { storage, take } = await started()
  await take(20)
  await take(10)
  assert.equal(storage.newestSnapshot?.lastIncluded.index, 20)
  await take(20, pieces('the same entry, so the same state'))
  assert.deepEqual(await readSnapshot(storage), { id: '1/20', body: 'state at 20' })
})

for (const giver of ['state machine', 'ledger'] as const) {
  test(`when the ${giver} fails, its error is told, and nothing is left`, async () => {
    const { failures, storage, take, snapshots, save } = await started()
    const failure = new Error('nothing today')
    const failing = async function* () {
      yield Buffer.alloc(500_000)
      throw failure
    }
    const taking = giver === 'ledger' ? take(10, pieces('state'), failing()) : take(10, failing())
    await assert.rejects(taking, failure)
    assert.deepEqual(snapshots(), [])
    assert.equal(storage.newestSnapshot, null)
    assert.deepEqual(failures, [])
    await save(entries(31, 31, 1))
    await take(10)
    assert.equal((await readSnapshot(storage))?.id, '1/10')
    assert.equal(await readLedger(storage), 'ledger at 10')
  })
}

test('the ledger is read to its end before the state is asked for anything', async () => {
  const { take } = await started()
  const asked: string[] = []
  const giving = async function* (what: string) {
    for (let piece = 1; piece <= 2; piece++) {
      asked.push(`${what} ${piece}`)
      yield Buffer.from(what)
    }
  }
  await take(10, giving('state'), giving('ledger'))
  assert.deepEqual(asked, ['ledger 1', 'ledger 2', 'state 1', 'state 2'])
})

test('the ledger is read without reading through the state, and the state without the ledger', async () => {
  const { disk, take, storage } = await started()
  const [ledgerBytes, stateBytes] = [700_000, 900_000]
  await take(10, pieces(Buffer.alloc(stateBytes, 's')), pieces(Buffer.alloc(ledgerBytes, 'l')))
  let read = 0
  disk.before = ({ kind, bytes }) => {
    if (kind === 'read') read += bytes
  }
  assert.equal((await readLedger(storage))?.length, ledgerBytes)
  assert(read < ledgerBytes + 1000, `${read} bytes were read for the ledger`)
  read = 0
  assert.equal((await readSnapshot(storage))?.body.length, stateBytes)
  assert(read < stateBytes + 1000, `${read} bytes were read for the state`)
})

const isTemporary = (name: string) => name.endsWith('.snapshot.tmp')
const faults: readonly (readonly [kind: OperationKind, strikes: (name: string) => boolean])[] = [
  ['open', isTemporary],
  ['write', isTemporary],
  ['sync', isTemporary],
  ['rename', isTemporary],
]
for (const [kind, strikes] of faults) {
  test(`a disk that is full at ${kind}: told as that, nothing is left, and everything goes on`, async () => {
    for (const code of ['ENOSPC', 'EDQUOT']) {
      const { disk, failures, storage, take, snapshots, save } = await started()
      await take(5)
      disk.before = (operation) => {
        if (operation.kind === kind && strikes(operation.path)) throw systemError(code, 'no room', operation.path)
      }
      await assert.rejects(take(10), (error) => error instanceof StorageFullError && error.message.includes('full'))
      assert.deepEqual(snapshots(), [path(5)])
      assert.equal(storage.newestSnapshot?.lastIncluded.index, 5)
      disk.before = () => {}
      await save(entries(31, 31, 1))
      await take(10)
      assert.equal((await readSnapshot(storage))?.id, '1/10')
      assert.deepEqual(failures, [])
    }
  })
}

for (const [kind, strikes] of [...faults, ['syncDirectory', () => true] as const]) {
  test(`a disk that fails at ${kind}: the whole storage fails`, async () => {
    const { disk, failures, take, save, storage } = await started()
    disk.before = (operation) => {
      if (operation.kind === kind && strikes(operation.path)) throw systemError('EIO', 'broken', operation.path)
    }
    await assert.rejects(take(10), isIoError)
    assert.equal(failures.length, 1)
    disk.before = () => {}
    await assert.rejects(save(entries(31, 31, 1)), isIoError)
    await assert.rejects(take(10), isIoError)
    await assert.rejects(storage.openSnapshot(), isIoError)
    assert.equal(failures.length, 1)
    await storage.close()
  })
}

test('appends go on while a snapshot waits for the disk', async () => {
  const { disk, take, save, storage } = await started()
  const syncs = hold(disk, ({ kind, path: name }) => kind === 'sync' && isTemporary(name))
  const taking = take(10)
  await until(() => syncs.held === 1)
  await save(entries(31, 40, 1))
  assert.equal((await storage.read(31, 40, 1e6)).length, 10)
  syncs.release()
  await taking
})

test('whatever the pieces, little is written at once, and little of it is left to a sync', async () => {
  const { disk, take } = await started()
  let largest = 0
  let unsynced = 0
  let mostUnsynced = 0
  disk.before = ({ kind, path: name, bytes }) => {
    if (!isTemporary(name)) return
    if (kind === 'sync') unsynced = 0
    if (kind !== 'write') return
    largest = Math.max(largest, bytes)
    unsynced += bytes
    mostUnsynced = Math.max(mostUnsynced, unsynced)
  }
  const small = () => Array.from({ length: 100 }, () => Buffer.alloc(50_000))
  await take(10, pieces(Buffer.alloc(10 * 1024 * 1024), ...small()), pieces(Buffer.alloc(5 * 1024 * 1024), ...small()))
  assert(largest <= maxChunkBytes + 9, `${largest} at once`)
  assert(mostUnsynced < 1.5 * 1024 * 1024, `${mostUnsynced} before a sync`)
})

for (const giver of ['state machine', 'ledger'] as const) {
  test(`closing does not wait for a ${giver} that says nothing more, and leaves nothing of its snapshot`, async () => {
    const { take, storage, snapshots } = await started()
    let isAsked = false
    const hanging: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          isAsked = true
          return new Promise(() => {})
        },
      }),
    }
    const begun = giver === 'ledger' ? take(10, pieces('state'), hanging) : take(10, hanging)
    const taking = assert.rejects(begun, /closed/)
    await until(() => isAsked)
    await storage.close()
    await taking
    assert.deepEqual(snapshots(), [])
    await assert.rejects(take(10), /closed/)
    await assert.rejects(storage.openSnapshot(), /closed/)
  })
}

test('the end of the iteration reaches a body that is not read to its end', async () => {
  const { disk, take } = await started()
  let isReturned = false
  const body = async function* () {
    try {
      while (true) yield Buffer.alloc(200_000)
    } finally {
      isReturned = true
    }
  }
  disk.before = ({ kind, path: name }) => {
    if (kind === 'sync' && isTemporary(name)) throw systemError('ENOSPC', 'no room', name)
  }
  await assert.rejects(take(10, body()), StorageFullError)
  await until(() => isReturned)
})

test('bit rot that comes while the node runs is found when the state is read', async () => {
  const { disk, take, storage } = await started()
  await take(10, pieces(Buffer.alloc(300_000, 'state')), pieces())
  const bytes = disk.files().get(path(10)) as Buffer
  const headBytes = 32 + bytes.readUInt32LE(16)
  for (const [at, offset] of [
    [headBytes, headBytes],
    [headBytes + 5, headBytes],
    [headBytes + 8, headBytes],
    [headBytes + 100_000, headBytes],
    [bytes.length - 10, bytes.length - 19],
  ] as const) {
    const rotten = Buffer.from(bytes)
    rotten[at] = (rotten[at] as number) ^ 0x40
    disk.put(path(10), rotten)
    await assert.rejects(readSnapshot(storage), (error) => {
      assert(isDataError(error) && error instanceof Error)
      assert(error.message.includes(path(10)) && error.message.includes(`offset ${offset}`), error.message)
      return true
    })
  }
  disk.put(path(10), bytes.subarray(0, bytes.length - 30))
  await assert.rejects(readSnapshot(storage), isDataError)
  disk.put(path(10), bytes)
  assert.equal((await readSnapshot(storage))?.id, '1/10')
})

test('bit rot in the ledger is found when that is read, and not before', async () => {
  const { disk, take, storage } = await started()
  const ledger = Buffer.alloc(300_000, 'ledger')
  await take(10, pieces('state'), pieces(ledger))
  const bytes = disk.files().get(path(10)) as Buffer
  const first = 32 + bytes.readUInt32LE(16)
  const second = first + 9 + maxChunkBytes
  for (const [at, offset] of [
    [first, first],
    [first + 5, first],
    [first + 8, first],
    [first + 100_000, first],
    [second + 8, second],
    [second + 9, second],
  ] as const) {
    const rotten = Buffer.from(bytes)
    rotten[at] = (rotten[at] as number) ^ 3
    disk.put(path(10), rotten)
    await assert.rejects(readLedger(storage), (error) => {
      assert(isDataError(error) && error instanceof Error)
      assert(error.message.includes(path(10)) && error.message.includes(`offset ${offset}`), error.message)
      return true
    })
    assert.equal((await readSnapshot(storage))?.body, 'state')
  }
  disk.put(path(10), bytes)
  assert.equal(await readLedger(storage), ledger.toString())
})

test('a chunk of the other part, though it is whole, is not served', async () => {
  const { disk, take, storage } = await started()
  await take(10, pieces('state'), pieces('keys!'))
  const bytes = disk.files().get(path(10)) as Buffer
  const first = 32 + bytes.readUInt32LE(16)
  const [ledger, state] = [bytes.subarray(first, first + 14), bytes.subarray(first + 14, first + 28)]
  const end = bytes.subarray(first + 28)
  disk.put(path(10), Buffer.concat([bytes.subarray(0, first), state, ledger, end]))
  await assert.rejects(readLedger(storage), isDataError)
  await assert.rejects(readSnapshot(storage), isDataError)
  disk.put(path(10), Buffer.concat([bytes.subarray(0, first), end]))
  await assert.rejects(readLedger(storage), isDataError)
})

test('never of more than what was saved', async () => {
  const { take, storage } = await started()
  await assert.rejects(take(31), { code: 'ERR_ASSERTION' })
  await assert.rejects(storage.takeSnapshot(snapshotHeader(10, 2), pieces(), pieces()), { code: 'ERR_ASSERTION' })
  assert.deepEqual(ids(await storage.read(30, 30, 1000)), ['1/30'])
})
