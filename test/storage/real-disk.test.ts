// The storage on a real ext4 that runs full and loses its power.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, rm, stat } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import test from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { systemClock } from '../../src/node/system-clock.ts'
import { lockDirectory } from '../../src/storage/directory-lock.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { LoopDisk, whyNoLoopDisk } from './loop-device.ts'
import type { Opened } from './storage-kit.ts'
import { entries, ids, open, readAll, seeded } from './storage-kit.ts'

const skip = whyNoLoopDisk()
const writer = fileURLToPath(new URL('./log-writer.ts', import.meta.url))
const KiB = 1024
const term1 = { currentTerm: 1, votedFor: 'n1' }

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; !(await condition()); attempt++) {
    assert(attempt < 3000, `${what}: it never came true`)
    await delay(10)
  }
}

interface Filling extends Opened {
  readonly changes: boolean[]
}

async function openOn(disk: LoopDisk, reserveBytes: number): Promise<Filling> {
  const changes: boolean[] = []
  const opened = await open(nodeDisk, {
    directory: `${disk.path}/data`,
    segmentBytes: 256 * KiB,
    reserveBytes,
    after: systemClock.after,
    onSpace: (isFull) => changes.push(isFull),
  })
  return { ...opened, changes }
}

/** Appends one entry after the other, a few in flight, until it is told to stop. */
function appendTo({ save }: Opened) {
  const progress = { issued: 0, acknowledged: 0, isStopped: false, ended: Promise.resolve() }
  const one = async () => {
    while (!progress.isStopped) {
      const index = ++progress.issued
      await save(entries(index, index, 1, 3000), index === 1 ? term1 : null)
      progress.acknowledged++
    }
  }
  progress.ended = Promise.all([one(), one(), one()]).then(() => {})
  return progress
}

test('a disk that runs full under appends: saves wait, nothing is lost, and freed it goes on', { skip }, async (t) => {
  const disk = await LoopDisk.make(t, 32)
  const opened = await openOn(disk, 2048 * KiB)
  const { storage, changes, failures } = opened
  const appends = appendTo(opened)
  const path = `${disk.path}/data/reserve`
  const hasReserve = async () => (await stat(path).catch(() => null))?.size === 2048 * KiB
  await until('the reserve stands', hasReserve)
  assert.equal((await stat(path)).blocks * 512, 2048 * KiB, 'truly allocated')
  await until('appends are made', () => appends.acknowledged > 100)

  await disk.fill()
  await until('the disk is met full', () => storage.isFull)
  assert.equal(await hasReserve(), false)
  let stuckAt = -1
  let quiet = 0
  await until('the room of the reserve is used up', async () => {
    // What one segment leaves free of it others take.
    if (quiet === 10) await disk.fill()
    quiet = appends.acknowledged === stuckAt ? quiet + 1 : 0
    stuckAt = appends.acknowledged
    return quiet > 40
  })
  assert(appends.issued > appends.acknowledged, 'saves wait')
  assert.equal((await storage.read(1, 10, 1e6)).length, 10)
  assert.deepEqual(changes, [true])

  await disk.empty()
  await until('appends go on', () => appends.acknowledged > stuckAt + 200)
  await until('the reserve is back', async () => !storage.isFull && (await hasReserve()))
  assert.deepEqual(changes, [true, false])
  appends.isStopped = true
  await appends.ended
  await storage.close()
  assert.deepEqual(failures, [])
  await disk.remount()
  const again = await openOn(disk, 2048 * KiB)
  assert.deepEqual(again.tornTails, [])
  assert.deepEqual(
    ids(await readAll(again.storage)),
    Array.from({ length: appends.issued }, (_, at) => `1/${at + 1}`),
  )
  await again.storage.close()
})

test('an append that grows its file and is cut short waits for room, and is written again whole', {
  skip,
}, async (t) => {
  const disk = await LoopDisk.make(t, 32)
  const { save, storage, changes, failures } = await openOn(disk, 0)
  await save(entries(1, 1, 1), term1)
  await until('the second segment stands', async () => (await readdir(`${disk.path}/data`)).length === 3)
  await disk.fill(1024 * KiB)
  let isSaved = false
  const large = save(entries(2, 2, 1, 4096 * KiB)).then(() => {
    isSaved = true
  })
  await until('the disk is met full', () => storage.isFull)
  assert.equal(isSaved, false)
  await disk.empty()
  await large
  await until('the disk has room', () => !storage.isFull)
  assert.deepEqual(changes, [true, false])
  await storage.close()
  assert.deepEqual(failures, [])
  await disk.remount()
  const again = await openOn(disk, 0)
  assert.deepEqual(await readAll(again.storage), [...entries(1, 1, 1), ...entries(2, 2, 1, 4096 * KiB)])
  await again.storage.close()
})

test('founding on a full disk is refused; with room it is founded, and on a full disk it opens again', {
  skip,
}, async (t) => {
  const disk = await LoopDisk.make(t, 16)
  for (const leftKiB of [0, 4, 8, 100, 260]) {
    await disk.fill(leftKiB * KiB)
    await assert.rejects(
      openOn(disk, 0),
      (error) => error instanceof FatalError && error.exitCode === exitCodes.ioError && /room/.test(error.message),
    )
    await disk.empty()
  }
  const first = await openOn(disk, 256 * KiB)
  assert.equal(first.storage.isNew, true)
  await first.save(entries(1, 2, 1), term1)
  await first.storage.close()
  await disk.fill()
  const { storage, save } = await openOn(disk, 512 * KiB)
  assert.equal(storage.isFull, true)
  await save(entries(3, 3, 1), { currentTerm: 2, votedFor: null })
  assert.equal((await readAll(storage, 3)).length, 3)
  await storage.close()
})

test('a full disk is locked in the room of the reserve; without one it is refused, and nothing is left', {
  skip,
}, async (t) => {
  const disk = await LoopDisk.make(t, 16)
  const directory = `${disk.path}/data`
  const { storage } = await openOn(disk, 256 * KiB)
  await until('the reserve stands', async () => (await readdir(directory)).includes('reserve'))
  await storage.close()
  const before = (await readdir(directory)).filter((name) => name !== 'reserve')
  await disk.fill()
  const untouched = () => assert.fail('the lock was not taken away')
  const unlock = await lockDirectory(directory, untouched)
  assert.equal((await readdir(directory)).includes('reserve'), false)
  await disk.fill()
  await unlock()
  assert.equal((await readdir(directory)).filter((name) => name.endsWith('.tmp')).length, 0)
  for (const name of await readdir(directory)) if (name.startsWith('owner-')) await rm(`${directory}/${name}`)
  await disk.fill()
  for (let attempt = 0; attempt < 3; attempt++) {
    await assert.rejects(
      lockDirectory(directory, untouched),
      (error) =>
        error instanceof FatalError &&
        error.exitCode === exitCodes.ioError &&
        /^Cannot lock .*ENOSPC.* Make room on the disk, and start again\.$/.test(error.message),
    )
  }
  assert.deepEqual(await readdir(directory), before)
})

test('a disk that fails under a process which writes nothing is found out when its lock is to be kept', {
  skip,
}, async (t) => {
  const disk = await LoopDisk.make(t, 16)
  const failures: FatalError[] = []
  await lockDirectory(`${disk.path}/data`, (failure) => failures.push(failure))
  await disk.shutDown()
  await until('the failure is found', () => failures.length > 0)
  assert.equal(failures[0]?.exitCode, exitCodes.ioError)
  assert.match(failures[0].message, /^Cannot keep the lock on the data directory .*EIO.*The process must stop/)
})

test('power lost under a writer, again and again: what was acknowledged is there; EIO ends it', { skip }, async (t) => {
  const seed = Date.now() % 1_000_000
  t.diagnostic(`seed ${seed}`)
  const random = seeded(seed)
  const disk = await LoopDisk.make(t, 64)
  let acknowledged = { index: 0, term: 0 }
  for (let round = 1; round <= 15; round++) {
    const child = spawn(process.execPath, ['--import', 'tsx', writer, `${disk.path}/data`, String(seed + round)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.after(() => child.kill('SIGKILL'))
    const end = once(child, 'close')
    const lines: string[] = []
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
    const said = (what: string) =>
      lines.filter((line) => line.startsWith(what)).map((line) => line.split(' ').map(Number))
    await until(`round ${round} of seed ${seed} begins`, () => lines.length > 0)
    const [found] = said('found')
    assert(found, `round ${round} of seed ${seed}: ${lines}`)
    const [, index, term] = found as [number, number, number]
    assert(
      index >= acknowledged.index && term >= acknowledged.term,
      `round ${round} of seed ${seed}: ${found} of ${JSON.stringify(acknowledged)}`,
    )
    const wanted = Math.floor(random() * 150)
    await until('some saves are acknowledged', () => said('saved').length >= wanted)
    await disk.shutDown()
    const [code] = await end
    assert.equal(code, exitCodes.ioError, `round ${round} of seed ${seed}: ${lines.slice(-3)}`)
    const failedAt = lines.indexOf('failed')
    assert(
      failedAt !== -1 && !lines.slice(failedAt).some((line) => line.startsWith('saved')),
      `${lines.slice(failedAt)}`,
    )
    acknowledged = said('saved').reduce(
      (most, [, savedIndex, savedTerm]) => ({
        index: Math.max(most.index, savedIndex as number),
        term: Math.max(most.term, savedTerm as number),
      }),
      acknowledged,
    )
    await disk.remount()
  }
  assert(acknowledged.index > 100)
})
