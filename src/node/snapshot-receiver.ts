// The snapshot that the leader sends this node, if it does: one at a time, in order, from where the last connection left it. When it is whole
// and verified the core decides what becomes of it, and until that is done no other one is begun.

import { InvalidSnapshotError, StorageFullError } from '../errors.ts'
import type { NodeId } from '../raft/entry.ts'
import type {
  IncomingSnapshot,
  SnapshotChunk,
  SnapshotFile,
  SnapshotHeader,
  SnapshotOffer,
  Storage,
  Transport,
} from './ports.ts'
import { windowBytes } from './snapshot-sender.ts'

export interface ReceivedSnapshot {
  readonly from: NodeId
  /** Of the leader that sent it. */
  readonly term: number
  readonly file: SnapshotFile
  readonly header: SnapshotHeader
}

export interface SnapshotReceiverOptions {
  readonly id: NodeId
  readonly storage: Pick<Storage, 'receiveSnapshot'>
  readonly transport: Pick<Transport, 'send'>
  /** It is whole; `settled` is to be called when it was installed, or is not wanted. */
  readonly onReceived: (received: ReceivedSnapshot) => void
  /** There is no room for it, or it came damaged: the next offer begins again with what is there. */
  readonly onSetback: (error: StorageFullError | InvalidSnapshotError) => void
  readonly onFailure: (error: unknown) => void
}

interface Transfer {
  readonly from: NodeId
  readonly term: number
  readonly file: SnapshotFile
  /** Null while it is being opened. */
  incoming: IncomingSnapshot | null
  /** What was taken in, on disk or on the way there. */
  receivedBytes: number
  /** Of that, what is on the way. */
  unwrittenBytes: number
}

/** More than any sender has under way: past it, what comes is left out, however slow the disk is. */
const maxUnwrittenBytes = 2 * windowBytes

export class SnapshotReceiver {
  readonly #options: SnapshotReceiverOptions
  #transfer: Transfer | null = null
  /** What the disk is asked to do, one after the other. */
  #work: Promise<void> = Promise.resolve()
  #isSettling = false

  constructor(options: SnapshotReceiverOptions) {
    this.#options = options
  }

  /** From the leader of the current term. */
  offered(offer: SnapshotOffer, commitIndex: number): void {
    const { file, from, term } = offer
    if (file.lastIncluded.index <= commitIndex) {
      // It has come already, or is not needed any more: the leader sees at the next heartbeat how far the log reaches.
      this.#acknowledge(from, term, file, file.sizeBytes)
      return
    }
    if (this.#isSettling) return
    const current = this.#transfer
    if (current !== null && current.from === from && current.term === term) {
      if (isSame(current.file, file)) {
        // While it is being opened or written, the answer is what is acknowledged after that; or a repeated offer would open the window anew.
        if (current.incoming !== null && current.unwrittenBytes === 0)
          this.#acknowledge(from, term, file, current.receivedBytes)
        return
      }
      // A leader goes on to newer ones only: this offer is an old one that came late.
      if (file.lastIncluded.index < current.file.lastIncluded.index) return
    }
    const transfer: Transfer = { from, term, file, incoming: null, receivedBytes: 0, unwrittenBytes: 0 }
    this.#transfer = transfer
    this.#do(transfer, async () => {
      const incoming = await this.#options.storage.receiveSnapshot(file)
      transfer.incoming = incoming
      transfer.receivedBytes = incoming.sizeBytes
      return incoming
    })
  }

  /** What does not follow what is here is left out: the sender finds out by its next offer. */
  chunk({ from, term, lastIncluded, offset, bytes }: SnapshotChunk): void {
    const transfer = this.#transfer
    if (transfer === null || transfer.incoming === null || transfer.from !== from || transfer.term !== term) return
    const { incoming, file } = transfer
    if (file.lastIncluded.index !== lastIncluded.index || file.lastIncluded.term !== lastIncluded.term) return
    const { length } = bytes
    if (length === 0 || offset !== transfer.receivedBytes || offset + length > file.sizeBytes) return
    if (transfer.unwrittenBytes + length > maxUnwrittenBytes) return
    transfer.receivedBytes += length
    transfer.unwrittenBytes += length
    this.#do(transfer, async () => {
      await incoming.append(bytes)
      transfer.unwrittenBytes -= length
      return incoming
    })
  }

  /** What was received is installed, or is not wanted: another one may come. */
  settled(): void {
    this.#isSettling = false
    this.#transfer = null
  }

  /** Nothing is said any more, whatever the disk still does. */
  stop(): void {
    this.#transfer = null
  }

  #do(transfer: Transfer, work: () => Promise<IncomingSnapshot>): void {
    this.#work = this.#work
      .then(async () => {
        if (this.#transfer !== transfer) return
        const incoming = await work()
        // Meanwhile another one may have taken its place, and then this one must not be finished: storage is about to give it up.
        if (this.#transfer === transfer) await this.#progress(transfer, incoming)
      })
      .catch((error: unknown) => {
        if (this.#transfer === transfer) this.#transfer = null
        const isSetback = error instanceof StorageFullError || error instanceof InvalidSnapshotError
        if (isSetback) this.#options.onSetback(error)
        else this.#options.onFailure(error)
      })
  }

  async #progress(transfer: Transfer, incoming: IncomingSnapshot): Promise<void> {
    const { from, term, file } = transfer
    if (incoming.sizeBytes < file.sizeBytes) {
      this.#acknowledge(from, term, file, incoming.sizeBytes)
      return
    }
    this.#isSettling = true
    let header: SnapshotHeader
    try {
      header = await incoming.finish()
    } catch (error) {
      this.settled()
      throw error
    }
    if (this.#transfer !== transfer) return
    this.#acknowledge(from, term, file, file.sizeBytes)
    this.#options.onReceived({ from, term, file, header })
  }

  #acknowledge(to: NodeId, term: number, { lastIncluded }: SnapshotFile, offset: number): void {
    const { id, transport } = this.#options
    transport.send({ type: 'SnapshotAck', from: id, to, term, lastIncluded, offset })
  }
}

function isSame(a: SnapshotFile, b: SnapshotFile): boolean {
  return (
    a.lastIncluded.index === b.lastIncluded.index &&
    a.lastIncluded.term === b.lastIncluded.term &&
    a.sizeBytes === b.sizeBytes &&
    a.checksum === b.checksum
  )
}
