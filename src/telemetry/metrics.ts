// What a node measures, for Prometheus, in a registry of its own. The node's state is read once a scrape; events add to the rest.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Node, NodeStatus, ProposalCounters } from '../node/contract.ts'
import type { NodeEvent } from '../node/ports.ts'

export interface Metrics {
  /** One scrape. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>
  observe(event: NodeEvent): void
}

export interface MetricsOptions {
  /** Asked at each scrape, so that metrics can exist before the node does. */
  readonly node: () => Pick<Node, 'status' | 'counters'>
  readonly version: string
}

const roles: readonly NodeStatus['role'][] = ['follower', 'precandidate', 'candidate', 'leader', 'learner']

/** From a write on a fast disk (tens of µs) to one that hangs. */
const latencyBucketsSeconds = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]

type Reading = (status: NodeStatus) => number

const gauges: readonly (readonly [name: string, help: string, read: Reading])[] = [
  ['term', 'Current term.', (status) => status.term],
  ['has_leader', '1 when this node knows a leader.', (status) => Number(status.leader !== null)],
  [
    'holds_quorum',
    '1 when this node leads and a quorum has lately confirmed it.',
    (status) => Number(status.holdsQuorum),
  ],
  ['commit_index', 'Index of the last committed entry.', (status) => status.commitIndex],
  ['applied_index', 'Index of the last entry that the state machine holds.', (status) => status.appliedIndex],
  ['first_index', 'Index of the first entry that the log holds.', (status) => status.firstIndex],
  ['last_index', 'Index of the last entry of the log.', (status) => status.lastIndex],
  ['durable_index', 'Index of the last entry that this disk holds for certain.', (status) => status.durableIndex],
  [
    'snapshot_index',
    'Index of the last entry in the newest snapshot; 0 without one.',
    (status) => status.snapshot?.index ?? 0,
  ],
  ['snapshot_bytes', 'Size of the newest snapshot; 0 without one.', (status) => status.snapshot?.sizeBytes ?? 0],
  ['compaction_blocked', '1 when the log is not compacted.', (status) => Number(status.compactionBlocked !== null)],
  ['storage_stalled', '1 while a write to the disk takes too long.', (status) => Number(status.isStorageStalled)],
  ['storage_full', '1 while the disk has no room to spare.', (status) => Number(status.isStorageFull)],
  ['proposals_pending', 'Proposals that wait for their answer.', (status) => status.pendingProposals],
  ['members', 'Members of the cluster, learners included.', (status) => status.members.length],
  ['peers_connected', 'Other members with a connection that is up.', connectedPeers],
  ['applier_blocked', '1 when the state machine is not being fed.', (status) => Number(status.applierBlocked !== null)],
  [
    'observer_blocked',
    '1 when the observing application is not being fed.',
    (status) => Number(status.observerBlocked !== null),
  ],
]

export function createMetrics({ node, version }: MetricsOptions): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  let status: NodeStatus | null = null
  let counters: ProposalCounters | null = null

  for (const [name, help, read] of gauges) {
    new Gauge({
      name: `raft_sidecar_${name}`,
      help,
      registers,
      collect() {
        if (status !== null) this.set(read(status))
      },
    })
  }
  new Gauge({
    name: 'raft_sidecar_role',
    help: '1 for the role that this node has.',
    labelNames: ['role'],
    registers,
    collect() {
      for (const role of roles) this.set({ role }, Number(status?.role === role))
    },
  })
  new Gauge({
    name: 'raft_sidecar_member_lag_entries',
    help: 'Entries that a member is behind the log of the leader; on the leader only.',
    labelNames: ['member'],
    registers,
    collect() {
      this.reset()
      for (const { id, lag } of status?.members ?? []) if (lag !== null) this.set({ member: id }, lag)
    },
  })
  new Gauge({
    name: 'raft_sidecar_build_info',
    help: 'Always 1; the labels tell the versions.',
    labelNames: ['version', 'node_version'],
    registers,
  }).set({ version, node_version: process.version }, 1)
  new Counter({
    name: 'raft_sidecar_proposals_total',
    help: 'Proposals of this node by what became of them: applied, committed, or the code of the error.',
    labelNames: ['outcome'],
    registers,
    collect() {
      // The node keeps the totals; a counter can only be raised, so it starts anew from them.
      this.reset()
      for (const [outcome, total] of totals(counters)) this.inc({ outcome }, total)
    },
  })

  const leaderChanges = counter(
    'leader_changes_total',
    'Times that this node saw another leader, or one of another term.',
  )
  const savedEntries = counter('saved_entries_total', 'Entries that were made durable on this disk.')
  const committed = counter('proposals_committed_total', 'Proposals of this node that were committed.')
  const applied = counter('commands_applied_total', 'Commands that the state machine took.')
  const syncSeconds = histogram('sync_duration_seconds', 'Time to make a write durable (write and fdatasync).')
  const commitSeconds = histogram(
    'commit_duration_seconds',
    'Time from the arrival of a proposal until it was committed; the oldest of each step.',
  )
  const snapshotsSent = counter('snapshots_sent_total', 'Snapshots that a follower got from this node.')
  const snapshotsInstalled = counter('snapshots_installed_total', 'Snapshots of a leader that replaced the log here.')
  const snapshotSeconds = histogram('snapshot_duration_seconds', 'Time to take a snapshot and make it durable.')
  let lastLeader: { readonly leader: string; readonly term: number } | null = null

  function counter(name: string, help: string): Counter {
    return new Counter({ name: `raft_sidecar_${name}`, help, registers })
  }

  function histogram(name: string, help: string): Histogram {
    return new Histogram({ name: `raft_sidecar_${name}`, help, registers, buckets: latencyBucketsSeconds })
  }

  return {
    async render() {
      status = node().status()
      counters = node().counters()
      return { contentType: registry.contentType, body: await registry.metrics() }
    },

    observe(event) {
      switch (event.type) {
        case 'leader':
          if (event.leader === null || (event.leader === lastLeader?.leader && event.term === lastLeader.term)) return
          lastLeader = { leader: event.leader, term: event.term }
          leaderChanges.inc()
          return
        case 'saved':
          syncSeconds.observe(event.durationMs / 1000)
          savedEntries.inc(event.entries)
          return
        case 'committed':
          commitSeconds.observe(event.latencyMs / 1000)
          committed.inc(event.proposals)
          return
        case 'applied':
          applied.inc(event.commands)
          return
        case 'snapshotTaken':
          snapshotSeconds.observe(event.durationMs / 1000)
          return
        case 'snapshotSent':
          snapshotsSent.inc()
          return
        case 'snapshotInstalled':
          snapshotsInstalled.inc()
          return
        case 'role':
        case 'configuration':
        case 'peer':
        case 'storage':
        case 'compacted':
        case 'snapshotSkipped':
          return
        default:
          return event satisfies never
      }
    },
  }
}

function connectedPeers(status: NodeStatus): number {
  return status.members.filter((member) => !member.self && member.reachable).length
}

function totals(counters: ProposalCounters | null): readonly (readonly [outcome: string, total: number])[] {
  if (counters === null) return []
  return [['applied', counters.applied], ['committed', counters.committed], ...Object.entries(counters.failed)]
}
