// `log verify` and `log dump`: what a data directory holds and what the next start will make of it, without a sidecar and without a change.

import { resolve } from 'node:path'
import { exitCodes, FatalError } from '../errors.ts'
import { holderOf } from '../storage/directory-lock.ts'
import { inspectDirectory } from '../storage/inspect-directory.ts'
import { nodeDisk } from '../storage/node-disk.ts'
import type { CliEnvironment } from './environment.ts'
import { cliExitCodes } from './exit-codes.ts'
import { CliFailure } from './failure.ts'
import { entryJson, entryLine } from './log-entry.ts'
import type { Looked } from './log-report.ts'
import { logReport, logScreen } from './log-report.ts'
import { printable } from './printable.ts'
import { type OutputOptions, print } from './sidecar-call.ts'

export interface DumpOptions extends OutputOptions {
  readonly from?: number
  readonly through?: number
}

export async function verifyLog(
  environment: CliEnvironment,
  directory: string,
  options: OutputOptions,
): Promise<number> {
  const looked = await look(directory)
  return print(environment, options, {
    json: logReport(looked),
    text: logScreen(looked),
    exitCode: exitCodeOf(looked),
  })
}

/** The report first, then the entries, as many as can be read. */
export async function dumpLog(environment: CliEnvironment, directory: string, options: DumpOptions): Promise<number> {
  const { from = 1, through = Number.MAX_SAFE_INTEGER } = options
  if (from > through) throw new CliFailure(cliExitCodes.usage, 'usage', `--from ${from} is past --through ${through}`)
  const looked = await look(directory)
  const json = { type: 'report', ...logReport(looked) }
  const exitCode = await print(environment, options, {
    json,
    text: `${logScreen(looked)}\n`,
    exitCode: exitCodeOf(looked),
  })
  for await (const entry of looked.inspection.entries(from, through)) {
    await environment.stdout(`${options.json ? entryJson(entry) : printable(entryLine(entry))}\n`)
  }
  return exitCode
}

async function look(directory: string): Promise<Looked> {
  const path = resolve(directory)
  try {
    const heldBy = await holderOf(path)
    return {
      path,
      heldBy,
      inspection: await inspectDirectory({ disk: nodeDisk, directory: path, isHeld: heldBy !== null }),
    }
  } catch (error) {
    if (error instanceof FatalError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new FatalError(exitCodes.ioError, `Cannot read the data directory ${path}: ${reason}`, { cause: error })
  }
}

function exitCodeOf({ inspection }: Looked): number {
  return inspection.verdict.kind === 'damaged' ? exitCodes.dataError : cliExitCodes.ok
}
