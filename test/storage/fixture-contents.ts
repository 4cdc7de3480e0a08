// What stands in the data directories under fixtures/, which versions of long ago have written: a later version must find all of it.

import type { Run, SnapshotHeader, Standing } from '../../src/node/ports.ts'
import type { Configuration } from '../../src/raft/configuration.ts'
import type { EntryFields } from '../../src/raft/entry.ts'
import type { HardState } from '../../src/raft/work.ts'

const founding: Configuration = {
  members: [
    { id: 'n1', peerAddress: 'a.example:7001', role: 'voter' },
    { id: 'n2', peerAddress: 'b.example:7001', role: 'voter' },
    { id: 'n3', peerAddress: '[::1]:7003', role: 'learner' },
  ],
}
const later: Configuration = { members: founding.members.slice(0, 2) }

export const identity = {
  cluster: 'orders',
  nodeId: 'n1',
  incarnation: '00112233aabbccdd',
  foundingConfiguration: founding,
}

export const firstRun: Run = { number: 1, id: '8899aabbccddeeff', former: [] }

export const deliveredThrough = 27

export const acquaintances: ReadonlyMap<string, Standing> = new Map([
  [
    'n2',
    {
      incarnation: 'ffeeddccbbaa9988',
      run: { number: 12, id: '7766554433221100', former: [] },
      currentTerm: 9,
      lastIndex: 38,
    },
  ],
  [
    'n3',
    {
      incarnation: '0123456789abcdef',
      run: { number: 1, id: 'fedcba9876543210', former: [] },
      currentTerm: 7,
      lastIndex: 0,
    },
  ],
])

/** Entries of every kind, in three terms. */
export function entryFields(index: number): EntryFields {
  const term = index <= 10 ? 1 : index <= 24 ? 2 : 7
  const timestampMs = 1_700_000_000_000 + 1_000 * index
  const own = { origin: 0, sequence: 0 }
  if (index === 1 || index === 11 || index === 25)
    return { index, term, timestampMs, ...own, kind: 'noop', payload: new Uint8Array() }
  if (index === 31) {
    const payload = Buffer.from(JSON.stringify(later))
    return { index, term, timestampMs, ...own, kind: 'configuration', payload }
  }
  const proposed = { origin: 0xabcd_ef01_2345, sequence: index * 3 }
  if (index % 3 === 0)
    return { index, term, timestampMs, ...proposed, kind: 'bytes', payload: Buffer.alloc(100 + index, index) }
  const payload = Buffer.from(JSON.stringify({ op: 'set', key: `k${index}`, value: 'ä€🙂'.repeat(index) }))
  return { index, term, timestampMs, ...proposed, kind: 'json', payload }
}

export interface Fixture {
  /** Its directory's name. */
  readonly name: string
  readonly hardState: HardState
  readonly snapshot: SnapshotHeader
  /** What the state machine gave. */
  readonly body: Buffer
  /** The log holds the entries from here at the latest... */
  readonly firstIndex: number
  /** ...and from here at the earliest. */
  readonly baseIndex: number
  readonly lastIndex: number
}

const hardState = { currentTerm: 9, votedFor: 'n2' }

/** Larger than a chunk. */
const state = Buffer.alloc(300_000, 'the state of a machine, over and over. ')

/** Two snapshots of its own, the newest through entry 28; compacted through 22. */
export const compacted: Fixture = {
  name: 'compacted',
  hardState,
  snapshot: {
    lastIncluded: { index: 28, term: 7 },
    timestampMs: 1_700_000_028_000,
    configuration: { index: 0, configuration: founding },
    machinePosition: 28,
  },
  body: state,
  firstIndex: 23,
  baseIndex: 1,
  lastIndex: 40,
}

/** A log of five entries that begins anew behind a snapshot of the leader through entry 32. */
export const installed: Fixture = {
  name: 'installed',
  hardState,
  snapshot: {
    lastIncluded: { index: 32, term: 7 },
    timestampMs: 1_700_000_032_000,
    configuration: { index: 31, configuration: later },
    machinePosition: 30,
  },
  body: Buffer.from('small'),
  firstIndex: 33,
  baseIndex: 32,
  lastIndex: 40,
}
