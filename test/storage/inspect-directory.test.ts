// A look into a directory comes to the verdict of the next start, whatever happened to the directory, and changes nothing.

import assert from 'node:assert/strict'
import test from 'node:test'
import { FatalError } from '../../src/errors.ts'
import { AcquaintanceFile } from '../../src/storage/acquaintances.ts'
import { Cursor } from '../../src/storage/cursor.ts'
import { DamageError } from '../../src/storage/damage.ts'
import type { Disk } from '../../src/storage/disk.ts'
import type { Inspection } from '../../src/storage/inspect-directory.ts'
import { inspectDirectory } from '../../src/storage/inspect-directory.ts'
import type { TornTail } from '../../src/storage/recover-log.ts'
import { ResultFile } from '../../src/storage/result-file.ts'
import { segmentName } from '../../src/storage/segment.ts'
import { snapshotName } from '../../src/storage/snapshot-file.ts'
import type { DurableStorage } from '../../src/storage/storage.ts'
import { losesNothing, losesSome, MemoryDisk } from './memory-disk.ts'
import {
  directory,
  encodeSnapshot,
  entries,
  founding,
  ids,
  metadata,
  open,
  pieces,
  receive,
  seeded,
  snapshotHeader,
  until,
} from './storage-kit.ts'

type Files = Map<string, Buffer>

const segment = (number: number) => `${directory}/${segmentName(number)}`
const term = (currentTerm: number) => ({ currentTerm, votedFor: 'n1' })

/** Entries in several segments, two snapshots, the first segments given up; closed in order. */
async function wellKept(): Promise<Files> {
  const machine = new MemoryDisk()
  const { save, storage } = await open(machine.mount())
  for (let from = 1; from <= 60; from += 4) await save(entries(from, from + 3, 1, 200), from === 1 ? term(1) : null)
  await storage.takeSnapshot(snapshotHeader(20, 1), pieces(), pieces('state at 20'))
  await storage.takeSnapshot(snapshotHeader(40, 1), pieces('ledger at 40'), pieces('state at 40'))
  storage.compact({ index: 30, term: 1 })
  await save(entries(61, 64, 3, 100), term(3))
  await storage.close()
  const acquaintances = await AcquaintanceFile.open(machine.mount(), directory)
  const run = { number: 2, id: '01', former: [] }
  await acquaintances.save(new Map([['n2', { incarnation: '00', run, currentTerm: 3, lastIndex: 64 }]]))
  await (await Cursor.open(machine.mount(), directory)).save(40)
  const results = await openResults(machine.mount(), storage)
  results.append([
    { index: 62, resultJson: '{"ok":true}' },
    { index: 64, resultJson: 'null' },
  ])
  await results.close()
  return machine.files()
}

/** No verdict ever rests on them. */
function openResults(disk: Disk, { identity }: DurableStorage): Promise<ResultFile> {
  return ResultFile.open(disk, directory, { identity, isFull: () => false, onDamage: () => {}, onLost: () => {} })
}

/** One segment; the last batches were acknowledged a moment before the process was killed. */
async function killed(): Promise<Files> {
  const machine = new MemoryDisk()
  const { save } = await open(machine.mount())
  await save(entries(1, 2, 1), term(1))
  await save(entries(3, 6, 1))
  await save(entries(5, 6, 2), term(2))
  machine.failPower(losesNothing)
  return machine.files()
}

/** A log that began anew behind the snapshot of a leader. */
async function installed(): Promise<Files> {
  const machine = new MemoryDisk()
  const { save, storage } = await open(machine.mount())
  await save(entries(1, 30, 1, 200), term(1))
  const ledger = [Buffer.from('ledger at 50')]
  const snapshot = encodeSnapshot(snapshotHeader(50, 2), [Buffer.from('state at 50')], 'orders', ledger)
  await receive(storage, snapshot)
  await save(entries(51, 52, 2), term(2), metadata(snapshot.header))
  await until(() => machine.count('remove') > 0)
  machine.failPower(losesNothing)
  return machine.files()
}

/** As killed between the snapshot of a leader and the log that was to begin behind it. */
async function superseded(): Promise<Files> {
  const files = await killed()
  const { header, bytes } = encodeSnapshot(snapshotHeader(50, 2), [Buffer.from('state at 50')])
  return files.set(`${directory}/${snapshotName(header.lastIncluded)}`, bytes)
}

const kinds: Readonly<Record<string, () => Promise<Files>>> = { wellKept, killed, installed, superseded }

function look(files: Files, isHeld = false): Promise<Inspection> {
  const machine = MemoryDisk.holding(files)
  return inspectDirectory({ disk: machine.mount(), directory, isHeld })
}

interface Start {
  readonly refused: string | null
  readonly tails: readonly TornTail[]
  readonly isNew: boolean
}

async function start(files: Files): Promise<Start> {
  const tails: TornTail[] = []
  try {
    const onTornTail = (tail: TornTail) => tails.push(tail)
    const disk = MemoryDisk.holding(files).mount()
    const { storage } = await open(disk, { onTornTail })
    const { isNew } = storage
    await AcquaintanceFile.open(disk, directory)
    await Cursor.open(disk, directory)
    await (await openResults(disk, storage)).close()
    await storage.close()
    return { refused: null, tails, isNew }
  } catch (error) {
    assert(error instanceof FatalError, String(error))
    return { refused: `${error.exitCode} ${error.message}`, tails: [], isNew: false }
  }
}

/** The verdict, as far as the start tells it, too. */
async function verdict(files: Files): Promise<Start> {
  const machine = MemoryDisk.holding(files)
  machine.before = ({ kind }) => assert(['list', 'open', 'size', 'read', 'close'].includes(kind), `it did ${kind}`)
  const { verdict } = await inspectDirectory({ disk: machine.mount(), directory, isHeld: false })
  assert.deepEqual(machine.files(), files)
  const { kind } = verdict
  return {
    refused: kind === 'damaged' ? `${verdict.damage.exitCode} ${verdict.damage.message}` : null,
    tails: kind === 'torn' ? [verdict.tail] : [],
    isNew: kind === 'new',
  }
}

async function compare(files: Files, what: string): Promise<Start> {
  const expected = await start(files)
  assert.deepEqual(await verdict(files), expected, what)
  return expected
}

for (const [name, make] of Object.entries(kinds)) {
  test(`${name}: the verdict of the start, with any byte flipped`, async () => {
    const files = await make()
    assert.equal((await compare(files, 'untouched')).refused, null)
    let refused = 0
    for (const [path, bytes] of files) {
      // Denser where something was written.
      for (let at = 0; at < bytes.length; at += bytes[at] === 0 ? 211 : 7) {
        const flipped = Buffer.from(bytes)
        flipped[at] = (flipped[at] as number) ^ (1 << (at % 8))
        const result = await compare(new Map(files).set(path, flipped), `${path}, byte ${at}`)
        if (result.refused !== null) refused++
      }
    }
    assert(refused > 20, `only ${refused} were refused`)
  })

  test(`${name}: the verdict of the start, with any file short, torn, gone, or in another one's place`, async () => {
    const files = await make()
    for (const [path, bytes] of files) {
      const without = new Map(files)
      without.delete(path)
      await compare(without, `${path} gone`)
      for (let at = 0; at < bytes.length; at += bytes.length > 10_000 ? 2_003 : 97) {
        await compare(new Map(files).set(path, bytes.subarray(0, at)), `${path} cut at ${at}`)
        const torn = Buffer.from(bytes).fill(0, at)
        await compare(new Map(files).set(path, torn), `${path} torn at ${at}`)
      }
      for (const [other, content] of files) await compare(new Map(files).set(path, content), `${other} as ${path}`)
    }
  })
}

test('the verdict of the start, after a power failure at any moment', async () => {
  const kindsSeen = new Set<string>()
  for (let seed = 1; seed <= 120; seed++) {
    const random = seeded(seed)
    const machine = new MemoryDisk()
    // At any operation, or in the midst of an append.
    const isAppend = seed % 2 === 0
    let operations = Math.floor(random() * (isAppend ? 10 : 120))
    const crash = new Promise<void>((resolve) => {
      machine.turn = ({ kind, path }) => {
        if (isAppend && (kind !== 'sync' || !path.endsWith('.segment'))) return Promise.resolve()
        if (operations-- > 0) return Promise.resolve()
        resolve()
        return new Promise(() => {})
      }
    })
    const run = async () => {
      const { save, storage } = await open(machine.mount())
      for (let from = 1; from <= 24; from += 3) await save(entries(from, from + 2, 1, 150), from === 1 ? term(1) : null)
      await storage.takeSnapshot(snapshotHeader(20, 1), pieces(), pieces('state at 20'))
      storage.compact({ index: 18, term: 1 })
      await save(entries(22, 23, 2), term(2))
      await storage.close()
    }
    await Promise.race([run(), crash])
    machine.turn = async () => {}
    machine.failPower(losesSome(random))
    // Before the directory itself is durable, there is nothing to look into.
    if (machine.files().size === 0) continue
    const { isNew, tails, refused } = await compare(machine.files(), `seed ${seed}`)
    kindsSeen.add(isNew ? 'new' : refused !== null ? 'refused' : tails.length > 0 ? 'torn' : 'sound')
  }
  assert.deepEqual([...kindsSeen].sort(), ['new', 'sound', 'torn'])
})

test('what a healthy directory holds is told', async () => {
  const { metafile, snapshots, segments, mark, log, isLogSuperseded } = await look(await wellKept())
  assert.deepEqual(metafile?.content?.identity.foundingConfiguration, founding)
  assert.deepEqual(metafile?.content?.hardState, term(3))
  assert.equal(metafile?.slots.length, 2)
  assert.deepEqual(
    snapshots.map(({ index, term, damage }) => [index, term, damage]),
    [
      [20, 1, null],
      [40, 1, null],
    ],
  )
  assert.equal(isLogSuperseded, false)
  assert.equal(log?.lastIndex, 64)
  assert(log.firstIndex > 10 && log.firstIndex <= 30)
  assert.equal(mark?.index, 64)
  const used = segments.filter(({ state }) => state === 'sound')
  assert(used.length > 2 && used.every(({ batches, usedBytes }) => batches > 0 && usedBytes > 32))
  const { first, ...end } = used.at(-1)?.entries ?? assert.fail('the last segment has no entries')
  assert.deepEqual(end, { last: 64, lowestTerm: 1, highestTerm: 3 })
  assert(first > 30 && first <= 60)
  assert.deepEqual([...new Set(segments.map(({ state }) => state))], ['sound', 'unused'])
})

test('entries are given as they stand, without those that were replaced, from and through any index', async () => {
  const { entries: read, log, mark } = await look(await killed())
  assert.deepEqual(log, { firstIndex: 1, lastIndex: 6 })
  // The last batch has nothing behind it that says that it was durable.
  assert.equal(mark?.index, 6)
  const list = async (from: number, through: number) => {
    const found = []
    for await (const each of read(from, through)) found.push(each)
    return ids(found)
  }
  assert.deepEqual(await list(1, 1e9), ['1/1', '1/2', '1/3', '1/4', '2/5', '2/6'])
  assert.deepEqual(await list(4, 5), ['1/4', '2/5'])
  assert.deepEqual(await list(7, 9), [])
})

test('a damaged log is told up to the damage, and what lies behind it was not read', async () => {
  const files = await wellKept()
  const paths = [...files.keys()].filter((path) => path.endsWith('.segment')).sort()
  const damagedPath = paths[1] as string
  const bytes = files.get(damagedPath) as Buffer
  bytes[500] = (bytes[500] as number) ^ 1
  const { verdict, segments, log, entries: read, mark } = await look(files)
  assert(verdict.kind === 'damaged' && verdict.damage instanceof DamageError)
  assert.equal(verdict.damage.path, damagedPath)
  assert(verdict.damage.offset !== null && verdict.damage.offset <= 500)
  assert.deepEqual(segments.map(({ state }) => state).slice(0, 3), ['sound', 'damaged', 'unread'])
  assert.equal(mark?.index, null)
  const found = []
  for await (const each of read(1, 1e9)) found.push(each)
  assert.equal(found.at(-1)?.index, log?.lastIndex)
  assert(found.length > 0)
})

test('a damaged snapshot is told, also one that the next start does not look at', async () => {
  const files = await wellKept()
  const older = files.get(`${directory}/${snapshotName({ index: 20, term: 1 })}`) as Buffer
  older[older.length - 30] = (older[older.length - 30] as number) ^ 1
  const { verdict, snapshots } = await look(files)
  assert.equal(verdict.kind, 'sound')
  assert.match(snapshots[0]?.damage?.problem ?? '', /checksum/)
  assert.equal(snapshots[1]?.damage, null)
})

test('a log that the next start gives up for a snapshot is told as such', async () => {
  const { isLogSuperseded, verdict } = await look(await superseded())
  assert.deepEqual([isLogSuperseded, verdict.kind], [true, 'sound'])
})

test('while a process writes there, what is damaged only for a moment is not called damaged', async () => {
  const files = await killed()
  const broken = Buffer.from(files.get(segment(1)) as Buffer)
  broken[60] = (broken[60] as number) ^ 1
  for (const [isHeld, kind] of [
    [true, 'sound'],
    [false, 'damaged'],
  ] as const) {
    const machine = MemoryDisk.holding(new Map(files).set(segment(1), broken))
    let looks = 0
    machine.before = ({ kind, path }) => {
      if (kind === 'open' && path === segment(1) && ++looks === 3) machine.put(path, files.get(path) as Buffer)
    }
    assert.equal((await inspectDirectory({ disk: machine.mount(), directory, isHeld })).verdict.kind, kind)
  }
})

test('a directory that holds nothing but results of a node that was here before is new', async () => {
  const results = [...(await wellKept())].filter(([path]) => path.endsWith('.results'))
  assert.equal(results.length, 1)
  assert.equal((await compare(new Map(results), 'results alone')).isNew, true)
})

test('an empty directory is new, and one that is not there is an error of the disk', async () => {
  const machine = new MemoryDisk()
  await machine.mount().makeDirectory(directory)
  const { verdict, metafile, segments } = await inspectDirectory({ disk: machine.mount(), directory, isHeld: false })
  assert.deepEqual([verdict.kind, metafile, segments], ['new', null, []])
  await assert.rejects(inspectDirectory({ disk: machine.mount(), directory: '/nowhere', isHeld: false }), /ENOENT/)
})
