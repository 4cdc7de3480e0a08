// A whole state on its way out of the application and back into it.

export type OutgoingState =
  | { readonly type: 'bytes'; readonly bytes: Uint8Array }
  | { readonly type: 'parts'; readonly parts: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string> }

/** A Uint8Array, or an iterable of parts, goes as it is; anything else as JSON, made here and now. Throws TypeError for what has no JSON form. */
export function outgoing(state: unknown): OutgoingState {
  if (state instanceof Uint8Array) return { type: 'bytes', bytes: state }
  if (isIterable(state)) return { type: 'parts', parts: state }
  const text: string | undefined = JSON.stringify(state)
  if (text === undefined)
    throw new TypeError(`snapshot() gave a ${typeof state}: it gives bytes, in parts or not, or JSON`)
  return { type: 'bytes', bytes: Buffer.from(text) }
}

function isIterable(state: unknown): state is AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (typeof state !== 'object' || state === null || Array.isArray(state)) return false
  return Symbol.asyncIterator in state || Symbol.iterator in state
}

/** A state to go on from: read it in parts, or whole by one of its methods. Each of them fails when it does not come whole. */
export class RestoredState implements AsyncIterable<Uint8Array> {
  readonly #parts: AsyncIterable<Uint8Array>

  constructor(parts: AsyncIterable<Uint8Array>) {
    this.#parts = parts
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this.#parts[Symbol.asyncIterator]()
  }

  async bytes(): Promise<Buffer> {
    const parts: Uint8Array[] = []
    for await (const part of this) parts.push(part)
    return Buffer.concat(parts)
  }

  async text(): Promise<string> {
    return (await this.bytes()).toString()
  }

  /** What `snapshot` gave, where it gave a value. */
  async json<Value = unknown>(): Promise<Value> {
    return JSON.parse(await this.text()) as Value
  }
}
