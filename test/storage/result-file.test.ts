// What commands answered, over restarts: as good as the page cache is. Whatever the disk does, nothing fails, nothing waits, and nothing is
// found that was not put there.

import assert from 'node:assert/strict'
import test from 'node:test'
import type { KeptResult } from '../../src/node/ports.ts'
import type { Disk } from '../../src/storage/disk.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { oneAtATime } from '../../src/storage/one-at-a-time.ts'
import type { ResultDamage, ResultFileOptions } from '../../src/storage/result-file.ts'
import { ResultFile } from '../../src/storage/result-file.ts'
import { resultsName } from '../../src/storage/result-record.ts'
import type { OperationKind } from './memory-disk.ts'
import { losesEverything, losesNothing, losesSome, MemoryDisk, systemError } from './memory-disk.ts'
import { directory, hold, seeded, temporaryDirectory, turn, until } from './storage-kit.ts'

const identity = { cluster: 'orders', incarnation: '00112233aabbccdd' }
const path = (number: number) => `${directory}/${resultsName(number)}`

async function machineWithDirectory(): Promise<MemoryDisk> {
  const machine = new MemoryDisk()
  await machine.mount().makeDirectory(directory)
  return machine
}

interface Opened {
  readonly results: ResultFile
  readonly damages: ResultDamage[]
  readonly losses: string[]
}

async function openOn(disk: Disk, where: string, overrides: Partial<ResultFileOptions> = {}): Promise<Opened> {
  const damages: ResultDamage[] = []
  const losses: string[] = []
  const results = await ResultFile.open(oneAtATime(disk), where, {
    identity,
    onDamage: (damage) => damages.push(damage),
    onLost: (reason) => losses.push(reason),
    isFull: () => false,
    ...overrides,
  })
  return { results, damages, losses }
}

function open(machine: MemoryDisk, overrides: Partial<ResultFileOptions> = {}): Promise<Opened> {
  return openOn(machine.mount(), directory, overrides)
}

/** Of so many bytes of text. */
function result(index: number, bytes = 20): KeptResult {
  return { index, resultJson: JSON.stringify(`${index} `.padEnd(bytes - 2, '.')) }
}

function list(from: number, through: number, bytes?: number): KeptResult[] {
  return Array.from({ length: through - from + 1 }, (_, at) => result(from + at, bytes))
}

/** What a process would find that starts now. */
async function found(machine: MemoryDisk): Promise<readonly KeptResult[]> {
  const { results, damages } = await open(MemoryDisk.holding(machine.files()))
  assert.deepEqual(damages, [])
  return results.load()
}

function files(machine: MemoryDisk): string[] {
  return [...machine.files().keys()].filter((name) => name.endsWith('.results')).sort()
}

function indexes(results: readonly KeptResult[]): number[] {
  return results.map(({ index }) => index)
}

async function settled(): Promise<void> {
  for (let turns = 0; turns < 50; turns++) await turn()
}

for (const [name, makeDisk] of [
  ['memory', async () => ({ disk: (await machineWithDirectory()).mount(), where: directory })],
  ['the real disk', async (t: test.TestContext) => ({ disk: nodeDisk, where: await temporaryDirectory(t) })],
] as const) {
  test(`on ${name}: what was appended is there after each restart, in its order`, async (t) => {
    const { disk, where } = await makeDisk(t)
    const appended: KeptResult[] = []
    for (let restart = 0; restart < 3; restart++) {
      const { results, damages, losses } = await openOn(disk, where)
      assert.deepEqual(results.load(), appended)
      const more = [
        ...list(restart * 10 + 1, restart * 10 + 9),
        { index: 5, resultJson: `{"again":${restart}}` },
        { index: 6, resultJson: '"ä€🙂"' },
      ]
      results.append(more.slice(0, 3))
      results.append([])
      results.append(more.slice(3))
      appended.push(...more)
      await results.close()
      assert.deepEqual([damages, losses], [[], []])
    }
    assert.deepEqual(await disk.list(where), [resultsName(1)], 'each process goes on where the one before ended')
  })
}

test('nothing is made before there is something to keep, and what was found is handed over once', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  assert.deepEqual(results.load(), [])
  assert.throws(() => results.load(), { code: 'ERR_ASSERTION' })
  results.forget(100)
  await results.close()
  assert.deepEqual(files(machine), [])
})

test('what was appended survives the death of the process without being waited for', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  results.append(list(1, 3))
  await settled()
  results.append(list(4, 6))
  await settled()
  machine.killProcesses()
  const again = await open(machine)
  assert.deepEqual(again.results.load(), list(1, 6))
})

test('what arrives during a write goes into the next one', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  const opens = hold(machine, ({ kind }) => kind === 'open')
  for (let index = 1; index <= 100; index++) results.append([result(index)])
  await until(() => opens.held === 1)
  const before = machine.count('write')
  opens.release()
  await results.close()
  // The header and the first, which began it; then all others.
  assert(machine.count('write') - before <= 3, `${machine.count('write') - before} writes`)
  assert.deepEqual(await found(machine), list(1, 100))
})

test('little is written at once, and little of it is left to a sync', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  let largest = 0
  let unsynced = 0
  let mostUnsynced = 0
  machine.before = ({ kind, bytes }) => {
    if (kind === 'sync') unsynced = 0
    if (kind !== 'write') return
    largest = Math.max(largest, bytes)
    unsynced += bytes
    mostUnsynced = Math.max(mostUnsynced, unsynced)
  }
  results.append(list(1, 1000, 4096))
  await results.close()
  assert(largest <= 256 * 1024, `${largest} at once`)
  assert(mostUnsynced < 1.5 * 1024 * 1024, `${mostUnsynced} before a sync`)
  assert.deepEqual(await found(machine), list(1, 1000, 4096))
})

// What is given up.

test('what a snapshot holds is given up with the files that hold nothing else', async () => {
  const machine = await machineWithDirectory()
  const { results, losses } = await open(machine)
  results.append(list(1, 50))
  await settled()
  results.forget(30)
  await settled()
  // The first file holds more than that, so it is kept; nothing is added to it any more.
  results.append(list(51, 80))
  await settled()
  assert.deepEqual(files(machine), [path(1), path(2)])
  assert.deepEqual(await found(machine), list(1, 80))
  results.forget(60)
  await settled()
  assert.deepEqual(await found(machine), list(51, 80))
  results.append(list(81, 90))
  results.forget(90)
  await settled()
  results.append(list(91, 95))
  await results.close()
  assert.deepEqual(await found(machine), list(91, 95))
  assert.deepEqual(losses, [])
})

test('snapshots that follow each other closely give up nothing that they do not hold', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  for (let index = 1; index <= 300; index++) {
    results.append([result(index)])
    // The application is 50 commands ahead of the snapshot.
    if (index > 50) results.forget(index - 50)
    await turn()
    await settled()
    assert(files(machine).length <= 3, `${files(machine)}`)
  }
  results.forget(3)
  results.forget(250)
  await results.close()
  const kept = indexes(await found(machine))
  for (let index = 251; index <= 300; index++) assert(kept.includes(index), `${index} was given up`)
  assert(kept[0] !== undefined && kept[0] > 150, `${kept[0]} is kept yet`)
})

test('what is given up after a restart is what the files hold, not when they were written', async () => {
  const machine = await machineWithDirectory()
  const first = await open(machine, { fileBytes: 600 })
  for (let index = 1; index <= 40; index++) {
    first.results.append([result(index)])
    await settled()
  }
  await first.results.close()
  assert.equal(files(machine).length, 3)
  const { results } = await open(machine, { fileBytes: 600 })
  const kept = indexes(results.load())
  assert.deepEqual(kept, indexes(list(1, 40)))
  results.forget(30)
  await results.close()
  const left = indexes(await found(machine))
  assert.deepEqual(left, kept.slice(-left.length))
  assert(left.length >= 10 && left.length < 30, `${left.length} are left`)
})

test('without any snapshot the disk use is bounded all the same, and the newest are kept', async () => {
  const machine = await machineWithDirectory()
  const fileBytes = 2000
  let most = 0
  machine.before = () => {
    most = Math.max(
      most,
      files(machine).reduce((sum, name) => sum + (machine.files().get(name)?.length ?? 0), 0),
    )
  }
  for (let restart = 0; restart < 3; restart++) {
    const { results, losses } = await open(machine, { fileBytes })
    for (let index = 200 * restart + 1; index <= 200 * restart + 200; index++) {
      results.append([result(index)])
      if (index % 7 === 0) await settled()
    }
    await results.close()
    assert.deepEqual(losses, [])
  }
  assert(most <= 4 * fileBytes, `${most} bytes`)
  const kept = indexes(await found(machine))
  assert.deepEqual(kept, indexes(list(601 - kept.length, 600)))
  assert(kept.length > 3 * (fileBytes / 40), `${kept.length} were kept`)
})

test('more files than there should be are not read: the newest count, and the others go', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  results.append(list(1, 2))
  await results.close()
  const bytes = machine.files().get(path(1)) as Buffer
  for (let number = 2; number <= 9; number++) machine.put(path(number), bytes)
  const again = await open(machine)
  assert.equal(again.results.load().length, 4 * 2)
  again.results.append(list(3, 4))
  await again.results.close()
  assert.deepEqual(files(machine), [6, 7, 8, 9].map(path))
  assert.deepEqual(indexes(await found(machine)).slice(-4), [1, 2, 3, 4])
})

test('of a file that is longer than any should be, no more than that is read into memory', async () => {
  const machine = await machineWithDirectory()
  const first = await open(machine)
  first.results.append(list(1, 1000))
  await first.results.close()
  const bytes = 32 + 34 * 1000
  let read = 0
  machine.before = (operation) => {
    if (operation.kind === 'read') read += operation.bytes
  }
  const fileBytes = 32 + 34 * 100
  const { results, damages } = await open(machine, { fileBytes })
  assert.deepEqual(results.load(), list(1, 100))
  assert.equal(read, fileBytes)
  const problem = 'It is longer than this program makes any.'
  assert.deepEqual(damages, [{ file: path(1), offset: fileBytes, bytes: bytes - fileBytes, problem }])
})

// What is damaged.

test('behind damage nothing is taken, it is told once, and the other files are taken as they are', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  results.append(list(1, 5))
  await settled()
  results.forget(1)
  results.append(list(6, 9))
  await results.close()
  const intact = machine.files()
  const bytes = intact.get(path(1)) as Buffer
  for (let at = 0; at < bytes.length; at++) {
    const flipped = Buffer.from(bytes)
    flipped[at] = (flipped[at] as number) ^ (1 << (at % 8))
    const damaged = MemoryDisk.holding(new Map(intact).set(path(1), flipped))
    const { results: again, damages, losses } = await open(damaged)
    const good = Math.max(Math.floor((at - 32) / 34), 0)
    assert.deepEqual(again.load(), [...list(1, good), ...list(6, 9)], `byte ${at}`)
    assert.equal(damages.length, 1)
    const { file, offset, bytes: lost, problem } = damages[0] as ResultDamage
    assert.deepEqual([file, offset, lost], [path(1), at < 32 ? 0 : 32 + 34 * good, bytes.length - offset])
    assert.match(problem, /\.$/)
    again.append(list(10, 12))
    await again.close()
    assert.deepEqual(losses, [])
    const { results: last } = await open(damaged)
    assert.deepEqual(indexes(last.load()).slice(-7), [6, 7, 8, 9, 10, 11, 12], `byte ${at}`)
  }
})

test('a torn tail is dropped and never written over: what comes next goes into a file of its own', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  results.append(list(1, 5))
  await results.close()
  const bytes = machine.files().get(path(1)) as Buffer
  machine.put(path(1), bytes.subarray(0, -7))
  const { results: again, damages } = await open(machine)
  assert.deepEqual(again.load(), list(1, 4))
  assert.deepEqual(damages, [
    { file: path(1), offset: 32 + 4 * 34, bytes: 27, problem: 'The file ends before what begins here does.' },
  ])
  again.append([result(5), result(6)])
  await again.close()
  assert.deepEqual(files(machine), [path(1), path(2)])
  assert.deepEqual(machine.files().get(path(1)), bytes.subarray(0, -7))
  const { results: last } = await open(machine)
  assert.deepEqual(last.load(), list(1, 6))
})

for (const [name, other] of [
  ['another cluster', { ...identity, cluster: 'invoices' }],
  ['a node that was here before', { ...identity, incarnation: 'ffeeddccbbaa9988' }],
] as const) {
  test(`what ${name} answered is not taken for this one's, is told, and goes`, async () => {
    const machine = await machineWithDirectory()
    const foreign = await open(machine, { identity: other })
    foreign.results.append(list(1, 5))
    await foreign.results.close()
    const { results, damages } = await open(machine)
    assert.deepEqual(results.load(), [])
    assert.match(damages[0]?.problem ?? '', /another data directory/)
    await settled()
    assert.deepEqual(files(machine), [])
    results.append(list(3, 4))
    await results.close()
    assert.deepEqual(await found(machine), list(3, 4))
  })
}

test('a file that holds nothing, or something else, is told and goes', async () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('text'), Buffer.alloc(4096)]) {
    const machine = await machineWithDirectory()
    machine.put(path(3), bytes)
    const { results, damages } = await open(machine)
    assert.deepEqual(results.load(), [])
    assert.deepEqual([damages.length, damages[0]?.bytes], [1, bytes.length])
    results.append(list(1, 2))
    await results.close()
    assert.deepEqual(files(machine), [path(4)])
    assert.deepEqual(await found(machine), list(1, 2))
  }
})

test('names that only look like it are left alone', async () => {
  const machine = await machineWithDirectory()
  const others = ['results', '1.results', '0000000001.results.bak', 'metafile'].map((name) => `${directory}/${name}`)
  for (const other of others) machine.put(other, Buffer.from('?'))
  const { results, damages } = await open(machine)
  results.append(list(1, 2))
  results.forget(10)
  await results.close()
  assert.deepEqual(damages, [])
  for (const other of others) assert(machine.files().has(other), other)
})

for (const kind of ['list', 'open', 'size', 'read', 'close'] as const) {
  test(`a disk that fails at ${kind} while they are read: told, and it goes on without`, async () => {
    const machine = await machineWithDirectory()
    const first = await open(machine)
    first.results.append(list(1, 5))
    await first.results.close()
    machine.before = (operation) => {
      if (operation.kind === kind) throw systemError('EIO', 'broken', operation.path)
    }
    const { results, damages, losses } = await open(machine)
    assert.deepEqual(results.load(), [])
    assert.equal(damages.length, 1)
    assert.match(damages[0]?.problem ?? '', /EIO/)
    machine.before = () => {}
    results.append(list(6, 7))
    await results.close()
    assert.deepEqual(losses, [])
    assert.deepEqual((await found(machine)).slice(-2), list(6, 7))
  })
}

// What cannot be written.

const faults: readonly (readonly [kind: OperationKind, code: string])[] = [
  ['open', 'ENOSPC'],
  ['open', 'EMFILE'],
  ['write', 'ENOSPC'],
  ['write', 'EDQUOT'],
  ['write', 'EIO'],
  ['sync', 'EIO'],
  ['sync', 'ENOSPC'],
]
for (const [kind, code] of faults) {
  test(`${code} at ${kind}: what has no place is lost and told once, what was there stays, and it goes on afterwards`, async () => {
    const machine = await machineWithDirectory()
    const { results, losses } = await open(machine)
    results.append(list(1, 5))
    await settled()
    results.forget(1)
    await settled()
    machine.before = (operation) => {
      if (operation.kind === kind) throw systemError(code, 'no', operation.path)
    }
    // Larger than what is left unsynced.
    for (let times = 0; times < 5; times++) {
      results.append(list(100, 101, 1_100_000))
      await settled()
    }
    assert.equal(losses.length, 1)
    assert.match(losses[0] ?? '', new RegExp(code))
    machine.before = () => {}
    results.append(list(6, 9))
    await settled()
    assert.deepEqual(await found(machine), [...list(1, 5), ...list(6, 9)])
    // From the next snapshot on, a loss is news again.
    results.forget(6)
    machine.before = (operation) => {
      if (operation.kind === kind) throw systemError(code, 'no', operation.path)
    }
    results.append(list(102, 103, 1_100_000))
    await settled()
    assert.equal(losses.length, 2)
    machine.before = () => {}
    await results.close()
    assert.deepEqual(await found(machine), list(6, 9))
  })
}

test('a write that the disk took a part of is torn, and hides nothing that comes later', async () => {
  const machine = await machineWithDirectory()
  const { results, losses } = await open(machine)
  results.append(list(1, 3))
  await settled()
  machine.takes = ({ kind, bytes }) => (kind === 'write' ? Math.min(bytes, 50) : bytes)
  results.append(list(4, 6))
  await settled()
  machine.takes = ({ bytes }) => bytes
  results.append(list(7, 9))
  await results.close()
  assert.equal(losses.length, 1)
  const again = await open(machine)
  assert.deepEqual(indexes(again.results.load()), [1, 2, 3, 4, 7, 8, 9])
  assert.equal(again.damages.length, 1)
})

test('on a full disk no file piles up, and none that holds something is given up for it', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  results.append(list(1, 3))
  await settled()
  machine.capacityBytes = (machine.files().get(path(1)) as Buffer).length + 60
  for (let times = 0; times < 20; times++) {
    results.append(list(4, 9))
    await settled()
  }
  assert.deepEqual(files(machine), [path(1)])
  machine.capacityBytes = Number.POSITIVE_INFINITY
  results.append(list(10, 12))
  await results.close()
  const again = await open(machine)
  assert.deepEqual(indexes(again.results.load()).slice(0, 3), [1, 2, 3])
})

test('while the room that is left is for what cannot be done without, nothing is written', async () => {
  const machine = await machineWithDirectory()
  let isFull = false
  const { results, losses } = await open(machine, { isFull: () => isFull })
  results.append(list(1, 3))
  await settled()
  isFull = true
  const before = machine.files()
  results.append(list(4, 6))
  results.append(list(7, 9))
  await settled()
  assert.deepEqual(machine.files(), before)
  assert.deepEqual(losses, ['The disk is full.'])
  results.forget(3)
  await settled()
  assert.deepEqual(files(machine), [], 'that makes room')
  isFull = false
  results.append(list(10, 12))
  await results.close()
  assert.deepEqual(await found(machine), list(10, 12))
})

test('a file that cannot be removed is tried again', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  results.append(list(1, 3))
  await settled()
  machine.before = ({ kind, path: name }) => {
    if (kind === 'remove') throw systemError('EIO', 'broken', name)
  }
  results.forget(3)
  await settled()
  assert.deepEqual(files(machine), [path(1)])
  machine.before = () => {}
  results.append(list(4, 6))
  results.forget(4)
  await results.close()
  assert.deepEqual(files(machine), [path(2)])
})

test('a disk that hangs is not waited for, and what waits for it is bounded', async () => {
  const machine = await machineWithDirectory()
  const { results, losses } = await open(machine)
  const opens = hold(machine, ({ kind }) => kind === 'open')
  results.append(list(1, 10))
  await until(() => opens.held === 1)
  for (let index = 11; index <= 20_000; index++) results.append([result(index, 1000)])
  results.forget(3)
  assert.deepEqual(losses, ['The disk does not keep up.'])
  machine.turn = async () => {}
  opens.release()
  await results.close()
  const kept = indexes(await found(machine))
  assert(kept.length > 7_000 && kept.length < 8_400, `${kept.length} were kept`)
  assert.deepEqual(kept, indexes(list(1, kept.length)))
})

test('after the close nothing is taken any more', async () => {
  const machine = await machineWithDirectory()
  const { results } = await open(machine)
  results.append(list(1, 3))
  await results.close()
  const before = machine.files()
  results.append(list(4, 6))
  results.forget(100)
  await settled()
  await results.close()
  assert.deepEqual(machine.files(), before)
})

// A crash after every single operation.

const script: readonly ((results: ResultFile) => void)[] = [
  (results) => results.append(list(1, 4)),
  (results) => results.append(list(5, 16)),
  (results) => results.forget(3),
  (results) => {
    results.append(list(17, 18))
    results.append(list(19, 24, 110))
  },
  (results) => results.append(list(25, 30, 110)),
  (results) => results.append(list(20, 22)),
  (results) => results.forget(20),
  // The application was restored, and took the same commands again.
  (results) => results.append([...list(10, 14, 33), ...list(31, 40)]),
  (results) => results.forget(32),
  (results) => results.append(list(41, 55)),
  (results) => results.append(list(56, 70)),
]
const fileBytes = 1600

const crashes: readonly [name: string, after: (machine: MemoryDisk, seed: number) => void][] = [
  ['the process dies', (machine) => machine.killProcesses()],
  ['the power fails, nothing unsynced survives', (machine) => machine.failPower(losesEverything)],
  ['the power fails, everything survives', (machine) => machine.failPower(losesNothing)],
  ['the power fails, sectors survive by chance', (machine, seed) => machine.failPower(losesSome(seeded(seed)))],
]
for (const [name, crash] of crashes) {
  test(`after every single operation ${name}: what is found was appended, in its order, and it goes on from there`, async () => {
    for (let operations = 0; ; operations++) {
      const machine = await machineWithDirectory()
      await machine.mount().syncDirectory(directory)
      let left = operations
      let halted = false
      machine.before = () => {
        if (left-- > 0) return
        halted = true
        machine.halt()
      }
      const appended: KeptResult[] = []
      let written = 0
      let through = 0
      const { results, losses } = await open(machine, { fileBytes })
      const append = results.append.bind(results)
      results.append = (more) => {
        appended.push(...more)
        append(more)
      }
      const forget = results.forget.bind(results)
      results.forget = (index) => {
        through = index
        forget(index)
      }
      for (const step of script) {
        step(results)
        await settled()
        if (!halted) written = appended.length
      }
      await results.close()
      if (!halted) assert.deepEqual(losses, [])
      machine.before = () => {}
      crash(machine, operations)

      const again = await open(machine, { fileBytes })
      const kept = again.results.load()
      let at = -1
      for (const each of kept) {
        at = appended.findIndex((one, i) => i > at && one.index === each.index && one.resultJson === each.resultJson)
        assert(at >= 0, `after ${operations} operations: ${each.index} was not appended there`)
      }
      if (name === 'the process dies') {
        const expected = appended.slice(0, written).filter(({ index }) => index > through)
        for (const each of expected) {
          assert(
            kept.some((one) => one.index === each.index && one.resultJson === each.resultJson),
            `after ${operations} operations: ${each.index} was written, and is gone`,
          )
        }
      }
      again.results.append(list(100, 103))
      await again.results.close()
      assert.deepEqual([again.losses], [[]], `after ${operations} operations`)
      const last = await open(machine, { fileBytes })
      assert.deepEqual(last.results.load().slice(-4), list(100, 103), `after ${operations} operations`)
      await settled()
      assert(files(machine).length <= 4, `after ${operations} operations: ${files(machine)}`)
      if (halted) continue
      assert(operations > 30, `the script went through without a crash after ${operations} operations`)
      return
    }
  })
}
