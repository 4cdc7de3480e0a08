// What a sidecar delivers, checked once: rising indexes behind `after`. Fields that a later sidecar may add are let through.

export interface CommandMeta {
  readonly index: number
  readonly term: number
  /** Cluster time, ISO 8601: the same on every node, never going back. Take this, and no clock, for what the state depends on. */
  readonly timestamp: string
  /** The same in Unix milliseconds. */
  readonly timestampMs: number
  /** The idempotency key, if the proposer gave one. */
  readonly key: string | null
  /** The trace context of the proposer, if it gave one. */
  readonly traceparent: string | null
}

export interface DeliveredCommand extends CommandMeta {
  /** The JSON value that was proposed; a Buffer when it was bytes. */
  readonly command: unknown
}

export interface Batch {
  readonly after: number
  readonly commands: readonly DeliveredCommand[]
}

/** Says in a sentence what does not fit. */
export class MalformedRequest extends Error {}

export function readBatch(body: unknown): Batch {
  const { after, commands } = objectOf(body, 'The body')
  if (!isIndex(after)) throw new MalformedRequest('`after` is no index')
  if (!Array.isArray(commands) || commands.length === 0) throw new MalformedRequest('`commands` is no list of commands')
  let last = after
  const read = commands.map((each: unknown) => {
    const command = readCommand(each)
    if (command.index <= last) throw new MalformedRequest(`Command ${command.index} comes behind ${last}`)
    last = command.index
    return command
  })
  return { after, commands: read }
}

function readCommand(value: unknown): DeliveredCommand {
  const { index, term, timestamp, key, traceparent, command, bytes } = objectOf(value, 'A command')
  if (!isIndex(index) || !isIndex(term)) throw new MalformedRequest('A command has no index or no term')
  if (typeof timestamp !== 'string') throw new MalformedRequest(`Command ${index} has no timestamp`)
  const timestampMs = Date.parse(timestamp)
  if (Number.isNaN(timestampMs)) throw new MalformedRequest(`The timestamp of command ${index} is no date`)
  return {
    index,
    term,
    timestamp,
    timestampMs,
    key: typeof key === 'string' ? key : null,
    traceparent: typeof traceparent === 'string' ? traceparent : null,
    command: typeof bytes === 'string' ? Buffer.from(bytes, 'base64') : command,
  }
}

export function objectOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new MalformedRequest(`${what} is no object`)
}

function isIndex(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
