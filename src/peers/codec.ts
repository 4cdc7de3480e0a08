// What nodes say to each other, to frames and back. `from` and `to` are not sent: the handshake of the connection knows
// them. Records, payloads and the bytes of a snapshot are never encoded here, they go behind the header as they are.

import type { PeerMessage, SnapshotAck, SnapshotChunk, SnapshotOffer } from '../node/ports.ts'
import type { Entry, EntryId } from '../raft/entry.ts'
import type { AppendEntries, AppendEntriesResponse } from '../raft/messages.ts'
import {
  decodeForwardedProposals,
  decodeForwardRefused,
  decodeForwardRepeated,
  encodeForwardedProposals,
  encodeForwardRefused,
  encodeForwardRepeated,
  splitForwardedProposals,
  splitForwardRefused,
  splitForwardRepeated,
} from './forwarding-codec.ts'
import { type Frame, frame, ProtocolError, prefixBytes } from './frames.ts'
import { type Fields, maxUint32, maxUint48, packHeader } from './header.ts'
import { type Ends, messageTypeName, messageTypes } from './message-types.ts'
import {
  decodeResultsRequest,
  decodeResultsResponse,
  encodeResultsRequest,
  encodeResultsResponse,
  splitResultsRequest,
  splitResultsResponse,
} from './results-codec.ts'

export const maxChunkBytes = 256 * 1024

/** What a chunk takes on the wire, with its header of six numbers. */
export const maxChunkFrameBytes = prefixBytes + 64 + maxChunkBytes

export function encodeMessage(message: PeerMessage): Frame {
  const { term } = message
  switch (message.type) {
    case 'RequestPreVote':
      return header([messageTypes[message.type], term, message.lastEntry.term, message.lastEntry.index])
    case 'RequestVote': {
      const { lastEntry, leadershipTransfer } = message
      return header([messageTypes[message.type], term, lastEntry.term, lastEntry.index, leadershipTransfer])
    }
    case 'RequestPreVoteResponse':
    case 'RequestVoteResponse':
      return header([messageTypes[message.type], term, message.voteGranted])
    case 'AppendEntries':
      return encodeAppendEntries(message)
    case 'AppendEntriesResponse':
      return encodeAppendEntriesResponse(message)
    case 'TimeoutNow':
      return header([messageTypes[message.type], term])
    case 'ReadIndexRequest':
      return header([messageTypes[message.type], term, message.readId])
    case 'ReadIndexResponse':
      return header([messageTypes[message.type], term, message.readId, message.index])
    case 'ForwardedProposals':
      return encodeForwardedProposals(message)
    case 'ForwardRefused':
      return encodeForwardRefused(message)
    case 'ForwardRepeated':
      return encodeForwardRepeated(message)
    case 'ResultsRequest':
      return encodeResultsRequest(message)
    case 'ResultsResponse':
      return encodeResultsResponse(message)
    case 'SnapshotOffer': {
      const { lastIncluded, sizeBytes, checksum } = message.file
      return header([messageTypes[message.type], term, lastIncluded.term, lastIncluded.index, sizeBytes, checksum])
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

/** What stands in these lists stands each for itself, so that a list too long for one frame goes in several. */
export function splitMessage(message: PeerMessage, maxBodyBytes: number): readonly PeerMessage[] {
  switch (message.type) {
    case 'ForwardedProposals':
      return splitForwardedProposals(message, maxBodyBytes)
    case 'ForwardRefused':
      return splitForwardRefused(message)
    case 'ForwardRepeated':
      return splitForwardRepeated(message)
    case 'ResultsRequest':
      return splitResultsRequest(message)
    case 'ResultsResponse':
      return splitResultsResponse(message, maxBodyBytes)
    default:
      return [message]
  }
}

export interface Conversation extends Ends {
  /** Checks each record; throws at what is none. */
  decodeRecords(bytes: Uint8Array): Entry[]
}

const typesWithBody: ReadonlySet<PeerMessage['type']> = new Set([
  'AppendEntries',
  'ForwardedProposals',
  'ResultsResponse',
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
    case 'ForwardRefused':
      return decodeForwardRefused(fields, term, conversation)
    case 'ForwardRepeated':
      return decodeForwardRepeated(fields, term, conversation)
    case 'ResultsRequest':
      return decodeResultsRequest(fields, term, conversation)
    case 'ResultsResponse':
      return decodeResultsResponse(fields, term, body, conversation)
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

function typeName(type: number): PeerMessage['type'] {
  const name = messageTypeName(type)
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
  const fields = [messageTypes.AppendEntries, term, prev.term, prev.index, leaderCommit, round, entries.length]
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
  const { term, round, leaseMs, isStorageFull } = message
  const common = [messageTypes.AppendEntriesResponse, term, round, leaseMs, isStorageFull]
  if (message.success) return header([...common, true, message.matchIndex])
  const { rejectedIndex, hint } = message
  return header([...common, false, rejectedIndex, hint.term, hint.index])
}

function decodeAppendEntriesResponse(fields: Fields, term: number, conversation: Conversation): AppendEntriesResponse {
  const common = {
    type: 'AppendEntriesResponse',
    from: conversation.from,
    to: conversation.to,
    term,
    round: fields.integer('round'),
    leaseMs: fields.integer('leaseMs', maxUint32),
    isStorageFull: fields.boolean('isStorageFull'),
  } as const
  if (fields.boolean('success')) return { ...common, success: true, matchIndex: fields.integer('matchIndex') }
  const rejectedIndex = fields.integer('rejectedIndex')
  return { ...common, success: false, rejectedIndex, hint: entryId(fields, 'hint') }
}

function decodeSnapshotOffer(fields: Fields, term: number, { from, to }: Conversation): SnapshotOffer {
  const lastIncluded = entryId(fields, 'lastIncluded')
  const sizeBytes = fields.integer('sizeBytes', maxUint48)
  const checksum = fields.integer('checksum', maxUint32)
  return { type: 'SnapshotOffer', from, to, term, file: { lastIncluded, sizeBytes, checksum } }
}

function snapshotPlace({ type, term, lastIncluded, offset }: SnapshotChunk | SnapshotAck): readonly number[] {
  return [messageTypes[type], term, lastIncluded.term, lastIncluded.index, offset]
}

function decodeSnapshotPlace(fields: Fields): Pick<SnapshotAck, 'lastIncluded' | 'offset'> {
  return { lastIncluded: entryId(fields, 'lastIncluded'), offset: fields.integer('offset', maxUint48) }
}
