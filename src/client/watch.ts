// What was committed, in log order, each command once; and what happens to the cluster.

import type { LoggedCommand as LoggedResponse } from '../api/schemas.ts'
import type { ClusterEvent, LoggedCommand } from './answers.ts'
import type { Caller } from './caller.ts'
import { malformed } from './read-answer.ts'
import { subscribe } from './subscription.ts'

export interface WatchOptions {
  /** The index of the last command that is known already; 0, from the first one, by default. */
  readonly after?: number
  /** Ends the watch: it rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

export interface EventsOptions {
  readonly signal?: AbortSignal
}

export async function* watchCommands(
  caller: Caller,
  { after = 0, signal }: WatchOptions,
): AsyncGenerator<LoggedCommand, void, undefined> {
  let last = after
  const query = (lastId: string) => ({ after: lastId === '' ? String(after) : lastId })
  for await (const { type, data } of subscribe(caller, { path: '/v1/commands', query, signal })) {
    if (type !== 'message' && type !== 'command') continue
    const command = readCommand(data)
    // Whatever a sidecar sends again after a break has been seen.
    if (command.index <= last) continue
    last = command.index
    yield command
  }
}

const known: ReadonlySet<string> = new Set([
  'leader',
  'membership',
  'snapshot',
  'health',
] satisfies ClusterEvent['type'][])

export async function* watchEvents(
  caller: Caller,
  { signal }: EventsOptions,
): AsyncGenerator<ClusterEvent, void, undefined> {
  for await (const { type, data } of subscribe(caller, { path: '/v1/events', signal })) {
    // A later sidecar may tell of more.
    if (known.has(type)) yield { type, data: parse(data) } as ClusterEvent
  }
}

function readCommand(text: string): LoggedCommand {
  const item = parse(text) as Partial<LoggedResponse> | null
  const { index, term, timestamp, key = null, traceparent = null, skipped = false, bytes } = item ?? {}
  if (index === undefined || term === undefined || timestamp === undefined)
    throw malformed('The sidecar sent something else than a command', 200, false)
  const command = typeof bytes === 'string' ? Buffer.from(bytes, 'base64') : item?.command
  return { index, term, timestamp, key, traceparent, command, skipped }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw malformed('The sidecar sent an event that is not JSON', 200, false, cause)
  }
}
