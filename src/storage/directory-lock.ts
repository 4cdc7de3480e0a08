// One process a data directory. Imports node:fs itself, since it is about processes rather than data, and never runs in a simulator.
//
// Who holds the directory is written in `owner-<n>`. It is claimed by linking a finished file to the next number, which the
// kernel grants to one process only, and only once the owner of the highest number is proved dead or has let go; the
// highest one is never removed. So a dead owner blocks nobody for an instant, a live one is never robbed, however long it was paused,
// and of two that start at once one wins. On top of that the owner keeps the lock of proper-lockfile fresh: it tells the
// owner when the directory was taken from under it, and others whether an owner whose pid means nothing here still lives.

import { randomUUID } from 'node:crypto'
import { link, readdir, readFile, readlink, rename, rm, stat, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import lockfile from 'proper-lockfile'
import { exitCodes, FatalError } from '../errors.ts'
import { diskFailure } from './damage.ts'
import { isOutOfRoom } from './disk.ts'
import type { LockOwner } from './lock-owner.ts'
import { parseOwner, startTimeOf } from './lock-owner.ts'
import { nodeDisk } from './node-disk.ts'
import { reserveName } from './reserve.ts'

const ownerPattern = /^owner-(\d+)$/
const staleMs = 10_000
const updateMs = 2_000

/**
 * Creates the directory if it must. Resolves with the function that lets go; rejects with FatalError `temporaryFailure` when another live process
 * holds it. `onCompromised` is told when the lock was taken away, or cannot be kept: the process must stop at once.
 */
export async function lockDirectory(
  directory: string,
  onCompromised: (error: FatalError) => void,
): Promise<() => Promise<void>> {
  try {
    await nodeDisk.makeDirectory(directory)
    const claim = await inReserveAtWorst(directory, () => claimOwnership(directory))
    const lockPath = lockPathIn(directory)
    // Ours by the claim: whatever is left there belongs to the dead.
    await rm(lockPath, { recursive: true, force: true })
    const unlock = await inReserveAtWorst(directory, () =>
      lockfile.lock(directory, {
        lockfilePath: lockPath,
        stale: staleMs,
        update: updateMs,
        onCompromised: (error) => onCompromised(lost(directory, error)),
      }),
    )
    return async () => {
      await unlock().catch(() => {})
      await writeAtOnce(directory, claim.path, { ...claim.owner, released: true }).catch(unlessOutOfRoom)
    }
  } catch (error) {
    throw diskFailure(`lock the data directory ${directory}`, error)
  }
}

/** A node on a full disk shall start, if only to serve reads and to compact: it takes a few blocks, and for that the reserve is kept. */
async function inReserveAtWorst<T>(directory: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    if (!isOutOfRoom(error)) throw error
    // Should a live process hold the directory, it will find that the reserve is gone when it needs it.
    await rm(join(directory, reserveName), { force: true })
    await nodeDisk.syncDirectory(directory)
    return await step()
  }
}

/** That this process has let go is also proved by its end. */
function unlessOutOfRoom(error: unknown): void {
  if (!isOutOfRoom(error)) throw error
}

/** The live process that holds the directory; null: none does. Only reads. */
export async function holderOf(directory: string): Promise<number | null> {
  const highest = (await ownerNumbers(directory)).at(-1) ?? 0
  return (await livingOwner(directory, highest))?.pid ?? null
}

interface Claim {
  readonly path: string
  readonly owner: LockOwner
}

async function claimOwnership(directory: string): Promise<Claim> {
  const owner = await describeSelf()
  const prepared = join(directory, `owner-${randomUUID()}.tmp`)
  try {
    await writeFile(prepared, JSON.stringify(owner))
    while (true) {
      const highest = (await ownerNumbers(directory)).at(-1) ?? 0
      await refuseIfAlive(directory, highest)
      const mine = highest + 1
      const path = join(directory, `owner-${mine}`)
      if (!(await linked(prepared, path))) continue
      // Someone may have got further while this process looked at an old list: the highest number holds the directory.
      const numbers = await ownerNumbers(directory)
      if ((numbers.at(-1) ?? 0) > mine) {
        await rm(path, { force: true })
        continue
      }
      for (const number of numbers) if (number < mine) await rm(join(directory, `owner-${number}`), { force: true })
      return { path, owner }
    }
  } finally {
    await rm(prepared, { force: true })
  }
}

async function refuseIfAlive(directory: string, number: number): Promise<void> {
  const owner = await livingOwner(directory, number)
  if (owner === null) return
  throw new FatalError(
    exitCodes.temporaryFailure,
    `Cannot use the data directory ${directory}: process ${owner.pid} holds it. Stop that process, or choose another directory.`,
  )
}

async function livingOwner(directory: string, number: number): Promise<LockOwner | null> {
  if (number === 0) return null
  const path = join(directory, `owner-${number}`)
  const text = await readIfThere(path)
  const owner = text === null ? null : parseOwner(text)
  return owner !== null && (await holds(directory, path, owner)) ? owner : null
}

async function holds(directory: string, path: string, owner: LockOwner): Promise<boolean> {
  if (owner.released || owner.bootId !== (await bootId())) return false
  if (owner.pidNamespace !== (await pidNamespace())) {
    // In another container the pid proves nothing; then the lock that a live owner keeps fresh decides.
    return (await isFresh(path)) || lockfile.check(directory, { lockfilePath: lockPathIn(directory), stale: staleMs })
  }
  return (await startTime(owner.pid)) === owner.startTime
}

/** Claimed so recently that the lock which is kept fresh may not be there yet. */
async function isFresh(path: string): Promise<boolean> {
  const { mtimeMs } = await stat(path)
  return mtimeMs > Date.now() - staleMs
}

async function describeSelf(): Promise<LockOwner> {
  const started = await startTime(process.pid)
  if (started === null) throw new Error('/proc does not know this process')
  return {
    pid: process.pid,
    bootId: await bootId(),
    pidNamespace: await pidNamespace(),
    startTime: started,
    released: false,
  }
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
}

function pidNamespace(): Promise<string> {
  return readlink('/proc/self/ns/pid')
}

async function startTime(pid: number): Promise<string | null> {
  const stat = await readIfThere(`/proc/${pid}/stat`)
  return stat === null ? null : startTimeOf(stat)
}

async function ownerNumbers(directory: string): Promise<number[]> {
  const numbers = (await readdir(directory)).map((name) => Number(ownerPattern.exec(name)?.[1] ?? 0))
  return numbers.filter((number) => number > 0).sort((a, b) => a - b)
}

/** False: another process was first. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  }
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    // A process that ends while its file is read answers ESRCH.
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return null
    throw error
  }
}

async function writeAtOnce(directory: string, path: string, owner: LockOwner): Promise<void> {
  const temporary = join(directory, `owner-${randomUUID()}.tmp`)
  try {
    await writeFile(temporary, JSON.stringify(owner))
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
}

function lockPathIn(directory: string): string {
  return join(directory, 'lock')
}

/** It was taken away, or the disk has answered with errors for so long that others may take it for stale. */
function lost(directory: string, cause: Error): FatalError {
  // The library overwrites the code of a system error.
  const isDiskFailure = 'errno' in cause && cause.errno !== -constants.errno.ENOENT
  if (isDiskFailure) return diskFailure(`keep the lock on the data directory ${directory}`, cause)
  return new FatalError(
    exitCodes.temporaryFailure,
    `The lock on the data directory ${directory} was taken away (${cause.message}): another process may be writing there.`,
    { cause },
  )
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
