// One snapshot on its way to one follower: offered until it is answered, then sent in chunks behind what the follower has acknowledged, at a
// bounded rate. Whatever gets lost, the next offer finds out where to go on. It ends only when it is stopped: that the follower has installed
// the snapshot is for the core to see.

import { exitCodes, FatalError } from '../errors.ts'
import type { NodeId } from '../raft/entry.ts'
import type { Clock, SnapshotAck, SnapshotFile, StoredSnapshot, Transport } from './ports.ts'

export interface SnapshotSenderOptions {
  readonly id: NodeId
  readonly to: NodeId
  readonly term: number
  readonly snapshot: StoredSnapshot
  readonly transport: Pick<Transport, 'send'>
  readonly clock: Pick<Clock, 'after' | 'monotonicMs'>
  readonly bytesPerSecond: number
  /** At a time; the constant of that name is the default, and the most. */
  readonly chunkBytes?: number
  /** Nothing was heard for so long: the snapshot is offered again. Longer where the acknowledgements take longer. */
  readonly repeatAfterMs: number
  /** The follower answers and gets no further, for so long: the log is kept for it no longer. */
  readonly patienceMs: number
  readonly onStuck: () => void
  /** The follower has all of it, for the first time. */
  readonly onSent: (durationMs: number) => void
  /** The snapshot could not be read. */
  readonly onFailure: (error: unknown) => void
}

export const chunkBytes = 256 * 1024
const windowChunks = 8
/** Sent and not acknowledged, within a chunk: half of what the transport keeps in its queue, so that it drops nothing of it. */
export const windowBytes = windowChunks * chunkBytes

export class SnapshotSender {
  readonly #options: SnapshotSenderOptions
  readonly #startedMs: number
  readonly #chunkBytes: number
  #acknowledged = 0
  #next = 0
  /** Between an offer and its answer nothing is sent. */
  #isOffered = false
  #isReading = false
  #isComplete = false
  #isStopped = false
  /** What was sent until now is paid for at this time. */
  #paidMs: number
  /** When an acknowledgement last brought news. */
  #newsMs: number
  /** An offer that comes while a chunk is still on its way sends it twice: on a slow link, that would be all that it carries. */
  #repeatMs: number
  #cancelRepeat: () => void = () => {}
  #cancelPause: (() => void) | null = null

  constructor(options: SnapshotSenderOptions) {
    this.#options = options
    this.#startedMs = options.clock.monotonicMs()
    this.#chunkBytes = Math.min(options.chunkBytes ?? chunkBytes, chunkBytes)
    this.#paidMs = this.#startedMs
    this.#newsMs = this.#startedMs
    this.#repeatMs = options.repeatAfterMs
    this.offer()
  }

  get file(): SnapshotFile {
    return this.#options.snapshot.file
  }

  get term(): number {
    return this.#options.term
  }

  /** Also when a connection is back: what was under way on the old one may be lost. */
  offer(): void {
    if (this.#isStopped) return
    const { id, to, term, transport } = this.#options
    this.#isOffered = true
    transport.send({ type: 'SnapshotOffer', from: id, to, term, file: this.file })
    this.#repeatLater()
  }

  acknowledged(ack: SnapshotAck): void {
    const { sizeBytes, lastIncluded } = this.file
    const isOurs = ack.term === this.term && ack.lastIncluded.index === lastIncluded.index
    if (this.#isStopped || !isOurs || ack.lastIncluded.term !== lastIncluded.term || ack.offset > sizeBytes) return
    const isSentAgain = this.#isOffered && ack.offset < this.#next
    if (this.#isOffered) {
      this.#isOffered = false
      this.#next = ack.offset
    } else if (ack.offset > this.#acknowledged) {
      // Past what was sent since the last offer, when that was answered by an acknowledgement which was under way already.
      this.#next = Math.max(this.#next, ack.offset)
    } else {
      return
    }
    if (ack.offset > this.#acknowledged) this.#heardNews()
    else if (isSentAgain) this.#waitFor(2 * this.#repeatMs)
    this.#acknowledged = ack.offset
    this.#repeatLater()
    if (ack.offset === sizeBytes && !this.#isComplete) {
      this.#isComplete = true
      this.#options.onSent(this.#options.clock.monotonicMs() - this.#startedMs)
    }
    this.#pump()
  }

  #heardNews(): void {
    const nowMs = this.#options.clock.monotonicMs()
    this.#waitFor(2 * (nowMs - this.#newsMs))
    this.#newsMs = nowMs
  }

  #waitFor(ms: number): void {
    const { repeatAfterMs, patienceMs } = this.#options
    this.#repeatMs = Math.max(repeatAfterMs, Math.min(ms, patienceMs / 4))
  }

  stop(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    this.#cancelRepeat()
    this.#cancelPause?.()
    if (!this.#isReading) this.#close()
  }

  #pump(): void {
    if (this.#isStopped || this.#isReading || this.#isOffered || this.#cancelPause !== null) return
    const isWindowFull = this.#next - this.#acknowledged >= windowChunks * this.#chunkBytes
    if (this.#next >= this.file.sizeBytes || isWindowFull) return
    const { clock, bytesPerSecond } = this.#options
    const nowMs = clock.monotonicMs()
    if (this.#paidMs > nowMs) {
      this.#cancelPause = clock.after(this.#paidMs - nowMs, () => {
        this.#cancelPause = null
        this.#pump()
      })
      return
    }
    const bytes = Buffer.allocUnsafeSlow(Math.min(this.#chunkBytes, this.file.sizeBytes - this.#next))
    this.#paidMs = nowMs + (bytes.length / bytesPerSecond) * 1000
    this.#read(bytes, this.#next)
  }

  #read(bytes: Buffer, offset: number): void {
    const { snapshot, onFailure } = this.#options
    this.#isReading = true
    snapshot
      .read(bytes, offset)
      .finally(() => {
        this.#isReading = false
        if (this.#isStopped) this.#close()
      })
      .then((count) => {
        if (this.#isStopped) return
        const missing = bytes.length - count
        if (missing > 0) {
          const sentence = `The snapshot ends ${missing} bytes before its size of ${this.file.sizeBytes}`
          throw new FatalError(exitCodes.dataError, sentence)
        }
        // Meanwhile it may have been offered anew, to go on elsewhere.
        if (!this.#isOffered && this.#next === offset) this.#send(bytes, offset)
        this.#pump()
      })
      .catch((error: unknown) => {
        if (!this.#isStopped) onFailure(error)
      })
  }

  #send(bytes: Buffer, offset: number): void {
    const { id, to, term, transport } = this.#options
    const { lastIncluded } = this.file
    transport.send({ type: 'SnapshotChunk', from: id, to, term, lastIncluded, offset, bytes })
    this.#next = offset + bytes.length
  }

  #repeatLater(): void {
    const { clock, patienceMs, onStuck } = this.#options
    this.#cancelRepeat()
    this.#cancelRepeat = clock.after(this.#repeatMs, () => {
      if (clock.monotonicMs() - this.#newsMs >= patienceMs) onStuck()
      else this.offer()
    })
  }

  #close(): void {
    this.#options.snapshot.close().catch(this.#options.onFailure)
  }
}
