// The reserve and the owner of "is there room": when the file is made, given up and made again.

import assert from 'node:assert/strict'
import test from 'node:test'
import { StorageFullError } from '../../src/errors.ts'
import { Space, type SpaceOptions } from '../../src/storage/space.ts'
import type { Operation } from './memory-disk.ts'
import { losesEverything, MemoryDisk, systemError } from './memory-disk.ts'
import { rest, untilInTime } from './pace.ts'
import { directory, entries, hold, ManualTime, open, turn, until } from './storage-kit.ts'

const KiB = 1024
const path = `${directory}/reserve`
const term1 = { currentTerm: 1, votedFor: 'n1' }

const isOfReserve = (operation: Operation) => operation.path.startsWith(path)

interface OpenedSpace {
  readonly space: Space
  readonly time: ManualTime
  /** Each change of `isFull`. */
  readonly changes: boolean[]
  readonly failures: unknown[]
  /** In the order in which they were set up. */
  readonly delays: number[]
}

async function openSpace(machine: MemoryDisk, overrides: Partial<SpaceOptions> = {}): Promise<OpenedSpace> {
  const time = new ManualTime()
  const changes: boolean[] = []
  const failures: unknown[] = []
  const delays: number[] = []
  const disk = machine.mount()
  await disk.makeDirectory(directory)
  const space = await Space.open({
    disk,
    directory,
    reserveBytes: 1000 * KiB,
    besideBytes: 100 * KiB,
    after: (delayMs, run) => {
      delays.push(delayMs)
      return time.after(delayMs, run)
    },
    onSpace: (isFull) => changes.push(isFull),
    onFailure: (error) => failures.push(error),
    ...overrides,
  })
  space.start()
  return { space, time, changes, failures, delays }
}

/** As if somebody else had written so much. */
function fill(machine: MemoryDisk, bytes: number): void {
  machine.put('/elsewhere/filler', Buffer.alloc(bytes))
}

const sizes = (machine: MemoryDisk) => [...machine.files()].map(([name, bytes]) => [name, bytes.length])

test('the reserve is made in chunks with pauses, truly allocated, and durable', async () => {
  const machine = new MemoryDisk()
  const filled: number[] = []
  machine.before = ({ kind, bytes }) => {
    if (kind === 'zeroFill') filled.push(bytes)
  }
  const { space, time, changes, delays } = await openSpace(machine)
  await untilInTime(time, () => machine.files().has(path))
  await rest(time)
  assert.deepEqual(filled, [256 * KiB, 256 * KiB, 256 * KiB, 232 * KiB])
  assert.deepEqual(delays, [10, 10, 10], 'and nobody looks again when it stands')
  assert.deepEqual(machine.files().get(path), Buffer.alloc(1000 * KiB))
  assert.equal(space.isFull, false)
  assert.deepEqual(changes, [])
  machine.failPower(losesEverything)
  assert.equal(machine.files().get(path)?.length, 1000 * KiB)
})

const leftBehind: readonly [name: string, sizeBytes: number, reserveBytes: number, isKept: boolean][] = [
  ['of the wanted size is kept', 500_000, 500_000, true],
  ['that is larger than wanted now is made anew', 500_000, 400_000, false],
  ['that is smaller than wanted now is made anew', 400_000, 500_000, false],
  ['that is not wanted any more is removed', 400_000, 0, false],
]
for (const [name, sizeBytes, reserveBytes, isKept] of leftBehind) {
  test(`a reserve ${name}, and what is left of an unfinished one goes`, async () => {
    const machine = new MemoryDisk()
    machine.put(path, Buffer.alloc(sizeBytes))
    machine.put(`${path}.tmp`, Buffer.alloc(77))
    const { time, space } = await openSpace(machine, { reserveBytes })
    assert(!machine.files().has(`${path}.tmp`))
    await rest(time)
    assert.deepEqual(sizes(machine), reserveBytes === 0 ? [] : [[path, reserveBytes]])
    assert.equal(machine.count('zeroFill') === 0, isKept || reserveBytes === 0)
    assert.equal(space.isFull, false)
    assert.equal(time.pending, 0)
  })
}

test('opening a storage, its saves and a roll-over do not wait for the reserve', async () => {
  const machine = new MemoryDisk()
  const held = hold(machine, (operation) => operation.kind === 'zeroFill' && isOfReserve(operation))
  const { save, storage, time } = await open(machine.mount(), { reserveBytes: 300 * KiB })
  await until(() => held.held === 1)
  await save(entries(1, 2, 1, 1500), term1)
  await save(entries(3, 4, 1, 1500))
  assert.equal(storage.isFull, false)
  machine.turn = async () => {}
  held.release()
  await untilInTime(time, () => machine.files().has(path))
})

test('a disk that has no room for the reserve is full from the start, until it has', async () => {
  const machine = new MemoryDisk()
  machine.capacityBytes = 1100 * KiB - 1
  const { space, time, changes } = await openSpace(machine)
  assert.equal(space.isFull, true)
  await rest(time)
  assert.deepEqual(changes, [])
  assert.equal(machine.count('zeroFill'), 0, 'nothing is written in vain')
  machine.capacityBytes++
  await untilInTime(time, () => !space.isFull)
  assert.deepEqual(sizes(machine), [[path, 1000 * KiB]])
  assert.deepEqual(changes, [false])
})

test('what has no room gets that of the reserve, which comes back when there is room for both', async () => {
  const machine = new MemoryDisk()
  machine.capacityBytes = 2000 * KiB
  const { space, time, changes } = await openSpace(machine)
  await untilInTime(time, () => machine.files().has(path))
  fill(machine, 700 * KiB)
  await space.noRoomFor(400 * KiB)
  assert.equal(space.isFull, true)
  assert.deepEqual([...machine.files().keys()], ['/elsewhere/filler'])
  machine.failPower(losesEverything)
  assert.deepEqual([...machine.files().keys()], ['/elsewhere/filler'], 'it is gone for good')
  assert.deepEqual(changes, [true])
})

test('the reserve stays away from what failed for want of room, until that says that it found some', async () => {
  const machine = new MemoryDisk()
  machine.capacityBytes = 2000 * KiB
  const { space, time, changes } = await openSpace(machine)
  await untilInTime(time, () => machine.files().has(path))
  fill(machine, 700 * KiB)
  await space.noRoomFor(400 * KiB)
  await rest(time)
  assert.equal(space.isFull, true, 'there is room for the reserve, but not for both')
  machine.put('/elsewhere/snapshot', Buffer.alloc(200 * KiB))
  space.freed()
  await untilInTime(time, () => !space.isFull)
  assert(machine.files().has(path))
  assert.deepEqual(changes, [true, false])
})

test('without a reserve the disk is full until there is room for what had none', async () => {
  const machine = new MemoryDisk()
  machine.capacityBytes = 1000 * KiB
  const { space, time, changes } = await openSpace(machine, { reserveBytes: 0 })
  fill(machine, 500 * KiB)
  await space.noRoomFor(501 * KiB)
  await rest(time)
  assert.deepEqual(changes, [true])
  fill(machine, 499 * KiB)
  await untilInTime(time, () => !space.isFull)
  assert.deepEqual(changes, [true, false])
  assert.equal(time.pending, 0)
})

test('a reserve that is being made gives way at once', async () => {
  const machine = new MemoryDisk()
  const held = hold(machine, ({ kind }) => kind === 'zeroFill')
  const { space } = await openSpace(machine)
  await until(() => held.held === 1)
  let hasRoom = false
  const room = space.noRoomFor(1).then(() => {
    hasRoom = true
  })
  await rest()
  assert.equal(hasRoom, false, 'what is being written still takes room')
  held.release()
  await room
  assert.deepEqual(sizes(machine), [])
  assert.equal(space.isFull, true)
})

test('a reserve that was finished in the moment in which its room was needed is given up, too', async () => {
  for (const kind of ['sync', 'rename', 'syncDirectory', 'close'] as const) {
    const machine = new MemoryDisk()
    machine.capacityBytes = 400 * KiB
    const { space, time } = await openSpace(machine, { reserveBytes: 250 * KiB })
    const held = hold(machine, (operation) => operation.kind === kind)
    await untilInTime(time, () => held.held === 1)
    const room = space.noRoomFor(200 * KiB)
    machine.turn = async () => {}
    held.release()
    await room
    assert.deepEqual(sizes(machine), [], kind)
    await rest(time)
    assert.equal(space.isFull, true, kind)
    assert.deepEqual(sizes(machine), [], kind)
  }
})

test('what must succeed is tried again at once, then every half second, and the reserve comes after it', async () => {
  const machine = new MemoryDisk()
  const { space, time, delays } = await openSpace(machine)
  await untilInTime(time, () => machine.files().has(path))
  delays.length = 0
  const full = systemError('EDQUOT', 'quota exceeded', '/x')
  let attempts = 0
  const done = space.retry(full, 10, async () => {
    attempts++
    assert(!machine.files().has(path), 'the reserve has gone before')
    await turn()
    if (attempts < 4) throw full
    return 'done'
  })
  await rest()
  assert.equal(attempts, 1)
  time.fire()
  await rest()
  assert.equal(attempts, 2)
  await untilInTime(time, () => attempts === 4)
  assert.equal(await done, 'done')
  assert.deepEqual(new Set(delays), new Set([500]))
  await untilInTime(time, () => !space.isFull)
  assert(machine.files().has(path))
})

test('the reserve does not take the room that something found none of while it was looked for', async () => {
  const machine = new MemoryDisk()
  const held = hold(machine, ({ kind }) => kind === 'freeBytes')
  const opening = openSpace(machine)
  await until(() => held.held === 1)
  held.release()
  const { space, time, changes } = await opening
  await until(() => held.held === 1)
  let finish: () => void = () => {}
  const trying = space.retry(systemError('ENOSPC', 'full', '/x'), 10, () => {
    return new Promise<void>((resolve) => {
      finish = resolve
    })
  })
  machine.turn = async () => {}
  held.release()
  await rest(time)
  assert.deepEqual(sizes(machine), [])
  finish()
  await trying
  await untilInTime(time, () => !space.isFull)
  assert.deepEqual(sizes(machine), [[path, 1000 * KiB]])
  assert.deepEqual(changes, [true, false])
})

test('another error than want of room ends the trying', async () => {
  const machine = new MemoryDisk()
  const { space, changes } = await openSpace(machine)
  const broken = systemError('EIO', 'broken', '/x')
  await assert.rejects(
    space.retry(broken, 10, () => assert.fail('it is not tried again')),
    broken,
  )
  assert.deepEqual(changes, [])
  const trying = space.retry(systemError('ENOSPC', 'full', '/x'), 10, () => Promise.reject(broken))
  await assert.rejects(trying, broken)
})

test('closing ends the trying, and the making of the reserve', async () => {
  const machine = new MemoryDisk()
  const { space, time } = await openSpace(machine)
  await until(() => machine.count('zeroFill') === 1)
  const full = systemError('ENOSPC', 'full', '/x')
  const trying = assert.rejects(
    space.retry(full, 10, () => Promise.reject(full)),
    StorageFullError,
  )
  await rest()
  await space.close()
  await trying
  await rest(time)
  assert.deepEqual(sizes(machine), [])
  assert.equal(time.pending, 0)
})

test('where the disk promises room that it has not, the reserve is tried less and less often', async () => {
  const machine = new MemoryDisk()
  machine.takes = ({ kind, bytes }) => (kind === 'zeroFill' ? bytes - 1 : bytes)
  const { space, time, delays } = await openSpace(machine)
  await untilInTime(time, () => delays.length === 9)
  assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000])
  assert.equal(space.isFull, true)
  machine.takes = ({ bytes }) => bytes
  space.freed()
  await untilInTime(time, () => !space.isFull)
  assert(machine.files().has(path))
})

test('a disk that fails otherwise while the reserve is made is told of', async () => {
  for (const kind of ['zeroFill', 'sync', 'rename', 'syncDirectory', 'freeBytes'] as const) {
    const machine = new MemoryDisk()
    machine.put(path, Buffer.alloc(1))
    const { space, failures, time } = await openSpace(machine, { reserveBytes: 1 })
    await space.noRoomFor(1)
    machine.before = (operation) => {
      if (operation.kind === kind) throw systemError('EIO', 'broken', operation.path)
    }
    await untilInTime(time, () => failures.length > 0)
    await space.close()
  }
})
