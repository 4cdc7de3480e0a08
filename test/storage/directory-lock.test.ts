import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { holderOf, lockDirectory } from '../../src/storage/directory-lock.ts'
import { isLockName, parseOwner, startTimeOf } from '../../src/storage/lock-owner.ts'
import { temporaryDirectory } from './storage-kit.ts'

const program = fileURLToPath(new URL('./lock-holder.ts', import.meta.url))
const untouched = () => assert.fail('the lock was not taken away')

function start(t: test.TestContext, directory: string): { child: ChildProcess; said: Promise<string> } {
  const child = spawn(process.execPath, ['--import', 'tsx', program, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const said = once(createInterface({ input: child.stdout }), 'line').then(([line]) => String(line))
  return { child, said }
}

function isRefusal(directory: string, pid: number | undefined): (error: unknown) => boolean {
  return (error) =>
    error instanceof FatalError &&
    error.exitCode === exitCodes.temporaryFailure &&
    error.message.includes(directory) &&
    error.message.includes(`process ${pid} `) &&
    !error.message.includes('\n')
}

async function ownerFiles(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => name.startsWith('owner-'))
}

/** Changes what the one owner file says. */
async function rewriteOwner(directory: string, change: object): Promise<void> {
  const path = `${directory}/${(await ownerFiles(directory))[0]}`
  const owner = parseOwner(await readFile(path, 'utf8'))
  assert(owner)
  await writeFile(path, JSON.stringify({ ...owner, ...change }))
}

test('a directory is made, held by one, and free again once that one lets go', async (t) => {
  const directory = `${await temporaryDirectory(t)}/new`
  for (let round = 0; round < 3; round++) {
    const unlock = await lockDirectory(directory, untouched)
    await assert.rejects(lockDirectory(directory, untouched), isRefusal(directory, process.pid))
    await unlock()
    assert.equal((await readdir(directory)).length, 1)
  }
})

test('a live process is never robbed, not even while it is stopped with a lock older than any stale time', async (t) => {
  const directory = await temporaryDirectory(t)
  const { child, said } = start(t, directory)
  assert.equal(await said, 'locked')
  await assert.rejects(lockDirectory(directory, untouched), isRefusal(directory, child.pid))
  child.kill('SIGSTOP')
  await utimes(`${directory}/lock`, 1, 1)
  await assert.rejects(lockDirectory(directory, untouched), isRefusal(directory, child.pid))
  assert.deepEqual(await ownerFiles(directory), ['owner-1'])
})

test('a process that was killed blocks nobody, though its lock looks fresh', async (t) => {
  const directory = await temporaryDirectory(t)
  const { child, said } = start(t, directory)
  assert.equal(await said, 'locked')
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert((await readdir(directory)).includes('lock'))
  const unlock = await lockDirectory(directory, untouched)
  assert.deepEqual(await ownerFiles(directory), ['owner-2'])
  await unlock()
})

test('of several that start at once, exactly one wins, whether the directory was free or its owner is dead', async (t) => {
  const directory = await temporaryDirectory(t)
  for (let round = 0; round < 2; round++) {
    const all = [start(t, directory), start(t, directory), start(t, directory)]
    const said = await Promise.all(all.map((one) => one.said))
    assert.equal(said.filter((line) => line === 'locked').length, 1, said.join('; '))
    assert.equal(said.filter((line) => line.startsWith(`refused ${exitCodes.temporaryFailure}`)).length, 2)
    for (const { child } of all) {
      if (child.exitCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
})

test('many claims in one process: one wins each round', async (t) => {
  const directory = await temporaryDirectory(t)
  for (let round = 0; round < 10; round++) {
    const claims = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(directory, untouched)))
    const won = claims.filter((claim) => claim.status === 'fulfilled')
    assert.equal(won.length, 1)
    await won[0]?.value()
  }
})

const deadOwners: readonly [name: string, change: object][] = [
  ['of an earlier boot', { bootId: 'another' }],
  ['whose pid another process has now', { startTime: '1' }],
  ['whose pid nobody has', { pid: 4_194_305 }],
]
for (const [name, change] of deadOwners) {
  test(`an owner ${name} is dead`, async (t) => {
    const directory = await temporaryDirectory(t)
    const { said } = start(t, directory)
    assert.equal(await said, 'locked')
    await rewriteOwner(directory, change)
    await (await lockDirectory(directory, untouched))()
  })
}

test('an owner in another container lives as long as it keeps its lock fresh', async (t) => {
  const directory = await temporaryDirectory(t)
  const { child, said } = start(t, directory)
  assert.equal(await said, 'locked')
  child.kill('SIGSTOP')
  await rewriteOwner(directory, { pidNamespace: 'pid:[1]' })
  const [owner] = await ownerFiles(directory)
  await assert.rejects(lockDirectory(directory, untouched), isRefusal(directory, child.pid))
  await utimes(`${directory}/${owner}`, 1, 1)
  await assert.rejects(lockDirectory(directory, untouched), isRefusal(directory, child.pid))
  await utimes(`${directory}/lock`, 1, 1)
  await (await lockDirectory(directory, untouched))()
})

test('an owner file that a power failure left empty holds nothing', async (t) => {
  const directory = await temporaryDirectory(t)
  await writeFile(`${directory}/owner-7`, '')
  const unlock = await lockDirectory(directory, untouched)
  assert.deepEqual(await ownerFiles(directory), ['owner-8'])
  await unlock()
})

test('the owner is told when its lock was taken away', async (t) => {
  const directory = await temporaryDirectory(t)
  let tell = (_: FatalError) => {}
  const told = new Promise<FatalError>((resolve) => {
    tell = resolve
  })
  const unlock = await lockDirectory(directory, (error) => tell(error))
  await rm(`${directory}/lock`, { recursive: true })
  // The timer of the lock does not keep a process alive by itself.
  const alive = setInterval(() => {}, 100)
  const error = await told
  clearInterval(alive)
  assert.equal(error.exitCode, exitCodes.temporaryFailure)
  assert(error.message.includes(directory))
  await unlock()
})

test('the start time is found behind any name, and a zombie has none', () => {
  const fields = (state: string) => `42 (a) (b c) ${state} ${Array.from({ length: 40 }, (_, at) => at + 4).join(' ')}`
  assert.equal(startTimeOf(fields('S')), '22')
  assert.equal(startTimeOf(fields('T')), '22')
  assert.equal(startTimeOf(fields('Z')), null)
})

test('who holds a directory is told to whoever only looks', async (t) => {
  const directory = await temporaryDirectory(t)
  assert.equal(await holderOf(directory), null)
  const unlock = await lockDirectory(directory, untouched)
  const names = await readdir(directory)
  assert.equal(await holderOf(directory), process.pid)
  assert.deepEqual(await readdir(directory), names)
  assert(names.every(isLockName))
  await rewriteOwner(directory, { startTime: '1' })
  assert.equal(await holderOf(directory), null)
  await unlock()
  assert.equal(await holderOf(directory), null)
  assert(!['metafile', 'owner-x', 'lock-1', 'x.tmp', 'owner-1.bak'].some(isLockName))
})
