// What nodes say to each other, to frames and back. `from` and `to` are not sent: the handshake of the connection knows
// them. Records, payloads and the bytes of a snapshot are never encoded here, they go behind the header as they are.

import type {
  ForwardedProposals,
  ForwardRefused,
  PeerMessage,
  SnapshotAck,
  SnapshotChunk,
  SnapshotOffer,
} from '../node/ports.ts'
import type { Entry, EntryId, NodeId } from '../raft/entry.ts'
import type { AppendEntries, AppendEntriesResponse } from '../raft/messages.ts'
import { type Frame, frame, ProtocolError, prefixBytes } from './frames.ts'
import { type Fields, maxUint32, maxUint48, packHeader } from './header.ts'

const types = {
  RequestPreVote: 10,
  RequestPreVoteResponse: 11,
  RequestVote: 12,
  RequestVoteResponse: 13,
  AppendEntries: 14,
  AppendEntriesResponse: 15,
  TimeoutNow: 16,
  ReadIndexRequest: 17,
  ReadIndexResponse: 18,
  ForwardedProposals: 19,
  ForwardRefused: 20,
  SnapshotOffer: 21,
  SnapshotChunk: 22,
  SnapshotAck: 23,
} as const satisfies Record<PeerMessage['type'], number>

/** Fifteen bytes of header each at most, of the 65,535 that a header may have. */
export const maxProposalsPerFrame = 2048

export const maxChunkBytes = 256 * 1024

/** What a chunk takes on the wire, with its header of six numbers. */
export const maxChunkFrameBytes = prefixBytes + 64 + maxChunkBytes

const proposalKinds = ['json', 'bytes'] as const
const refusalReasons = [
  'not-leader',
  'transferring',
  'tail-full',
  'storage-full',
] as const satisfies ForwardRefused['reason'][]

export function encodeMessage(message: PeerMessage): Frame {
  const { term } = message
  switch (message.type) {
    case 'RequestPreVote':
      return header([types[message.type], term, message.lastEntry.term, message.lastEntry.index])
    case 'RequestVote': {
      const { lastEntry, leadershipTransfer } = message
      return header([types[message.type], term, lastEntry.term, lastEntry.index, leadershipTransfer])
    }
    case 'RequestPreVoteResponse':
    case 'RequestVoteResponse':
      return header([types[message.type], term, message.voteGranted])
    case 'AppendEntries':
      return encodeAppendEntries(message)
    case 'AppendEntriesResponse':
      return encodeAppendEntriesResponse(message)
    case 'TimeoutNow':
      return header([types[message.type], term])
    case 'ReadIndexRequest':
      return header([types[message.type], term, message.readId])
    case 'ReadIndexResponse':
      return header([types[message.type], term, message.readId, message.index])
    case 'ForwardedProposals':
      return encodeForwardedProposals(message)
    case 'ForwardRefused': {
      const { origin, sequences, reason } = message
      return header([types[message.type], term, origin, sequences, refusalReasons.indexOf(reason)])
    }
    case 'SnapshotOffer': {
      const { lastIncluded, sizeBytes, checksum } = message.file
      return header([types[message.type], term, lastIncluded.term, lastIncluded.index, sizeBytes, checksum])
    }
    case 'SnapshotChunk': {
      const fields = snapshotPlace(message)
      return message.bytes.length === 0 ? header(fields) : frame(packHeader(fields), [message.bytes])
    }
    case 'SnapshotAck':
      return header(snapshotPlace(message))
    default:
      return message satisfies never
  }
}

/** Proposals stand each for itself, so that a list too long for one frame goes in several. */
export function splitMessage(message: PeerMessage, maxBodyBytes: number): readonly PeerMessage[] {
  if (message.type === 'ForwardedProposals') return splitForwardedProposals(message, maxBodyBytes)
  if (message.type === 'ForwardRefused') return splitForwardRefused(message)
  return [message]
}

export interface Conversation {
  readonly from: NodeId
  readonly to: NodeId
  /** Checks each record; throws at what is none. */
  decodeRecords(bytes: Uint8Array): Entry[]
}

const typesWithBody: ReadonlySet<PeerMessage['type']> = new Set([
  'AppendEntries',
  'ForwardedProposals',
  'SnapshotChunk',
] as const)

/** Throws a ProtocolError at anything that `encodeMessage` would not have made. */
export function decodeMessage(fields: Fields, body: Uint8Array, conversation: Conversation): PeerMessage {
  const message = decodeFields(fields, body, conversation)
  fields.end()
  if (body.length > 0 && !typesWithBody.has(message.type))
    throw new ProtocolError(`${message.type} came with ${body.length} bytes behind its header`)
  return message
}

function decodeFields(fields: Fields, body: Uint8Array, conversation: Conversation): PeerMessage {
  const { from, to } = conversation
  const type = typeName(fields.type)
  const term = fields.integer('term')
  switch (type) {
    case 'RequestPreVote':
      return { type, from, to, term, lastEntry: entryId(fields, 'lastEntry') }
    case 'RequestVote': {
      const lastEntry = entryId(fields, 'lastEntry')
      return { type, from, to, term, lastEntry, leadershipTransfer: fields.boolean('leadershipTransfer') }
    }
    case 'RequestPreVoteResponse':
    case 'RequestVoteResponse':
      return { type, from, to, term, voteGranted: fields.boolean('voteGranted') }
    case 'AppendEntries':
      return decodeAppendEntries(fields, term, body, conversation)
    case 'AppendEntriesResponse':
      return decodeAppendEntriesResponse(fields, term, conversation)
    case 'TimeoutNow':
      return { type, from, to, term }
    case 'ReadIndexRequest':
      return { type, from, to, term, readId: fields.integer('readId') }
    case 'ReadIndexResponse': {
      const readId = fields.integer('readId')
      return { type, from, to, term, readId, index: fields.integerOrNull('index') }
    }
    case 'ForwardedProposals':
      return decodeForwardedProposals(fields, term, body, conversation)
    case 'ForwardRefused': {
      const origin = fields.integer('origin', maxUint48)
      const sequences = fields.integers('sequences', maxProposalsPerFrame, maxUint48)
      const reason = refusalReasons[fields.integer('reason')]
      if (reason === undefined) throw new ProtocolError('ForwardRefused has an unknown reason')
      return { type, from, to, term, origin, sequences, reason }
    }
    case 'SnapshotOffer':
      return decodeSnapshotOffer(fields, term, conversation)
    case 'SnapshotChunk': {
      const { lastIncluded, offset } = decodeSnapshotPlace(fields)
      return { type, from, to, term, lastIncluded, offset, bytes: body }
    }
    case 'SnapshotAck':
      return { type, from, to, term, ...decodeSnapshotPlace(fields) }
    default:
      return type satisfies never
  }
}

const typeNames = new Map(Object.entries(types).map(([name, type]) => [type as number, name as PeerMessage['type']]))

function typeName(type: number): PeerMessage['type'] {
  const name = typeNames.get(type)
  if (name === undefined) throw new ProtocolError(`a header has the unknown type ${type}`)
  return name
}

function header(fields: Parameters<typeof packHeader>[0]): Frame {
  return frame(packHeader(fields))
}

function entryId(fields: Fields, name: string): EntryId {
  const term = fields.integer(`term of ${name}`)
  return { term, index: fields.integer(`index of ${name}`) }
}

function encodeAppendEntries(message: AppendEntries): Frame {
  const { term, prev, entries, leaderCommit, round } = message
  const fields = [types.AppendEntries, term, prev.term, prev.index, leaderCommit, round, entries.length]
  if (entries.length === 0) return header(fields)
  return frame(
    packHeader(fields),
    entries.map((entry) => entry.record),
  )
}

function decodeAppendEntries(
  fields: Fields,
  term: number,
  body: Uint8Array,
  conversation: Conversation,
): AppendEntries {
  const prev = entryId(fields, 'prev')
  const leaderCommit = fields.integer('leaderCommit')
  const round = fields.integer('round')
  const count = fields.integer('number of entries')
  const entries = body.length === 0 ? [] : decodeRecords(body, conversation)
  if (entries.length !== count)
    throw new ProtocolError(`AppendEntries announced ${count} entries, has ${entries.length}`)
  checkSequence(prev, entries, term)
  return {
    type: 'AppendEntries',
    from: conversation.from,
    to: conversation.to,
    term,
    prev,
    entries,
    leaderCommit,
    round,
  }
}

function decodeRecords(body: Uint8Array, conversation: Conversation): readonly Entry[] {
  try {
    return conversation.decodeRecords(body)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ProtocolError(`AppendEntries has a bad record: ${reason}`, { cause: error })
  }
}

/** A leader's entries follow `prev` without a gap, and terms never fall along a log nor pass the leader's own. */
function checkSequence(prev: EntryId, entries: readonly Entry[], leaderTerm: number): void {
  let last = prev
  for (const entry of entries) {
    if (entry.index !== last.index + 1 || entry.term < last.term || entry.term > leaderTerm)
      throw new ProtocolError(
        `AppendEntries of term ${leaderTerm} has entry ${entry.term}/${entry.index} (term/index) after ${last.term}/${last.index}`,
      )
    last = entry
  }
}

function encodeAppendEntriesResponse(message: AppendEntriesResponse): Frame {
  const { term, round, isStorageFull } = message
  const type = types.AppendEntriesResponse
  if (message.success) return header([type, term, round, isStorageFull, true, message.matchIndex])
  const { rejectedIndex, hint } = message
  return header([type, term, round, isStorageFull, false, rejectedIndex, hint.term, hint.index])
}

function decodeAppendEntriesResponse(fields: Fields, term: number, conversation: Conversation): AppendEntriesResponse {
  const { from, to } = conversation
  const type = 'AppendEntriesResponse'
  const round = fields.integer('round')
  const isStorageFull = fields.boolean('isStorageFull')
  if (fields.boolean('success'))
    return { type, from, to, term, round, isStorageFull, success: true, matchIndex: fields.integer('matchIndex') }
  const rejectedIndex = fields.integer('rejectedIndex')
  return { type, from, to, term, round, isStorageFull, success: false, rejectedIndex, hint: entryId(fields, 'hint') }
}

function decodeSnapshotOffer(fields: Fields, term: number, { from, to }: Conversation): SnapshotOffer {
  const lastIncluded = entryId(fields, 'lastIncluded')
  const sizeBytes = fields.integer('sizeBytes', maxUint48)
  const checksum = fields.integer('checksum', maxUint32)
  return { type: 'SnapshotOffer', from, to, term, file: { lastIncluded, sizeBytes, checksum } }
}

function snapshotPlace({ type, term, lastIncluded, offset }: SnapshotChunk | SnapshotAck): readonly number[] {
  return [types[type], term, lastIncluded.term, lastIncluded.index, offset]
}

function decodeSnapshotPlace(fields: Fields): Pick<SnapshotAck, 'lastIncluded' | 'offset'> {
  return { lastIncluded: entryId(fields, 'lastIncluded'), offset: fields.integer('offset', maxUint48) }
}

function encodeForwardedProposals(message: ForwardedProposals): Frame {
  const { term, origin, proposals } = message
  const sequences = proposals.map((proposal) => proposal.sequence)
  const kinds = proposals.map((proposal) => proposalKinds.indexOf(proposal.kind))
  const sizes = proposals.map((proposal) => proposal.payload.length)
  return frame(
    packHeader([types.ForwardedProposals, term, origin, sequences, kinds, sizes]),
    proposals.map((proposal) => proposal.payload),
  )
}

function decodeForwardedProposals(
  fields: Fields,
  term: number,
  body: Uint8Array,
  conversation: Conversation,
): ForwardedProposals {
  const origin = fields.integer('origin', maxUint48)
  const sequences = fields.integers('sequences', maxProposalsPerFrame, maxUint48)
  const kinds = fields.integers('kinds', maxProposalsPerFrame, proposalKinds.length - 1)
  const sizes = fields.integers('sizes', maxProposalsPerFrame, body.length)
  if (kinds.length !== sequences.length || sizes.length !== sequences.length)
    throw new ProtocolError('ForwardedProposals has lists of different lengths')
  let end = 0
  const proposals = sequences.map((sequence, i) => {
    const kind = proposalKinds[kinds[i] ?? -1]
    const start = end
    end += sizes[i] ?? 0
    if (kind === undefined) throw new ProtocolError('ForwardedProposals has an unknown kind')
    return { sequence, kind, payload: body.subarray(start, end) }
  })
  if (end !== body.length)
    throw new ProtocolError(`ForwardedProposals announced ${end} bytes of payload, has ${body.length}`)
  return { type: 'ForwardedProposals', from: conversation.from, to: conversation.to, term, origin, proposals }
}

function splitForwardedProposals(message: ForwardedProposals, maxBodyBytes: number): readonly ForwardedProposals[] {
  const parts: ForwardedProposals[] = []
  let start = 0
  let bytes = 0
  for (const [i, { payload }] of message.proposals.entries()) {
    if (i > start && (i - start === maxProposalsPerFrame || bytes + payload.length > maxBodyBytes)) {
      parts.push({ ...message, proposals: message.proposals.slice(start, i) })
      start = i
      bytes = 0
    }
    bytes += payload.length
  }
  if (start === 0) return [message]
  parts.push({ ...message, proposals: message.proposals.slice(start) })
  return parts
}

function splitForwardRefused(message: ForwardRefused): readonly ForwardRefused[] {
  if (message.sequences.length <= maxProposalsPerFrame) return [message]
  const parts: ForwardRefused[] = []
  for (let start = 0; start < message.sequences.length; start += maxProposalsPerFrame)
    parts.push({ ...message, sequences: message.sequences.slice(start, start + maxProposalsPerFrame) })
  return parts
}
