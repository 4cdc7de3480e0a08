// What happened: as two numbers that differ when anything did, and as a story for people, which is told only when somebody listens.

export class Trace {
  readonly #listener: ((line: string) => void) | null
  #high = 0x12345678
  #low = 0x9abcdef0 | 0

  constructor(listener: ((line: string) => void) | null) {
    this.#listener = listener
  }

  get isTold(): boolean {
    return this.#listener !== null
  }

  mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193)
    this.#high = Math.imul((this.#high ^ (this.#low >>> 15)) + value, 0x85ebca6b)
  }

  /** Only when `isTold`: the line costs more than the event. */
  tell(nowMs: number, who: string, what: string): void {
    this.#listener?.(`${nowMs.toFixed(3).padStart(10)}  ${who.padEnd(4)} ${what}`)
  }

  get hash(): string {
    return hex(this.#high) + hex(this.#low)
  }
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0')
}
