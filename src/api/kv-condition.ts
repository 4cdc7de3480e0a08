// HTTP's conditions for compare-and-set (RFC 9110, section 13): the ETag of a key is the index at which it was modified last.

import type { IncomingHttpHeaders } from 'node:http'
import { Refusal } from './problem.ts'

export function etagOf(modifiedIndex: number): string {
  return `"${modifiedIndex}"`
}

/** The command's `ifModifiedIndex`: 0 for a key that must not exist, null without a condition. Throws Refusal. */
export function conditionOf(headers: IncomingHttpHeaders): number | null {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers
  if (match !== undefined && noneMatch !== undefined) {
    throw new Refusal(400, 'invalid-parameter', 'If-Match and If-None-Match exclude each other: send one of them.')
  }
  if (noneMatch !== undefined) {
    if (noneMatch.trim() === '*') return 0
    throw new Refusal(400, 'invalid-parameter', 'A write takes `If-None-Match: *`, for a key that must not exist.')
  }
  if (match === undefined) return null
  const index = Number(/^"([1-9][0-9]{0,15})"$/.exec(match.trim())?.[1])
  if (Number.isSafeInteger(index)) return index
  throw new Refusal(400, 'invalid-parameter', 'If-Match takes one ETag as a read gives it, such as `If-Match: "42"`.')
}

/** Whether the caller of a read has this version. */
export function isHeld(headers: IncomingHttpHeaders, etag: string): boolean {
  const held = headers['if-none-match']
  if (held === undefined) return false
  return held.split(',').some((each) => each.trim() === '*' || each.trim().replace(/^W\//, '') === etag)
}
