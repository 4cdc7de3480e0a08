// What the transport is given from outside, and what its parts share.

import type { LookupFunction, Socket } from 'node:net'
import type { Entry } from '../raft/entry.ts'
import type { Channel, ChannelLimits } from './channel.ts'
import { maxChunkFrameBytes } from './codec.ts'
import type { Identity } from './handshake.ts'
import type { Journal, Logger } from './journal.ts'

export interface TransportOptions extends Identity {
  readonly listen: { readonly host: string; readonly port: number }
  /** Checks the records of a body, one behind the other, and makes entries that are views into it; throws at a bad one. */
  readonly decodeRecords: (bytes: Uint8Array) => Entry[]
  readonly logger: Logger
  /** In [0, 1); spreads the dials. */
  readonly random: () => number
  /** How long a connection may stay without a sign of life. Default 5,000. */
  readonly rpcTimeoutMs?: number
  /** A larger frame is refused, and sending one is a broken invariant. Default 65 MiB: a record of 64 MiB fits. */
  readonly maxFrameBytes?: number
  /** What may wait for one peer; past it the oldest messages are dropped. Default 64 MiB. */
  readonly maxQueueBytes?: number
  /** Of snapshot chunks, which wait in a queue of their own; past it the newest are dropped. Default 4 MiB. */
  readonly maxSnapshotQueueBytes?: number
  /** Asked at every dial of a name; the system's by default. */
  readonly lookup?: LookupFunction
}

export interface Settings {
  readonly identity: Identity
  readonly listen: { readonly host: string; readonly port: number }
  readonly decodeRecords: (bytes: Uint8Array) => Entry[]
  readonly journal: Journal
  readonly random: () => number
  readonly rpcTimeoutMs: number
  readonly limits: Readonly<Record<Channel, ChannelLimits>>
  readonly lookup: LookupFunction | null
  /** Every socket passes here, so that `close` can wait for the last. */
  readonly track: (socket: Socket) => void
}

const mebibyte = 1024 * 1024

export function settings(options: TransportOptions, journal: Journal, track: (socket: Socket) => void): Settings {
  const { id, cluster, appUrl, foundingDigest, listen, decodeRecords, random } = options
  return {
    identity: { id, cluster, appUrl, foundingDigest },
    listen,
    decodeRecords,
    journal,
    random,
    rpcTimeoutMs: options.rpcTimeoutMs ?? 5000,
    limits: {
      consensus: {
        maxFrameBytes: options.maxFrameBytes ?? 65 * mebibyte,
        maxQueueBytes: options.maxQueueBytes ?? 64 * mebibyte,
        dropsPastQueue: 'oldest',
      },
      snapshots: {
        maxFrameBytes: maxChunkFrameBytes,
        maxQueueBytes: options.maxSnapshotQueueBytes ?? 4 * mebibyte,
        dropsPastQueue: 'newest',
      },
    },
    lookup: options.lookup ?? null,
    track,
  }
}
