// What a command line has around it: streams, settings, the sidecar to run. Tests put their own in its place.

import { readFileSync } from 'node:fs'
import { type ClientConfig, type Config, loadClientConfig, loadConfig } from '../config.ts'
import { cliExitCodes } from './exit-codes.ts'
import { CliFailure } from './failure.ts'

export interface CliEnvironment {
  /** A promise when whoever reads it does not keep up: what follows has to wait for it. */
  stdout(text: string): void | Promise<void>
  stderr(text: string): void
  readonly stdin: AsyncIterable<Uint8Array>
  /** Asked only for what the command line does not say. */
  clientConfig(): ClientConfig
  /** The settings of `run`, for what prepares its data directory. */
  config(): Config
  /** Runs a sidecar; resolves once it runs. */
  run(): Promise<void>
  version(): string
}

export function terminalEnvironment(): CliEnvironment {
  // Whoever read our output has left, as `head` does: that is no defect.
  process.stdout.on('error', () => process.exit())
  return {
    stdout: (text) => {
      if (!process.stdout.write(text)) return new Promise((resolve) => process.stdout.once('drain', resolve))
    },
    stderr: (text) => void process.stderr.write(text),
    stdin: process.stdin,
    clientConfig: () => loadClientConfig(),
    config: () => loadConfig(),
    run: () => Promise.reject(new CliFailure(cliExitCodes.usage, 'usage', 'run takes neither arguments nor options')),
    version: readVersion,
  }
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown'
}
