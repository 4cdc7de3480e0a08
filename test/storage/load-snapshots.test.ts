// The load table, continued: snapshots beside the log, and a log that does not begin with its first entry.

import assert from 'node:assert/strict'
import test from 'node:test'
import { crc32 } from 'node:zlib'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { segmentName } from '../../src/storage/segment.ts'
import { snapshotName } from '../../src/storage/snapshot-file.ts'
import { losesEverything, MemoryDisk } from './memory-disk.ts'
import {
  directory,
  encodeSnapshot,
  entries,
  entry,
  ids,
  open,
  pieces,
  readAll,
  readLedger,
  readSnapshot,
  snapshotHeader,
  until,
} from './storage-kit.ts'

type Files = Map<string, Buffer>

const segment = (number: number) => `${directory}/${segmentName(number)}`
const snapshot = (index: number, term = 2) => `${directory}/${snapshotName({ index, term })}`
const term2 = { currentTerm: 2, votedFor: 'n1' }
const nextMembers = { members: [{ id: 'n9', peerAddress: 'c:1', role: 'voter' as const }] }

/** A log of entries 1 to 40, the configuration of entry 38 among them, and snapshots through 20 and 30. */
async function whole(compactThrough = 0): Promise<Files> {
  const machine = new MemoryDisk()
  const { save, storage } = await open(machine.mount())
  for (let from = 1; from <= 36; from += 4) await save(entries(from, from + 3, from < 16 ? 1 : 2, 300), term2)
  const payload = Buffer.from(JSON.stringify(nextMembers))
  await save([entry(37, 2), entry(38, 2, { kind: 'configuration', payload }), ...entries(39, 40, 2)])
  for (const index of [20, 30])
    await storage.takeSnapshot(snapshotHeader(index, 2), pieces(`ledger at ${index}`), pieces(`state at ${index}`))
  if (compactThrough > 0) storage.compact({ index: compactThrough, term: 2 })
  await storage.close()
  return machine.files()
}

/** The same, compacted through 18. */
const compacted = () => whole(18)

/** A log that was never written, to put something beside it. */
async function unwritten(): Promise<Files> {
  const machine = new MemoryDisk()
  const { save, storage } = await open(machine.mount())
  await save([], term2)
  await storage.close()
  return machine.files()
}

function put(files: Files, index: number, term = 2): Files {
  const { bytes } = encodeSnapshot(snapshotHeader(index, term), [Buffer.from(`state at ${index}`)])
  return files.set(snapshot(index, term), bytes)
}

async function load(files: ReadonlyMap<string, Buffer>) {
  const machine = MemoryDisk.holding(files)
  const opened = await open(machine.mount())
  const { storage } = opened
  return {
    ...opened,
    machine,
    recovered: storage.recovered,
    newest: await readSnapshot(storage),
    files: () => machine.files(),
  }
}

async function refused(files: ReadonlyMap<string, Buffer>, file: string, ...words: (string | RegExp)[]): Promise<void> {
  const before = new Map([...files].map(([path, bytes]) => [path, Buffer.from(bytes)]))
  const machine = MemoryDisk.holding(files)
  await assert.rejects(open(machine.mount()), (error) => {
    assert(error instanceof FatalError && error.exitCode === exitCodes.dataError, String(error))
    for (const word of [file, ...words]) assert.match(error.message, word instanceof RegExp ? word : new RegExp(word))
    return true
  })
  for (const [path, bytes] of machine.files()) {
    if (!path.endsWith('metafile')) assert.deepEqual(bytes, before.get(path), `${path} was changed`)
  }
}

test('several snapshots: the newest wins, the one before it is kept, older ones go', async () => {
  const { newest, recovered, storage, files } = await load(put(put(await whole(), 10, 1), 15, 1))
  assert.deepEqual(newest, { id: '2/30', body: 'state at 30' })
  assert.deepEqual(recovered.base, { index: 0, term: 0 })
  assert.equal((await readAll(storage)).length, 40)
  await storage.close()
  const left = [...files().keys()].filter((path) => path.endsWith('.snapshot'))
  assert.deepEqual(left, [snapshot(20), snapshot(30)])
})

test('the ledger of the newest snapshot is found, and a snapshot of version 0.2 has an empty one', async () => {
  assert.equal(await readLedger((await load(await whole())).storage), 'ledger at 30')
  const { storage, newest } = await load(put(await whole(), 39))
  assert.deepEqual(newest, { id: '2/39', body: 'state at 39' })
  assert.equal(await readLedger(storage), '')
})

test('only configurations behind the snapshot count, after the one that it holds', async () => {
  const { recovered } = await load(await whole())
  assert.deepEqual(recovered.configurations, [
    snapshotHeader(30, 2).configuration,
    { index: 38, configuration: nextMembers },
  ])
  assert.equal((await load(put(await whole(), 39))).recovered.configurations.length, 1)
})

test('empty ones are removed, as are unfinished ones; unknown files are left alone', async () => {
  const files = await whole()
  files.set(snapshot(35), Buffer.alloc(0))
  const unfinished = [`${snapshot(36)}.tmp`, `${directory}/received-3.snapshot.tmp`]
  const unknown = [
    '37-2.snapshot',
    'state.snapshot',
    'received-x.snapshot.tmp',
    `${snapshotName({ index: 1, term: 1 })}.bak`,
  ]
  for (const path of [...unfinished, ...unknown.map((name) => `${directory}/${name}`)])
    files.set(path, Buffer.from('?'))
  const { newest, storage, files: found } = await load(files)
  assert.equal(newest?.id, '2/30')
  await storage.close()
  const left = [...found().keys()]
  for (const path of [snapshot(35), ...unfinished]) assert(!left.includes(path), path)
  for (const name of unknown) assert(left.includes(`${directory}/${name}`), name)
})

test('a log whose first segments are gone begins with what is left', async () => {
  const files = await compacted()
  assert(!files.has(segment(1)))
  const { recovered, storage } = await load(files)
  const { base } = recovered
  assert.deepEqual(base, { index: 17, term: 2 })
  assert.deepEqual(ids(await readAll(storage)), ids(entries(18, 40, 2)))
  assert.deepEqual(recovered.termRuns, [{ from: 18, term: 2 }])
})

test('more segments may go up to the snapshot, as when a crash stopped their removal', async () => {
  const files = await compacted()
  for (let number = 1; ; number++) {
    const { recovered, storage } = await load(files)
    assert.equal(recovered.lastIndex, 40)
    assert.equal((await readAll(storage)).length, 40 - recovered.base.index)
    files.delete(segment(number))
    if (number < 2) continue
    if (await isLoadable(files)) continue
    await refused(files, segment(number), 'goes back to entry', 'ends with entry 30')
    return
  }
})

async function isLoadable(files: ReadonlyMap<string, Buffer>): Promise<boolean> {
  return open(MemoryDisk.holding(files).mount()).then(
    () => true,
    () => false,
  )
}

const superseded: readonly [name: string, index: number, term: number, files: () => Promise<Files>][] = [
  ['ends before it', 60, 2, whole],
  ['was compacted and ends before it', 60, 2, compacted],
  ['was never written', 60, 2, unwritten],
  ['holds another term there', 40, 3, whole],
]
for (const [name, index, term, make] of superseded) {
  test(`a log that ${name}: begins anew behind the snapshot, for good`, async () => {
    const files = put(await make(), index, term)
    if (term > 2) files.set(`${directory}/metafile`, await metafileOfTerm(term))
    const { recovered, storage, machine, save } = await load(files)
    assert.deepEqual(recovered.base, { index, term })
    assert.equal(recovered.lastIndex, index)
    assert.deepEqual(recovered.termRuns, [])
    assert.equal(recovered.lastTimestampMs, 1_000 + index)
    assert.deepEqual(await storage.read(1, 100, 1e6), [])
    await save(entries(index + 1, index + 2, term))
    machine.failPower(losesEverything)
    const again = await open(machine.mount())
    assert.deepEqual(again.storage.recovered.base, { index, term })
    assert.deepEqual(ids(await readAll(again.storage)), ids(entries(index + 1, index + 2, term)))
    await again.storage.close()
    const old = [...files.keys()].filter((path) => path.endsWith('.segment')).length
    if (old > 2) assert(!machine.files().has(segment(1)))
  })
}

async function metafileOfTerm(currentTerm: number): Promise<Buffer> {
  const machine = new MemoryDisk()
  const { save, storage } = await open(machine.mount())
  await save([], { currentTerm, votedFor: null })
  await storage.close()
  return machine.files().get(`${directory}/metafile`) as Buffer
}

test('a log that holds entries behind the snapshot keeps them, and those before it', async () => {
  for (const index of [1, 16, 20, 39, 40]) {
    const files = await whole()
    for (const path of [snapshot(20), snapshot(30)]) files.delete(path)
    const { recovered, storage } = await load(put(files, index, index < 17 ? 1 : 2))
    assert.equal(recovered.snapshot?.lastIncluded.index, index)
    assert.equal(recovered.lastIndex, 40)
    assert.equal((await readAll(storage)).length, 40)
  }
})

const gone: readonly [name: string, change: (files: Files) => string, ...words: string[]][] = [
  [
    'a log that begins later, and no snapshot',
    (files) => {
      for (const path of [snapshot(20), snapshot(30)]) files.delete(path)
      return segmentName(2)
    },
    'no snapshot',
  ],
  [
    'a log that begins later than the newest snapshot ends',
    (files) => {
      for (const path of [snapshot(20), snapshot(30)]) files.delete(path)
      put(files, 1, 1)
      return '.segment'
    },
    'ends with entry 1:',
  ],
  [
    'a gap between segments',
    (files) => {
      files.delete(segment(4))
      return segmentName(4)
    },
    'missing between',
  ],
  [
    'no segment at all',
    (files) => {
      for (const path of [...files.keys()]) if (path.endsWith('.segment')) files.delete(path)
      return segmentName(1)
    },
    'all of the log',
  ],
  [
    'no metafile',
    (files) => {
      files.delete(`${directory}/metafile`)
      return 'metafile'
    },
    'forget its votes',
  ],
]
for (const [name, change, ...words] of gone) {
  test(`${name}: refused`, async () => {
    const files = await compacted()
    await refused(files, change(files), 'Restore', ...words)
  })
}

test('a snapshot without anything else is refused: the votes are forgotten', async () => {
  await refused(put(new Map(), 30), 'metafile', 'forget its votes')
})

test('segments that do not say where the log begins are refused', async () => {
  const files = await compacted()
  const first = Math.min(...[...files.keys()].map((path) => Number(/(\d+)\.segment/.exec(path)?.[1] ?? '999')))
  for (const path of [...files.keys()]) {
    if (path.endsWith('.segment') && path !== segment(first)) files.delete(path)
  }
  files.set(segment(first), Buffer.concat([(files.get(segment(first)) as Buffer).subarray(0, 32), Buffer.alloc(4064)]))
  await refused(files, segment(first - 1), 'where the log begins')
})

test('a snapshot, or a log, of a term that the metafile does not know is refused', async () => {
  await refused(put(await whole(), 40, 3), 'metafile', 'reach term 3')
})

const damages: readonly [name: string, change: (bytes: Buffer) => Buffer, ...words: RegExp[]][] = [
  ['a flipped bit', (bytes) => flip(bytes, 60), /damaged at offset \d+/],
  ['a flipped bit in its last byte', (bytes) => flip(bytes, bytes.length - 1), /damaged at offset \d+/],
  ['a missing end', (bytes) => bytes.subarray(0, -1), /damaged at offset \d+/],
  ['something behind its end', (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]), /damaged at offset \d+/],
  ['text', () => Buffer.from('text'), /damaged at offset 0/],
  ['another format version', otherVersion, /format 2, this program reads format 1/],
  ['another cluster', () => encodeSnapshot(snapshotHeader(30, 2), [], 'invoices').bytes, /another cluster/],
  [
    'the name of another one',
    () => encodeSnapshot(snapshotHeader(29, 2), []).bytes,
    /entry 29 of term 2: it was renamed/,
  ],
]
for (const [name, change, ...words] of damages) {
  test(`the newest snapshot with ${name}: refused, and what may be done is said`, async () => {
    for (const make of [whole, compacted]) {
      const files = await make()
      const rotten = change(files.get(snapshot(30)) as Buffer)
      files.set(snapshot(30), rotten)
      await refused(files, snapshot(30), 'can be removed without loss', snapshotName({ index: 20, term: 2 }), ...words)
      files.delete(snapshot(30))
      const { recovered, newest } = await load(files)
      assert.equal(recovered.lastIndex, 40)
      assert.equal(newest?.id, '2/20')
    }
  })
}

const helpless: readonly [name: string, make: () => Promise<Files>, change: (files: Files) => void][] = [
  ['the log does not go back to the one before', () => whole(28), () => {}],
  ['the one before is damaged, too', compacted, (files) => void files.set(snapshot(20), Buffer.from('text'))],
  ['there is none before, and the log is not whole', compacted, (files) => void files.delete(snapshot(20))],
]
for (const [name, make, change] of helpless) {
  test(`the newest snapshot damaged, and ${name}: only a copy helps`, async () => {
    const files = await make()
    files.set(snapshot(30), flip(files.get(snapshot(30)) as Buffer, 60))
    change(files)
    await refused(files, snapshot(30), 'Restore the file', 'join again')
    assert.doesNotMatch(String(await open(MemoryDisk.holding(files).mount()).catch((error) => error)), /can be removed/)
  })
}

test('the only snapshot damaged, and the log is whole: it can be done without', async () => {
  const files = await whole()
  files.delete(snapshot(20))
  files.set(snapshot(30), flip(files.get(snapshot(30)) as Buffer, 60))
  await refused(files, snapshot(30), 'can be removed without loss: the log holds everything')
  files.delete(snapshot(30))
  assert.equal((await load(files)).recovered.snapshot, null)
})

test('damage in the one before the newest is nobody’s concern until it is needed', async () => {
  const files = await whole()
  files.set(snapshot(20), Buffer.from('text'))
  assert.equal((await load(files)).newest?.id, '2/30')
})

test('a torn tail is cut only when everything else is in order', async () => {
  const machine = new MemoryDisk()
  const { save, storage } = await open(machine.mount())
  await save(entries(1, 3, 2), term2)
  await storage.takeSnapshot(snapshotHeader(2, 2), pieces(), pieces('state'))
  await save(entries(4, 4, 2))
  await until(() => machine.files().has(segment(2)))
  const files = machine.files()
  const bytes = files.get(segment(1)) as Buffer
  bytes[bytes.lastIndexOf('RBAT') + 60] = 7
  files.set(snapshot(2), flip(files.get(snapshot(2)) as Buffer, 60))
  await refused(files, snapshot(2))
  files.set(snapshot(2), flip(files.get(snapshot(2)) as Buffer, 60))
  const { tornTails, recovered } = await load(files)
  assert.equal(tornTails.length, 1)
  assert.equal(recovered.lastIndex, 3)
})

function flip(bytes: Buffer, at: number): Buffer {
  const flipped = Buffer.from(bytes)
  flipped[at] = (flipped[at] as number) ^ 1
  return flipped
}

function otherVersion(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes)
  changed.writeUInt32LE(2, 8)
  changed.writeUInt32LE(crc32(changed.subarray(0, 28)), 28)
  return changed
}
