// What stands in the data directories under fixtures/, which versions of long ago have written: a later version must find all of it.

import type { KeptResult, Run, SnapshotHeader, Standing } from '../../src/node/ports.ts'
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

const bare = { key: null, traceparent: null }

/** Entries of every kind that there was at first, in three terms. */
function firstEntries(index: number): EntryFields {
  const term = index <= 10 ? 1 : index <= 24 ? 2 : 7
  const timestampMs = 1_700_000_000_000 + 1_000 * index
  const own = { origin: 0, sequence: 0, ...bare }
  if (index === 1 || index === 11 || index === 25)
    return { index, term, timestampMs, ...own, kind: 'noop', payload: new Uint8Array() }
  if (index === 31) {
    const payload = Buffer.from(JSON.stringify(later))
    return { index, term, timestampMs, ...own, kind: 'configuration', payload }
  }
  const proposed = { origin: 0xabcd_ef01_2345, sequence: index * 3, ...bare }
  if (index % 3 === 0)
    return { index, term, timestampMs, ...proposed, kind: 'bytes', payload: Buffer.alloc(100 + index, index) }
  const payload = Buffer.from(JSON.stringify({ op: 'set', key: `k${index}`, value: 'ä€🙂'.repeat(index) }))
  return { index, term, timestampMs, ...proposed, kind: 'json', payload }
}

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

/** Keys, trace contexts and a skip, in two terms. */
function keyedEntries(index: number): EntryFields {
  const term = index <= 8 ? 1 : 2
  const timestampMs = 1_800_000_000_000 + 1_000 * index
  const own = { index, term, timestampMs, origin: 0, sequence: 0, ...bare }
  if (index === 1 || index === 9) return { ...own, kind: 'noop', payload: new Uint8Array() }
  if (index === 7) return { ...own, kind: 'configuration', payload: Buffer.from(JSON.stringify(later)) }
  const proposed = { ...own, origin: 0xabcd_ef01_2345, sequence: index * 3 }
  if (index === 8) {
    return { ...proposed, kind: 'skip', payload: Buffer.from('{"index":4,"reason":"no such account: ä€🙂"}') }
  }
  const attributes = {
    key: index === 4 || index === 5 ? null : index === 6 ? '~'.repeat(255) : `order-${index}`,
    traceparent: index % 4 === 3 || index === 4 ? null : traceparent,
  }
  if (index % 3 === 0) return { ...proposed, ...attributes, kind: 'bytes', payload: Buffer.alloc(20 + index, index) }
  return { ...proposed, ...attributes, kind: 'json', payload: Buffer.from(`{ "order": ${index}, "text": "ä€🙂" }`) }
}

export interface Fixture {
  /** The directory that its own stands in: the version that wrote it. */
  readonly writer: string
  /** Its directory's name. */
  readonly name: string
  readonly entryFields: (index: number) => EntryFields
  readonly hardState: HardState
  readonly snapshot: SnapshotHeader
  /** What the node keeps of the log; versions before 0.3 kept nothing. */
  readonly ledger: Buffer
  /** What the state machine gave. */
  readonly body: Buffer
  /** The log holds the entries from here at the latest... */
  readonly firstIndex: number
  /** ...and from here at the earliest. */
  readonly baseIndex: number
  readonly lastIndex: number
  /** Where the configurations come from that count. */
  readonly configurationIndexes: readonly number[]
}

const hardState = { currentTerm: 9, votedFor: 'n2' }

/** Larger than a chunk. */
const state = Buffer.alloc(300_000, 'the state of a machine, over and over. ')

/** Two snapshots of its own, the newest through entry 28; compacted through 22. */
export const compacted: Fixture = {
  writer: 'format-1',
  name: 'compacted',
  entryFields: firstEntries,
  hardState,
  snapshot: {
    lastIncluded: { index: 28, term: 7 },
    timestampMs: 1_700_000_028_000,
    configuration: { index: 0, configuration: founding },
    machinePosition: 28,
  },
  ledger: Buffer.alloc(0),
  body: state,
  firstIndex: 23,
  baseIndex: 1,
  lastIndex: 40,
  configurationIndexes: [0, 31],
}

/** A log of five entries that begins anew behind a snapshot of the leader through entry 32. */
export const installed: Fixture = {
  writer: 'format-1',
  name: 'installed',
  entryFields: firstEntries,
  hardState,
  snapshot: {
    lastIncluded: { index: 32, term: 7 },
    timestampMs: 1_700_000_032_000,
    configuration: { index: 31, configuration: later },
    machinePosition: 30,
  },
  ledger: Buffer.alloc(0),
  body: Buffer.from('small'),
  firstIndex: 33,
  baseIndex: 32,
  lastIndex: 40,
  configurationIndexes: [31],
}

/** The whole log, a snapshot with a ledger through its skip, and what commands answered since; no cursor and no acquaintances. */
export const keyed: Fixture = {
  writer: 'version-0.3',
  name: 'keyed',
  entryFields: keyedEntries,
  hardState,
  snapshot: {
    lastIncluded: { index: 8, term: 1 },
    timestampMs: 1_800_000_008_000,
    configuration: { index: 7, configuration: later },
    machinePosition: 6,
  },
  ledger: Buffer.alloc(1_500, 'the keys of a log, over and over. '),
  body: Buffer.from('the state of a machine'),
  firstIndex: 1,
  baseIndex: 0,
  lastIndex: 12,
  configurationIndexes: [7],
}

/** Beside `keyed`. */
export const keptResults: readonly KeptResult[] = [
  { index: 10, resultJson: '{ "ok": true }' },
  { index: 11, resultJson: 'null' },
  { index: 12, resultJson: '"ä€🙂"' },
]
