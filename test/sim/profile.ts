// What one seed's world is like: how many nodes, how fast everything is, and its own mix of faults (swarm testing: a history with three kinds
// of fault finds what one with all of them hides).

import type { LedgerLimits } from '../../src/node/ledger.ts'
import type { NodeOptions } from '../../src/node/node.ts'
import type { NetworkOptions } from './world/network.ts'
import { Random } from './world/random.ts'

export const faultKinds = [
  'loss',
  'delay',
  'duplication',
  'reordering',
  'partition',
  'one-way-partition',
  'clogged-link',
  'reset-connection',
  'false-hint',
  'crash',
  'power-loss',
  'ill-timed-power-loss',
  'power-loss-amid-files',
  'quick-restart',
  'whole-cluster-down',
  'pause',
  'late-turns',
  'transfer',
  'slow-disk',
  'hung-disk',
  'disk-error',
  'full-disk',
  'bit-rot',
  'amnesia',
  'snapshot-request',
  'clock-skew',
  'clock-jump',
  'day-jump',
  'slow-application',
  'failing-application',
  'restarting-application',
  'mended-application',
] as const

export type FaultKind = (typeof faultKinds)[number]

export interface Profile {
  readonly seed: number
  readonly members: number
  /** Of the members, how many only learn. */
  readonly learners: number
  readonly faults: ReadonlySet<FaultKind>
  /** The mean time between two faults, of whatever kind, over the whole cluster. */
  readonly faultEveryMs: number
  /** Before any were taken away, so that the others keep their times. */
  readonly drawnKinds: number
  readonly safetyMs: number
  /** Once the faults have stopped. */
  readonly livenessMs: number
  readonly machine: 'kv' | 'app'
  /** An application that only watches, beside the kv machine. */
  readonly hasWatcher: boolean
  readonly app: AppProfile
  readonly network: NetworkOptions
  readonly syncMs: number
  readonly segmentBytes: number
  /** Of the file that is given up when the disk is full; 0: there is none. */
  readonly reserveBytes: number
  readonly raft: NodeOptions['raft']
  readonly snapshots: NodeOptions['snapshots']
  readonly limits: { readonly maxPendingProposals: number; readonly maxPendingBytes: number }
  readonly clients: number
  readonly operationEveryMs: number
  readonly keys: number
  readonly payloadBytes: number
  readonly readShare: number
  readonly ledger: LedgerLimits
  readonly idempotency: IdempotencyProfile
  /** Of writes, how many every application refuses for good. */
  readonly poisonShare: number
}

export interface IdempotencyProfile {
  /** Of writes, how many carry a key. */
  readonly keyedShare: number
  /** Of those, how many come again, or come as two at once. */
  readonly repeatShare: number
  /** How often a client makes a proposal again that it has no answer to. */
  readonly retries: number
  /** Keys may give way to others, or to time, while they are still asked for. */
  readonly keysExpire: boolean
}

export interface AppProfile {
  /** What an application knows after its own restart: all, nothing, or an older state. */
  readonly memory: 'durable' | 'none' | 'rewinds'
  /** It does not say where it stands, so that the node's cursor decides. */
  readonly hidesPosition: boolean
  /** It gives and takes its state. */
  readonly offersSnapshots: boolean
  /** The node keeps what it answered over restarts. */
  readonly keepsResults: boolean
  /** What it refuses it may take later on: its state is then another than that of the others, if they leave it out. */
  readonly mends: boolean
}

/** A tick of a node is a tenth of its heartbeat interval. */
export const tickMs = 3

export function drawProfile(seed: number, without: readonly FaultKind[] = []): Profile {
  const random = new Random(seed, 'profile')
  const share = random.pick([0.1, 0.2, 0.4])
  const drawn = faultKinds.filter(() => random.chance(share))
  const machine = random.chance(0.7) ? 'kv' : 'app'
  const small = random.chance(0.5)
  const members = random.pick([1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 6, 7])
  const hasWatcher = machine === 'kv' && random.chance(0.2)
  const poisonShare = (machine === 'app' || hasWatcher) && random.chance(0.3) ? 0.04 : 0
  const mends = machine === 'app' && poisonShare > 0 && random.chance(0.5)
  const ledger = {
    maxKeys: random.pick([1, 3, 10, 40, 1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000]),
    maxAnswerBytes: random.pick([200, 2000, 1_000_000, 1_000_000, 1_000_000]),
  }
  const mending: readonly FaultKind[] = mends ? ['mended-application'] : []
  return {
    seed,
    members,
    learners: members > 1 && random.chance(0.15) ? 1 : 0,
    faults: new Set([...drawn, ...mending].filter((kind) => !without.includes(kind))),
    drawnKinds: drawn.length + mending.length,
    faultEveryMs: random.pick([15, 40, 40, 100, 100, 250]),
    safetyMs: 700 * tickMs,
    livenessMs: 300 * tickMs,
    machine,
    hasWatcher,
    app: {
      memory: random.pick(mends ? ['durable', 'none'] : ['durable', 'none', 'rewinds']),
      hidesPosition: random.chance(0.2) && !mends,
      offersSnapshots: random.chance(0.7) && !mends,
      keepsResults: random.chance(0.7),
      mends,
    },
    network: {
      latencyMs: random.pick([0.1, 0.5, 2]),
      jitterMs: random.pick([0.1, 1, 4]),
      bulkBytesPerMs: random.pick([10, 100, 10_000]),
    },
    syncMs: random.pick([0.1, 0.5, 2, 8]),
    segmentBytes: random.pick([4096, 4096, 8192, 32_768]),
    reserveBytes: random.pick([0, 4096, 40_000]),
    raft: {
      electionTimeoutMinMs: 150,
      electionTimeoutMaxMs: 300,
      heartbeatIntervalMs: 10 * tickMs,
      leaseReads: random.chance(0.5),
      maxClockDriftPpm: random.pick([500, 50_000, 200_000]),
      waitsAfterRestart: true,
      maxInFlightMessages: small ? 1 + random.below(3) : 64,
      maxMessageBytes: small ? 200 + random.below(1000) : 65_536,
      maxUncommittedBytes: random.chance(0.2) ? 2000 : 1_000_000,
      maxCachedBytes: random.chance(0.6) ? 200 + random.below(3000) : 1_000_000,
      maxLogEntries: random.pick([0, 0, 0, 0, 3, 20, 100, 1_000_000]),
    },
    snapshots: {
      threshold: random.pick([1, 2, 5, 5, 10, 10, 20, 40, 1_000_000]),
      // A transfer spans some chunks, or so many that faults strike in its midst.
      bytesPerSecond: random.pick([10_000, 100_000, 100_000_000]),
      chunkBytes: random.pick([64, 512, 262_144]),
    },
    limits: {
      maxPendingProposals: random.chance(0.1) ? 5 : 1000,
      maxPendingBytes: random.chance(0.1) ? 2000 : 1_000_000,
    },
    clients: 1 + random.below(5),
    operationEveryMs: random.between(6, 60),
    keys: 1 + random.below(4),
    payloadBytes: random.pick([10, 10, 100, 600]),
    readShare: random.between(0.2, 0.7),
    ledger,
    idempotency: {
      keyedShare: random.pick([0, 0.3, 0.7, 1]),
      repeatShare: random.pick([0.1, 0.3, 0.6]),
      retries: random.pick([0, 3, 20]),
      keysExpire: ledger.maxKeys < 1_000_000 || drawn.includes('day-jump'),
    },
    poisonShare,
  }
}

export function describeProfile(profile: Profile): string {
  const { members, learners, machine, hasWatcher, faults, app, raft, snapshots, ledger, idempotency, poisonShare } =
    profile
  const application =
    machine === 'app' || hasWatcher
      ? ` (${app.memory}${app.hidesPosition ? ', hides its position' : ''}${app.offersSnapshots ? '' : ', without snapshots'}${poisonShare > 0 ? ', refuses some commands' : ''})`
      : ''
  const share = Math.round(idempotency.keyedShare * 100)
  const keys = share === 0 ? '' : `, ${share}% with a key${ledger.maxKeys < 1000 ? ` of ${ledger.maxKeys} kept` : ''}`
  const compaction = `a snapshot every ${snapshots.threshold}, ${raft.maxLogEntries} entries behind it`
  return `${members} nodes${learners > 0 ? ` (${learners} a learner)` : ''}, ${machine}${hasWatcher ? ' and a watcher' : ''}${application}, ${compaction}${keys}; faults: ${[...faults].join(', ') || 'none'}`
}
