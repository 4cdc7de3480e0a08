// One snapshot on its way to one follower: offered until it is answered, then sent in chunks behind what the follower has acknowledged, at a
// bounded rate. Whatever gets lost, the next offer finds out where to go on. It ends only when it is stopped: that the follower has installed
// the snapshot is for the core to see.

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
  /** At most `maxChunkBytes`. */
  readonly chunkBytes: number
  /** Nothing was heard for so long: the snapshot is offered again. */
  readonly repeatAfterMs: number
  /** The follower has all of it, for the first time. */
  readonly onSent: (durationMs: number) => void
  /** The snapshot could not be read. */
  readonly onFailure: (error: unknown) => void
}

export const maxChunkBytes = 256 * 1024
/** Sent and not acknowledged. */
const windowChunks = 16

export class SnapshotSender {
  readonly #options: SnapshotSenderOptions
  readonly #startedMs: number
  #acknowledged = 0
  #next = 0
  /** Between an offer and its answer nothing is sent. */
  #isOffered = false
  #isReading = false
  #isComplete = false
  #isStopped = false
  /** What was sent until now is paid for at this time. */
  #paidMs: number
  #cancelRepeat: () => void = () => {}
  #cancelPause: (() => void) | null = null

  constructor(options: SnapshotSenderOptions) {
    this.#options = options
    this.#startedMs = options.clock.monotonicMs()
    this.#paidMs = this.#startedMs
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
    if (this.#isOffered) {
      this.#isOffered = false
      this.#next = ack.offset
    } else if (ack.offset <= this.#acknowledged) {
      return
    }
    this.#acknowledged = ack.offset
    this.#repeatLater()
    if (ack.offset === sizeBytes && !this.#isComplete) {
      this.#isComplete = true
      this.#options.onSent(this.#options.clock.monotonicMs() - this.#startedMs)
    }
    this.#pump()
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
    const { clock, bytesPerSecond, chunkBytes } = this.#options
    if (this.#next >= this.file.sizeBytes || this.#next - this.#acknowledged >= windowChunks * chunkBytes) return
    const nowMs = clock.monotonicMs()
    if (this.#paidMs > nowMs) {
      this.#cancelPause = clock.after(this.#paidMs - nowMs, () => {
        this.#cancelPause = null
        this.#pump()
      })
      return
    }
    const bytes = Buffer.allocUnsafeSlow(Math.min(chunkBytes, this.file.sizeBytes - this.#next))
    this.#paidMs = nowMs + (bytes.length / bytesPerSecond) * 1000
    this.#read(bytes, this.#next)
  }

  #read(bytes: Buffer, offset: number): void {
    const { snapshot, onFailure } = this.#options
    this.#isReading = true
    snapshot.read(bytes, offset).then(
      (count) => {
        this.#isReading = false
        if (this.#isStopped) return this.#close()
        if (count !== bytes.length) {
          onFailure(
            new Error(`The snapshot ends ${bytes.length - count} bytes before its size of ${this.file.sizeBytes}`),
          )
          return
        }
        // Meanwhile it may have been offered anew, to go on elsewhere.
        if (!this.#isOffered && this.#next === offset) this.#send(bytes, offset)
        this.#pump()
      },
      (error) => {
        this.#isReading = false
        if (this.#isStopped) this.#close()
        else onFailure(error)
      },
    )
  }

  #send(bytes: Buffer, offset: number): void {
    const { id, to, term, transport } = this.#options
    const { lastIncluded } = this.file
    transport.send({ type: 'SnapshotChunk', from: id, to, term, lastIncluded, offset, bytes })
    this.#next = offset + bytes.length
  }

  #repeatLater(): void {
    const { clock, repeatAfterMs } = this.#options
    this.#cancelRepeat()
    this.#cancelRepeat = clock.after(repeatAfterMs, () => this.offer())
  }

  #close(): void {
    this.#options.snapshot.close().catch(this.#options.onFailure)
  }
}
