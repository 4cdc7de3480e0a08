// The body of POST {APP_URL}/apply, spliced from the bytes in the log: a JSON command arrives as it was proposed, byte for byte,
// whatever a parser would make of it; opaque bytes arrive as base64. Key and trace context stand with the commands that have them.

import type { Entry } from '../raft/entry.ts'

/** Above everything that stands around a payload: three numbers, a timestamp and the names. */
const frameBytes = 160
/** Above everything that stands around a key or a trace context; each of their characters may need a backslash. */
const attributeBytes = 20

export class ApplyBodyEncoder {
  readonly #head: string
  // Commands that were appended together share their timestamp; printing one costs more than the rest of the frame.
  #lastTimestampMs = Number.NaN
  #lastTimestamp = ''

  constructor(cluster: string, node: string) {
    this.#head = `{"cluster":${JSON.stringify(cluster)},"node":${JSON.stringify(node)},"after":`
  }

  encode(after: number, commands: readonly Entry[]): Buffer {
    let size = Buffer.byteLength(this.#head) + frameBytes
    // A record holds its payload and a little more; to ask it for its length makes nothing.
    for (const { kind, record, key, traceparent } of commands) {
      size += frameBytes + (kind === 'bytes' ? 4 * Math.ceil(record.length / 3) : record.length)
      if (key !== null) size += attributeBytes + 2 * key.length
      if (traceparent !== null) size += attributeBytes + 2 * traceparent.length
    }
    const body = Buffer.allocUnsafe(size)
    let offset = body.write(`${this.#head}${after},"commands":[`, 0, 'utf8')
    let separator = ''
    for (const { index, term, timestampMs, kind, key, traceparent, payload } of commands) {
      let frame = `${separator}{"index":${index},"term":${term},"timestamp":"${this.#timestamp(timestampMs)}",`
      if (key !== null) frame += `"key":${JSON.stringify(key)},`
      if (traceparent !== null) frame += `"traceparent":${JSON.stringify(traceparent)},`
      separator = ','
      if (kind === 'bytes') {
        offset += body.write(`${frame}"bytes":"${base64(payload)}"}`, offset, 'latin1')
      } else {
        offset += body.write(`${frame}"command":`, offset, 'latin1')
        body.set(payload, offset)
        offset += payload.length
        offset += body.write('}', offset, 'latin1')
      }
    }
    offset += body.write(']}', offset, 'latin1')
    return body.subarray(0, offset)
  }

  #timestamp(timestampMs: number): string {
    if (timestampMs !== this.#lastTimestampMs) {
      this.#lastTimestampMs = timestampMs
      this.#lastTimestamp = new Date(timestampMs).toISOString()
    }
    return this.#lastTimestamp
  }
}

/** The trace context that all of them carry; null: one carries another, or none. */
export function sharedTraceparent(commands: readonly Entry[]): string | null {
  const traceparent = commands[0]?.traceparent ?? null
  if (traceparent === null) return null
  return commands.every((command) => command.traceparent === traceparent) ? traceparent : null
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
