// What a scrape shows: the node's state as it is at that moment, what the events added up to, in a form that Prometheus takes.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts'
import { lint, parseExposition } from './exposition.ts'
import { counters, status } from './fake-node.ts'

function metricsOf(current = () => status): Metrics {
  return createMetrics({ node: () => ({ status: current, counters: () => counters }), version: '0.1.0' })
}

async function values(metrics: Metrics): Promise<ReadonlyMap<string, number>> {
  const samples = parseExposition((await metrics.render()).body).flatMap((family) => family.samples)
  return new Map(samples.map(({ name, labels, value }) => [[name, ...Object.values(labels)].join(' '), value]))
}

describe('metrics', () => {
  const expected: readonly (readonly [string, number])[] = [
    ['raft_sidecar_term', 3],
    ['raft_sidecar_role leader', 1],
    ['raft_sidecar_role follower', 0],
    ['raft_sidecar_has_leader', 1],
    ['raft_sidecar_holds_quorum', 1],
    ['raft_sidecar_commit_index', 41],
    ['raft_sidecar_applied_index', 40],
    ['raft_sidecar_first_index', 1],
    ['raft_sidecar_last_index', 42],
    ['raft_sidecar_durable_index', 42],
    ['raft_sidecar_snapshot_index', 30],
    ['raft_sidecar_snapshot_bytes', 4096],
    ['raft_sidecar_compaction_blocked', 0],
    ['raft_sidecar_storage_stalled', 0],
    ['raft_sidecar_storage_full', 1],
    ['raft_sidecar_proposals_pending', 2],
    ['raft_sidecar_members', 3],
    ['raft_sidecar_peers_connected', 1],
    ['raft_sidecar_member_lag_entries n3', 40],
    ['raft_sidecar_applier_blocked', 0],
    ['raft_sidecar_observer_blocked', 1],
    ['raft_sidecar_proposals_total applied', 7],
    ['raft_sidecar_proposals_total committed', 2],
    ['raft_sidecar_proposals_total too-many-proposals', 3],
    [`raft_sidecar_build_info 0.1.0 ${process.version}`, 1],
  ]
  it('show the state of the node', async () => {
    const shown = await values(metricsOf())
    for (const [name, value] of expected) assert.equal(shown.get(name), value, name)
  })

  it('read the node anew at each scrape, and once', async () => {
    let term = 0
    const metrics = metricsOf(() => ({ ...status, term: ++term }))
    assert.equal((await values(metrics)).get('raft_sidecar_term'), 1)
    assert.equal((await values(metrics)).get('raft_sidecar_term'), 2)
    assert.equal((await values(metrics)).get('raft_sidecar_proposals_total applied'), 7, 'totals are not added up')
  })

  it('forget the lag of members once the node no longer leads', async () => {
    let current = status
    const metrics = metricsOf(() => current)
    await metrics.render()
    current = { ...status, role: 'follower', members: status.members.map((member) => ({ ...member, lag: null })) }
    const shown = await values(metrics)
    assert.equal(shown.has('raft_sidecar_member_lag_entries n3'), false)
    assert.equal(shown.get('raft_sidecar_role leader'), 0)
  })

  it('count leader changes: another leader or another term, not the loss of one', async () => {
    const metrics = metricsOf()
    const seen: readonly (readonly [string | null, number])[] = [
      ['n1', 1],
      [null, 1],
      ['n1', 1],
      ['n2', 2],
      ['n2', 3],
      [null, 4],
    ]
    for (const [leader, term] of seen) metrics.observe({ type: 'leader', leader, term })
    assert.equal((await values(metrics)).get('raft_sidecar_leader_changes_total'), 3)
  })

  it('measure writes and commits in seconds, and count what was in them', async () => {
    const metrics = metricsOf()
    metrics.observe({ type: 'saved', durationMs: 0.2, entries: 5 })
    metrics.observe({ type: 'saved', durationMs: 30, entries: 1 })
    metrics.observe({ type: 'committed', proposals: 4, latencyMs: 0.6 })
    metrics.observe({ type: 'applied', commands: 6 })
    const file = { lastIncluded: { index: 41, term: 3 }, sizeBytes: 4096, checksum: 1 }
    metrics.observe({ type: 'snapshotTaken', file, durationMs: 20 })
    metrics.observe({ type: 'snapshotSent', to: 'n2', file, durationMs: 20 })
    metrics.observe({ type: 'snapshotInstalled', from: 'n2', file })
    const shown = await values(metrics)
    assert.equal(shown.get('raft_sidecar_sync_duration_seconds_count'), 2)
    assert.equal(shown.get('raft_sidecar_sync_duration_seconds_bucket 0.00025'), 1)
    assert.equal(shown.get('raft_sidecar_sync_duration_seconds_bucket 0.05'), 2)
    assert.equal(shown.get('raft_sidecar_saved_entries_total'), 6)
    assert.equal(shown.get('raft_sidecar_commit_duration_seconds_count'), 1)
    assert.equal(shown.get('raft_sidecar_commit_duration_seconds_bucket 0.001'), 1)
    assert.equal(shown.get('raft_sidecar_proposals_committed_total'), 4)
    assert.equal(shown.get('raft_sidecar_commands_applied_total'), 6)
    assert.equal(shown.get('raft_sidecar_snapshot_duration_seconds_bucket 0.025'), 1)
    assert.equal(shown.get('raft_sidecar_snapshots_sent_total'), 1)
    assert.equal(shown.get('raft_sidecar_snapshots_installed_total'), 1)
  })

  it('come in the text format, with help, type and conventional names', async () => {
    const metrics = metricsOf()
    const { contentType, body } = await metrics.render()
    assert.match(contentType, /^text\/plain; version=0\.0\.4/)
    const families = parseExposition(body)
    assert.ok(families.some((family) => family.name === 'process_resident_memory_bytes'))
    assert.deepEqual(lint(families.filter((family) => family.name.startsWith('raft_sidecar_'))), [])
  })

  it('of two nodes in one process do not mix', async () => {
    const [one, other] = [metricsOf(), metricsOf()]
    one.observe({ type: 'applied', commands: 6 })
    assert.equal((await values(other)).get('raft_sidecar_commands_applied_total'), 0)
  })
})

describe('the lint of these tests', () => {
  const bad: readonly (readonly [string, string])[] = [
    [
      '# HELP a_total x\n# TYPE a_total gauge\na_total 1',
      'a_total is a gauge: _total belongs to counters, and to all of them',
    ],
    ['# HELP a x\n# TYPE a counter\na 1', 'a is a counter: _total belongs to counters, and to all of them'],
    ['# HELP a_ms x\n# TYPE a_ms gauge\na_ms 1', 'a_ms is not in a base unit'],
    ['# HELP aB x\n# TYPE aB gauge\naB 1', 'aB is not in snake case'],
    ['# HELP a x\na 1', 'a has no type'],
  ]
  for (const [text, complaint] of bad) {
    it(`finds that ${complaint}`, () => assert.deepEqual(lint(parseExposition(text)), [complaint]))
  }

  it('takes no sample without HELP', () => {
    assert.throws(() => parseExposition('a 1'), /not a sample of its family: a 1/)
    assert.throws(() => parseExposition('# TYPE a gauge\na 1'), /TYPE without HELP/)
  })
})
