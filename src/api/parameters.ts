// Parameters that several routes share, and those of later versions: a client that sends one of these relies on
// it, so it is refused rather than ignored.

import type { IncomingHttpHeaders } from 'node:http'
import { Refusal } from './problem.ts'

const defaultTimeoutMs = 5_000
const minTimeoutMs = 100
const maxTimeoutMs = 60_000

export function timeoutMsOf(timeout: string | undefined): number {
  if (timeout === undefined) return defaultTimeoutMs
  const [, digits, unit] = /^([0-9]{1,6})(ms|s)$/.exec(timeout) ?? []
  const timeoutMs = Number(digits) * (unit === 's' ? 1_000 : 1)
  if (timeoutMs >= minTimeoutMs && timeoutMs <= maxTimeoutMs) return timeoutMs
  throw new Refusal(
    400,
    'invalid-parameter',
    `The query parameter \`timeout\` is ${JSON.stringify(timeout)}: give 100ms to 60s, in whole ms or s.`,
  )
}

/** Null without the header. */
export function minIndexOf(headers: IncomingHttpHeaders): number | null {
  const value = headers['raft-min-index']
  if (value === undefined) return null
  const index = typeof value === 'string' && /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN
  if (Number.isSafeInteger(index)) return index
  throw new Refusal(
    400,
    'invalid-parameter',
    `The header raft-min-index is ${JSON.stringify(value)}: give the raft-index of an earlier answer.`,
  )
}

export function refuseUnofferedHeaders(headers: IncomingHttpHeaders): void {
  if (headers['idempotency-key'] !== undefined) throw notOffered('Idempotency-Key')
  if (headers['if-match'] !== undefined) throw notOffered('If-Match')
  if (headers['if-none-match'] !== undefined) throw notOffered('If-None-Match')
}

function notOffered(header: string): Refusal {
  return new Refusal(400, 'invalid-parameter', `This version does not offer the header ${header}; send without it.`)
}
