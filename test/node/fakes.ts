// The ports of a node in the hand of a test: nothing here goes on by itself.

import type {
  Applier,
  ApplierEvents,
  Clock,
  CommittedEntries,
  IncomingSnapshot,
  MachineSnapshot,
  Peer,
  PeerMessage,
  SnapshotFile,
  SnapshotHeader,
  Storage,
  StoredSnapshot,
  Transport,
  TransportEvents,
} from '../../src/node/ports.ts'
import type { Member } from '../../src/raft/configuration.ts'
import type { Entry, EntryId, NodeId } from '../../src/raft/entry.ts'
import type { Recovered, Save } from '../../src/raft/work.ts'
import { FakeShelf } from './fake-shelf.ts'

export class ManualClock implements Clock {
  nowMs = 0
  /** May jump. */
  wallMs = 1_000_000
  #timers: { readonly dueMs: number; readonly run: () => void }[] = []
  #deferred: (() => void)[] = []

  monotonicMs(): number {
    return this.nowMs
  }

  unixMs(): number {
    return this.wallMs
  }

  defer(run: () => void): void {
    this.#deferred.push(run)
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { dueMs: this.nowMs + delayMs, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  get timers(): number {
    return this.#timers.length
  }

  /** Runs what was deferred until now; false when nothing was. */
  turn(): boolean {
    const deferred = this.#deferred.splice(0)
    for (const run of deferred) run()
    return deferred.length > 0
  }

  /** Moves to the next timer that is due by then and runs it; false when there is none left. */
  advanceToTimer(untilMs: number): boolean {
    const next = this.#timers.filter(({ dueMs }) => dueMs <= untilMs).sort((a, b) => a.dueMs - b.dueMs)[0]
    this.nowMs = next?.dueMs ?? untilMs
    if (next === undefined) return false
    this.#timers = this.#timers.filter((timer) => timer !== next)
    next.run()
    return true
  }
}

interface Held<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
}

export interface HeldRead extends Held<readonly Entry[]> {
  readonly from: number
  readonly through: number
}

export class FakeStorage implements Storage {
  readonly recovered: Recovered
  readonly entries: readonly Entry[]
  /** Every save that was ever asked for. */
  readonly saves: Save[] = []
  /** Those under way, oldest first; saves are durable at once unless `holdsSaves`. */
  readonly held: (Held<void> & { readonly id: number })[] = []
  readonly reads: HeldRead[] = []
  holdsSaves = false
  /** Else they are answered at once by what was on the disk at the start. */
  holdsReads = false
  isFull = false
  /** Of its snapshots. */
  readonly shelf: FakeShelf
  readonly compacted: EntryId[] = []
  readonly #journal: string[]

  constructor(journal: string[], recovered: Recovered, entries: readonly Entry[], ledgerText = '') {
    this.#journal = journal
    this.recovered = recovered
    this.entries = entries
    this.shelf = new FakeShelf(journal)
    if (recovered.snapshot !== null)
      this.shelf.put({ ...recovered.snapshot, machinePosition: 0 }, undefined, ledgerText)
  }

  async save(save: Save): Promise<void> {
    this.#journal.push(`save ${save.id}`)
    this.saves.push(save)
    if (this.holdsSaves) {
      await new Promise<void>((resolve, reject) => this.held.push({ id: save.id, resolve, reject }))
    }
    if (save.snapshot !== null) this.shelf.install(save.snapshot)
  }

  read(from: number, through: number): Promise<readonly Entry[]> {
    if (!this.holdsReads) return Promise.resolve(this.entries.filter(({ index }) => index >= from && index <= through))
    return new Promise((resolve, reject) => this.reads.push({ from, through, resolve, reject }))
  }

  compact(through: EntryId): void {
    this.#journal.push(`compact ${through.index}`)
    this.compacted.push(through)
  }

  takeSnapshot(
    header: SnapshotHeader,
    ledger: AsyncIterable<Uint8Array>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<SnapshotFile> {
    return this.shelf.takeSnapshot(header, ledger, body)
  }

  openSnapshot(): Promise<StoredSnapshot | null> {
    return this.shelf.openSnapshot()
  }

  get newestSnapshot(): SnapshotFile | null {
    return this.shelf.newestSnapshot
  }

  receiveSnapshot(file: SnapshotFile): Promise<IncomingSnapshot> {
    return this.shelf.receiveSnapshot(file)
  }

  async close(): Promise<void> {
    this.#journal.push('close storage')
  }

  /** Also those that come later. */
  releaseSaves(): void {
    this.holdsSaves = false
    for (const { resolve } of this.held.splice(0)) resolve()
  }
}

export class FakeTransport implements Transport {
  events: TransportEvents | null = null
  readonly sent: PeerMessage[] = []
  readonly connected: Set<NodeId>
  members: readonly Member[] = []
  readonly #journal: string[]

  constructor(journal: string[], connected: readonly NodeId[]) {
    this.#journal = journal
    this.connected = new Set(connected)
  }

  async start(events: TransportEvents): Promise<void> {
    this.events = events
  }

  send(message: PeerMessage): void {
    this.#journal.push(`send ${message.type} to ${message.to}`)
    this.sent.push(message)
  }

  setMembers(members: readonly Member[]): void {
    this.members = members
  }

  peers(): readonly Peer[] {
    return this.members
      .filter(({ id }) => id !== 'n1')
      .map(({ id }) => ({ id, connected: this.connected.has(id), appUrl: `http://${id}.test`, refusal: null }))
  }

  async close(): Promise<void> {
    this.#journal.push('close transport')
  }
}

export class FakeApplier implements Applier {
  appliedIndex = 0
  blocked: string | null = null
  poison: { readonly index: number; readonly reason: string } | null = null
  entries: CommittedEntries | null = null
  events: ApplierEvents | null = null
  commitIndex = 0
  /** What it is asked to confirm. */
  confirm: () => Promise<void> | null = () => null
  /** What the state machine says when it is asked for a picture of its state. */
  picture: () => Promise<MachineSnapshot | null> = async () => this.pictureOf(['state'])
  /** Pictures that were given and neither read to their end nor given up. */
  openPictures = 0
  readonly #journal: string[]
  readonly #name: string

  constructor(journal: string[], name = '') {
    this.#journal = journal
    this.#name = name
  }

  start(entries: CommittedEntries, events: ApplierEvents): void {
    this.entries = entries
    this.events = events
  }

  commit(index: number): void {
    this.#journal.push(`${this.#name}commit ${index}`)
    this.commitIndex = index
  }

  snapshot(): Promise<MachineSnapshot | null> {
    this.#journal.push(`${this.#name}picture at ${this.appliedIndex}`)
    return this.picture()
  }

  /** Each part comes when the one before it was taken and, of an asynchronous source, when it is there. */
  pictureOf(parts: Iterable<string> | AsyncIterable<string>): MachineSnapshot {
    this.openPictures += 1
    const close = () => {
      if (isOpen) this.openPictures -= 1
      isOpen = false
    }
    let isOpen = true
    const source = (async function* () {
      yield* parts
    })()
    const body: AsyncIterableIterator<Uint8Array> = {
      async next() {
        const step = await source.next()
        if (step.done !== true) return { done: false, value: Buffer.from(step.value) }
        close()
        return { done: true, value: undefined }
      },
      async return() {
        close()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
    return { appliedIndex: this.appliedIndex, position: this.appliedIndex, body }
  }

  async close(): Promise<void> {
    this.#journal.push(`close ${this.#name}applier`)
  }
}
