// A command of the log as JSON, spliced from its stored bytes: nothing is parsed, and a number of twenty digits stays what it was.

import type { LoggedCommand } from '../node/contract.ts'
import { isoTime } from './answer.ts'

const lineFeed = 10
const carriageReturn = 13
const space = 32

export function loggedCommandJson(logged: LoggedCommand): Buffer {
  const { index, term, timestampMs, kind, payload, key, traceparent, skipped } = logged
  const head = [`{"index":${index},"term":${term},"timestamp":"${isoTime(timestampMs)}"`]
  if (key !== null) head.push(`"key":${JSON.stringify(key)}`)
  if (traceparent !== null) head.push(`"traceparent":${JSON.stringify(traceparent)}`)
  head.push(kind === 'json' ? '"command":' : `"bytes":"${asBuffer(payload).toString('base64')}"`)
  const tail = Buffer.from(skipped ? ',"skipped":true}' : '}')
  return Buffer.concat([Buffer.from(head.join(',')), ...(kind === 'json' ? [payload] : []), tail])
}

/** The same in one line, changed in place. In JSON, a line break stands between tokens only, where any white space will do. */
export function intoOneLine(json: Buffer): Buffer {
  for (const lineBreak of [lineFeed, carriageReturn]) {
    for (let at = json.indexOf(lineBreak); at !== -1; at = json.indexOf(lineBreak, at + 1)) json[at] = space
  }
  return json
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
