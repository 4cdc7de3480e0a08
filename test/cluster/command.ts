// The command line as a process of its own, beside a sidecar that runs.

import { execFile } from 'node:child_process'
import type { SidecarProcess } from './processes.ts'

export interface Printed {
  readonly exitCode: number
  readonly out: string
  readonly error: string
}

/** `raft-sidecar …args`, with the environment of this sidecar. */
export function command({ env }: SidecarProcess, ...args: readonly string[]): Promise<Printed> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      process.execPath,
      ['--import', 'tsx', 'src/main.ts', ...args],
      { env },
      (failure, out, error) => {
        if (child.exitCode === null) reject(failure ?? new Error(`${args.join(' ')} was ended by a signal`))
        else resolve({ exitCode: child.exitCode, out, error })
      },
    )
  })
}
