#!/usr/bin/env node
// The composition root: config, open storage, wire, signals, exit codes. Nobody imports it. What is only needed to run a node is
// loaded only then, so that the command line answers at once.

import { FatalError } from './errors.ts'

async function main(): Promise<void> {
  if (process.argv[2] === 'run' && process.argv.length === 3) {
    const { runSidecar } = await import('./sidecar.ts')
    await runSidecar()
    return
  }
  const { runCommandLine } = await import('./cli/program.ts')
  process.exitCode = await runCommandLine(process.argv)
}

main().catch((error: unknown) => {
  // One line for what a person can mend; a defect of ours shows where it happened.
  const isExpected = error instanceof FatalError
  console.error(isExpected ? `raft-sidecar: ${error.message}` : error)
  process.exit(isExpected ? error.exitCode : 70)
})
