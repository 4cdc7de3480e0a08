import assert from 'node:assert/strict'
import test from 'node:test'
import { StorageFullError } from '../../src/errors.ts'
import type { Standing } from '../../src/node/ports.ts'
import { AcquaintanceFile, acquaintancesName } from '../../src/storage/acquaintances.ts'
import { SlotFile } from '../../src/storage/slot-file.ts'
import { losesEverything, losesNothing, MemoryDisk, systemError } from './memory-disk.ts'
import { directory, isDataError, isIoError } from './storage-kit.ts'

const n2: Standing = {
  incarnation: '00112233aabbccdd',
  run: { number: 4, id: '8899aabbccddeeff', former: [] },
  currentTerm: 3,
  lastIndex: 17,
}
const n3: Standing = {
  incarnation: 'ffeeddcc00112233',
  run: { number: Number.MAX_SAFE_INTEGER, id: '7766554433221100', former: [] },
  currentTerm: Number.MAX_SAFE_INTEGER,
  lastIndex: 2 ** 48,
}

async function machineWithDirectory(): Promise<MemoryDisk> {
  const machine = new MemoryDisk()
  await machine.mount().makeDirectory(directory)
  return machine
}

function open(machine: MemoryDisk): Promise<AcquaintanceFile> {
  return AcquaintanceFile.open(machine.mount(), directory)
}

test('nobody is known at first; what was saved is known over a loss of power, in its order', async () => {
  const machine = await machineWithDirectory()
  const file = await open(machine)
  assert.deepEqual(file.load(), new Map())
  await file.save(new Map([['n2', n2]]))
  const both = new Map([
    ['n3', n3],
    ['n2', n2],
  ])
  await file.save(both)
  assert.deepEqual(file.load(), both)
  machine.failPower(losesEverything)
  const again = await open(machine)
  assert.deepEqual([...again.load()], [...both])
})

test('of a run, the number and the id are known again, and not those before it', async () => {
  const machine = await machineWithDirectory()
  const file = await open(machine)
  await file.save(new Map([['n2', { ...n2, run: { ...n2.run, former: ['a', 'b'] } }]]))
  await file.close()
  assert.deepEqual((await open(machine)).load().get('n2'), n2)
})

test('saves follow each other, and each takes what it was given', async () => {
  const machine = await machineWithDirectory()
  const file = await open(machine)
  const standings = new Map([['n2', n2]])
  const first = file.save(standings)
  standings.set('n3', n3)
  const second = file.save(standings)
  standings.clear()
  await first
  await second
  await file.close()
  machine.failPower(losesEverything)
  assert.deepEqual([...(await open(machine)).load().keys()], ['n2', 'n3'])
})

test('as many as a node remembers find room, whatever they are called', async () => {
  const machine = await machineWithDirectory()
  const file = await open(machine)
  const many = new Map<string, Standing>()
  const widest = '\u0001'.repeat(64)
  for (let i = 0; i < 64; i++)
    many.set(String(i).padStart(64, '\u0001'), {
      ...n3,
      incarnation: widest,
      run: { ...n3.run, id: widest },
      lastIndex: i,
    })
  await file.save(many)
  machine.failPower(losesEverything)
  assert.deepEqual((await open(machine)).load(), many)
})

test('a save that tears leaves what was known before it', async () => {
  const machine = await machineWithDirectory()
  const file = await open(machine)
  await file.save(new Map([['n2', n2]]))
  machine.turn = ({ kind }) => (kind === 'sync' ? new Promise(() => {}) : Promise.resolve())
  void file.save(new Map([['n3', n3]]))
  await new Promise((resolve) => setImmediate(resolve))
  machine.failPower(losesEverything)
  machine.turn = async () => {}
  assert.deepEqual((await open(machine)).load(), new Map([['n2', n2]]))
})

test('after a failed save every later one fails, too, and nothing of it is believed', async () => {
  const machine = await machineWithDirectory()
  const file = await open(machine)
  machine.before = ({ kind }) => {
    if (kind === 'write') throw systemError('EIO', 'broken', directory)
  }
  await assert.rejects(file.save(new Map([['n2', n2]])), isIoError)
  machine.before = () => {}
  await assert.rejects(file.save(new Map([['n3', n3]])), isIoError)
  assert.deepEqual(file.load(), new Map())
  await file.close()
  machine.failPower(losesNothing)
  assert.deepEqual((await open(machine)).load(), new Map())
})

test('a save that has no room may be made again, and what stood before it stands', async () => {
  const machine = await machineWithDirectory()
  const file = await open(machine)
  await file.save(new Map([['n2', n2]]))
  machine.takes = ({ kind, bytes }) => (kind === 'write' ? Math.min(bytes, 30) : bytes)
  await assert.rejects(file.save(new Map([['n3', n3]])), StorageFullError)
  await assert.rejects(file.save(new Map([['n3', n3]])), StorageFullError)
  assert.deepEqual((await open(MemoryDisk.holding(machine.files()))).load(), new Map([['n2', n2]]))
  machine.takes = ({ bytes }) => bytes
  await file.save(new Map([['n3', n3]]))
  machine.failPower(losesEverything)
  assert.deepEqual((await open(machine)).load(), new Map([['n3', n3]]))
})

test('a sync that finds no room is the end: what is on the disk is not known', async () => {
  const machine = await machineWithDirectory()
  const file = await open(machine)
  machine.before = ({ kind }) => {
    if (kind === 'sync') throw systemError('ENOSPC', 'no space left', directory)
  }
  await assert.rejects(file.save(new Map([['n2', n2]])), isIoError)
  machine.before = () => {}
  await assert.rejects(file.save(new Map([['n3', n3]])), isIoError)
})

test('a disk that fails while the file is opened is a failure of the disk', async () => {
  const machine = await machineWithDirectory()
  machine.before = ({ kind }) => {
    if (kind === 'sync') throw systemError('EIO', 'broken', directory)
  }
  await assert.rejects(open(machine), isIoError)
})

const foreign: readonly (readonly [name: string, value: string])[] = [
  ['no JSON', 'n2'],
  ['an object', '{}'],
  ['rows that are none', '[1]'],
  ['a row without an id', JSON.stringify([n2])],
  ['a row with a term that is no number', JSON.stringify([{ id: 'n2', ...n2, currentTerm: '3' }])],
  ['a row without an index', JSON.stringify([{ id: 'n2', incarnation: 'x', run: n2.run, currentTerm: 3 }])],
  ['a row without a run', JSON.stringify([{ id: 'n2', incarnation: 'x', currentTerm: 3, lastIndex: 1 }])],
  ['a row with a run that is none', JSON.stringify([{ id: 'n2', ...n2, run: { number: 1 } }])],
]
for (const [name, value] of foreign) {
  test(`a file of another program that holds ${name} is refused`, async () => {
    const machine = await machineWithDirectory()
    const format = { version: 1, slotBytes: 24 * 4096 }
    const slots = await SlotFile.create(machine.mount(), directory, acquaintancesName, format, Buffer.from(value))
    await slots.close()
    await assert.rejects(open(machine), isDataError)
  })
}

test('a file of which both slots are damaged is refused', async () => {
  const machine = await machineWithDirectory()
  await (await open(machine)).close()
  machine.put(`${directory}/${acquaintancesName}`, Buffer.alloc(48 * 4096, 1))
  await assert.rejects(open(machine), isDataError)
})
