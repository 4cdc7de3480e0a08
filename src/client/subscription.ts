// A stream of server-sent events that outlives its connections: after any break it goes on behind the last whole event that was taken. It
// reads no further than it is asked to, so that a slow reader slows the sender.

import type { Caller } from './caller.ts'
import { SidecarError } from './error.ts'
import { EventParser, type ServerEvent } from './event-stream.ts'
import { Patience } from './patience.ts'
import { errorOf, malformed } from './read-answer.ts'

export interface Subscription {
  readonly path: string
  /** Beside Last-Event-ID, for the first connection or each of them. `lastId` is empty before the first event. */
  readonly query?: (lastId: string) => Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

const openTimeoutMs = 15_000
/** The sidecar sends a comment more often than that: a connection that stands still for so long is dead. */
const idleTimeoutMs = 60_000

/** Ends by `break`, or by rejecting: with the signal's reason, or with what cannot get better. */
export async function* subscribe(
  caller: Caller,
  { path, query, signal }: Subscription,
): AsyncGenerator<ServerEvent, void, undefined> {
  const patience = new Patience({ timeoutMs: Number.POSITIVE_INFINITY, signal })
  let lastId = ''
  let isFirst = true
  for (;;) {
    let retryAfterMs: number | null = null
    try {
      const headers = { accept: 'text/event-stream', ...(lastId === '' ? {} : { 'last-event-id': lastId }) }
      const shape = { method: 'GET', path, headers, query: query?.(lastId) ?? {} } as const
      const opened = await caller.open(shape, { timeoutMs: openTimeoutMs, idleTimeoutMs, signal })
      const { status, header, body } = opened
      isFirst = false
      if (!header('content-type')?.startsWith('text/event-stream')) {
        opened.leave()
        throw malformed('The sidecar did not answer with a stream of events', status, false)
      }
      const parser = new EventParser()
      for await (const chunk of body) {
        for (const event of parser.push(chunk)) {
          // A stream that is under way has no other way to say why it cannot go on.
          if (event.type === 'error') throw errorOf({ status, retryAfter: null, text: event.data }, false)
          patience.reset()
          if (event.id !== '') lastId = event.id
          yield event
        }
        if (parser.lastId !== '') lastId = parser.lastId
      }
    } catch (error) {
      if (!(error instanceof SidecarError) || !caller.mayRepeat(error, isFirst)) throw error
      isFirst = false
      retryAfterMs = error.retryAfterMs
    }
    await patience.again(retryAfterMs)
  }
}
