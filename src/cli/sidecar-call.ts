// One command line is one call of the local API: finds the sidecar, calls it, prints the answer or what went wrong, gives the exit code.
// What comes without a known end is printed as it comes.

import { type Client, createClient } from '../client/client.ts'
import type { CliEnvironment } from './environment.ts'
import { cliExitCodes } from './exit-codes.ts'
import { failureOf } from './failure.ts'
import { readToken } from './input.ts'
import { printable } from './printable.ts'

export interface OutputOptions {
  readonly json?: boolean
}

export interface CommonOptions extends OutputOptions {
  readonly api?: string
  readonly tokenFile?: string
}

/** `json` is printed under --json, else `text`; what is asked for but was not met comes as `failure` or `exitCode` beside it. */
export interface Printed {
  readonly json: unknown
  readonly text: string
  readonly failure?: Error
  /** Instead of 0, where what was printed says why. */
  readonly exitCode?: number
}

export async function callSidecar(
  environment: CliEnvironment,
  options: CommonOptions,
  call: (client: Client) => Promise<Printed>,
): Promise<number> {
  return await withSidecar(environment, options, async (client) => print(environment, options, await call(client)))
}

/** Under --json, one line for each. */
export async function streamFromSidecar(
  environment: CliEnvironment,
  options: CommonOptions,
  call: (client: Client) => AsyncIterable<Printed>,
): Promise<number> {
  return await withSidecar(environment, options, async (client) => {
    for await (const printed of call(client)) await print(environment, options, printed)
    return cliExitCodes.ok
  })
}

async function withSidecar(
  environment: CliEnvironment,
  options: CommonOptions,
  work: (client: Client) => Promise<number>,
): Promise<number> {
  let api: string | null = options.api ?? null
  let client: Client | null = null
  try {
    const target = await targetOf(environment, options)
    api = target.api
    const token = target.token === null ? {} : { token: target.token }
    // Whoever typed this wants to be told that no sidecar is there, rather than wait for one.
    client = createClient({ url: target.api, retryUnreachable: false, ...token })
    return await work(client)
  } catch (error) {
    return printFailure(environment, options, error, api)
  } finally {
    await client?.close()
  }
}

/** For what needs no sidecar: it prints by itself, and gives the exit code. Never rejects. */
export async function runHere(
  environment: CliEnvironment,
  options: OutputOptions,
  work: () => Promise<number>,
): Promise<number> {
  try {
    return await work()
  } catch (error) {
    return printFailure(environment, options, error, null)
  }
}

/** Resolves with the exit code; throws the failure that comes beside it. */
export async function print(environment: CliEnvironment, options: OutputOptions, printed: Printed): Promise<number> {
  const { json, text, failure, exitCode = cliExitCodes.ok } = printed
  await environment.stdout(options.json ? `${JSON.stringify(json)}\n` : printable(withLineEnd(text)))
  if (failure === undefined) return exitCode
  throw failure
}

function withLineEnd(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`
}

export function printFailure(
  environment: CliEnvironment,
  options: OutputOptions,
  error: unknown,
  api: string | null,
): number {
  const { exitCode, code, message, outcome, committed } = failureOf(error, api)
  const line = options.json
    ? JSON.stringify({ error: { code, message, outcome, ...committed } })
    : `raft-sidecar: ${printable(message)}`
  environment.stderr(`${line}\n`)
  return exitCode
}

async function targetOf(environment: CliEnvironment, { api, tokenFile }: CommonOptions) {
  const token = tokenFile === undefined ? null : await readToken(tokenFile)
  if (api !== undefined && token !== null) return { api, token }
  const config = environment.clientConfig()
  return { api: api ?? config.api, token: token ?? config.apiToken }
}
