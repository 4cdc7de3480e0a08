// Bytes of a file that grows when it must, with zeros where nothing was written.

export class FileContent {
  #bytes: Buffer
  #size: number

  constructor(bytes: Buffer = Buffer.alloc(0), size = bytes.length) {
    this.#bytes = bytes
    this.#size = size
  }

  get size(): number {
    return this.#size
  }

  /** A view. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#size)
  }

  write(bytes: Uint8Array, position: number): void {
    this.#grow(position + bytes.length)
    this.#bytes.set(bytes, position)
  }

  zero(from: number, to: number): void {
    this.#grow(to)
    this.#bytes.fill(0, from, to)
  }

  read(into: Uint8Array, position: number): number {
    const end = Math.min(position + into.length, this.#size)
    if (end <= position) return 0
    into.set(this.#bytes.subarray(position, end))
    return end - position
  }

  flip(position: number, bit: number): void {
    this.#bytes[position] = (this.#bytes[position] ?? 0) ^ (1 << bit)
  }

  copy(): FileContent {
    return new FileContent(Buffer.from(this.bytes))
  }

  #grow(size: number): void {
    if (size > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(size, this.#bytes.length * 2))
      this.#bytes.copy(grown)
      this.#bytes = grown
    }
    this.#size = Math.max(this.#size, size)
  }
}
