// Entries, logs and messages for the tests of the core: short ways to write them down.

import {
  type Configuration,
  encodeConfiguration,
  type IndexedConfiguration,
  type Member,
} from '../../src/raft/configuration.ts'
import type { Entry, EntryFields, NodeId } from '../../src/raft/entry.ts'
import type {
  AppendEntries,
  AppendEntriesResponse,
  InstallSnapshot,
  RequestPreVote,
  RequestVote,
} from '../../src/raft/messages.ts'
import type { SnapshotMetadata } from '../../src/raft/snapshot.ts'
import type { Proposal } from '../../src/raft/work.ts'

const headerBytes = 8

/** A record of the payload behind a few bytes of header: the core looks at its length only. */
export function encodeEntry(fields: EntryFields): Entry {
  const record = new Uint8Array(headerBytes + fields.payload.length)
  record.set(fields.payload, headerBytes)
  return { ...fields, record, payload: record.subarray(headerBytes) }
}

export function entry(term: number, index: number, payloadBytes = 0): Entry {
  return encodeEntry({
    term,
    index,
    kind: 'bytes',
    timestampMs: index,
    origin: 1,
    sequence: index,
    key: null,
    traceparent: null,
    payload: new Uint8Array(payloadBytes),
  })
}

export function configurationEntry(term: number, index: number, configuration: Configuration): Entry {
  return encodeEntry({ ...entry(term, index), kind: 'configuration', payload: encodeConfiguration(configuration) })
}

/** Entries from index 1 (or `from`) on, one for each term given. */
export function logOf(terms: readonly number[], from = 1): Entry[] {
  return terms.map((term, i) => entry(term, from + i))
}

export function proposal(sequence: number, payloadBytes = 0): Proposal {
  return { kind: 'bytes', origin: 1, sequence, key: null, traceparent: null, payload: new Uint8Array(payloadBytes) }
}

export function founding(voters: readonly NodeId[], learners: readonly NodeId[] = []): IndexedConfiguration {
  const member = (role: Member['role']) => (id: NodeId) => ({ id, peerAddress: `${id}:1`, role })
  return { index: 0, configuration: { members: [...voters.map(member('voter')), ...learners.map(member('learner'))] } }
}

type Given<M, Required extends keyof M> = Partial<M> & Pick<M, Required>

export function appendEntries(fields: Given<AppendEntries, 'term'>): AppendEntries {
  return {
    type: 'AppendEntries',
    from: 'n2',
    to: 'n1',
    prev: { term: 0, index: 0 },
    entries: [],
    leaderCommit: 0,
    round: 0,
    ...fields,
  }
}

export function accepted(term: number, matchIndex: number, from: NodeId, round = 0): AppendEntriesResponse {
  return {
    type: 'AppendEntriesResponse',
    from,
    to: 'n1',
    term,
    round,
    leaseMs: 0,
    isStorageFull: false,
    success: true,
    matchIndex,
  }
}

/** As above, from a follower whose disk has no room to spare. */
export function acceptedByFull(term: number, matchIndex: number, from: NodeId): AppendEntriesResponse {
  return { ...accepted(term, matchIndex, from), isStorageFull: true }
}

export function rejected(
  term: number,
  rejectedIndex: number,
  hint: { readonly term: number; readonly index: number },
  from: NodeId,
): AppendEntriesResponse {
  return {
    type: 'AppendEntriesResponse',
    from,
    to: 'n1',
    term,
    round: 0,
    leaseMs: 0,
    isStorageFull: false,
    success: false,
    rejectedIndex,
    hint,
  }
}

/** Through this entry; its configuration is the founding one of three voters. */
export function snapshotOf(term: number, index: number, fields: Partial<SnapshotMetadata> = {}): SnapshotMetadata {
  return { lastIncluded: { term, index }, timestampMs: index, configuration: founding(['n1', 'n2', 'n3']), ...fields }
}

export function installSnapshot(term: number, snapshot: SnapshotMetadata, from: NodeId = 'n2'): InstallSnapshot {
  return { type: 'InstallSnapshot', from, to: 'n1', term, snapshot }
}

export function requestVote(fields: Given<RequestVote, 'term'>): RequestVote {
  return {
    type: 'RequestVote',
    from: 'n2',
    to: 'n1',
    lastEntry: { term: 0, index: 0 },
    leadershipTransfer: false,
    ...fields,
  }
}

export function requestPreVote(fields: Given<RequestPreVote, 'term'>): RequestPreVote {
  return { type: 'RequestPreVote', from: 'n2', to: 'n1', lastEntry: { term: 0, index: 0 }, ...fields }
}
