// What the application is told of leadership, and what clients of the event stream are.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Leadership, NodeChange } from '../../src/node/contract.ts'
import { LeadershipNews, type LeadershipNow } from '../../src/node/leadership.ts'
import { appendEntries, logOf } from '../raft/entries.ts'
import { command, follower, leader, timeoutMs } from './node-kit.ts'
import { watch } from './watched.ts'

function now(id: string | null, term: number, applied = 0, noopIndex: number | null = null): LeadershipNow {
  const view = id === null ? null : { id, term, self: id === 'n1', appUrl: null }
  return { leader: view, term, noopIndex, appliedIndex: applied }
}

function told(news: readonly Leadership[]): (readonly [string, string | null, number])[] {
  return news.map(({ event, leader: who, term }) => [event, who?.id ?? null, term] as const)
}

test('acquired comes only when everything through the first entry of the term is applied, and lost only after it', () => {
  const news = new LeadershipNews()
  assert.deepEqual(told(news.next(now(null, 1))), [])
  assert.deepEqual(told(news.next(now('n1', 2, 4, 6))), [['changed', 'n1', 2]])
  assert.deepEqual(told(news.next(now('n1', 2, 5, 6))), [])
  assert.deepEqual(told(news.next(now('n1', 2, 6, 6))), [['acquired', 'n1', 2]])
  assert.deepEqual(told(news.next(now('n1', 2, 9, 6))), [])
  assert.deepEqual(told(news.next(now(null, 2))), [['lost', null, 2]])
  assert.deepEqual(told(news.next(now('n2', 3))), [['changed', 'n2', 3]])
  assert.deepEqual(told(news.next(now('n2', 3))), [])
})

test('Elected and deposed before it had caught up, a node was never acquired and loses nothing', () => {
  const news = new LeadershipNews()
  assert.deepEqual(told(news.next(now('n1', 2, 4, 6))), [['changed', 'n1', 2]])
  assert.deepEqual(told(news.next(now('n3', 3, 4))), [['changed', 'n3', 3]])
})

test('Elected again, a node loses the old term before it acquires the new one', () => {
  const news = new LeadershipNews()
  news.next(now('n1', 2, 6, 6))
  assert.deepEqual(told(news.next(now('n1', 5, 8, 9))), [['lost', 'n1', 5]])
  assert.deepEqual(told(news.next(now('n1', 5, 9, 9))), [['acquired', 'n1', 5]])
})

test('A node tells of the leader, and of its own leadership when its application has caught up', async () => {
  const kit = await leader()
  const changes: NodeChange[] = []
  const unsubscribe = kit.node.subscribe((change) => changes.push(change))
  await kit.apply()
  assert.deepEqual(
    changes.map((change) => (change.type === 'leadership' ? change.leadership.event : change.type)),
    ['acquired'],
  )
  changes.length = 0
  await kit.receive(appendEntries({ from: 'n3', term: 9, prev: { term: 1, index: 1 } }))
  assert.deepEqual(
    changes.map((change) => (change.type === 'leadership' ? change.leadership.event : change.type)),
    ['leader', 'lost'],
  )
  unsubscribe()
  changes.length = 0
  await kit.receive(appendEntries({ from: 'n2', term: 10, prev: { term: 1, index: 1 } }))
  assert.deepEqual(changes, [])
})

test('The application that watches is the one that must have caught up', async () => {
  const kit = await leader({ watched: true })
  const events: string[] = []
  kit.node.subscribe((change) => change.type === 'leadership' && events.push(change.leadership.event))
  await kit.apply()
  assert.deepEqual(events, [])
  assert(kit.watcher !== null)
  kit.watcher.appliedIndex = 1
  kit.watcher.events?.applied(1, [], [])
  assert.deepEqual(events, ['acquired'])
})

test('Leadership is handed to the voter that is named, and the next leader is the answer', async () => {
  const kit = await leader()
  const moved = watch(kit.node.transferLeadership('n2', timeoutMs))
  await kit.settle()
  assert.deepEqual(
    kit.sent('TimeoutNow').map(({ to }) => to),
    ['n2'],
  )
  await kit.receive(appendEntries({ from: 'n2', term: 2, prev: { term: 1, index: 1 }, entries: logOf([2], 2) }))
  assert.equal(moved.value?.id, 'n2')
})

test('Who does not lead, or is asked for somebody who has no vote, hands nothing over; nor does time stand still for it', async () => {
  const other = await follower()
  const refusals = [watch(other.node.transferLeadership(null, timeoutMs))]
  const kit = await leader({ learners: ['n4'] })
  refusals.push(
    watch(kit.node.transferLeadership('n4', timeoutMs)),
    watch(kit.node.transferLeadership('n9', timeoutMs)),
  )
  const late = watch(kit.node.transferLeadership('n3', 200))
  const itself = watch(kit.node.transferLeadership('n1', 200))
  await kit.advance(300)
  assert.deepEqual(
    [...refusals, late].map(({ error }) => (error as { code?: string }).code),
    ['not-leader', 'unknown-member', 'unknown-member', 'transfer-failed'],
  )
  assert.equal(itself.value?.self, true)
  void watch(kit.node.propose(command(), timeoutMs))
})
