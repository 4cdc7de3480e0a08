// One log line an event, none for what happens per command; everything goes to the metrics.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { NodeEvent } from '../../src/node/ports.ts'
import { createObserver } from '../../src/telemetry/observer.ts'
import { loggerWithLines } from './log-lines.ts'

function linesOf(events: readonly NodeEvent[], level: 'debug' | 'info' = 'info') {
  const { logger, lines } = loggerWithLines(level)
  const observed: NodeEvent[] = []
  const observer = createObserver({ logger, metrics: { observe: (event) => void observed.push(event) } })
  for (const event of events) observer.event(event)
  assert.deepEqual(observed, events, 'every event goes to the metrics')
  return lines
}

const members = [
  { id: 'n1', peerAddress: 'a:1', role: 'voter' as const },
  { id: 'n2', peerAddress: 'b:1', role: 'learner' as const },
]

const file = { lastIncluded: { index: 41, term: 3 }, sizeBytes: 4096, checksum: 1 }

describe('an event becomes one line', () => {
  const cases: readonly (readonly [NodeEvent, string, string])[] = [
    [
      { type: 'role', role: 'leader', term: 3, reason: 'a majority voted' },
      'info',
      'Became leader in term 3: a majority voted',
    ],
    [{ type: 'leader', leader: 'n2', term: 3 }, 'info', 'n2 leads in term 3'],
    [{ type: 'leader', leader: null, term: 4 }, 'warn', 'No leader is known in term 4'],
    [
      { type: 'configuration', index: 7, configuration: { members } },
      'info',
      'Members since index 7: n1, n2 (learner)',
    ],
    [{ type: 'snapshotTaken', file, durationMs: 7 }, 'info', 'Took a snapshot through entry 41, 4096 bytes'],
    [{ type: 'snapshotSkipped', reason: 'Cannot take a snapshot: no' }, 'warn', 'Cannot take a snapshot: no'],
    [
      { type: 'snapshotSent', to: 'n2', file, durationMs: 7 },
      'info',
      'Sent n2 the snapshot through entry 41, 4096 bytes',
    ],
    [
      { type: 'snapshotInstalled', from: 'n2', file },
      'info',
      'Installed the snapshot of n2 through entry 41, 4096 bytes',
    ],
    [
      { type: 'storage', isStalled: true, isFull: true },
      'error',
      'A write to the disk takes too long: this node does not lead until it ends. The disk is full: no proposals are taken here until there is room again; free space, or enlarge the disk',
    ],
    [{ type: 'storage', isStalled: false, isFull: false }, 'info', 'The disk works again, and has room'],
    [{ type: 'peer', id: 'n2', connected: true }, 'info', 'Connected to n2'],
    [{ type: 'peer', id: 'n2', connected: false }, 'warn', 'Not connected to n2'],
  ]
  for (const [event, level, message] of cases) {
    it(message, () => {
      const [line, ...more] = linesOf([event])
      assert.deepEqual([line?.level, line?.msg, line?.event, more], [level, message, event.type, []])
    })
  }

  it('and what happens per command becomes none', () => {
    const events: NodeEvent[] = [
      { type: 'saved', durationMs: 1, entries: 1 },
      { type: 'committed', proposals: 1, latencyMs: 1 },
      { type: 'applied', commands: 1 },
    ]
    assert.deepEqual(linesOf(events, 'debug'), [])
  })

  it('and a dial that is refused again becomes none', () => {
    const refused: NodeEvent = { type: 'peer', id: 'n2', connected: false }
    assert.equal(linesOf([refused, refused, { ...refused, connected: true }, refused]).length, 3)
  })

  it('and asking for pre-votes, again and again, becomes one for debugging', () => {
    const role = (name: 'follower' | 'precandidate' | 'candidate'): NodeEvent => ({
      type: 'role',
      role: name,
      term: 1,
      reason: 'x',
    })
    const events = [role('precandidate'), role('follower'), role('precandidate'), role('candidate'), role('follower')]
    assert.deepEqual(
      linesOf(events, 'debug').map((line) => line.level),
      ['debug', 'debug', 'debug', 'info', 'info'],
    )
  })
})

describe('a log line', () => {
  it('is JSON with time, level, cluster and node', () => {
    const [line] = linesOf([{ type: 'leader', leader: 'n2', term: 3 }])
    assert.deepEqual(
      [line?.cluster, line?.node, line?.pid, line?.leader, line?.term],
      ['orders', 'n1', process.pid, 'n2', 3],
    )
    assert.match(line?.time ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  })

  it('holds no secret', () => {
    const { logger, lines } = loggerWithLines()
    logger.info(
      { apiToken: 's3cret', config: { apiToken: 's3cret' }, headers: { authorization: 'Bearer s3cret' } },
      'x',
    )
    assert.ok(!JSON.stringify(lines).includes('s3cret'))
  })
})
