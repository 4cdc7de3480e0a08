// Events scroll by above, the table stays below: redrawn in place on a terminal, a line a second elsewhere.

import type { WriteStream } from 'node:tty'

const lineIntervalMs = 1000

export class Screen {
  readonly #out: NodeJS.WriteStream | WriteStream
  readonly #startedMs = performance.now()
  #drawn = 0
  #closed = false
  #lastTable: readonly string[] = []
  #lastLineMs = Number.NEGATIVE_INFINITY

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    if (out.isTTY) out.write('\x1b[?25l')
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedMs
  }

  /** Something happened: with its time, for good. */
  event(text: string): void {
    if (!this.#closed) this.say(`${`${(this.elapsedMs / 1000).toFixed(1)} s`.padStart(7)}  ${text}`)
  }

  say(text: string): void {
    this.#erase()
    this.#out.write(`${text}\n`)
    if (this.#out.isTTY) this.#draw()
  }

  /** `line` says the same in one line, for what is not a terminal. */
  show(table: readonly string[], line: string): void {
    if (this.#closed) return
    if (!this.#out.isTTY) {
      if (this.elapsedMs - this.#lastLineMs < lineIntervalMs) return
      this.#lastLineMs = this.elapsedMs
      this.event(line)
      return
    }
    this.#erase()
    this.#lastTable = table
    this.#draw()
  }

  /** The table becomes part of what scrolls by. */
  release(): void {
    this.#drawn = 0
    this.#lastTable = []
  }

  /** From now on only `say` is heard. */
  close(): void {
    this.release()
    this.#closed = true
    if (this.#out.isTTY) this.#out.write('\x1b[?25h')
  }

  #draw(): void {
    const columns = this.#out.columns ?? 80
    for (const line of this.#lastTable) this.#out.write(`${line.slice(0, columns - 1)}\n`)
    this.#drawn = this.#lastTable.length
  }

  #erase(): void {
    if (this.#drawn > 0) this.#out.write(`\x1b[${this.#drawn}A\x1b[J`)
    this.#drawn = 0
  }
}
