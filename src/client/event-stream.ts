// Server-sent events (the HTML standard's text/event-stream) out of the chunks that a body comes in. Only a whole event counts: one that the
// connection cut off is given neither itself nor its id.

import { StringDecoder } from 'node:string_decoder'

export interface ServerEvent {
  /** `message` when the stream names none. */
  readonly type: string
  /** The newest id of the stream; empty: it has none. */
  readonly id: string
  readonly data: string
}

/** Above every command, as base64 and with what stands around it. */
const maxEventChars = 32 * 1024 * 1024

export class EventParser {
  readonly #decoder = new StringDecoder('utf8')
  #rest = ''
  #type = ''
  #id = ''
  #nextId = ''
  #data: string[] = []
  #dataChars = 0

  /** Of the last whole block, also of one without data, which is no event. */
  get lastId(): string {
    return this.#id
  }

  /** Gives each event as soon as it is asked for. Throws when an event is longer than any that a sidecar sends. */
  *push(chunk: Uint8Array): Generator<ServerEvent, void, undefined> {
    const text = this.#rest + this.#decoder.write(chunk)
    let from = 0
    for (;;) {
      const end = text.indexOf('\n', from)
      if (end === -1) break
      const line = text.slice(from, text[end - 1] === '\r' ? Math.max(from, end - 1) : end)
      from = end + 1
      const event = this.#take(line)
      if (event !== null) yield event
    }
    this.#rest = text.slice(from)
    if (this.#rest.length + this.#dataChars > maxEventChars) throw new Error('An event is longer than 32 MiB')
  }

  #take(line: string): ServerEvent | null {
    if (line === '') return this.#dispatch()
    const colon = line.indexOf(':')
    const name = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    switch (name) {
      case 'data':
        this.#data.push(value)
        this.#dataChars += value.length
        break
      case 'event':
        this.#type = value
        break
      case 'id':
        this.#nextId = value
        break
    }
    return null
  }

  #dispatch(): ServerEvent | null {
    this.#id = this.#nextId
    const event =
      this.#data.length === 0
        ? null
        : { type: this.#type === '' ? 'message' : this.#type, id: this.#id, data: this.#data.join('\n') }
    this.#type = ''
    this.#data = []
    this.#dataChars = 0
    return event
  }
}
