// What the tests of the storage share: a data directory on a disk in memory, time that is moved by hand, entries.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { exitCodes, FatalError } from '../../src/errors.ts'
import type { SnapshotFile, SnapshotHeader } from '../../src/node/ports.ts'
import type { Configuration } from '../../src/raft/configuration.ts'
import type { Entry, EntryFields } from '../../src/raft/entry.ts'
import type { SnapshotMetadata } from '../../src/raft/snapshot.ts'
import type { HardState, Save } from '../../src/raft/work.ts'
import type { Disk } from '../../src/storage/disk.ts'
import { encodeEntry } from '../../src/storage/record.ts'
import type { TornTail } from '../../src/storage/recover-log.ts'
import { SnapshotEncoder } from '../../src/storage/snapshot-file.ts'
import type { DurableStorage, StorageOptions } from '../../src/storage/storage.ts'
import { openStorage } from '../../src/storage/storage.ts'
import type { MemoryDisk, Operation } from './memory-disk.ts'

export const directory = '/data'

export const founding: Configuration = {
  members: [
    { id: 'n1', peerAddress: 'a:1', role: 'voter' },
    { id: 'n2', peerAddress: 'b:1', role: 'voter' },
  ],
}

export function entry(index: number, term: number, fields: Partial<EntryFields> = {}): Entry {
  const payload = Buffer.from(JSON.stringify(`command ${index} of term ${term}`))
  return encodeEntry({
    index,
    term,
    kind: 'json',
    timestampMs: 1_000 + index,
    origin: 77,
    sequence: index,
    key: null,
    traceparent: null,
    payload,
    ...fields,
  })
}

export function entries(from: number, through: number, term: number, payloadBytes?: number): Entry[] {
  return Array.from({ length: through - from + 1 }, (_, at) =>
    payloadBytes === undefined
      ? entry(from + at, term)
      : entry(from + at, term, { kind: 'bytes', payload: Buffer.alloc(payloadBytes, from + at) }),
  )
}

/** Timers that run when a test says so. */
export class ManualTime {
  readonly #timers = new Set<() => void>()

  readonly after = (_delayMs: number, run: () => void): (() => void) => {
    const timer = () => run()
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  get pending(): number {
    return this.#timers.size
  }

  /** Runs what is due now, not what that sets up. */
  fire(): void {
    for (const timer of [...this.#timers]) {
      this.#timers.delete(timer)
      timer()
    }
  }
}

export interface Opened {
  readonly storage: DurableStorage
  readonly time: ManualTime
  readonly tornTails: TornTail[]
  readonly failures: FatalError[]
  /** Saves under the next number. */
  save(entries: readonly Entry[], hardState?: HardState | null, snapshot?: SnapshotMetadata | null): Promise<void>
  /** Lets the idle moment come, and waits until it has been used. */
  settle(): Promise<void>
}

export async function open(disk: Disk, overrides: Partial<StorageOptions> = {}): Promise<Opened> {
  const time = new ManualTime()
  const tornTails: TornTail[] = []
  const failures: FatalError[] = []
  const storage = await openStorage({
    disk,
    directory,
    identity: {
      cluster: 'orders',
      nodeId: 'n1',
      newIncarnation: '00112233aabbccdd',
      foundingConfiguration: founding,
    },
    newRunId: '8899aabbccddeeff',
    segmentBytes: 4096,
    after: time.after,
    onTornTail: (tail) => tornTails.push(tail),
    onFailure: (failure) => failures.push(failure),
    ...overrides,
  })
  let id = 0
  const save = (
    list: readonly Entry[],
    hardState: HardState | null = null,
    snapshot: SnapshotMetadata | null = null,
  ) => {
    const numbered: Save = { id: ++id, hardState, snapshot, entries: list }
    return storage.save(numbered)
  }
  const settle = async () => {
    // The timer looks whether it was quiet since it was set; the second time it was.
    for (let times = 0; times < 2; times++) {
      await turn()
      time.fire()
    }
    await save([])
  }
  return { storage, time, tornTails, failures, save, settle }
}

export async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    assert(turns < 10_000, 'the condition never came true')
    await turn()
  }
}

/** Holds the operations that are chosen until they are let go, in order. */
export function hold(
  disk: MemoryDisk,
  chosen: (operation: Operation) => boolean,
): { readonly held: number; release(): void } {
  const waiting: (() => void)[] = []
  disk.turn = (operation) => (chosen(operation) ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve())
  return {
    get held() {
      return waiting.length
    },
    release: () => waiting.shift()?.(),
  }
}

/** Lets everything go on that waits for nothing but its turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

export function snapshotHeader(index: number, term: number, fields: Partial<SnapshotHeader> = {}): SnapshotHeader {
  return {
    lastIncluded: { index, term },
    timestampMs: 1_000 + index,
    configuration: { index: 0, configuration: founding },
    machinePosition: index,
    ...fields,
  }
}

/** As the core knows it. */
export function metadata({ lastIncluded, timestampMs, configuration }: SnapshotHeader): SnapshotMetadata {
  return { lastIncluded, timestampMs, configuration }
}

/** What a state machine gives; each piece in a turn of its own. */
export async function* pieces(...list: readonly (Uint8Array | string)[]): AsyncGenerator<Uint8Array> {
  for (const piece of list) {
    await turn()
    yield Buffer.from(piece)
  }
}

/** A whole snapshot file. */
export function encodeSnapshot(
  header: SnapshotHeader,
  body: readonly Uint8Array[],
  cluster = 'orders',
  ledger: readonly Uint8Array[] = [],
): Encoded {
  const encoder = new SnapshotEncoder(cluster, header)
  const parts = [Buffer.from(encoder.begin())]
  for (const piece of ledger) for (const chunk of encoder.addLedger(piece)) parts.push(Buffer.from(chunk))
  for (const piece of body) for (const chunk of encoder.add(piece)) parts.push(Buffer.from(chunk))
  for (const chunk of encoder.end()) parts.push(Buffer.from(chunk))
  return { header, file: encoder.file, bytes: Buffer.concat(parts) }
}

export interface Encoded {
  readonly header: SnapshotHeader
  readonly file: SnapshotFile
  readonly bytes: Buffer
}

/** Takes it in as from a leader, in pieces of this size. */
export async function receive(storage: DurableStorage, { file, bytes }: Encoded, pieceBytes = 100): Promise<void> {
  const incoming = await storage.receiveSnapshot(file)
  for (let from = incoming.sizeBytes; from < bytes.length; from += pieceBytes) {
    await incoming.append(bytes.subarray(from, from + pieceBytes))
  }
  await incoming.finish()
}

/** Of the newest snapshot: its last entry, and all that the state machine gave; null: there is none. */
export async function readSnapshot(storage: DurableStorage): Promise<{ id: string; body: string } | null> {
  const snapshot = await storage.openSnapshot()
  if (snapshot === null) return null
  const { term, index } = snapshot.header.lastIncluded
  const body = await textOf(snapshot.body())
  await snapshot.close()
  return { id: `${term}/${index}`, body }
}

/** Of the newest snapshot; null: there is none. */
export async function readLedger(storage: DurableStorage): Promise<string | null> {
  const snapshot = await storage.openSnapshot()
  if (snapshot === null) return null
  const ledger = await textOf(snapshot.ledger())
  await snapshot.close()
  return ledger
}

async function textOf(parts: AsyncIterable<Uint8Array>): Promise<string> {
  const list: Uint8Array[] = []
  for await (const part of parts) list.push(part)
  return Buffer.concat(list).toString()
}

/** Every entry that the storage holds. */
export async function readAll(storage: DurableStorage, lastIndex = storage.recovered.lastIndex): Promise<Entry[]> {
  const list: Entry[] = []
  for (let from = storage.recovered.base.index + 1; from <= lastIndex; ) {
    const more = await storage.read(from, lastIndex, 10_000)
    if (more.length === 0) break
    list.push(...more)
    from += more.length
  }
  return list
}

export function ids(list: readonly Entry[]): string[] {
  return list.map(({ term, index }) => `${term}/${index}`)
}

export function isDataError(error: unknown): boolean {
  return error instanceof FatalError && error.exitCode === exitCodes.dataError
}

export function isIoError(error: unknown): boolean {
  return error instanceof FatalError && error.exitCode === exitCodes.ioError
}

export async function temporaryDirectory(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'raft-storage-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

/** A sequence of fractions that a seed repeats (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
