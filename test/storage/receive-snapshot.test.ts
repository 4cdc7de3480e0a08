// Snapshots of a leader: taken in piece by piece, verified as a whole, made this node's own by a save.

import assert from 'node:assert/strict'
import test from 'node:test'
import { InvalidSnapshotError, StorageFullError } from '../../src/errors.ts'
import type { SnapshotFile } from '../../src/node/ports.ts'
import { MemoryDisk, systemError } from './memory-disk.ts'
import type { Encoded } from './storage-kit.ts'
import {
  encodeSnapshot,
  entries,
  hold,
  ids,
  isIoError,
  metadata,
  open,
  readLedger,
  readSnapshot,
  receive,
  snapshotHeader,
  until,
} from './storage-kit.ts'

const term2 = { currentTerm: 2, votedFor: null }

function snapshot(index: number, term = 2, cluster = 'orders'): Encoded {
  const ledger = [Buffer.from(`ledger at ${index}`)]
  return encodeSnapshot(snapshotHeader(index, term), [Buffer.from(`state at ${index}`)], cluster, ledger)
}

async function started() {
  const disk = new MemoryDisk()
  const opened = await open(disk.mount(), { segmentBytes: 65_536 })
  await opened.save(entries(1, 9, 1), term2)
  await until(() => disk.count('rename') === 3)
  const files = () => [...disk.files().keys()].filter((name) => name.includes('snapshot'))
  return { ...opened, disk, files }
}

test('it goes on where it was, until another one is begun', async () => {
  const { storage, files } = await started()
  const { file, bytes } = snapshot(20)
  const first = await storage.receiveSnapshot(file)
  assert.equal(first.sizeBytes, 0)
  await first.append(bytes.subarray(0, 50))
  assert.equal((await storage.receiveSnapshot({ ...file })).sizeBytes, 50)
  const other = await storage.receiveSnapshot(snapshot(30).file)
  assert.equal(other.sizeBytes, 0)
  assert.deepEqual(files(), [])
  await assert.rejects(first.append(bytes.subarray(50)), InvalidSnapshotError)
  await other.append(snapshot(30).bytes)
  assert.deepEqual(await other.finish(), snapshot(30).header)
  assert.equal((await storage.receiveSnapshot(snapshot(30).file)).sizeBytes, snapshot(30).bytes.length)
  assert.deepEqual(await other.finish(), snapshot(30).header, 'once more')
  assert.equal((await storage.receiveSnapshot(file)).sizeBytes, 0, 'the earlier one begins anew')
})

test('it becomes the newest with its state and its ledger, also over a restart', async () => {
  const { disk, storage, save } = await started()
  await receive(storage, snapshot(20))
  await save([], null, metadata(snapshot(20).header))
  for (const one of [storage, (await open(disk.mount())).storage]) {
    assert.deepEqual(await readSnapshot(one), { id: '2/20', body: 'state at 20' })
    assert.equal(await readLedger(one), 'ledger at 20')
  }
})

test('one of version 0.2, which keeps no ledger, is taken as it comes', async () => {
  const { storage, save } = await started()
  const old = encodeSnapshot(snapshotHeader(20, 2), [Buffer.from('state at 20')])
  await receive(storage, old)
  await save([], null, metadata(old.header))
  assert.deepEqual(await readSnapshot(storage), { id: '2/20', body: 'state at 20' })
  assert.equal(await readLedger(storage), '')
})

test('until a save names it, it is nothing, and a restart forgets it', async () => {
  const { disk, storage, save, files } = await started()
  await receive(storage, snapshot(20))
  assert.equal(storage.newestSnapshot, null)
  assert.equal(await storage.openSnapshot(), null)
  assert.equal((await storage.read(1, 9, 1e6)).length, 9)
  await save(entries(10, 10, 1))
  disk.killProcesses()
  const again = await open(disk.mount())
  assert.equal(again.storage.recovered.snapshot, null)
  assert.equal(again.storage.recovered.lastIndex, 10)
  assert.deepEqual(files(), [])
})

const { file: announced, bytes: good } = snapshot(20)
const lies: readonly [name: string, file: SnapshotFile, bytes: Uint8Array][] = [
  ['another index', { ...announced, lastIncluded: { index: 21, term: 2 } }, good],
  ['another term', { ...announced, lastIncluded: { index: 20, term: 1 } }, good],
  ['another checksum', { ...announced, checksum: announced.checksum ^ 1 }, good],
  ['fewer bytes', { ...announced, sizeBytes: good.length - 1 }, good.subarray(0, -1)],
  ['more bytes than came', { ...announced, sizeBytes: good.length + 1 }, Buffer.concat([good, Buffer.alloc(1)])],
  ['no bytes', { ...announced, sizeBytes: 0 }, Buffer.alloc(0)],
  ['a flipped bit', announced, good.map((byte, at) => (at === 60 ? byte ^ 1 : byte))],
  ['another cluster', snapshot(20, 2, 'invoices').file, snapshot(20, 2, 'invoices').bytes],
]
for (const [name, file, bytes] of lies) {
  test(`${name}: refused, and it begins anew`, async () => {
    const { storage, files, failures } = await started()
    const incoming = await storage.receiveSnapshot(file)
    await incoming.append(bytes)
    await assert.rejects(incoming.finish(), InvalidSnapshotError)
    assert.equal(incoming.sizeBytes, 0)
    assert.deepEqual(files(), [])
    await receive(storage, snapshot(20))
    assert.deepEqual(failures, [])
  })
}

test('more bytes than were announced: refused, and it begins anew', async () => {
  const { storage, files } = await started()
  const { file, bytes, header } = snapshot(20)
  const incoming = await storage.receiveSnapshot(file)
  await incoming.append(bytes)
  await assert.rejects(incoming.append(Buffer.alloc(1)), InvalidSnapshotError)
  assert.equal(incoming.sizeBytes, 0)
  assert.deepEqual(files(), [])
  await incoming.append(bytes)
  assert.deepEqual(await incoming.finish(), header)
})

test('what is verified is what the disk holds, not what came', async () => {
  const { disk, storage, files } = await started()
  const { file, bytes } = snapshot(20)
  const incoming = await storage.receiveSnapshot(file)
  await incoming.append(bytes)
  disk.put(files()[0] as string, Buffer.from(bytes).fill(0, 70, 71))
  await assert.rejects(incoming.finish(), InvalidSnapshotError)
})

for (const kind of ['open', 'write', 'sync'] as const) {
  test(`a disk that is full at ${kind}: told as that, nothing is left, and it can begin anew`, async () => {
    const { disk, storage, files, failures } = await started()
    await storage.receiveSnapshot(snapshot(20).file)
    disk.before = (operation) => {
      if (operation.kind === kind && operation.path.includes('received'))
        throw systemError('ENOSPC', 'no room', operation.path)
    }
    await assert.rejects(receive(storage, snapshot(20)), StorageFullError)
    assert.deepEqual(files(), [])
    disk.before = () => {}
    await receive(storage, snapshot(20))
    assert.deepEqual(failures, [])
  })

  test(`a disk that fails at ${kind}: the whole storage fails`, async () => {
    const { disk, storage, failures, save } = await started()
    disk.before = (operation) => {
      if (operation.kind === kind && operation.path.includes('received'))
        throw systemError('EIO', 'broken', operation.path)
    }
    await assert.rejects(receive(storage, snapshot(20)), isIoError)
    assert.equal(failures.length, 1)
    await assert.rejects(save(entries(10, 10, 1)), isIoError)
    await assert.rejects(storage.receiveSnapshot(snapshot(20).file), isIoError)
  })
}

test('what a save has named is kept though another one is received before it is done', async () => {
  const { disk, storage, save } = await started()
  await receive(storage, snapshot(20))
  const renames = hold(disk, ({ kind }) => kind === 'rename')
  const saving = save([], null, metadata(snapshot(20).header))
  await until(() => renames.held === 1)
  const next = await storage.receiveSnapshot(snapshot(30).file)
  await next.append(snapshot(30).bytes)
  disk.turn = async () => {}
  renames.release()
  await saving
  assert.deepEqual(await readSnapshot(storage), { id: '2/20', body: 'state at 20' })
  await next.finish()
  await save([], null, metadata(snapshot(30).header))
  assert.deepEqual(await readSnapshot(storage), { id: '2/30', body: 'state at 30' })
})

test('of two that are named before a write begins, only the later one is made use of', async () => {
  const { disk, storage, save, files } = await started()
  const syncs = hold(disk, ({ kind, path }) => kind === 'sync' && path.endsWith('.segment'))
  const inFlight = save(entries(10, 12, 1))
  await until(() => syncs.held === 1)
  const saves = [inFlight]
  for (const index of [20, 30]) {
    await receive(storage, snapshot(index))
    saves.push(save(entries(index + 1, index + 2, 2), null, metadata(snapshot(index).header)))
  }
  assert.deepEqual(ids(await storage.read(1, 40, 1e6)), [])
  disk.turn = async () => {}
  syncs.release()
  await Promise.all(saves)
  assert.deepEqual(ids(await storage.read(31, 40, 1e6)), ['2/31', '2/32'])
  assert.equal(files().length, 1)
  await storage.close()
  const { recovered } = (await open(disk.mount())).storage
  assert.deepEqual(recovered.base, { index: 30, term: 2 })
  assert.equal(recovered.lastIndex, 32)
})

test('a save never names what was not received, is not verified, or is another snapshot', async () => {
  const { save: saveNothing } = await started()
  assert.throws(() => saveNothing([], null, metadata(snapshot(20).header)), { code: 'ERR_ASSERTION' })
  for (const [index, isFinished] of [
    [20, false],
    [21, true],
  ] as const) {
    const { storage, save } = await started()
    const incoming = await storage.receiveSnapshot(snapshot(20).file)
    await incoming.append(snapshot(20).bytes)
    if (isFinished) await incoming.finish()
    assert.throws(() => save([], null, metadata(snapshot(index).header)), { code: 'ERR_ASSERTION' })
  }
})

test('closing ends what is being taken in, and leaves nothing of it', async () => {
  const { storage, files } = await started()
  const incoming = await storage.receiveSnapshot(snapshot(20).file)
  await incoming.append(good.subarray(0, 30))
  await storage.close()
  assert.deepEqual(files(), [])
  await assert.rejects(incoming.append(good), InvalidSnapshotError)
  await assert.rejects(storage.receiveSnapshot(snapshot(20).file), /closed/)
})
