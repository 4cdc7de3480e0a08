// The contract of Disk, held against both of its implementations; and what the one in memory forgets.

import assert from 'node:assert/strict'
import { symlink } from 'node:fs/promises'
import test from 'node:test'
import type { Disk } from '../../src/storage/disk.ts'
import { createDurably } from '../../src/storage/disk.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { losesEverything, losesNothing, losesSome, MemoryDisk, systemError } from './memory-disk.ts'
import { seeded, temporaryDirectory } from './storage-kit.ts'

const implementations: readonly [name: string, make: (t: test.TestContext) => Promise<{ disk: Disk; root: string }>][] =
  [
    ['in memory', async () => ({ disk: new MemoryDisk().mount(), root: '/root' })],
    ['real', async (t) => ({ disk: nodeDisk, root: await temporaryDirectory(t) })],
  ]

for (const [name, make] of implementations) {
  test(`${name}: files are created, written anywhere, read and zeroed`, async (t) => {
    const { disk, root } = await make(t)
    const path = `${root}/a/b/file`
    await disk.makeDirectory(`${root}/a/b`)
    await disk.makeDirectory(`${root}/a/b`)
    await assert.rejects(disk.open(path, 'read'), { code: 'ENOENT' })
    await assert.rejects(disk.open(path, 'update'), { code: 'ENOENT' })
    const file = await disk.open(path, 'create')
    file.write(Buffer.from('hello'), 3)
    file.write(Buffer.from('HE'), 3)
    assert.equal(await file.size(), 8)
    await file.zeroFill(6, 700_000)
    await file.sync()
    assert.equal(await file.size(), 700_000)
    const into = Buffer.alloc(10, 1)
    assert.equal(await file.read(into, 0), 10)
    assert.equal(into.toString(), '\0\0\0HEl\0\0\0\0')
    assert.equal(await file.read(into, 699_997), 3)
    assert.equal(await file.read(into, 700_000), 0)
    await file.close()
    const reader = await disk.open(path, 'read')
    assert.throws(() => reader.write(Buffer.from('x'), 0), { code: 'EBADF' })
    await reader.close()
    const again = await disk.open(path, 'create')
    assert.equal(await again.size(), 0)
    await again.close()
  })

  test(`${name}: names are listed in order, replaced and removed`, async (t) => {
    const { disk, root } = await make(t)
    const directory = `${root}/d`
    await assert.rejects(disk.list(directory), { code: 'ENOENT' })
    await disk.makeDirectory(directory)
    for (const file of ['b', 'a', 'c']) {
      await createDurably(disk, directory, file, (opened) => opened.write(Buffer.from(file), 0))
    }
    assert.deepEqual(await disk.list(directory), ['a', 'b', 'c'])
    await disk.rename(`${directory}/a`, `${directory}/c`)
    await disk.remove(`${directory}/b`)
    await disk.syncDirectory(directory)
    assert.deepEqual(await disk.list(directory), ['c'])
    const file = await disk.open(`${directory}/c`, 'read')
    const into = Buffer.alloc(1)
    await file.read(into, 0)
    assert.equal(into.toString(), 'a')
    await file.close()
    await assert.rejects(disk.remove(`${directory}/b`), { code: 'ENOENT' })
  })

  test(`${name}: a file that could not be filled leaves nothing behind`, async (t) => {
    const { disk, root } = await make(t)
    await disk.makeDirectory(`${root}/d`)
    const full = () => Promise.reject(systemError('ENOSPC', 'no space left', root))
    await assert.rejects(createDurably(disk, `${root}/d`, 'a', full), { code: 'ENOSPC' })
    assert.deepEqual(await disk.list(`${root}/d`), [])
  })
}

test('in memory: a disk takes what it has room for, and says that there was no more', async () => {
  const machine = new MemoryDisk()
  const disk = machine.mount()
  await disk.makeDirectory('/d')
  machine.capacityBytes = 1000
  const file = await disk.open('/d/f', 'create')
  file.write(Buffer.alloc(600, 'a'), 0)
  assert.equal(await disk.freeBytes('/d'), 400)
  assert.throws(() => file.write(Buffer.alloc(700, 'b'), 500), { code: 'ENOSPC' })
  assert.equal(machine.files().get('/d/f')?.toString(), 'a'.repeat(500) + 'b'.repeat(500))
  file.write(Buffer.from('over'), 996)
  await assert.rejects(file.zeroFill(990, 1001), { code: 'ENOSPC' })
  assert.equal(await file.size(), 1000)
  await disk.remove('/d/f')
  assert.equal(await disk.freeBytes('/d'), 1000)
})

test('real: a directory is made with its parents, or it is said what is in the way', async (t) => {
  const root = await temporaryDirectory(t)
  await nodeDisk.makeDirectory(`${root}/a/b/c`)
  assert.deepEqual(await nodeDisk.list(`${root}/a`), ['b'])
  await nodeDisk.makeDirectory(`${root}/a/b/d/`)
  assert.deepEqual(await nodeDisk.list(`${root}/a/b`), ['c', 'd'])
  await nodeDisk.makeDirectory('/')
  await (await nodeDisk.open(`${root}/file`, 'create')).close()
  await assert.rejects(nodeDisk.makeDirectory(`${root}/file/below`), { code: 'ENOTDIR' })
  await symlink('nowhere', `${root}/link`)
  await assert.rejects(nodeDisk.makeDirectory(`${root}/link/below`), { code: 'ENOENT' })
})

test('real: what is free on a disk is some of it', async (t) => {
  assert((await nodeDisk.freeBytes(await temporaryDirectory(t))) > 4096)
  await assert.rejects(nodeDisk.freeBytes('/no/such/directory'), { code: 'ENOENT' })
})

async function written(machine: MemoryDisk): Promise<void> {
  const disk = machine.mount()
  await disk.makeDirectory('/d')
  await createDurably(disk, '/d', 'f', (file) => file.write(Buffer.alloc(1024, 'a'), 0))
  const file = await disk.open('/d/f', 'update')
  file.write(Buffer.alloc(1024, 'b'), 256)
  await disk.open('/d/new', 'create')
}

test('a power failure takes what was not synced: bytes and names', async () => {
  const machine = new MemoryDisk()
  await written(machine)
  machine.failPower(losesEverything)
  assert.deepEqual(machine.files(), new Map([['/d/f', Buffer.alloc(1024, 'a')]]))
})

test('a power failure may take nothing', async () => {
  const machine = new MemoryDisk()
  await written(machine)
  machine.failPower(losesNothing)
  const expected = Buffer.concat([Buffer.alloc(256, 'a'), Buffer.alloc(1024, 'b')])
  assert.deepEqual(
    [...machine.files()],
    [
      ['/d/f', expected],
      ['/d/new', Buffer.alloc(0)],
    ],
  )
})

test('a power failure tears a write between sectors only', async () => {
  const seen = new Set<string>()
  for (let seed = 1; seed <= 60; seed++) {
    const machine = new MemoryDisk()
    await written(machine)
    machine.failPower(losesSome(seeded(seed)))
    const bytes = machine.files().get('/d/f') as Buffer
    seen.add([0, 256, 512, 1024].map((at) => bytes.toString('latin1', at, at + 1)).join(''))
    assert.match(bytes.toString(), /^a{256}(a{256}|b{256})(a{512}|b{512})(b{256})?$/)
  }
  assert(seen.size >= 6)
})

test('a process that died can do nothing any more, and the next one reads its unsynced bytes', async () => {
  const machine = new MemoryDisk()
  const disk = machine.mount()
  await disk.makeDirectory('/d')
  const file = await disk.open('/d/f', 'create')
  file.write(Buffer.from('x'), 0)
  machine.killProcesses()
  assert.throws(() => file.write(Buffer.from('y'), 0), { code: 'EIO' })
  await assert.rejects(disk.list('/d'), { code: 'EIO' })
  assert.deepEqual(await machine.mount().list('/d'), ['f'])
  assert.equal(machine.files().get('/d/f')?.toString(), 'x')
})

test('bytes whose sync failed are read from the page cache, and no later sync saves them', async () => {
  const machine = new MemoryDisk()
  const disk = machine.mount()
  await disk.makeDirectory('/d')
  await createDurably(disk, '/d', 'f', (file) => file.write(Buffer.from('old'), 0))
  const file = await disk.open('/d/f', 'update')
  file.write(Buffer.from('new'), 0)
  machine.before = ({ kind }) => {
    if (kind === 'sync') throw systemError('EIO', 'broken', '/d/f')
  }
  await assert.rejects(file.sync(), { code: 'EIO' })
  machine.before = () => {}
  await file.sync()
  assert.equal(machine.files().get('/d/f')?.toString(), 'new')
  machine.failPower(losesEverything)
  assert.equal(machine.files().get('/d/f')?.toString(), 'old')
})
