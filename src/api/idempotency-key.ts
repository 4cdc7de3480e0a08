// The Idempotency-Key of a proposal: 1 to 255 visible ASCII characters, bare, or as the quoted string that the IETF's draft asks for. Both
// ways of writing it name the same key.

import type { IncomingHttpHeaders } from 'node:http'
import { Refusal } from './problem.ts'

const maxKeyLength = 255
/** Behind the key of a batch comes `/` and the number of the line. */
const maxBatchKeyLength = maxKeyLength - '/10000'.length

/** Null without the header. */
export function idempotencyKeyOf(headers: IncomingHttpHeaders): string | null {
  const value = headers['idempotency-key']
  return value === undefined ? null : parseKey(String(value), maxKeyLength)
}

export function batchKeyOf(headers: IncomingHttpHeaders): string | null {
  const value = headers['idempotency-key']
  return value === undefined ? null : parseKey(String(value), maxBatchKeyLength)
}

/** The key of a batch's line; lines count from 1. */
export function lineKey(batchKey: string | null, line: number): string | null {
  return batchKey === null ? null : `${batchKey}/${line}`
}

function parseKey(value: string, maxLength: number): string {
  const key = value.startsWith('"') ? unquote(value) : value
  if (key !== null && key.length <= maxLength && /^[\x21-\x7e]+$/.test(key)) return key
  throw new Refusal(
    400,
    'invalid-parameter',
    `The header Idempotency-Key is not 1 to ${maxLength} visible ASCII characters, bare or in double quotes.`,
  )
}

/** RFC 9651, section 3.3.3: within quotes, a backslash stands before a quote or a backslash only. Null: that is no quoted string. */
function unquote(value: string): string | null {
  const inner = /^"((?:[^"\\]|\\["\\])*)"$/.exec(value)?.[1]
  return inner === undefined ? null : inner.replace(/\\(.)/g, '$1')
}
