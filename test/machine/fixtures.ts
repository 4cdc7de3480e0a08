// Entries, clocks and log readers for the tests of the machine room.

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { CommittedEntries, SnapshotFile, SnapshotHeader, StoredSnapshot } from '../../src/node/ports.ts'
import type { Entry, EntryKind } from '../../src/raft/entry.ts'

export const someUnixMs = Date.UTC(2026, 10, 23, 5, 0, 0, 123)

export function entry(
  index: number,
  kind: EntryKind,
  payload: string | Uint8Array = '',
  { key = null, traceparent = null }: Partial<Pick<Entry, 'key' | 'traceparent'>> = {},
): Entry {
  const bytes = Buffer.from(payload)
  const fields = { index, term: 3, kind, timestampMs: someUnixMs, origin: 0, sequence: 0, key, traceparent }
  return { ...fields, payload: bytes, record: bytes }
}

export function jsonEntry(index: number, value: unknown): Entry {
  return entry(index, 'json', JSON.stringify(value))
}

export function setEntry(index: number, key: string, value: unknown): Entry {
  return jsonEntry(index, { op: 'set', key, value })
}

/** Turns of the loop and time, both moved by hand. */
export class FakeClock {
  #nowMs = 0
  #timers: { readonly dueMs: number; readonly run: () => void }[] = []
  #deferred: (() => void)[] = []

  readonly defer = (run: () => void): void => {
    this.#deferred.push(run)
  }

  readonly after = (delayMs: number, run: () => void): (() => void) => {
    const timer = { dueMs: this.#nowMs + delayMs, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  get deferredCount(): number {
    return this.#deferred.length
  }

  /** In how many ms each timer is due. */
  get dueInMs(): number[] {
    return this.#timers.map((timer) => timer.dueMs - this.#nowMs).sort((a, b) => a - b)
  }

  /** Lets promises settle, without any deferred turn. */
  async microtasks(): Promise<void> {
    await nextTurn()
  }

  turn(): void {
    const deferred = this.#deferred
    this.#deferred = []
    for (const run of deferred) run()
  }

  /** Settles promises and turns until nothing is left to do but wait for time. */
  async settle(): Promise<void> {
    for (let round = 0; round < 10_000; round++) {
      await this.microtasks()
      if (this.#deferred.length === 0) return
      this.turn()
    }
    throw new Error('The work in turns of the loop does not come to an end')
  }

  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    await this.settle()
    for (;;) {
      const next = this.#timers.filter((timer) => timer.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== next)
      this.#nowMs = next.dueMs
      next.run()
      await this.settle()
    }
    this.#nowMs = endMs
  }
}

/** Every turn is taken at once, in the real loop. */
export const promptClock = { defer: (run: () => void): void => void setImmediate(run) }

/** A committed log in memory that notes how it was read, and the newest snapshot beside it. */
export class FakeLog implements CommittedEntries {
  readonly entries: Entry[] = []
  readonly reads: { readonly from: number; readonly through: number; readonly maxBytes: number }[] = []
  asynchronous = false
  firstIndex = 1
  /** Commands that the cluster has agreed to leave out. */
  readonly skipped = new Set<number>()
  snapshot: FakeSnapshot | Error | null = null
  /** How often the newest snapshot was asked for. */
  opened = 0

  append(...entries: Entry[]): void {
    for (const appended of entries) {
      if (appended.index !== this.entries.length + 1) throw new Error(`${appended.index} does not follow the log`)
      this.entries.push(appended)
    }
  }

  /** Gives up the entries through this one. */
  compact(through: number): void {
    this.firstIndex = through + 1
  }

  readonly read = (from: number, through: number, maxBytes: number): readonly Entry[] | Promise<readonly Entry[]> => {
    this.reads.push({ from, through, maxBytes })
    const found: Entry[] = []
    let bytes = 0
    for (const candidate of from < this.firstIndex ? [] : this.entries.slice(from - 1, through)) {
      bytes += candidate.payload.length
      if (found.length > 0 && bytes > maxBytes) break
      found.push(candidate)
    }
    return this.asynchronous ? Promise.resolve(found) : found
  }

  readonly isSkipped = (index: number): boolean => this.skipped.has(index)

  async openSnapshot(): Promise<StoredSnapshot | null> {
    this.opened++
    if (this.snapshot instanceof Error) throw this.snapshot
    return this.snapshot
  }
}

/** A snapshot through `lastIndex`, whose state stands at `position`; its body may break off with an error. */
export class FakeSnapshot implements StoredSnapshot {
  readonly file: SnapshotFile
  readonly header: SnapshotHeader
  readonly #chunks: readonly (Uint8Array | Error)[]
  opened = 0
  closed = 0

  constructor(lastIndex: number, position: number, ...chunks: readonly (Uint8Array | string | Error)[]) {
    const lastIncluded = { index: lastIndex, term: 3 }
    const configuration = { index: 0, configuration: { members: [] } }
    this.file = { lastIncluded, sizeBytes: 0, checksum: 0 }
    this.header = { lastIncluded, timestampMs: someUnixMs, configuration, machinePosition: position }
    this.#chunks = chunks.map((chunk) => (typeof chunk === 'string' ? Buffer.from(chunk) : chunk))
  }

  async read(): Promise<number> {
    throw new Error('An applier has no use for the bytes of the file')
  }

  async *ledger(): AsyncGenerator<Uint8Array> {
    yield* [] as Uint8Array[]
  }

  async *body(): AsyncGenerator<Uint8Array> {
    this.opened++
    for (const chunk of this.#chunks) {
      if (chunk instanceof Error) throw chunk
      yield chunk
    }
  }

  async close(): Promise<void> {
    this.closed++
  }
}

export async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}
