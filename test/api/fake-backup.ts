// A backup in memory: remembers what was read of it, and is slow or broken as a test tells it.

import assert from 'node:assert/strict'
import type { Backup } from '../../src/node/contract.ts'

export class FakeBackup implements Backup {
  readonly snapshot: { index: number; term: number; sizeBytes: number }
  readonly bytes: Buffer
  readonly reads: { readonly position: number; readonly wanted: number }[] = []
  closed = 0
  beforeRead: () => Promise<void> = async () => {}

  /** Of these bytes, or of so many that are different. */
  constructor(content: number | Buffer) {
    const pattern = Buffer.from(Uint8Array.from({ length: 251 }, (_, at) => at))
    this.bytes = typeof content === 'number' ? Buffer.alloc(content, pattern) : content
    this.snapshot = { index: 40, term: 2, sizeBytes: this.bytes.length }
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    assert.equal(this.closed, 0, 'a file was read that was closed')
    this.reads.push({ position, wanted: into.length })
    await this.beforeRead()
    const bytes = this.bytes.subarray(position, position + into.length)
    into.set(bytes)
    return bytes.length
  }

  async close(): Promise<void> {
    this.closed++
  }
}
