// Bits that change on a disk under an open storage: no entry is served from them, and whoever reads them is told where they are and what to do.

import assert from 'node:assert/strict'
import test from 'node:test'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { recordSizeAt } from '../../src/storage/record.ts'
import { segmentName } from '../../src/storage/segment.ts'
import { MemoryDisk } from './memory-disk.ts'
import { directory, entries, hold, ids, open, until } from './storage-kit.ts'

const path = `${directory}/${segmentName(1)}`
const term1 = { currentTerm: 1, votedFor: 'n1' }

function isDamageAt(offset: number): (error: unknown) => boolean {
  return (error) => {
    assert(error instanceof FatalError, `${error}`)
    assert.equal(error.exitCode, exitCodes.dataError)
    const start = `Cannot use ${path}: damaged at offset ${offset}. `
    assert(error.message.startsWith(start), error.message)
    assert.match(error.message, /Restore the file from a copy .* or move the whole data directory away/)
    return true
  }
}

/** Entries 1 to 3 in one batch, 4 and 5 in one each, all in one segment; where their records begin, by index. */
async function written() {
  const machine = new MemoryDisk()
  const opened = await open(machine.mount())
  await opened.save(entries(1, 3, 1), term1)
  await opened.save(entries(4, 4, 1, 100))
  await opened.save(entries(5, 5, 1))
  const bytes = machine.files().get(path) as Buffer
  const offsets = new Map<number, number>()
  for (let batch = 32, index = 1; index <= 5; ) {
    let at = batch + 48
    for (const end = batch + 48 + bytes.readUInt32LE(batch + 28); end - at >= 40; at += recordSizeAt(bytes, at)) {
      offsets.set(index++, at)
    }
    batch += 48 + bytes.readUInt32LE(batch + 28)
  }
  return { ...opened, machine, bytes, offsets }
}

test('every bit of every record: no read that covers it is served, and every other one is', async () => {
  const { machine, storage, bytes, offsets } = await written()
  assert.equal(offsets.size, 5)
  for (const [index, offset] of offsets) {
    const end = offset + recordSizeAt(bytes, offset)
    for (let at = offset; at < end; at++) {
      for (let bit = 0; bit < 8; bit++) {
        machine.rot(path, at, bit)
        await assert.rejects(storage.read(index, index, 1), isDamageAt(offset))
        await assert.rejects(storage.read(1, 5, 1e6), isDamageAt(offset))
        if (index > 1) assert.equal((await storage.read(1, index - 1, 1e6)).length, index - 1)
        if (index < 5) assert.equal((await storage.read(index + 1, 5, 1e6)).length, 5 - index)
        machine.rot(path, at, bit)
      }
    }
  }
  assert.equal((await storage.read(1, 5, 1e6)).length, 5)
})

test('a read beside an append finds it, too, and the append is not served before its time', async () => {
  const { machine, storage, save, offsets } = await written()
  const at = (offsets.get(2) as number) + 50
  const syncs = hold(machine, ({ kind }) => kind === 'sync')
  const appending = save(entries(6, 7, 1))
  await until(() => syncs.held === 1)
  machine.rot(path, at, 3)
  await assert.rejects(storage.read(1, 7, 1e6), isDamageAt(offsets.get(2) as number))
  assert.deepEqual(ids(await storage.read(3, 7, 1e6)), ['1/3', '1/4', '1/5'])
  machine.turn = async () => {}
  syncs.release()
  await appending
  assert.deepEqual(ids(await storage.read(3, 7, 1e6)), ['1/3', '1/4', '1/5', '1/6', '1/7'])
})

test('a segment that became shorter or is gone is not served from', async () => {
  const { machine, storage, bytes, offsets } = await written()
  machine.put(path, bytes.subarray(0, (offsets.get(5) as number) + 45))
  await assert.rejects(storage.read(4, 5, 1e6), isDamageAt(offsets.get(5) as number))
  machine.put(path, bytes.subarray(0, (offsets.get(5) as number) + 3))
  await assert.rejects(storage.read(5, 5, 1e6), isDamageAt(offsets.get(5) as number))
  machine.take(path)
  await assert.rejects(storage.read(1, 5, 1e6), (error) => {
    return error instanceof FatalError && error.exitCode === exitCodes.ioError && error.message.includes('no such file')
  })
})
