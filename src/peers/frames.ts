// What lies on the wire between two nodes. A frame stands alone and every length in it is checked before it is believed;
// the bytes of a frame are copied at most once, however they were split on the way.
//
//   u32 BE  length of all that follows
//   u16 BE  length of the header
//   header  a msgpack array (header.ts)
//   body    raw: entry records or payloads, as the header says

/** The peer sent what this protocol does not know: its connection ends, nothing else. */
export class ProtocolError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ProtocolError'
  }
}

export const prefixBytes = 6
export const maxHeaderBytes = 0xffff

/** A frame to be sent; the body's parts belong to the log and are never changed. */
export interface Frame {
  readonly header: Uint8Array
  readonly body: readonly Uint8Array[]
  /** Prefix, header and body. */
  readonly sizeBytes: number
}

const noBody: readonly Uint8Array[] = []

export function frame(header: Uint8Array, body: readonly Uint8Array[] = noBody): Frame {
  if (header.length > maxHeaderBytes)
    throw new Error(`A frame's header has ${header.length} bytes, past ${maxHeaderBytes}`)
  let sizeBytes = prefixBytes + header.length
  for (const part of body) sizeBytes += part.length
  return { header, body, sizeBytes }
}

export function writePrefix(target: Buffer, offset: number, frame: Frame): void {
  target.writeUInt32BE(frame.sizeBytes - 4, offset)
  target.writeUInt16BE(frame.header.length, offset + 4)
}

/** The whole frame in one buffer; for the small ones of a handshake. */
export function frameBytes(frame: Frame): Uint8Array {
  const prefix = Buffer.alloc(prefixBytes)
  writePrefix(prefix, 0, frame)
  return Buffer.concat([prefix, frame.header, ...frame.body])
}

/**
 * `header` is good during the call only. `body` is a buffer of its own and of exactly its size: entries in it may be kept for
 * long without keeping the much larger chunk that they came in.
 */
export type OnFrame = (header: Uint8Array, body: Uint8Array) => void

const emptyBody = new Uint8Array(0)

/** Cuts a stream of chunks into frames. Once it has thrown, the stream is lost and the parser must not be used again. */
export class FrameParser {
  #limitBytes: number
  readonly #onFrame: OnFrame
  #stopped = false
  readonly #prefix = Buffer.alloc(prefixBytes)
  #prefixFilled = 0
  /** What the current frame still wants; null until the part before it is complete. */
  #header: Buffer | null = null
  #headerFilled = 0
  #headerLength = 0
  #bodyLength = 0
  #body: Buffer | null = null
  #bodyFilled = 0

  constructor(limitBytes: number, onFrame: OnFrame) {
    this.#limitBytes = limitBytes
    this.#onFrame = onFrame
  }

  /** The largest frame taken from now on: a stranger's are small, a member's may be large. */
  limit(limitBytes: number): void {
    this.#limitBytes = limitBytes
  }

  /** Also from within `onFrame`: what is left of the chunk is not looked at. */
  stop(): void {
    this.#stopped = true
  }

  push(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length && !this.#stopped) {
      if (this.#prefixFilled < prefixBytes) {
        at = this.#takePrefix(chunk, at)
        if (this.#prefixFilled < prefixBytes) return
      }
      let header: Buffer
      if (this.#header === null && chunk.length - at >= this.#headerLength) {
        header = chunk.subarray(at, at + this.#headerLength)
        at += this.#headerLength
        this.#headerFilled = this.#headerLength
        // The body may come with a later chunk, and the header must outlive this one.
        if (chunk.length - at < this.#bodyLength) header = this.#header = Buffer.from(header)
      } else {
        this.#header ??= Buffer.allocUnsafe(this.#headerLength)
        const taken = chunk.copy(this.#header, this.#headerFilled, at)
        at += taken
        this.#headerFilled += taken
        if (this.#headerFilled < this.#headerLength) return
        header = this.#header
      }
      if (this.#bodyLength > 0) {
        this.#body ??= Buffer.allocUnsafeSlow(this.#bodyLength)
        const taken = chunk.copy(this.#body, this.#bodyFilled, at)
        at += taken
        this.#bodyFilled += taken
        if (this.#bodyFilled < this.#bodyLength) return
      }
      const body = this.#body ?? emptyBody
      this.#reset()
      this.#onFrame(header, body)
    }
  }

  #takePrefix(chunk: Buffer, from: number): number {
    const taken = chunk.copy(this.#prefix, this.#prefixFilled, from)
    this.#prefixFilled += taken
    // The length is judged as soon as it is there: a stranger who sent four bytes of something else waits for no more.
    if (this.#prefixFilled >= 4) this.#judgeLength(this.#prefix.readUInt32BE(0))
    if (this.#prefixFilled === prefixBytes) this.#judgeHeaderLength(this.#prefix.readUInt16BE(4))
    return from + taken
  }

  #judgeLength(length: number): void {
    if (length + 4 > this.#limitBytes)
      throw new ProtocolError(`a frame announces ${length} bytes, past the limit of ${this.#limitBytes}`)
    if (length < 3) throw new ProtocolError(`a frame announces ${length} bytes, too few for a header`)
  }

  #judgeHeaderLength(headerLength: number): void {
    const rest = this.#prefix.readUInt32BE(0) - 2
    if (headerLength === 0 || headerLength > rest)
      throw new ProtocolError(`a frame announces a header of ${headerLength} bytes among ${rest}`)
    this.#headerLength = headerLength
    this.#bodyLength = rest - headerLength
  }

  #reset(): void {
    this.#prefixFilled = 0
    this.#header = null
    this.#headerFilled = 0
    this.#body = null
    this.#bodyFilled = 0
  }
}
