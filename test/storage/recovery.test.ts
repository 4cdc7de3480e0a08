// The load table: what a directory may look like at the start, and what is made of it.

import assert from 'node:assert/strict'
import test from 'node:test'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { segmentName } from '../../src/storage/segment.ts'
import { losesNothing, MemoryDisk } from './memory-disk.ts'
import { directory, entries, entry, founding, ids, isDataError, open, readAll } from './storage-kit.ts'

const segment = (number: number) => `${directory}/${segmentName(number)}`

/** Entries 1 to 40 in several segments, closed in order, so that the mark is past the last one. */
async function wellKept(): Promise<Map<string, Buffer>> {
  const machine = new MemoryDisk()
  const { save, storage } = await open(machine.mount())
  for (let from = 1; from <= 40; from += 4) {
    await save(entries(from, from + 3, 1, 200), from === 1 ? { currentTerm: 1, votedFor: 'n1' } : null)
  }
  await storage.close()
  return machine.files()
}

/** One segment with entries 1 to 6 in three batches; the last two were acknowledged a moment before the process was killed. */
async function killed(): Promise<Map<string, Buffer>> {
  const machine = new MemoryDisk()
  const { save } = await open(machine.mount())
  await save(entries(1, 2, 1), { currentTerm: 1, votedFor: 'n1' })
  await save(entries(3, 4, 1))
  await save(entries(5, 6, 1))
  machine.failPower(losesNothing)
  return machine.files()
}

/** Offsets at which batches begin. */
function batches(bytes: Buffer): number[] {
  const offsets: number[] = []
  for (let at = bytes.indexOf('RBAT'); at !== -1; at = bytes.indexOf('RBAT', at + 1)) offsets.push(at)
  return offsets
}

async function load(files: ReadonlyMap<string, Buffer>) {
  const machine = MemoryDisk.holding(files)
  const opened = await open(machine.mount())
  return { ...opened, machine, found: ids(await readAll(opened.storage)) }
}

function refusal(file: string, offset?: number): (error: unknown) => boolean {
  return (error) =>
    error instanceof FatalError &&
    error.exitCode === exitCodes.dataError &&
    error.message.includes(file) &&
    error.message.includes('Restore') &&
    (offset === undefined || error.message.includes(`offset ${offset}`))
}

const all = Array.from({ length: 40 }, (_, at) => `1/${at + 1}`)

test('several segments', async () => {
  const { found, tornTails } = await load(await wellKept())
  assert.deepEqual(found, all)
  assert.deepEqual(tornTails, [])
})

test('unknown files are ignored, and unfinished ones of our own are removed', async () => {
  const files = await wellKept()
  for (const name of ['lost+found', `${segmentName(1)}.bak`, '1.segment', 'snapshot-7', 'x.tmp']) {
    files.set(`${directory}/${name}`, Buffer.from('?'))
  }
  const unfinished = [`${segment(9)}.tmp`, `${directory}/metafile.tmp`]
  for (const path of unfinished) files.set(path, Buffer.alloc(10, 1))
  const { found, machine } = await load(files)
  assert.deepEqual(found, all)
  const left = [...machine.files().keys()]
  for (const path of unfinished) assert(!left.includes(path))
  assert(left.includes(`${directory}/x.tmp`))
})

test('trailing zeros are the end, however many', async () => {
  const files = await killed()
  files.set(segment(1), Buffer.concat([files.get(segment(1)) as Buffer, Buffer.alloc(100_000)]))
  const { found, tornTails } = await load(files)
  assert.equal(found.length, 6)
  assert.deepEqual(tornTails, [])
})

const tears: readonly [name: string, tear: (bytes: Buffer, batch: number) => void][] = [
  ['first byte alone', (bytes, batch) => bytes.fill(0, batch + 1)],
  ['header', (bytes, batch) => bytes.fill(0, batch + 20)],
  ['header gone, data there', (bytes, batch) => bytes.fill(0, batch, batch + 48)],
  ['data', (bytes, batch) => bytes.fill(0, batch + 60)],
  ['data, in the middle', (bytes, batch) => bytes.fill(0, batch + 60, batch + 70)],
]
for (const [name, tear] of tears) {
  test(`torn ${name}: cut, durably, and told`, async () => {
    const files = await killed()
    const bytes = files.get(segment(1)) as Buffer
    const last = batches(bytes).at(-1) as number
    tear(bytes, last)
    const { found, tornTails, machine, save } = await load(files)
    assert.deepEqual(found, all.slice(0, 4))
    assert.deepEqual(
      tornTails.map(({ file, offset }) => ({ file, offset })),
      [{ file: segment(1), offset: last }],
    )
    await save(entries(5, 5, 1))
    machine.failPower({ keepsSector: () => false, keepsNames: () => 0 })
    const again = await load(machine.files())
    assert.deepEqual(again.found, all.slice(0, 5))
    assert.deepEqual(again.tornTails, [])
  })
}

test('what was cut does not come back when the log goes on in the next segment', async () => {
  const files = await killed()
  const bytes = files.get(segment(1)) as Buffer
  bytes.fill(0, (batches(bytes).at(-1) as number) + 60)
  const { save, machine } = await load(files)
  await save(entries(5, 5, 1, 5000))
  machine.failPower({ keepsSector: () => false, keepsNames: () => 0 })
  assert.deepEqual((await load(machine.files())).found, all.slice(0, 5))
})

test('a batch that is not the last one is corrupt, whatever follows', async () => {
  for (const at of [0, 1]) {
    for (const within of [0, 9, 30, 47, 48, 60, 100]) {
      const files = await killed()
      const bytes = files.get(segment(1)) as Buffer
      const offset = batches(bytes)[at] as number
      bytes[offset + within] = (bytes[offset + within] as number) ^ 1
      await assert.rejects(load(files), refusal(segment(1), offset))
    }
  }
})

test('once the log was idle, its last entries are below the mark, too', async () => {
  const machine = new MemoryDisk()
  const { save, settle } = await open(machine.mount())
  await save(entries(1, 2, 1), { currentTerm: 1, votedFor: 'n1' })
  await settle()
  const files = machine.files()
  const bytes = files.get(segment(1)) as Buffer
  assert.equal(batches(bytes).length, 2)
  for (const damage of [() => bytes.writeUInt8(bytes.readUInt8(100) ^ 1, 100), () => bytes.fill(0, 32, 80)]) {
    damage()
    await assert.rejects(load(files), refusal(segment(1), 32))
  }
  // Even if nothing is left to see but the mark.
  bytes.fill(0, 32, batches(bytes)[0])
  await assert.rejects(load(files), refusal(segment(1), 32))
})

test('the end of a segment is below the mark when the next one was written', async () => {
  for (const damage of [
    (bytes: Buffer, last: number) => bytes.fill(0, last),
    (bytes: Buffer, last: number) => bytes.fill(7, last + 50, last + 60),
  ]) {
    const files = await wellKept()
    const bytes = files.get(segment(1)) as Buffer
    const last = batches(bytes).at(-1) as number
    damage(bytes, last)
    await assert.rejects(load(files), refusal(segment(1), last))
  }
})

test('a copy of a batch inside a payload is never taken for a batch', async () => {
  const elsewhere = (await wellKept()).get(segment(1)) as Buffer
  const lastThere = batches(elsewhere).at(-1) as number
  const copy = elsewhere.subarray(lastThere, lastThere + 100)
  const machine = new MemoryDisk()
  const first = await open(machine.mount())
  await first.save(entries(1, 2, 1), { currentTerm: 1, votedFor: 'n1' })
  // At every distance from a multiple of 8, so that one of the copies stands where a batch could.
  const payload = Buffer.concat(Array.from({ length: 8 }, (_, shift) => [copy, Buffer.alloc(shift + 1)]).flat())
  await first.save([entry(3, 1, { payload })])
  const files = machine.files()
  const bytes = files.get(segment(1)) as Buffer
  const headers = batches(bytes)
  const last = headers.find((offset) => bytes.readUIntLE(offset + 40, 6) === 3) as number
  bytes[last] = 0
  const { found, tornTails } = await load(files)
  assert.equal(found.length, 2)
  assert.equal(tornTails[0]?.offset, last)
})

const refused: readonly [name: string, change: (files: Map<string, Buffer>) => string | null][] = [
  [
    'a gap between segments',
    (files) => {
      files.delete(segment(2))
      return segment(2)
    },
  ],
  [
    'the first segment gone',
    (files) => {
      files.delete(segment(1))
      return segment(1)
    },
  ],
  [
    'a file name that disagrees with the header',
    (files) => {
      files.set(segment(2), files.get(segment(3)) as Buffer)
      return segment(2)
    },
  ],
  [
    'a segment that is none',
    (files) => {
      files.set(segment(2), Buffer.alloc(4096, 'text'))
      return segment(2)
    },
  ],
  [
    'an empty segment file',
    (files) => {
      files.set(segment(2), Buffer.alloc(0))
      return segment(2)
    },
  ],
  [
    'the metafile gone while there is a log',
    (files) => {
      files.delete(`${directory}/metafile`)
      return 'metafile'
    },
  ],
  [
    'every segment gone',
    (files) => {
      for (const path of [...files.keys()]) if (path.endsWith('.segment')) files.delete(path)
      return segment(1)
    },
  ],
]
for (const [name, change] of refused) {
  test(`${name}: refused`, async () => {
    const files = await wellKept()
    const named = change(files)
    await assert.rejects(load(files), refusal(named ?? ''))
  })
}

test('a metafile older than the log is refused', async () => {
  const machine = new MemoryDisk()
  const { save, storage } = await open(machine.mount())
  await save(entries(1, 2, 1), { currentTerm: 1, votedFor: 'n1' })
  const old = machine.files().get(`${directory}/metafile`) as Buffer
  await save(entries(3, 3, 2), { currentTerm: 2, votedFor: 'n1' })
  await storage.close()
  await assert.rejects(load(machine.files().set(`${directory}/metafile`, old)), refusal('metafile'))
})

test('a segment of another cluster, or of another data directory, is refused', async () => {
  for (const identity of [
    { cluster: 'invoices', nodeId: 'n1', newIncarnation: '00112233aabbccdd', foundingConfiguration: founding },
    { cluster: 'orders', nodeId: 'n1', newIncarnation: 'ffffffffffffffff', foundingConfiguration: founding },
  ]) {
    const machine = new MemoryDisk()
    await (await open(machine.mount(), { identity })).storage.close()
    const foreign = machine.files().get(segment(1)) as Buffer
    const files = await wellKept()
    await assert.rejects(load(files.set(segment(1), foreign)), refusal(segment(1)))
  }
})

test('a directory of another cluster or node is refused, naming both', async () => {
  const files = await wellKept()
  for (const [wanted, words] of [
    [{ cluster: 'invoices', nodeId: 'n1' }, ['invoices', 'orders']],
    [{ cluster: 'orders', nodeId: 'n3' }, ['n3', 'n1']],
  ] as const) {
    const identity = { ...wanted, newIncarnation: '1', foundingConfiguration: null }
    await assert.rejects(open(MemoryDisk.holding(files).mount(), { identity }), (error) => {
      assert(error instanceof FatalError && error.exitCode === exitCodes.dataError)
      for (const word of words) assert(error.message.includes(word))
      return true
    })
  }
})

test('what was stored at the founding decides later', async () => {
  const identity = { cluster: 'orders', nodeId: 'n1', newIncarnation: 'other', foundingConfiguration: null }
  const { storage } = await open(MemoryDisk.holding(await wellKept()).mount(), { identity })
  assert.equal(storage.incarnation, '00112233aabbccdd')
  assert.deepEqual(storage.identity.foundingConfiguration, founding)
})

test('bit rot that comes while the node runs is found when the entry is read', async () => {
  const machine = new MemoryDisk()
  const { save, storage } = await open(machine.mount())
  await save(entries(1, 4, 1, 100), { currentTerm: 1, votedFor: 'n1' })
  for (const at of [80, 84, 88, 118, 150]) {
    const bytes = machine.files().get(segment(1)) as Buffer
    const rotten = Buffer.from(bytes)
    rotten[at] = (rotten[at] as number) ^ 0x40
    machine.put(segment(1), rotten)
    await assert.rejects(storage.read(1, 1, 1000), refusal(segment(1), 80))
    await assert.rejects(storage.read(1, 4, 1000), isDataError)
    assert.equal((await storage.read(2, 4, 1000)).length, 3)
    machine.put(segment(1), bytes)
  }
})
