// Commands between nodes: a follower passes them on, a leader appends or refuses them, and none is lost or proposed twice on the way.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { appendEntries, logOf } from '../raft/entries.ts'
import {
  command,
  entryOf,
  follower,
  forwarded,
  leader,
  type NodeKit,
  otherOrigin,
  passedOn,
  started,
  testTimings,
  tickMs,
  timeoutMs,
} from './node-kit.ts'
import { watch } from './watched.ts'

/** Index and sequence of every command that was saved. */
function savedCommands(kit: NodeKit): number[][] {
  const entries = kit.storage.saves.flatMap((save) => save.entries)
  return entries.filter(({ kind }) => kind !== 'noop').map(({ index, sequence }) => [index, sequence])
}

test('Own commands and those passed on by followers both get their turn, batch after batch', async () => {
  const kit = await leader()
  let sequence = 0
  for (let batch = 0; batch < 3; batch++) {
    kit.node.proposeCommitted(command(), timeoutMs)
    sequence += 1
    await kit.receive(forwarded([1000 + sequence], { from: 'n2' }), forwarded([2000 + sequence], { from: 'n3' }))
  }
  // What came while the first batch was under way is the second.
  assert.equal(kit.lastIndex, 4)
  const before = kit.storage.saves.length
  await kit.answer('n2')
  const [second] = kit.storage.saves.slice(before)
  assert.equal(new Set(second?.entries.map(({ origin }) => origin)).size, 2)
  assert.equal(kit.lastIndex, 1 + 9)
  assert.equal(new Set(savedCommands(kit).map(([, saved]) => saved)).size, 9, 'each was appended once')
})

test('Commands passed on carry the origin and sequence of their proposer into the log', async () => {
  const kit = await leader()
  await kit.receive(forwarded([5, 6]))
  const saved = kit.storage.saves.at(-1)?.entries ?? []
  assert.deepEqual(
    saved.map(({ index, origin, sequence, kind }) => [index, origin, sequence, kind]),
    [
      [2, otherOrigin, 5, 'json'],
      [3, otherOrigin, 6, 'json'],
    ],
  )
})

for (const { name, term } of [
  { name: 'an older term', term: 2 },
  { name: 'a newer term', term: 4 },
]) {
  test(`Commands passed on to the leader of ${name} are refused, naming that term, and never appended`, async () => {
    const kit = await leader({ log: [2] })
    assert.equal(kit.node.currentTerm, 3)
    await kit.receive(forwarded([5, 6], { term }))
    assert.deepEqual(kit.sent('ForwardRefused'), [
      {
        type: 'ForwardRefused',
        from: 'n1',
        to: 'n2',
        term,
        origin: otherOrigin,
        sequences: [5, 6],
        reason: 'not-leader',
      },
    ])
    assert.equal(kit.lastIndex, 2)
  })
}

for (const { name, reason, prepare } of [
  { name: 'does not lead', reason: 'not-leader', prepare: () => follower() },
  {
    name: 'hands leadership over',
    reason: 'transferring',
    prepare: async () => {
      const kit = await leader()
      kit.node.stop(timeoutMs)
      await kit.settle()
      return kit
    },
  },
  {
    name: 'has too much uncommitted',
    reason: 'tail-full',
    prepare: async () => {
      const kit = await leader({ raft: { maxUncommittedBytes: 100, maxInFlightMessages: 8 } })
      await kit.receive(forwarded([1], { size: 200 }))
      return kit
    },
  },
] as const) {
  test(`A node that ${name} refuses what is passed on to it: ${reason}`, async () => {
    const kit = await prepare()
    const { lastIndex } = kit
    await kit.receive(forwarded([7, 8]))
    const refused = kit.sent('ForwardRefused')
    assert.deepEqual(
      refused.flatMap(({ sequences }) => sequences),
      [7, 8],
    )
    for (const { to, term, origin, reason: told } of refused) {
      assert.deepEqual([to, term, origin, told], ['n2', 1, otherOrigin, reason])
    }
    assert.equal(kit.lastIndex, lastIndex)
  })
}

test('A follower passes commands on to the leader, naming the term, and is answered by its own log', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(command(3), timeoutMs))
  await kit.settle()
  const { origin, proposals, ...rest } = passedOn(kit)
  assert.deepEqual(rest, { type: 'ForwardedProposals', from: 'n1', to: 'n2', term: 1 })
  assert.deepEqual(proposals, [{ sequence: 1, key: null, traceparent: null, ...command(3) }])
  assert.deepEqual(
    kit.storage.saves.flatMap(({ entries }) => entries),
    [],
    'it appends nothing of its own',
  )
  const entries = [...logOf([1]), entryOf(1, 2, origin, 1)]
  await kit.receive(appendEntries({ term: 1, entries, leaderCommit: 2 }))
  await kit.apply()
  assert.deepEqual(waiting.value, { index: 2, term: 1, timestampMs: 1002, duplicate: false, result: 2 })
})

test('What is passed on is cut into messages of the size allowed; a larger command goes alone', async () => {
  const kit = await follower({ raft: { maxMessageBytes: 100 } })
  for (const size of [60, 40, 1, 300, 50]) watch(kit.node.propose(command(size), timeoutMs))
  await kit.settle()
  assert.deepEqual(
    kit.sent('ForwardedProposals').map(({ proposals }) => proposals.map(({ payload }) => payload.length)),
    [[60, 40], [1], [300], [50]],
  )
})

test('A follower passes on only while it is connected to the leader', async () => {
  const kit = await follower()
  kit.transport.connected.delete('n2')
  const waiting = watch(kit.node.propose(command(), timeoutMs))
  await kit.advance(tickMs * 2)
  assert.deepEqual(kit.sent('ForwardedProposals'), [])
  kit.transport.connected.add('n2')
  kit.transport.events?.peerUp('n2')
  await kit.settle()
  assert.equal(kit.sent('ForwardedProposals').length, 1)
  assert.equal(waiting.state, 'pending')
})

test('Without a leader a command waits for one, and no longer than an election may take', async () => {
  const kit = await started()
  const waiting = watch(kit.node.propose(command(), 60_000))
  await kit.advance(testTimings.electionTimeoutMaxMs - tickMs)
  assert.equal(waiting.state, 'pending')
  await kit.advance(2 * tickMs)
  assert.equal(waiting.state, 'no-leader/not_applied')
})

test('A refused command goes back into the queue and to the next leader', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  kit.forget()
  const refusal = { type: 'ForwardRefused', from: 'n2', to: 'n1', term: 1, origin, sequences: [1] } as const
  await kit.receive(appendEntries({ term: 2, from: 'n3' }), { ...refusal, reason: 'not-leader' })
  const again = passedOn(kit)
  assert.deepEqual([again.to, again.term, again.proposals.map(({ sequence }) => sequence)], ['n3', 2, [1]])
  await kit.receive({ ...refusal, reason: 'not-leader' })
  assert.equal(kit.sent('ForwardedProposals').length, 1, 'the refusal of the older term counts once')
  assert.equal(waiting.state, 'pending')
})

test('A refusal for a process that ran here before is for nobody', async () => {
  const kit = await follower()
  watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  const reason = 'not-leader'
  const refusal = { type: 'ForwardRefused', from: 'n2', to: 'n1', term: 1, sequences: [1], reason } as const
  await kit.receive({ ...refusal, origin: origin + 1 })
  assert.equal(kit.sent('ForwardedProposals').length, 1)
})

test('A refusal because the leader has too much under way is told to the client', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  const reason = 'tail-full'
  await kit.receive({ type: 'ForwardRefused', from: 'n2', to: 'n1', term: 1, origin, sequences: [1], reason })
  assert.equal(waiting.state, 'too-many-proposals/not_applied')
})

test('A command that the old leader lost is proposed again by the new one, and one that it kept is not', async () => {
  const kit = await follower()
  const kept = watch(kit.node.propose(command(), timeoutMs))
  const lost = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  kit.forget()
  const [noop] = logOf([2], 2)
  assert(noop !== undefined, 'There is no entry')
  const first = entryOf(1, 1, origin, 1)
  await kit.receive(appendEntries({ term: 2, from: 'n3', entries: [first, noop] }))
  assert.deepEqual(kit.sent('ForwardedProposals'), [], 'not before the commit has proved it')
  await kit.receive(appendEntries({ term: 2, from: 'n3', prev: { term: 2, index: 2 }, leaderCommit: 2 }))
  assert.deepEqual(
    passedOn(kit).proposals.map(({ sequence }) => sequence),
    [2],
  )
  await kit.apply()
  assert.deepEqual([kept.state, lost.state], ['resolved', 'pending'])
  const again = entryOf(2, 3, origin, 2)
  await kit.receive(
    appendEntries({ term: 2, from: 'n3', prev: { term: 2, index: 2 }, entries: [again], leaderCommit: 3 }),
  )
  await kit.apply()
  assert.equal(lost.value?.index, 3)
})

test('What followers pass on while a batch is under way is bounded', async () => {
  const kit = await leader({ raft: { maxUncommittedBytes: 1000 } })
  watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  for (let sequence = 1; sequence <= 10; sequence++) await kit.receive(forwarded([sequence], { size: 400 }))
  const refused = kit.sent('ForwardRefused')
  assert.deepEqual(
    refused.flatMap(({ sequences }) => sequences),
    [4, 5, 6, 7, 8, 9, 10],
  )
  assert.equal(
    refused.every(({ reason, term }) => reason === 'tail-full' && term === 1),
    true,
  )
})

for (const reason of ['transferring', 'not-leader'] as const) {
  test(`A command that the same leader refused (${reason}) is not passed to it again before a tick`, async () => {
    const kit = await follower()
    watch(kit.node.propose(command(), timeoutMs))
    await kit.settle()
    const { origin } = passedOn(kit)
    kit.forget()
    await kit.receive({ type: 'ForwardRefused', from: 'n2', to: 'n1', term: 1, origin, sequences: [1], reason })
    assert.equal(kit.sent('ForwardedProposals').length, 0)
    await kit.advance(tickMs)
    assert.equal(kit.sent('ForwardedProposals').length, 1)
  })
}

test('Commands of one batch that the core refuses are refused in one message', async () => {
  const kit = await leader({ raft: { maxUncommittedBytes: 100, maxInFlightMessages: 8 } })
  await kit.receive(forwarded([1], { size: 200 }))
  await kit.receive(forwarded([2, 3, 4]))
  assert.deepEqual(
    kit.sent('ForwardRefused').map(({ sequences }) => sequences),
    [[2, 3, 4]],
  )
})
