// A disk that has no room, for a moment or for long, wherever it is met: nothing that was acknowledged is lost, nothing is torn, and with room
// everything goes on.

import assert from 'node:assert/strict'
import test from 'node:test'
import { exitCodes, FatalError, StorageFullError } from '../../src/errors.ts'
import { segmentName } from '../../src/storage/segment.ts'
import type { Operation, OperationKind, PowerFailure } from './memory-disk.ts'
import { losesEverything, losesNothing, losesSome, MemoryDisk, systemError } from './memory-disk.ts'
import { rest, untilInTime } from './pace.ts'
import type { Opened } from './storage-kit.ts'
import {
  directory,
  encodeSnapshot,
  entries,
  hold,
  ids,
  isIoError,
  metadata,
  open,
  pieces,
  readAll,
  receive,
  seeded,
  snapshotHeader,
  until,
} from './storage-kit.ts'

const segmentBytes = 4096
const reserveBytes = 3 * segmentBytes
const term1 = { currentTerm: 1, votedFor: 'n1' }
const last = 24
const all = Array.from({ length: last }, (_, at) => `1/${at + 1}`)

interface Filling extends Opened {
  /** Each change of `isFull`. */
  readonly changes: boolean[]
}

async function openFilling(machine: MemoryDisk): Promise<Filling> {
  const changes: boolean[] = []
  const opened = await open(machine.mount(), { reserveBytes, onSpace: (isFull) => changes.push(isFull) })
  return { ...opened, changes }
}

/** With the reserve in its place, and a segment ready behind the first. */
async function openWhole(machine: MemoryDisk): Promise<Filling> {
  const opened = await openFilling(machine)
  const names = () => [...machine.files().keys()]
  await untilInTime(opened.time, () => names().length === 4 && !names().some((name) => name.endsWith('.tmp')))
  return opened
}

function isOfSegment({ path }: Operation): boolean {
  return path.includes('.segment')
}

function isOfNewSegment({ path }: Operation): boolean {
  return path.endsWith('.segment.tmp')
}

/** An append, not the header of a new segment. */
function isAppend(operation: Operation): boolean {
  return operation.kind === 'write' && operation.path.endsWith('.segment')
}

const meetings: readonly [name: string, (operation: Operation) => boolean, shortBytes?: number][] = [
  ['a segment is created', (operation) => operation.kind === 'open' && isOfNewSegment(operation)],
  ['the header of a segment is written', (operation) => operation.kind === 'write' && isOfNewSegment(operation)],
  ['a segment is zeroed', (operation) => operation.kind === 'zeroFill' && isOfNewSegment(operation)],
  ['a segment is zeroed in part', (operation) => operation.kind === 'zeroFill' && isOfNewSegment(operation), 1000],
  ['a new segment is synced', (operation) => operation.kind === 'sync' && isOfNewSegment(operation)],
  ['a segment gets its name', (operation) => operation.kind === 'rename' && isOfSegment(operation)],
  ['the name of a segment is synced', ({ kind }) => kind === 'syncDirectory'],
  ['a batch is written', isAppend],
  ['a batch is written in part, its header not whole', isAppend, 30],
  ['a batch is written in part, its header whole', isAppend, 600],
  ['a batch is written in part, all but its last byte', isAppend, 1103],
  ['anything is written', ({ kind }) => kind === 'write' || kind === 'zeroFill'],
]

/** Until it is told otherwise, every such operation meets a full disk, after so many that did not. */
function fillAt(
  machine: MemoryDisk,
  isMet: (operation: Operation) => boolean,
  shortBytes: number | undefined,
  after: number,
  times: number,
): { readonly met: number; end(): void } {
  let seen = 0
  let met = 0
  const meets = (operation: Operation) => {
    if (!isMet(operation) || seen++ < after || met >= times) return false
    met++
    return true
  }
  if (shortBytes === undefined) {
    machine.before = (operation) => {
      if (meets(operation)) throw systemError('ENOSPC', 'no space left', operation.path)
    }
  } else {
    machine.takes = (operation) => (meets(operation) ? Math.min(shortBytes, operation.bytes) : operation.bytes)
  }
  return {
    get met() {
      return met
    },
    end: () => {
      machine.before = () => {}
      machine.takes = ({ bytes }) => bytes
    },
  }
}

/** All entries, one a batch, three a segment; `acknowledged` counts as they are. */
function saveAll({ save }: Opened): { readonly acknowledged: number; readonly saved: Promise<unknown> } {
  const progress = { acknowledged: 0, saved: Promise.resolve() as Promise<unknown> }
  progress.saved = (async () => {
    await save([], term1)
    for (let index = 1; index <= last; index++) {
      await save(entries(index, index, 1, 1016))
      progress.acknowledged = index
    }
  })()
  // A process that is killed leaves it pending.
  progress.saved.catch(() => {})
  return progress
}

async function found(machine: MemoryDisk): Promise<string[]> {
  const { storage } = await open(machine.mount())
  return ids(await readAll(storage))
}

for (const [name, isMet, shortBytes] of meetings) {
  test(`no room once, when ${name}: it is told, and goes on by itself`, async () => {
    for (let after = 0; after < 4; after++) {
      const machine = new MemoryDisk()
      const opened = await openWhole(machine)
      const full = fillAt(machine, isMet, shortBytes, after, 1)
      const progress = saveAll(opened)
      await untilInTime(opened.time, () => progress.acknowledged === last)
      assert.equal(full.met, 1)
      full.end()
      await untilInTime(opened.time, () => !opened.storage.isFull)
      assert.deepEqual(opened.changes, [true, false])
      assert.deepEqual(ids(await readAll(opened.storage, last)), all)
      await opened.storage.close()
      assert.deepEqual(opened.failures, [])
      machine.failPower(losesEverything)
      assert.deepEqual(await found(machine), all)
    }
  })

  test(`no room for long, when ${name}: saves wait, and all are made when it comes`, async () => {
    for (let after = 0; after < 4; after++) {
      const machine = new MemoryDisk()
      const opened = await openWhole(machine)
      const full = fillAt(machine, isMet, shortBytes, after, Number.POSITIVE_INFINITY)
      const progress = saveAll(opened)
      await untilInTime(opened.time, () => full.met > 3)
      await rest(opened.time)
      const waitingAt = progress.acknowledged
      await rest(opened.time)
      assert(progress.acknowledged < last)
      assert.equal(progress.acknowledged, waitingAt)
      assert.equal(opened.storage.isFull, true)
      assert.deepEqual(ids(await readAll(opened.storage, last)), all.slice(0, waitingAt), 'reads go on')
      full.end()
      await untilInTime(opened.time, () => progress.acknowledged === last && !opened.storage.isFull)
      assert.deepEqual(opened.changes, [true, false])
      await opened.storage.close()
      assert.deepEqual(opened.failures, [])
      machine.failPower(losesEverything)
      assert.deepEqual(await found(machine), all)
    }
  })

  test(`a crash while there is no room, when ${name}, loses nothing that was acknowledged`, async () => {
    const failures: readonly (PowerFailure | null)[] = [
      null,
      losesEverything,
      losesNothing,
      ...[1, 2, 3].map((seed) => losesSome(seeded(seed))),
    ]
    for (const [after, failure] of [0, 1, 2, 3, 4].flatMap((count) => failures.map((each) => [count, each] as const))) {
      const machine = new MemoryDisk()
      const opened = await openWhole(machine)
      const full = fillAt(machine, isMet, shortBytes, after, Number.POSITIVE_INFINITY)
      const progress = saveAll(opened)
      await untilInTime(opened.time, () => full.met > 3)
      await rest(opened.time)
      const { acknowledged } = progress
      assert(acknowledged < last)
      if (failure === null) machine.killProcesses()
      else machine.failPower(failure)
      full.end()
      const left = await found(machine)
      assert.deepEqual(left, all.slice(0, acknowledged), `${after}: a batch that was written in part is a torn tail`)
      machine.failPower(losesEverything)
      assert.deepEqual(await found(machine), left)
    }
  })
}

test('the reserve carries the log on when others fill the disk; then saves wait; freed, it goes on and keeps a reserve again', async () => {
  const machine = new MemoryDisk()
  machine.capacityBytes = 100 * segmentBytes
  const { save, storage, time, changes, failures } = await openWhole(machine)
  await save([], term1)
  const fillUp = () => machine.put('/elsewhere/filler', Buffer.alloc(machine.freeBytes))
  fillUp()
  assert.equal(storage.isFull, false, 'nothing has met it yet')
  // The first segment has room, the second is there, the third is made when the second is taken.
  for (let index = 1; index <= 4; index++) await save(entries(index, index, 1, 1016))
  await untilInTime(time, () => machine.files().has(`${directory}/${segmentName(3)}`))
  assert.equal(storage.isFull, true)
  assert.deepEqual(changes, [true])
  assert.equal(machine.files().has(`${directory}/reserve`), false)
  // Three segments' worth of reserve are segments 3, 4 and 5.
  let acknowledged = 4
  const saving = (async () => {
    for (let index = 5; index <= 18; index++) {
      await save(entries(index, index, 1, 1016))
      acknowledged = index
    }
  })()
  await untilInTime(time, () => machine.files().has(`${directory}/${segmentName(5)}`))
  await rest(time)
  assert.equal(machine.freeBytes, 0)
  assert.equal(acknowledged, 15)
  assert.deepEqual(changes, [true])
  machine.take('/elsewhere/filler')
  await untilInTime(time, () => acknowledged === 18 && !storage.isFull)
  await saving
  assert.deepEqual(changes, [true, false])
  assert.equal(machine.files().get(`${directory}/reserve`)?.length, reserveBytes)
  await storage.close()
  assert.deepEqual(failures, [])
  assert.equal((await found(machine)).length, 18)
})

test('a next segment that had no room is made without waiting for appends, which may be refused until it stands', async () => {
  const machine = new MemoryDisk()
  const full = fillAt(
    machine,
    (operation) => operation.kind === 'zeroFill' && operation.path.includes(segmentName(2)),
    1000,
    0,
    1,
  )
  const { storage, time } = await open(machine.mount(), { segmentBytes: 1024 * 1024, reserveBytes })
  await untilInTime(time, () => full.met === 1)
  await untilInTime(time, () => !storage.isFull)
  assert.equal(machine.files().get(`${directory}/${segmentName(2)}`)?.length, 1024 * 1024)
})

test('on a full disk a vote is saved at once, though the log has not even room for a mark', async () => {
  const machine = new MemoryDisk()
  const { save, storage, time } = await openWhole(machine)
  machine.capacityBytes = 0
  // Both segments, to their last byte; the room of the reserve is not worth a segment here.
  const record = segmentBytes - 32 - 48 - 40
  await save(entries(1, 1, 1, record), term1)
  await save(entries(2, 2, 1, record))
  await untilInTime(time, () => storage.isFull)
  await rest(time)
  let isSaved = false
  save([], { currentTerm: 2, votedFor: 'n2' }).then(() => {
    isSaved = true
  })
  await untilInTime(time, () => isSaved)
  machine.failPower(losesEverything)
  const again = await open(machine.mount())
  assert.deepEqual(again.storage.recovered.hardState, { currentTerm: 2, votedFor: 'n2' })
  assert.deepEqual(ids(await readAll(again.storage)), ['1/1', '1/2'])
})

for (const isPartial of [false, true]) {
  test(`close gives up the saves that wait for room${isPartial ? ', with a batch written in part' : ''}`, async () => {
    const machine = new MemoryDisk()
    const { save, storage, time, failures } = await openWhole(machine)
    await save(entries(1, 1, 1, 1016), term1)
    fillAt(machine, isAppend, isPartial ? 700 : undefined, 0, Number.POSITIVE_INFINITY)
    const waiting = [save(entries(2, 3, 1, 1016)), save([], { currentTerm: 2, votedFor: null }), save([])]
    await rest(time)
    const closing = storage.close()
    for (const one of waiting) await assert.rejects(one, StorageFullError)
    await closing
    await assert.rejects(save([]), /closed/)
    assert.deepEqual(failures, [])
    assert.equal(time.pending, 0)
    const open2 = await open(MemoryDisk.holding(machine.files()).mount())
    assert.deepEqual(ids(await readAll(open2.storage)), ['1/1'])
    assert.equal(open2.tornTails.length, isPartial ? 1 : 0)
  })
}

test('where even the metafile has no room, as on a file system that writes to new places, a vote waits, and the one before stands', async () => {
  const isOfMetafile = ({ kind, path }: Operation) => kind === 'write' && path.endsWith('metafile')
  for (const shortBytes of [undefined, 20, 200]) {
    const machine = new MemoryDisk()
    const opened = await openWhole(machine)
    await opened.save(entries(1, 1, 1), term1)
    const full = fillAt(machine, isOfMetafile, shortBytes, 0, Number.POSITIVE_INFINITY)
    let isSaved = false
    const saved = opened.save(entries(2, 2, 2), { currentTerm: 2, votedFor: 'n2' }).then(() => {
      isSaved = true
    })
    await untilInTime(opened.time, () => full.met > 3)
    assert.equal(isSaved, false)
    assert.equal(opened.storage.isFull, true)
    const { storage } = await open(MemoryDisk.holding(machine.files()).mount())
    assert.deepEqual([storage.recovered.hardState, ids(await readAll(storage))], [term1, ['1/1']])
    full.end()
    await untilInTime(opened.time, () => isSaved)
    await saved
    await opened.storage.close()
    assert.deepEqual(opened.failures, [])
    machine.failPower(losesEverything)
    const again = await open(machine.mount())
    assert.deepEqual(again.storage.recovered.hardState, { currentTerm: 2, votedFor: 'n2' })
    assert.deepEqual(ids(await readAll(again.storage)), ['1/1', '2/2'])
  }
})

test('close finishes what needs no room on a full disk, and needs no room for a mark', async () => {
  const machine = new MemoryDisk()
  const { save, storage, time, failures } = await openWhole(machine)
  machine.capacityBytes = 0
  // One segment to its last byte; the next one is begun with a mark, and the third finds no room.
  await save(entries(1, 1, 1, segmentBytes - 32 - 48 - 40), term1)
  await untilInTime(time, () => storage.isFull)
  const small = save(entries(2, 2, 1, segmentBytes - 32 - 48 - 48 - 40))
  await storage.close()
  await small
  assert.deepEqual(failures, [])
  const again = await open(machine.mount())
  assert.deepEqual(ids(await readAll(again.storage)), ['1/1', '1/2'])
  assert.deepEqual(again.tornTails, [])
})

test('a sync of the log that finds no room is fatal: what is on the disk is not known', async () => {
  const machine = new MemoryDisk()
  const { save, failures, changes } = await openWhole(machine)
  machine.before = ({ kind, path }) => {
    if (kind === 'sync' && path.endsWith('.segment')) throw systemError('ENOSPC', 'no space left', path)
  }
  await assert.rejects(save(entries(1, 1, 1), term1), isIoError)
  assert.equal(failures.length, 1)
  assert.deepEqual(changes, [])
})

test('a failure of the disk while a save waits for room ends the waiting', async () => {
  const machine = new MemoryDisk()
  const { save, storage, time, failures } = await openWhole(machine)
  fillAt(machine, isAppend, undefined, 0, Number.POSITIVE_INFINITY)
  const waiting = save(entries(1, 1, 1), term1)
  await rest(time)
  machine.before = ({ path }) => {
    throw systemError('EIO', 'broken', path)
  }
  const rejected = assert.rejects(waiting, isIoError)
  await untilInTime(time, () => failures.length === 1)
  await rejected
  machine.before = () => {}
  await storage.close()
  assert.equal(time.pending, 0)
})

test('each operation of founding meets a full disk: it is refused with what to do, and a later start founds', async () => {
  const kinds: readonly OperationKind[] = ['open', 'write', 'zeroFill', 'sync', 'rename', 'syncDirectory']
  let refused = 0
  for (let after = 0; ; after++) {
    const machine = new MemoryDisk()
    const full = fillAt(machine, ({ kind }) => kinds.includes(kind), undefined, after, Number.POSITIVE_INFINITY)
    const opening = open(machine.mount())
    const error = await opening.then(
      () => null,
      (reason: unknown) => reason,
    )
    full.end()
    const isFounded = machine.files().has(`${directory}/metafile`)
    if (!isFounded) {
      assert(error instanceof FatalError)
      assert.equal(error.exitCode, exitCodes.ioError)
      assert.match(error.message, /^Cannot found a node in \/data: ENOSPC.*make room and start again\.$/)
      refused++
    }
    machine.killProcesses()
    const { storage, save } = await open(machine.mount())
    assert.equal(storage.isNew, !isFounded)
    await save(entries(1, 1, 1), term1)
    await storage.close()
    assert.deepEqual(await found(machine), ['1/1'])
    if (error === null) break
  }
  assert(refused >= 12, `only ${refused} were refused`)
})

test('a directory opens on a full disk, and says that it is full', async () => {
  const machine = new MemoryDisk()
  const first = await openWhole(machine)
  await first.save(entries(1, 2, 1, 1016), term1)
  await first.storage.close()
  machine.take(`${directory}/reserve`)
  machine.capacityBytes = 0
  const { storage, changes, save, time } = await openFilling(machine)
  assert.equal(storage.isFull, true)
  assert.deepEqual(ids(await readAll(storage)), ['1/1', '1/2'])
  await save(entries(3, 3, 1, 500))
  machine.capacityBytes = Number.POSITIVE_INFINITY
  await untilInTime(time, () => !storage.isFull)
  assert.deepEqual(changes, [false])
})

// Snapshots, which are what makes room at last.

test('a snapshot that has no room is refused, tried again in the room of the reserve, and compaction brings that back', async () => {
  const machine = new MemoryDisk()
  const { save, storage, time, changes } = await openWhole(machine)
  await save([], term1)
  for (let index = 1; index <= 12; index++) await save(entries(index, index, 1, 1016))
  await untilInTime(time, () => machine.files().has(`${directory}/${segmentName(5)}`))
  const take = (index: number) =>
    storage.takeSnapshot(snapshotHeader(index, 1), pieces('ledger'), pieces(Buffer.alloc(2.5 * segmentBytes)))
  machine.capacityBytes = sizeOf(machine) + segmentBytes
  await assert.rejects(take(12), StorageFullError)
  assert.equal(storage.isFull, true)
  assert(!machine.files().has(`${directory}/reserve`))
  await rest(time)
  assert(!machine.files().has(`${directory}/reserve`), 'there would be room for it, but then none for the snapshot')
  assert.equal((await take(12)).lastIncluded.index, 12)
  await rest(time)
  assert.deepEqual(changes, [true])
  storage.compact({ index: 12, term: 1 })
  await untilInTime(time, () => !storage.isFull)
  assert.deepEqual(changes, [true, false])
  assert.equal(machine.files().get(`${directory}/reserve`)?.length, reserveBytes)
})

test("a leader's snapshot that has no room gets that of the reserve", async () => {
  const machine = new MemoryDisk()
  const { save, storage, time, changes, failures } = await openWhole(machine)
  await save([], term1)
  const snapshot = encodeSnapshot(snapshotHeader(50, 1), [Buffer.alloc(2.5 * segmentBytes, 7)])
  machine.capacityBytes = sizeOf(machine) + segmentBytes
  await assert.rejects(receive(storage, snapshot), StorageFullError)
  assert.equal(storage.isFull, true)
  await rest(time)
  await receive(storage, snapshot)
  // Its new name and the log behind it meet a full disk as well.
  const full = fillAt(machine, ({ kind }) => kind === 'rename' || kind === 'write', undefined, 0, 6)
  let isInstalled = false
  const installed = save([], null, metadata(snapshot.header)).then(() => {
    isInstalled = true
  })
  await rest()
  assert.equal(isInstalled, false)
  await untilInTime(time, () => isInstalled)
  await installed
  full.end()
  machine.capacityBytes *= 2
  await untilInTime(time, () => !storage.isFull)
  assert.deepEqual(changes, [true, false])
  assert.deepEqual(failures, [])
  await storage.close()
  machine.failPower(losesEverything)
  const again = await open(machine.mount())
  assert.deepEqual(again.storage.recovered.base, { index: 50, term: 1 })
})

/** Of all files together. */
function sizeOf(machine: MemoryDisk): number {
  return [...machine.files().values()].reduce((sum, { length }) => sum + length, 0)
}

// What is slow, or hangs.

test('a snapshot that hangs delays no save, and no next segment', async () => {
  const machine = new MemoryDisk()
  const { save, storage } = await openWhole(machine)
  await save(entries(1, 1, 1, 1016), term1)
  const held = hold(machine, ({ path }) => path.includes('.snapshot'))
  void storage.takeSnapshot(snapshotHeader(1, 1), pieces(), pieces('state'))
  await until(() => held.held === 1)
  for (let index = 2; index <= last; index++) await save(entries(index, index, 1, 1016))
  await save([], { currentTerm: 2, votedFor: 'n2' })
  assert.deepEqual(ids(await readAll(storage, last)), all)
})

test('a next segment that hangs does not delay appends while the current one has room', async () => {
  const machine = new MemoryDisk()
  const held = hold(machine, ({ kind, path }) => kind === 'zeroFill' && path.includes(segmentName(2)))
  const { save, storage } = await open(machine.mount(), { segmentBytes: 64 * 1024 })
  await until(() => held.held === 1)
  for (let index = 1; index <= last; index++) await save(entries(index, index, 1, 1016), index === 1 ? term1 : null)
  assert.deepEqual(ids(await readAll(storage, last)), all)
  assert.equal(held.held, 1)
})

test('whatever else hangs, the log has a thread: one each is held by segments, by reads and by all other work', async () => {
  const machine = new MemoryDisk()
  const { save, storage, time } = await open(machine.mount(), { segmentBytes: 64 * 1024, reserveBytes })
  await save(entries(1, 12, 1, 1016), term1)
  await untilInTime(time, () => machine.files().has(`${directory}/reserve`))
  await until(() => machine.files().has(`${directory}/${segmentName(2)}`))
  const hung = new Map<string, number>()
  machine.turn = ({ kind, path }) => {
    const isLog = path.endsWith(segmentName(1)) || path.endsWith(segmentName(2))
    if (isLog && (kind === 'sync' || kind === 'close' || kind === 'write')) return Promise.resolve()
    if (isLog && kind === 'open' && path.endsWith(segmentName(2))) return Promise.resolve()
    const what = path.endsWith('metafile') ? 'log' : isLog ? 'read' : path.includes('.segment') ? 'segment' : 'other'
    if (what === 'log') return Promise.resolve()
    hung.set(what, (hung.get(what) ?? 0) + 1)
    return new Promise(() => {})
  }
  const { background } = storage
  for (let times = 0; times < 5; times++) {
    void storage.read(1, 12, 1e6)
    void background.list(directory)
    void background.open(`${directory}/other`, 'create').then((file) => file.sync())
  }
  // Beyond the first segment, so that the third is begun.
  for (let index = 13; index <= 70; index++) await save(entries(index, index, 1, 1016))
  await save([], { currentTerm: 2, votedFor: 'n2' })
  await rest(time)
  assert.deepEqual(Object.fromEntries(hung), { read: 1, other: 1, segment: 1 })
})
