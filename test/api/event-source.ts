// A client of server-sent events that a test can read, pause and leave.

import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import type { TestContext } from 'node:test'
import { until } from './running-api.ts'

export interface ReceivedEvent {
  readonly id: string | null
  /** Null: comments, or an id without data. */
  readonly name: string | null
  readonly data: string | null
}

export interface EventSource {
  readonly response: IncomingMessage
  /** Of those that came so far, the ones with data. */
  readonly events: readonly ReceivedEvent[]
  /** Everything that came so far. */
  readonly text: () => string
  readonly ended: () => boolean
  /** Resolves with the events once there are so many. */
  take(count: number): Promise<readonly ReceivedEvent[]>
}

export async function openEvents(
  t: TestContext,
  port: number,
  path: string,
  headers: Record<string, string> = {},
): Promise<EventSource> {
  const call = request({
    port,
    host: '127.0.0.1',
    path,
    headers: { accept: 'text/event-stream', ...headers },
    agent: false,
  })
  t.after(() => call.destroy())
  call.on('error', () => {})
  call.end()
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  const events: ReceivedEvent[] = []
  let text = ''
  let parsed = 0
  let ended = false
  response.setEncoding('utf8')
  response.on('data', (chunk: string) => {
    text += chunk
    for (let end = text.indexOf('\n\n', parsed); end !== -1; end = text.indexOf('\n\n', parsed)) {
      const event = parse(text.slice(parsed, end))
      if (event.data !== null) events.push(event)
      parsed = end + 2
    }
  })
  response.on('error', () => {})
  response.on('close', () => {
    ended = true
  })
  return {
    response,
    events,
    text: () => text,
    ended: () => ended,
    async take(count) {
      await until(() => events.length >= count, `${count} events have come: ${text}`)
      return events
    },
  }
}

function parse(block: string): ReceivedEvent {
  const field = (name: string) => {
    const line = block.split('\n').find((each) => each.startsWith(`${name}: `))
    return line === undefined ? null : line.slice(name.length + 2)
  }
  return { id: field('id'), name: field('event'), data: field('data') }
}
