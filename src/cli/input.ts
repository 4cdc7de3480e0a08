// What people type, made into what the sidecar takes; whatever does not fit is a CliFailure that says how to write it.

import { open, readFile } from 'node:fs/promises'
import { InvalidArgumentError } from 'commander'
import { cliExitCodes } from './exit-codes.ts'
import { CliFailure } from './failure.ts'

/** The most that MAX_COMMAND_BYTES can be set to. */
const maxInputBytes = 16 * 1024 * 1024
const maxTokenBytes = 65_536

/** The JSON value that the text holds; undefined when it is not JSON. */
export function parseJson(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const rounded = roundedNumber(text)
  if (rounded === null) return value
  throw usage(`The number ${rounded} would be rounded on its way: write it as a string, in quotes`)
}

export function parseCommand(text: string): unknown {
  const value = parseJson(text)
  if (value === undefined)
    throw usage(`Not JSON: ${text.slice(0, 80)}; quote it for the shell, or send bytes by --bytes-file`)
  return value
}

/** `-` is standard input. */
export async function readBytes(path: string, stdin: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const source = path === '-' ? stdin : (await openForReading(path)).createReadStream()
  const chunks: Uint8Array[] = []
  let sizeBytes = 0
  for await (const chunk of source) {
    sizeBytes += chunk.length
    if (sizeBytes > maxInputBytes) throw usage(`${path} holds more than a command may: 16 MiB`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

export async function readToken(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(path, error)
  })
  const token = text.trim()
  if (!/^[\x21-\x7e]+$/.test(token) || token.length > maxTokenBytes)
    throw usage(`${path} holds no token: one line of visible characters`)
  return token
}

/** `500ms`, `5s`: what the API takes, 100 ms to 60 s. For commander. */
export function parseTimeoutMs(text: string): number {
  const [, digits, unit] = /^([0-9]{1,6})(ms|s)$/.exec(text) ?? []
  const timeoutMs = Number(digits) * (unit === 's' ? 1000 : 1)
  if (!(timeoutMs >= 100 && timeoutMs <= 60_000))
    throw new InvalidArgumentError('Give 100ms to 60s, such as 500ms or 5s.')
  return timeoutMs
}

/** Of an entry of the log. For commander. */
export function parseIndex(text: string): number {
  const index = /^[0-9]{1,15}$/.test(text) ? Number(text) : 0
  if (index < 1) throw new InvalidArgumentError('Give the index of an entry, from 1 on.')
  return index
}

/** Of an entry that may be none: 0 stands before the first one. For commander. */
export function parseAfter(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError('Give the index of an entry, or 0.')
  return Number(text)
}

/** An idempotency key. For commander. */
export function parseKey(text: string): string {
  if (!/^[!-~]{1,255}$/.test(text)) throw new InvalidArgumentError('Give 1 to 255 visible ASCII characters.')
  return text
}

/** http://host:port or unix:/path. For commander. */
export function parseApi(text: string): string {
  if (/^unix:\/./.test(text)) return text
  const url = URL.canParse(text) ? new URL(text) : null
  const plain = url !== null && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`
  if (!plain) throw new InvalidArgumentError('Give http://host:port or unix:/path.')
  return url.origin
}

async function openForReading(path: string) {
  try {
    const file = await open(path)
    if ((await file.stat()).isDirectory()) throw usage(`${path} is a directory: give a file`)
    return file
  } catch (error) {
    throw error instanceof CliFailure ? error : unreadable(path, error)
  }
}

/** A number of the text that does not survive as a double, which is what JSON.parse makes of it. */
function roundedNumber(text: string): string | null {
  const withoutStrings = text.replace(/"(?:[^"\\]|\\.)*"/g, '""')
  for (const [number] of withoutStrings.matchAll(/-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/g)) {
    const value = Number(number)
    const isInteger = /^-?[0-9]+$/.test(number)
    if (isInteger ? BigInt(number) !== BigInt(value) : !Number.isFinite(value)) return number
  }
  return null
}

function unreadable(path: string, error: unknown): CliFailure {
  return usage(`Cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`)
}

function usage(message: string): CliFailure {
  return new CliFailure(cliExitCodes.usage, 'usage', message)
}
