// What a command of the key-value machine may be. The gateway and `apply` judge by this one function, and it depends on nothing but
// the bytes, not even on the wording of the JSON parser, so that every node comes to the same result.

import { isUtf8 } from 'node:buffer'
import { findMember } from './json-member.ts'
import { parsePlainSet } from './kv-plain-set.ts'

export const maxKeyBytes = 1024
/** Arrays and objects within one another in a value: what prints JSON recursively must not run out of stack. */
export const maxValueDepth = 512

export type KvCommand =
  | {
      readonly op: 'set'
      readonly key: string
      /** The value's JSON text as it was sent. */
      readonly valueJson: string
      /** Compare-and-set: applies only while the key's modifiedIndex is this one; 0: only while it does not exist; null: always. */
      readonly ifModifiedIndex: number | null
    }
  | { readonly op: 'delete'; readonly key: string; readonly ifModifiedIndex: number | null }
  | { readonly op: 'custom'; readonly name: string }

export type KvParsed =
  | { readonly command: KvCommand; readonly error: null }
  /** One sentence: what is wrong, and what would do. */
  | { readonly command: null; readonly error: string }

const form =
  'a command is {"op":"set","key":…,"value":…}, {"op":"delete","key":…} or {"op":"custom","name":…,"payload":…}'
const names = {
  set: ['op', 'key', 'value', 'ifModifiedIndex'],
  delete: ['op', 'key', 'ifModifiedIndex'],
  custom: ['op', 'name', 'payload'],
} as const

/** Never throws. */
export function parseKvCommand(payload: Uint8Array): KvParsed {
  const bytes = asBuffer(payload)
  const plain = parsePlainSet(bytes, maxKeyBytes)
  if (plain !== null) return { command: { op: 'set', ...plain, ifModifiedIndex: null }, error: null }
  return parseAny(bytes)
}

/** The general way; exported for the test that holds the short one against it. */
export function parseAny(bytes: Buffer): KvParsed {
  if (!isUtf8(bytes)) return invalid(`The command is not valid UTF-8: ${form}`)
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch {
    return invalid(`The command is not valid JSON: ${form}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return invalid(`The command is not a JSON object: ${form}`)
  }
  const fields = value as Readonly<Record<string, unknown>>
  const { op } = fields
  if (op !== 'set' && op !== 'delete' && op !== 'custom') return invalid(`The command has no known "op": ${form}`)
  const allowed: readonly string[] = names[op]
  for (const name of Object.keys(fields)) {
    if (!allowed.includes(name)) {
      return invalid(
        `The command has a property ${quoted(name)} that "${op}" does not know: it takes ${allowed.join(', ')}`,
      )
    }
  }
  return op === 'custom' ? parseCustom(fields) : parseKeyed(op, fields, bytes)
}

function parseCustom(fields: Readonly<Record<string, unknown>>): KvParsed {
  const { name } = fields
  const wrong = nameProblem(name, '"name"')
  if (wrong !== null) return invalid(wrong)
  if (!Object.hasOwn(fields, 'payload')) {
    return invalid('The command "custom" has no "payload": any JSON value will do, also null')
  }
  return { command: { op: 'custom', name: name as string }, error: null }
}

function parseKeyed(op: 'set' | 'delete', fields: Readonly<Record<string, unknown>>, bytes: Buffer): KvParsed {
  const wrong = nameProblem(fields.key, '"key"')
  if (wrong !== null) return invalid(wrong)
  const key = fields.key as string
  const condition = fields.ifModifiedIndex
  if (condition !== undefined && (!Number.isSafeInteger(condition) || (condition as number) < 0)) {
    return invalid(
      'The "ifModifiedIndex" is not an index: give the modifiedIndex that was read, or 0 for a key that must not exist',
    )
  }
  const ifModifiedIndex = condition === undefined ? null : (condition as number)
  if (op === 'delete') return { command: { op, key, ifModifiedIndex }, error: null }
  const span = findMember(bytes, 'value')
  if (span === null) return invalid('The command "set" has no "value": any JSON value will do, also null')
  if (span.depth > maxValueDepth) {
    return invalid(`The "value" nests ${span.depth} levels deep: at most ${maxValueDepth} will do`)
  }
  return { command: { op, key, valueJson: bytes.toString('utf8', span.start, span.end), ifModifiedIndex }, error: null }
}

/** Null when the name is a usable one. */
function nameProblem(name: unknown, what: string): string | null {
  if (typeof name !== 'string' || name === '') return `The ${what} is not a non-empty string`
  // A UTF-16 unit takes at most three bytes, so most names need no counting.
  if (name.length * 3 > maxKeyBytes && Buffer.byteLength(name) > maxKeyBytes) {
    return `The ${what} takes more than ${maxKeyBytes} bytes as UTF-8: use a shorter one`
  }
  if (/\p{Surrogate}/u.test(name))
    return `The ${what} holds half of a surrogate pair, which no URL can name: use whole characters`
  return null
}

function invalid(error: string): KvParsed {
  return { command: null, error }
}

function quoted(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
