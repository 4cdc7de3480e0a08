// The committed log as clients read it: commands only, in order, as far as this node knows them to be committed.

import { CompactedError, ReadError } from '../errors.ts'
import { type Entry, isCommand } from '../raft/entry.ts'
import type { CommittedRead, LoggedCommand } from './contract.ts'
import type { CommittedEntries } from './ports.ts'

export interface CommittedLogOptions {
  readonly entries: Pick<CommittedEntries, 'read' | 'firstIndex' | 'isSkipped'>
  /** Everything through here is committed, and what is left out of it is known. */
  readonly committedIndex: () => number
  readonly maxWaiting: number
}

interface Waiter {
  readonly after: number
  readonly deadlineMs: number
  readonly resolve: (index: number) => void
  readonly reject: (error: ReadError) => void
}

/** Entries looked at in one read, so that a stretch without commands does not hold the loop. */
const maxEntries = 10_000

export class CommittedLog {
  readonly #options: CommittedLogOptions
  #waiters: Waiter[] = []

  constructor(options: CommittedLogOptions) {
    this.#options = options
  }

  async read(after: number, limit: number, maxBytes: number): Promise<CommittedRead> {
    const { entries, committedIndex } = this.#options
    let through = after
    const commands: LoggedCommand[] = []
    while (commands.length === 0 && through < committedIndex()) {
      this.#mustHold(through + 1)
      const last = Math.min(committedIndex(), through + Math.min(maxEntries, Math.max(limit, 1)))
      const read = await entries.read(through + 1, last, maxBytes)
      if (read.length === 0) this.#mustHold(through + 1)
      const end = read.at(-1)
      if (end === undefined || read[0]?.index !== through + 1) break
      for (const entry of read) if (isCommand(entry)) commands.push(this.#logged(entry))
      through = end.index
    }
    return { commands, through }
  }

  wait(after: number, nowMs: number, timeoutMs: number): Promise<number> {
    const { committedIndex, maxWaiting } = this.#options
    if (committedIndex() > after) return Promise.resolve(committedIndex())
    if (this.#waiters.length >= maxWaiting) {
      const sentence = `Cannot wait for a commit: ${maxWaiting} wait for one already`
      return Promise.reject(new ReadError('read-timeout', sentence))
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ after, deadlineMs: nowMs + timeoutMs, resolve, reject })
    })
  }

  /** More is committed, or time has passed. */
  wake(nowMs: number): void {
    if (this.#waiters.length === 0) return
    const index = this.#options.committedIndex()
    const waiting: Waiter[] = []
    for (const waiter of this.#waiters) {
      if (index > waiter.after || nowMs >= waiter.deadlineMs) waiter.resolve(index)
      else waiting.push(waiter)
    }
    this.#waiters = waiting
  }

  abandon(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const { reject } of waiters) {
      reject(new ReadError('shutting-down', 'Cannot wait for a commit: this node is shutting down'))
    }
  }

  #mustHold(index: number): void {
    const { firstIndex } = this.#options.entries
    if (index >= firstIndex) return
    const sentence = `Cannot read the log from ${index} on: it is held from ${firstIndex} on; what came before is in the snapshot`
    throw new CompactedError(firstIndex, sentence)
  }

  #logged({ index, term, timestampMs, kind, payload, key, traceparent }: Entry): LoggedCommand {
    const skipped = this.#options.entries.isSkipped(index)
    return { index, term, timestampMs, kind: kind === 'json' ? 'json' : 'bytes', payload, key, traceparent, skipped }
  }
}
