// Two nodes keep two links each way. What is bulk travels on one of its own, so that it never delays a heartbeat, and never any other way: a
// message on the wrong link is none of this protocol.

import type { PeerMessage } from '../node/ports.ts'

export const channels = ['consensus', 'snapshots'] as const

export type Channel = (typeof channels)[number]

export function channelOf(type: PeerMessage['type']): Channel {
  return type === 'SnapshotChunk' ? 'snapshots' : 'consensus'
}

/** What may be sent, and wait to be sent, on a link of one kind. */
export interface ChannelLimits {
  readonly maxFrameBytes: number
  readonly maxQueueBytes: number
  /** `oldest`: what comes later stands in for it. `newest`: what comes later is worth nothing without what went before. */
  readonly dropsPastQueue: 'oldest' | 'newest'
}
