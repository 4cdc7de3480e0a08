// Snapshots of a fake disk, in memory: whole or not there, with the bytes of a real file's kind, and held up or failing when a test says so.

import { InvalidSnapshotError } from '../../src/errors.ts'
import type { IncomingSnapshot, SnapshotFile, SnapshotHeader, StoredSnapshot } from '../../src/node/ports.ts'
import type { SnapshotMetadata } from '../../src/raft/snapshot.ts'

const checksumBytes = 4

interface Shelved {
  readonly file: SnapshotFile
  readonly header: SnapshotHeader
  readonly bytes: Buffer
}

/** What passes here waits while it is shut, and fails when it is told to. */
export class Gate {
  #isShut = false
  #failure: Error | null = null
  #waiting: (() => void)[] = []

  shut(): void {
    this.#isShut = true
  }

  open(): void {
    this.#isShut = false
    for (const go of this.#waiting.splice(0)) go()
  }

  /** Lets one through that waits. */
  letOne(): void {
    this.#waiting.shift()?.()
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Whoever passes next fails; null: nobody does. */
  fail(error: Error | null): void {
    this.#failure = error
  }

  async pass(): Promise<void> {
    if (this.#isShut) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    const failure = this.#failure
    this.#failure = null
    if (failure !== null) throw failure
  }
}

export class FakeShelf {
  readonly gates = {
    take: new Gate(),
    open: new Gate(),
    read: new Gate(),
    receive: new Gate(),
    append: new Gate(),
    finish: new Gate(),
  }
  /** Snapshots that are open now. */
  opened = 0
  /** A snapshot was closed that was closed already. */
  closedTwice = 0
  /** Bytes that wait to be appended. */
  appendingBytes = 0
  mostAppendingBytes = 0
  #newest: Shelved | null = null
  /** What is being received, and what was received and may yet be installed. */
  #incoming: FakeIncoming | null = null
  readonly #journal: string[]

  constructor(journal: string[] = []) {
    this.#journal = journal
  }

  get newestSnapshot(): SnapshotFile | null {
    return this.#newest?.file ?? null
  }

  /** The newest one's bytes. */
  get bytes(): Buffer {
    return this.#newest?.bytes ?? Buffer.alloc(0)
  }

  /** What was received so far. */
  get received(): Buffer {
    return this.#incoming?.bytes ?? Buffer.alloc(0)
  }

  put(header: SnapshotHeader, body: Uint8Array = Buffer.from('state'), ledger = ''): SnapshotFile {
    this.#newest = shelved(header, body, ledger)
    return this.#newest.file
  }

  async takeSnapshot(
    header: SnapshotHeader,
    ledger: AsyncIterable<Uint8Array>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<SnapshotFile> {
    this.#journal.push(`take snapshot ${header.lastIncluded.index}`)
    await this.gates.take.pass()
    const kept: Uint8Array[] = []
    for await (const part of ledger) kept.push(part)
    const parts: Uint8Array[] = []
    for await (const part of body) parts.push(part)
    const taken = shelved(header, Buffer.concat(parts), Buffer.concat(kept).toString())
    // The leader's may have come meanwhile.
    if ((this.#newest?.file.lastIncluded.index ?? 0) <= taken.file.lastIncluded.index) this.#newest = taken
    return taken.file
  }

  async openSnapshot(): Promise<StoredSnapshot | null> {
    this.#journal.push(`open snapshot ${this.#newest?.file.lastIncluded.index ?? 'none'}`)
    await this.gates.open.pass()
    const newest = this.#newest
    if (newest === null) return null
    this.opened += 1
    let isOpen = true
    return {
      file: newest.file,
      header: newest.header,
      read: async (into, position) => {
        await this.gates.read.pass()
        if (!isOpen) throw new Error('The snapshot is closed')
        return newest.bytes.copy(into, 0, position)
      },
      async *ledger() {
        const ledger = ledgerOf(newest.bytes)
        if (ledger !== '') yield Buffer.from(ledger)
      },
      async *body() {
        yield bodyOf(newest.bytes)
      },
      close: async () => {
        if (isOpen) this.opened -= 1
        else this.closedTwice += 1
        isOpen = false
      },
    }
  }

  async receiveSnapshot(file: SnapshotFile): Promise<IncomingSnapshot> {
    this.#journal.push(`receive snapshot ${file.lastIncluded.index}`)
    await this.gates.receive.pass()
    if (this.#incoming === null || !isSame(this.#incoming.file, file)) this.#incoming = new FakeIncoming(this, file)
    return this.#incoming
  }

  /** By the save that names it. */
  install({ lastIncluded }: SnapshotMetadata): void {
    const incoming = this.#incoming
    if (incoming === null || !incoming.isFinished || incoming.file.lastIncluded.index !== lastIncluded.index) {
      throw new Error(`The snapshot through ${lastIncluded.index} was not received`)
    }
    this.#incoming = null
    this.#newest = { file: incoming.file, header: headerOf(incoming.bytes), bytes: incoming.bytes }
    this.#journal.push(`installed ${lastIncluded.index}`)
  }
}

class FakeIncoming implements IncomingSnapshot {
  readonly file: SnapshotFile
  readonly #shelf: FakeShelf
  bytes: Buffer = Buffer.alloc(0)
  isFinished = false
  #isBusy = false

  constructor(shelf: FakeShelf, file: SnapshotFile) {
    this.#shelf = shelf
    this.file = file
  }

  get sizeBytes(): number {
    return this.bytes.length
  }

  async append(bytes: Uint8Array): Promise<void> {
    const shelf = this.#shelf
    await this.#alone(async () => {
      shelf.appendingBytes += bytes.length
      shelf.mostAppendingBytes = Math.max(shelf.mostAppendingBytes, shelf.appendingBytes)
      await shelf.gates.append.pass()
      this.bytes = Buffer.concat([this.bytes, bytes])
    }).finally(() => {
      shelf.appendingBytes -= bytes.length
    })
  }

  async finish(): Promise<SnapshotHeader> {
    return await this.#alone(async () => {
      try {
        await this.#shelf.gates.finish.pass()
        const { length } = this.bytes
        const isWhole = length === this.file.sizeBytes && checksumOf(this.bytes) === this.file.checksum
        if (!isWhole) throw new InvalidSnapshotError('The snapshot is not what was announced')
      } catch (error) {
        this.bytes = Buffer.alloc(0)
        throw error
      }
      this.isFinished = true
      return headerOf(this.bytes)
    })
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isBusy) throw new Error('The incoming snapshot is asked for two things at once')
    this.#isBusy = true
    return await work().finally(() => {
      this.#isBusy = false
    })
  }
}

/** A length, the header in JSON with the ledger in it, the body, and a checksum over all of it. */
function shelved(header: SnapshotHeader, body: Uint8Array, ledger: string): Shelved {
  const text = Buffer.from(JSON.stringify({ ...header, ledger }))
  const bytes = Buffer.alloc(4 + text.length + body.length + checksumBytes)
  bytes.writeUInt32LE(text.length, 0)
  text.copy(bytes, 4)
  bytes.set(body, 4 + text.length)
  bytes.writeUInt32LE(sum(bytes.subarray(0, -checksumBytes)), bytes.length - checksumBytes)
  return {
    file: { lastIncluded: header.lastIncluded, sizeBytes: bytes.length, checksum: checksumOf(bytes) },
    header,
    bytes,
  }
}

function headerOf(bytes: Buffer): SnapshotHeader {
  const { ledger: _, ...header } = textOf(bytes)
  return header
}

function ledgerOf(bytes: Buffer): string {
  return textOf(bytes).ledger
}

function textOf(bytes: Buffer): SnapshotHeader & { readonly ledger: string } {
  return JSON.parse(bytes.toString('utf8', 4, 4 + bytes.readUInt32LE(0)))
}

function bodyOf(bytes: Buffer): Buffer {
  return bytes.subarray(4 + bytes.readUInt32LE(0), -checksumBytes)
}

/** As stored, when that is true; else what no file was announced with. */
function checksumOf(bytes: Buffer): number {
  const stored = bytes.length < checksumBytes ? -1 : bytes.readUInt32LE(bytes.length - checksumBytes)
  return sum(bytes.subarray(0, -checksumBytes)) === stored ? stored : -1
}

/** FNV-1a. */
function sum(bytes: Uint8Array): number {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return hash
}

export function isSame(a: SnapshotFile, b: SnapshotFile): boolean {
  return (
    a.lastIncluded.index === b.lastIncluded.index &&
    a.lastIncluded.term === b.lastIncluded.term &&
    a.sizeBytes === b.sizeBytes &&
    a.checksum === b.checksum
  )
}
