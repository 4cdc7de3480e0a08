import assert from 'node:assert/strict'
import test from 'node:test'
import { Cursor } from '../../src/storage/cursor.ts'
import { Metafile } from '../../src/storage/metafile.ts'
import type { SlotState } from '../../src/storage/slot-file.ts'
import { readSlotValue, SlotFile } from '../../src/storage/slot-file.ts'
import { losesEverything, losesNothing, losesSome, MemoryDisk, systemError } from './memory-disk.ts'
import { directory, founding, isDataError, isIoError, seeded } from './storage-kit.ts'

const format = { version: 1, slotBytes: 4096 }
const path = `${directory}/value`
const identity = {
  cluster: 'orders',
  nodeId: 'n1',
  incarnation: '0011223344556677',
  foundingConfiguration: founding,
  restoredFrom: null,
}

async function create(machine: MemoryDisk, value = 'first'): Promise<SlotFile> {
  const disk = machine.mount()
  await disk.makeDirectory(directory)
  return SlotFile.create(disk, directory, 'value', format, Buffer.from(value))
}

function reopen(machine: MemoryDisk, expected = format): Promise<SlotFile> {
  return SlotFile.open(machine.mount(), directory, 'value', expected)
}

function slot(machine: MemoryDisk, number: 0 | 1): Buffer {
  return (machine.files().get(path) as Buffer).subarray(number * 4096, (number + 1) * 4096)
}

function putSlots(machine: MemoryDisk, zero: Buffer, one: Buffer): void {
  machine.put(path, Buffer.concat([zero, one]))
}

test('four writes alternate between the slots, and the newest wins', async () => {
  const machine = new MemoryDisk()
  let file = await create(machine)
  const positions: number[] = []
  for (const value of ['a', 'b', 'c', 'd']) {
    machine.before = ({ kind, position }) => {
      if (kind === 'write') positions.push(position)
    }
    await file.write(Buffer.from(value))
    machine.before = () => {}
    assert.equal(file.value.toString(), value)
  }
  assert.deepEqual(positions, [0, 4096, 0, 4096])
  machine.failPower(losesEverything)
  file = await reopen(machine)
  assert.equal(file.value.toString(), 'd')
})

test('whatever tears while it is opened, doubled and written, the newest value stands', async () => {
  for (let seed = 1; seed <= 100; seed++) {
    const machine = new MemoryDisk()
    const random = seeded(seed)
    const first = await create(machine, 'x'.repeat(2000))
    await first.write(Buffer.from('y'.repeat(2000)))
    for (let crash = 0; crash < 4; crash++) {
      machine.failPower(losesSome(random))
      let operations = Math.floor(random() * 8)
      machine.before = () => {
        if (operations-- === 0) machine.halt()
      }
      await reopen(machine).catch(() => {})
      machine.before = () => {}
    }
    machine.failPower(losesSome(random))
    assert.equal((await reopen(machine)).value.toString(), 'y'.repeat(2000), `seed ${seed}`)
  }
})

test('a torn write leaves the older value, a torn or short slot is ignored', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const machine = new MemoryDisk()
    const file = await create(machine, 'x'.repeat(3000))
    machine.turn = ({ kind }) => (kind === 'sync' ? new Promise(() => {}) : Promise.resolve())
    void file.write(Buffer.from('y'.repeat(3000)))
    machine.failPower(losesSome(seeded(seed)))
    machine.turn = async () => {}
    assert.match((await reopen(machine)).value.toString(), /^(x{3000}|y{3000})$/)
  }
  const machine = new MemoryDisk()
  await (await create(machine)).write(Buffer.from('second'))
  const whole = machine.files().get(path) as Buffer
  machine.put(path, whole.subarray(0, 4096 + 20))
  assert.match((await reopen(machine)).value.toString(), /first|second/)
})

test('a value read from the page cache of a process that died is certain once it was read', async () => {
  const machine = new MemoryDisk()
  const file = await create(machine)
  machine.before = ({ kind }) => {
    if (kind === 'sync') throw systemError('EIO', 'broken', path)
  }
  await assert.rejects(file.write(Buffer.from('second')))
  machine.before = () => {}
  machine.killProcesses()
  assert.equal((await reopen(machine)).value.toString(), 'second')
  machine.failPower(losesEverything)
  assert.equal((await reopen(machine)).value.toString(), 'second')
})

test('once both slots hold the value, damage to either one brings back nothing older', async () => {
  const machine = new MemoryDisk()
  const file = await create(machine)
  await file.write(Buffer.from('second'))
  await file.double()
  for (const number of [0, 1] as const) {
    const damaged = machine.files().get(path) as Buffer
    damaged.fill(0x55, number * 4096, number * 4096 + 30)
    const copy = MemoryDisk.holding(new Map([[path, damaged]]))
    assert.equal((await reopen(copy)).value.toString(), 'second')
    // And it is in both again.
    assert.equal(slot(copy, 0).includes('second') && slot(copy, 1).includes('second'), true)
  }
})

const refusals: readonly [name: string, damage: (machine: MemoryDisk) => void][] = [
  ['both slots bad', (machine) => putSlots(machine, Buffer.alloc(4096, 1), Buffer.alloc(4096, 2))],
  ['an empty file', (machine) => machine.put(path, Buffer.alloc(0))],
  ['two slots of one version', (machine) => putSlots(machine, slot(machine, 0), slot(machine, 0))],
]
for (const [name, damage] of refusals) {
  test(`${name}: refused`, async () => {
    const machine = new MemoryDisk()
    await create(machine)
    damage(machine)
    await assert.rejects(reopen(machine), isDataError)
  })
}

test('another format version is refused', async () => {
  const machine = new MemoryDisk()
  await create(machine)
  await assert.rejects(reopen(machine, { ...format, version: 2 }), isDataError)
})

test('the metafile keeps identity, term and vote', async () => {
  const machine = new MemoryDisk()
  const disk = machine.mount()
  await disk.makeDirectory(directory)
  const metafile = await Metafile.create(disk, directory, identity)
  await metafile.save({ currentTerm: 3, votedFor: null })
  await metafile.save({ currentTerm: 3, votedFor: 'n2' })
  machine.failPower(losesEverything)
  const again = await Metafile.open(machine.mount(), directory)
  assert.deepEqual(again.hardState, { currentTerm: 3, votedFor: 'n2' })
  assert.deepEqual(again.identity, identity)
})

test('a term never goes back, and a vote never goes to another', async () => {
  const disk = new MemoryDisk().mount()
  await disk.makeDirectory(directory)
  const metafile = await Metafile.create(disk, directory, identity)
  await metafile.save({ currentTerm: 3, votedFor: 'n2' })
  for (const broken of [
    { currentTerm: 2, votedFor: 'n2' },
    { currentTerm: 3, votedFor: 'n1' },
    { currentTerm: 3, votedFor: null },
  ]) {
    await assert.rejects(metafile.save(broken), { code: 'ERR_ASSERTION' })
  }
})

test('the cursor begins at 0, keeps what was saved, and saves in order', async () => {
  const machine = new MemoryDisk()
  const disk = machine.mount()
  await disk.makeDirectory(directory)
  const cursor = await Cursor.open(disk, directory)
  assert.equal(cursor.load(), 0)
  await Promise.all([cursor.save(5), cursor.save(2 ** 40), cursor.save(9)])
  assert.equal(cursor.load(), 9)
  machine.failPower(losesEverything)
  assert.equal((await Cursor.open(machine.mount(), directory)).load(), 9)
})

test('after a failed save of the cursor every later one fails, too', async () => {
  const machine = new MemoryDisk()
  const disk = machine.mount()
  await disk.makeDirectory(directory)
  const cursor = await Cursor.open(disk, directory)
  machine.before = ({ kind }) => {
    if (kind === 'write') throw systemError('EIO', 'broken', directory)
  }
  await assert.rejects(cursor.save(5), isIoError)
  machine.before = () => {}
  await assert.rejects(cursor.save(6), isIoError)
  await cursor.close()
  machine.failPower(losesNothing)
  assert.equal((await Cursor.open(machine.mount(), directory)).load(), 0)
})

test('reading alone finds what opening would, tells what is in each slot, and changes nothing', async () => {
  const machine = new MemoryDisk()
  const file = await create(machine)
  await file.write(Buffer.from('second'))
  await file.close()
  const [zero, one] = [slot(machine, 0), slot(machine, 1)]
  const torn = Buffer.concat([one.subarray(0, 20), Buffer.alloc(4076)])
  const rotten = Buffer.from(one).fill(7, 26, 27)
  const version = (n: number) => ({ version: n })
  const unwritten = { problem: 'It is torn, short or was never written.' }
  const unfit = { problem: 'It does not fit its checksum.' }
  const cases: readonly [Buffer, Buffer, readonly SlotState[], value: string | null][] = [
    [zero, one, [version(3), version(2)], 'second'],
    [zero, torn, [version(3), unfit], 'second'],
    [Buffer.alloc(4096), one, [unwritten, version(2)], 'first'],
    [rotten, torn, [unfit, unfit], null],
    [one, one, [version(2), version(2)], null],
  ]
  for (const [a, b, states, value] of cases) {
    putSlots(machine, a, b)
    const before = machine.files()
    let told: readonly SlotState[] = []
    const read = readSlotValue(machine.mount(), path, format, (slots) => {
      told = slots
    })
    if (value === null) await assert.rejects(read, isDataError)
    else assert.equal((await read).toString(), value)
    assert.deepEqual(told, states)
    assert.deepEqual(machine.files(), before)
    if (value === null) await assert.rejects(reopen(machine), isDataError)
    else assert.equal((await reopen(machine)).value.toString(), value)
  }
})

test('a metafile keeps what the cluster was restored from, and one from before there were backups says nothing', async () => {
  const machine = new MemoryDisk()
  const disk = machine.mount()
  await disk.makeDirectory(directory)
  const restoredFrom = { lastIncluded: { index: 40, term: 7 }, sizeBytes: 1234, checksum: 99 }
  await (await Metafile.create(disk, directory, { ...identity, restoredFrom }, 7)).close()
  const restored = await Metafile.open(disk, directory)
  assert.deepEqual(restored.identity, { ...identity, restoredFrom })
  assert.deepEqual(restored.hardState, { currentTerm: 7, votedFor: null })
  await restored.close()

  const { restoredFrom: _, ...older } = { ...identity, currentTerm: 3, votedFor: 'n2' }
  await disk.remove(`${directory}/metafile`)
  const large = { version: 1, slotBytes: 4 * 4096 }
  await (await SlotFile.create(disk, directory, 'metafile', large, Buffer.from(JSON.stringify(older)))).close()
  assert.deepEqual((await Metafile.open(disk, directory)).identity, identity)
})
