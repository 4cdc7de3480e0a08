// What can be said on the command line; anything else is answered with the usage.

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

export interface Options {
  /** Of the hooks, without a slash at the end. */
  readonly url: string
  /** Of a second instance; null: there is none. */
  readonly peerUrl: string | null
  readonly secret: string | null
  /** JSON texts, with `{n}` where the number of the command goes. */
  readonly commands: readonly string[]
  /** False: none were given, and these are neutral ones. */
  readonly areOwnCommands: boolean
  /** The state of the application may be overwritten though it holds something. */
  readonly allowReset: boolean
  readonly timeoutMs: number
  readonly isJson: boolean
}

export class UsageError extends Error {}

export const usage = `Usage: npm run conformance -- http://127.0.0.1:8080/raft [options]

  Calls the hooks of an application as a sidecar would, and says in one line a check what is right, what is wrong and what would do.
  Never use it on an application in production: it applies commands, takes the state back, and leaves test data in it. Give it a fresh instance.

  --command JSON     a command of the application's own kind, with {n} where a number that rises may stand; may be given several times
  --commands FILE    the same, one a line
  --peer URL         the hooks of a second fresh instance: both must come to the same state
  --secret whsec_…   what requests are signed with (APP_SECRET)
  --allow-reset      the application holds something, or does not tell, and it may be lost
  --timeout-ms 5000  how long an answer may take
  --json             one JSON document instead of lines

  Exit code 0: nothing failed; 1: something did; 64: not to be run like this.`

const neutralCommand = '{"op":"custom","name":"conformance","payload":{n}}'

/** Null: help was asked for. Throws UsageError. */
export function readOptions(argv: readonly string[]): Options | null {
  const { values, positionals } = parsed(argv)
  if (values.help) return null
  const [url] = positionals
  if (url === undefined || positionals.length > 1) throw new UsageError('Give one URL: that of the hooks (APP_URL)')
  const lines = values.commands === undefined ? [] : linesOf(values.commands)
  const own = [...values.command, ...lines].map(command)
  const timeoutMs = Number(values['timeout-ms'])
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 100 || timeoutMs > 600_000) {
    throw new UsageError(`--timeout-ms is ${values['timeout-ms']}: give a whole number from 100 to 600000`)
  }
  return {
    url: hooksUrl(url),
    peerUrl: values.peer === undefined ? null : hooksUrl(values.peer),
    secret: values.secret === undefined ? null : secretOf(values.secret),
    commands: own.length === 0 ? [neutralCommand] : own,
    areOwnCommands: own.length > 0,
    allowReset: values['allow-reset'],
    timeoutMs,
    isJson: values.json,
  }
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        command: { type: 'string', multiple: true, default: [] },
        commands: { type: 'string' },
        peer: { type: 'string' },
        secret: { type: 'string' },
        'allow-reset': { type: 'boolean', default: false },
        'timeout-ms': { type: 'string', default: '5000' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function hooksUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new UsageError(`${text} is no URL of hooks: http://127.0.0.1:8080/raft would do`)
  }
  return text.replace(/\/+$/, '')
}

function secretOf(text: string): string {
  if (!/^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text)) throw new UsageError('A secret is whsec_ and base64 behind it')
  return text
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
  } catch (error) {
    throw new UsageError(`Cannot read --commands: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function command(text: string): string {
  try {
    JSON.parse(text.replaceAll('{n}', '1'))
    return text
  } catch {
    throw new UsageError(`${text} is no command: any JSON would do, with {n} where a number may stand`)
  }
}
