// The msgpack array that opens a frame: a type number, then fields by position. What comes in may be anything, so that
// every field is read through a check of its type and range.

import { Packr } from 'msgpackr'
import { ProtocolError } from './frames.ts'

/** Types below 10 belong to the connection itself, those from 10 on to what nodes say over it (codec.ts). */
export const controlTypes = { hello: 0, refused: 1, ping: 2, pong: 3 } as const

export const maxUint32 = 2 ** 32 - 1
export const maxUint48 = 2 ** 48 - 1

type Field = number | boolean | string | null | readonly number[]

const packr = new Packr({ useRecords: false })

export function packHeader(fields: readonly Field[]): Uint8Array {
  return packr.pack(fields)
}

export function unpackHeader(bytes: Uint8Array): Fields {
  let value: unknown
  try {
    value = packr.unpack(bytes)
  } catch (error) {
    throw new ProtocolError('a header is not msgpack', { cause: error })
  }
  if (!Array.isArray(value)) throw new ProtocolError('a header is not an array')
  return new Fields(value)
}

/** Reads fields in order; anything unexpected is a ProtocolError. */
export class Fields {
  readonly type: number
  readonly #values: readonly unknown[]
  #next = 1

  constructor(values: readonly unknown[]) {
    const type = values[0]
    if (!isIndex(type)) throw new ProtocolError('a header does not begin with a type')
    this.type = type
    this.#values = values
  }

  integer(name: string, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#take()
    if (!isIndex(value) || value > max) throw this.#unexpected(name)
    return value
  }

  integerOrNull(name: string): number | null {
    const value = this.#take()
    if (value !== null && !isIndex(value)) throw this.#unexpected(name)
    return value
  }

  boolean(name: string): boolean {
    const value = this.#take()
    if (typeof value !== 'boolean') throw this.#unexpected(name)
    return value
  }

  text(name: string, maxLength: number): string {
    const value = this.#take()
    if (typeof value !== 'string' || value.length === 0 || value.length > maxLength) throw this.#unexpected(name)
    return value
  }

  textOrNull(name: string, maxLength: number): string | null {
    if (this.#values[this.#next] !== null) return this.text(name, maxLength)
    this.#next++
    return null
  }

  integers(name: string, maxLength: number, max: number): readonly number[] {
    const values = this.#take()
    if (!Array.isArray(values) || values.length > maxLength) throw this.#unexpected(name)
    for (let i = 0; i < values.length; i++) {
      const value: unknown = values[i]
      if (!isIndex(value) || value > max) throw this.#unexpected(name)
    }
    return values
  }

  end(): void {
    if (this.#next !== this.#values.length)
      throw new ProtocolError(
        `a header of type ${this.type} has ${this.#values.length} fields instead of ${this.#next}`,
      )
  }

  #take(): unknown {
    return this.#values[this.#next++]
  }

  #unexpected(name: string): ProtocolError {
    return new ProtocolError(`a header of type ${this.type} has no valid ${name}`)
  }
}

function isIndex(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
