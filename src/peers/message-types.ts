// The number that each kind of message has on the wire. One that was ever given is never given to another kind.

import type { PeerMessage } from '../node/ports.ts'
import type { NodeId } from '../raft/entry.ts'

export const messageTypes = {
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
  ForwardRepeated: 24,
  ResultsRequest: 25,
  ResultsResponse: 26,
} as const satisfies Record<PeerMessage['type'], number>

const typeNames = new Map(
  Object.entries(messageTypes).map(([name, type]) => [type as number, name as PeerMessage['type']]),
)

/** Undefined: no message has it. */
export function messageTypeName(type: number): PeerMessage['type'] | undefined {
  return typeNames.get(type)
}

/** Whose message it is, which is not sent: the handshake of the connection knows. */
export interface Ends {
  readonly from: NodeId
  readonly to: NodeId
}
