// The proposer's trace context, as the W3C words it (Trace Context, section 3.2): what does not parse is ignored, so that a trace begins anew,
// and what a later version wrote is taken for its first four fields.

import type { IncomingHttpHeaders } from 'node:http'

const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const sampledFlag = 1

/** In the form of version 00. Null without the header, or with one that is not valid. */
export function traceparentOf(headers: IncomingHttpHeaders): string | null {
  const value = headers.traceparent
  if (typeof value !== 'string') return null
  const [, version, traceId = '', parentId = '', flags = '', more] = form.exec(value) ?? []
  if (version === undefined || version === 'ff' || /^0+$/.test(traceId) || /^0+$/.test(parentId)) return null
  if (version === '00') return more === undefined ? value : null
  // Of a version that is not known, only this flag is.
  const sampled = Number.parseInt(flags, 16) & sampledFlag
  return `00-${traceId}-${parentId}-0${sampled}`
}
