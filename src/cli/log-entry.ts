// An entry of the log on one line, for people and for programs.

import type { Inspection } from '../storage/inspect-directory.ts'

export type LogEntry = ReturnType<Inspection['entries']> extends AsyncGenerator<infer Each> ? Each : never

export function entryLine(entry: LogEntry): string {
  const { index, term, kind, timestampMs, record, key, traceparent } = entry
  const parts = [String(index), String(term), kind.padEnd(13), isoTime(timestampMs), `${record.length} B`]
  if (key !== null) parts.push(`key=${key}`)
  if (traceparent !== null) parts.push(`traceparent=${traceparent}`)
  const text = textOf(entry)
  if (text !== null) parts.push(text)
  return parts.join('  ')
}

export function entryJson(entry: LogEntry): string {
  const { index, term, kind, timestampMs, record, key, traceparent, payload } = entry
  const fields = {
    type: 'entry',
    index,
    term,
    kind,
    timestamp: isoTime(timestampMs),
    sizeBytes: record.length,
    ...(key === null ? {} : { key }),
    ...(traceparent === null ? {} : { traceparent }),
  }
  if (kind === 'noop') return JSON.stringify(fields)
  if (kind === 'bytes') return JSON.stringify({ ...fields, bytes: Buffer.from(payload).toString('base64') })
  const text = textOf(entry) ?? ''
  if (!isJson(text)) return JSON.stringify({ ...fields, text })
  // As it was sent: parsed and printed again, 12345678901234567890 would be another number.
  return `${JSON.stringify(fields).slice(0, -1)},${JSON.stringify(kind === 'json' ? 'command' : kind)}:${text}}`
}

/** Null when it has none. */
function textOf({ kind, payload }: LogEntry): string | null {
  if (kind === 'noop' || kind === 'bytes') return null
  // In JSON a line break can only stand where any space could.
  return Buffer.from(payload.buffer, payload.byteOffset, payload.length)
    .toString()
    .replace(/[\r\n]+/g, ' ')
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function isoTime(timestampMs: number): string {
  const date = new Date(timestampMs)
  return Number.isNaN(date.getTime()) ? `${timestampMs} ms` : date.toISOString()
}
