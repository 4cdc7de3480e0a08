// Runs one command line, and gives what a shell would see of it.

import assert from 'node:assert/strict'
import type { CliEnvironment } from '../../src/cli/environment.ts'
import { runCommandLine } from '../../src/cli/program.ts'

export interface Outcome {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** `api` is where the settings say that the sidecar is. */
export async function runAt(
  api: string,
  args: readonly string[],
  overrides: Partial<CliEnvironment> = {},
): Promise<Outcome> {
  let stdout = ''
  let stderr = ''
  const exitCode = await runCommandLine(['node', 'raft-sidecar', ...args], {
    stdout: (text) => {
      stdout += text
    },
    stderr: (text) => {
      stderr += text
    },
    clientConfig: () => ({ api, apiToken: null }),
    config: () => assert.fail('the settings of run are not needed'),
    version: () => '0.1.0',
    stdin: (async function* () {})(),
    run: () => assert.fail('nothing was to be run'),
    ...overrides,
  })
  return { exitCode, stdout, stderr }
}
