// Brings a backup to a file of this machine: whole, verified to its last checksum and durable under its name, or not there at all.

import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Backup, Client, SnapshotResponse } from '../client/client.ts'
import { exitCodes, FatalError, InvalidSnapshotError } from '../errors.ts'
import { SnapshotFileError, SnapshotVerifier } from '../storage/snapshot-file.ts'
import { cliExitCodes } from './exit-codes.ts'
import { CliFailure } from './failure.ts'
import type { Printed } from './sidecar-call.ts'

export async function takeSnapshot(client: Client): Promise<Printed> {
  const snapshot = await client.snapshot()
  return { json: snapshot, text: `The node holds a ${describe(snapshot)}` }
}

/** An existing file is replaced only when `force` says so, and then at once or not at all. */
export async function downloadBackup(client: Client, path: string, force: boolean): Promise<Printed> {
  await refuseExisting(path, force)
  const backup = await client.openBackup()
  const part = `${path}.part`
  const file = await open(part, 'w', 0o640).catch((error: unknown) => {
    throw cannotWrite(path, error)
  })
  try {
    try {
      await save(backup, file, path)
    } finally {
      await file.close()
    }
    await refuseExisting(path, force)
    await rename(part, path)
    await syncDirectory(dirname(path))
  } catch (error) {
    await rm(part, { force: true })
    throw hasSystemCode(error) ? cannotWrite(path, error) : error
  }
  const { index, term, sizeBytes } = backup
  return { json: { file: path, index, term, sizeBytes }, text: `Saved ${path}: a verified ${describe(backup)}` }
}

async function save({ body, index, term }: Backup, file: FileHandle, path: string): Promise<void> {
  const verifier = new SnapshotVerifier(null)
  try {
    for await (const bytes of body) {
      verifier.push(bytes)
      await writeAll(file, bytes)
    }
    const { lastIncluded } = verifier.end().header
    if (lastIncluded.index !== index || lastIncluded.term !== term) {
      const found = `entry ${lastIncluded.index} of term ${lastIncluded.term}`
      throw new SnapshotFileError(null, `It reaches to ${found}, and was announced as one to ${index} of ${term}.`)
    }
  } catch (error) {
    if (!(error instanceof SnapshotFileError)) throw error
    const message = `Cannot keep the snapshot that came as ${path}: ${error.message} Nothing was kept of it; try another node.`
    throw new InvalidSnapshotError(message, { cause: error })
  }
  await file.sync()
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done)
    done += bytesWritten
  }
}

async function refuseExisting(path: string, force: boolean): Promise<void> {
  const found = await stat(path).catch(() => null)
  if (found === null || (force && found.isFile())) return
  const advice = found.isFile() ? 'give another name, or --force to replace it' : 'give the name of a file'
  throw new CliFailure(cliExitCodes.usage, 'file-exists', `${path} is there already: ${advice}`)
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

function describe({ index, term, sizeBytes }: SnapshotResponse): string {
  return `snapshot through entry ${index} of term ${term}, ${sizeBytes} bytes`
}

function hasSystemCode(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error
}

function cannotWrite(path: string, cause: unknown): FatalError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new FatalError(exitCodes.ioError, `Cannot write ${path}: ${reason}`, { cause })
}
