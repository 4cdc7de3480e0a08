// Data directories as a long life would leave them, written by the production storage itself.

import { createHash } from 'node:crypto'
import { createKvMachine } from '../../src/machine/kv.ts'
import { systemClock } from '../../src/node/system-clock.ts'
import type { Member } from '../../src/raft/configuration.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { encodeEntry } from '../../src/storage/record.ts'
import { openStorage } from '../../src/storage/storage.ts'

export interface LogOptions {
  readonly directory: string
  readonly cluster: string
  readonly nodeId: string
  readonly members: readonly Member[]
  readonly entries: number
  /** Of the command. */
  readonly payloadBytes: number
  /** Different ones, over and over. */
  readonly keys: number
  /** A snapshot of the state through this entry; absent: none. */
  readonly snapshotAt?: number
  /** Entries through this one are compacted. */
  readonly compactThrough?: number
}

const groupEntries = 1000

/** The same commands for every node. */
export async function writeLog(options: LogOptions): Promise<void> {
  const { directory, cluster, nodeId, members, entries, payloadBytes, keys, snapshotAt, compactThrough } = options
  const storage = await openStorage({
    disk: nodeDisk,
    directory,
    identity: {
      cluster,
      nodeId,
      foundingConfiguration: { members },
      newIncarnation: createHash('sha256').update(nodeId).digest('hex').slice(0, 16),
    },
    newRunId: 'bench',
    after: systemClock.after,
    reserveBytes: 0,
  })
  const machine = createKvMachine(systemClock)
  let id = 0
  let after = 0
  for (let from = 1; from <= entries; from += groupEntries) {
    const group = Array.from({ length: Math.min(groupEntries, entries - from + 1) }, (_, at) =>
      command(from + at, payloadBytes, keys),
    )
    const hardState = from === 1 ? { currentTerm: 1, votedFor: members[0]?.id ?? null } : null
    await storage.save({ id: ++id, hardState, snapshot: null, entries: group })
    const taken = group.filter(({ index }) => index <= (snapshotAt ?? 0))
    if (taken.length > 0) machine.apply(after, taken)
    after = taken.at(-1)?.index ?? after
  }
  if (snapshotAt !== undefined) {
    const { body } = await machine.snapshot()
    const configuration = { index: 0, configuration: { members } }
    const header = {
      lastIncluded: { index: snapshotAt, term: 1 },
      timestampMs: 1,
      configuration,
      machinePosition: snapshotAt,
    }
    await storage.takeSnapshot(header, noLedger(), body)
  }
  if (compactThrough !== undefined) storage.compact({ index: compactThrough, term: 1 })
  await storage.close()
}

/** As a snapshot of 0.2 would have it: nothing is known of keys. */
async function* noLedger(): AsyncGenerator<Uint8Array> {}

export function command(index: number, payloadBytes: number, keys: number): Entry {
  const head = `{"op":"set","key":"k${index % keys}","value":"`
  const payload = Buffer.from(`${head}${'x'.repeat(Math.max(0, payloadBytes - head.length - 2))}"}`)
  return encodeEntry({
    index,
    term: 1,
    kind: 'json',
    timestampMs: 1,
    origin: 1,
    sequence: index,
    key: null,
    traceparent: null,
    payload,
  })
}
