// Parameters that several routes share. What a client sends, it relies on: a header or value that has no meaning where it is sent is
// refused rather than ignored.

import type { IncomingHttpHeaders } from 'node:http'
import { Refusal } from './problem.ts'

const defaultTimeoutMs = 5_000
const minTimeoutMs = 100
const maxTimeoutMs = 60_000

export function timeoutMsOf(timeout: string | undefined): number {
  return timeout === undefined ? defaultTimeoutMs : durationMsOf('timeout', timeout, minTimeoutMs)
}

/** How long a reader has patience while there is nothing to read. */
export function waitMsOf(wait: string | undefined): number {
  return wait === undefined ? 0 : durationMsOf('wait', wait, 0)
}

/** Null without the header. */
export function minIndexOf(headers: IncomingHttpHeaders): number | null {
  const value = headers['raft-min-index']
  if (value === undefined) return null
  const index = typeof value === 'string' ? wholeNumber(value) : Number.NaN
  if (Number.isSafeInteger(index)) return index
  throw new Refusal(
    400,
    'invalid-parameter',
    `The header raft-min-index is ${JSON.stringify(value)}: give the raft-index of an earlier answer.`,
  )
}

export function indexOf(name: string, value: string, minimum = 0): number {
  const index = wholeNumber(value)
  if (Number.isSafeInteger(index) && index >= minimum) return index
  throw invalid(name, value, 'give the index of a command')
}

const defaultLimit = 100
const maxLimit = 1_000

export function limitOf(limit: string | undefined): number {
  if (limit === undefined) return defaultLimit
  const count = wholeNumber(limit)
  if (count >= 1 && count <= maxLimit) return count
  throw invalid('limit', limit, `give a whole number from 1 to ${maxLimit}`)
}

/** Of HTTP's conditions, a few routes know some. */
export function refuseConditions(headers: IncomingHttpHeaders): void {
  if (headers['if-match'] !== undefined) throw meaningless('If-Match')
  if (headers['if-none-match'] !== undefined) throw meaningless('If-None-Match')
}

/** For what is no command. */
export function refuseKey(headers: IncomingHttpHeaders): void {
  if (headers['idempotency-key'] !== undefined) throw meaningless('Idempotency-Key')
}

export function meaningless(header: string): Refusal {
  return new Refusal(400, 'invalid-parameter', `The header ${header} has no meaning here: send without it.`)
}

export interface Call {
  readonly minIndex: number | null
  readonly timeoutMs: number
}

/** What those begin with that act, but propose no command of the application. */
export function beginCall(headers: IncomingHttpHeaders, timeout: string | undefined): Call {
  refuseKey(headers)
  refuseConditions(headers)
  return { minIndex: minIndexOf(headers), timeoutMs: timeoutMsOf(timeout) }
}

function durationMsOf(name: string, text: string, minimumMs: number): number {
  const [, digits, unit] = /^([0-9]{1,6})(ms|s)$/.exec(text) ?? []
  const durationMs = Number(digits) * (unit === 's' ? 1_000 : 1)
  if (durationMs >= minimumMs && durationMs <= maxTimeoutMs) return durationMs
  throw invalid(name, text, `give ${minimumMs}ms to 60s, in whole ms or s`)
}

/** NaN for anything else. */
function wholeNumber(text: string): number {
  return /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN
}

function invalid(name: string, value: string, wanted: string): Refusal {
  return new Refusal(400, 'invalid-parameter', `The parameter \`${name}\` is ${JSON.stringify(value)}: ${wanted}.`)
}
