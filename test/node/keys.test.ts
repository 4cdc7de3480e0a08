// Idempotency keys: of all proposals under one key a single one enters the log, and each of them is answered by it, whoever leads, whatever is restarted.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NewCommand } from '../../src/node/contract.ts'
import { Ledger } from '../../src/node/ledger.ts'
import { encodeLedger } from '../../src/node/ledger-codec.ts'
import type { ForwardedProposal, KeptResult, ResultStore } from '../../src/node/ports.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { appendEntries, encodeEntry, logOf } from '../raft/entries.ts'
import {
  command,
  follower,
  forwarded,
  leader,
  momentMs,
  type NodeKit,
  otherOrigin,
  passedOn,
  started,
  timeoutMs,
} from './node-kit.ts'
import { Outgoing } from './transfer-kit.ts'
import { watch } from './watched.ts'

const limits = { maxKeys: 100, maxAnswerBytes: 10_000 }

function keyed(key: string, text = '[1]'): NewCommand {
  return { kind: 'json', payload: Buffer.from(text), key }
}

/** As a leader would append it. */
function entryUnder(key: string, term: number, index: number, options: { origin?: number; sequence?: number } = {}) {
  const { origin = otherOrigin, sequence = index } = options
  const payload = Buffer.from('[1]')
  return encodeEntry({
    term,
    index,
    kind: 'json',
    timestampMs: 1000 + index,
    origin,
    sequence,
    key,
    traceparent: null,
    payload,
  })
}

function passedUnder(keys: readonly string[], text = '[1]') {
  const proposals = keys.map(
    (key, i): ForwardedProposal => ({
      kind: 'json',
      sequence: i + 1,
      key,
      traceparent: null,
      payload: Buffer.from(text),
    }),
  )
  return { ...forwarded([]), proposals }
}

/** What entered the log under a key, in order. */
function savedKeys(kit: NodeKit): string[] {
  return kit.storage.saves.flatMap(({ entries }) => entries).flatMap(({ key }) => (key === null ? [] : [key]))
}

function repeatsIn(kit: NodeKit) {
  return kit.sent('ForwardRepeated').map(({ to, origin, repeats }) => ({ to, origin, repeats }))
}

class FakeResults implements ResultStore {
  kept: KeptResult[]
  readonly appended: KeptResult[] = []
  forgotten = 0

  constructor(kept: KeptResult[] = []) {
    this.kept = kept
  }

  load(): readonly KeptResult[] {
    return this.kept
  }

  append(results: readonly KeptResult[]): void {
    this.appended.push(...results)
  }

  forget(through: number): void {
    this.forgotten = through
  }

  async close(): Promise<void> {}
}

test('Key and trace context go into the entry', async () => {
  const kit = await leader()
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  void watch(kit.node.propose({ ...keyed('a'), traceparent }, timeoutMs))
  await kit.settle()
  const [entry] = kit.storage.saves.at(-1)?.entries ?? []
  assert.deepEqual([entry?.key, entry?.traceparent], ['a', traceparent])
})

test('A repeat on the leader waits for the first, though that is not committed yet, and gets its place and its answer', async () => {
  const kit = await leader()
  const first = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  const repeat = watch(kit.node.propose(keyed('a'), timeoutMs))
  const committed = watch(kit.node.proposeCommitted(keyed('a'), timeoutMs))
  await kit.settle()
  assert.deepEqual([first.state, repeat.state, committed.state], ['pending', 'pending', 'pending'])
  await kit.answer('n2')
  await kit.apply()
  const { index, term, timestampMs } = first.value ?? assert.fail(first.state)
  assert.deepEqual(first.value, { index, term, timestampMs, duplicate: false, result: index })
  assert.deepEqual(repeat.value, { index, term, timestampMs, duplicate: true, result: index })
  assert.equal(committed.value?.duplicate, true)
  assert.deepEqual(savedKeys(kit), ['a'])
})

test('Of repeats that come in one turn the first enters the log', async () => {
  const kit = await leader()
  const all = [1, 2, 3].map(() => watch(kit.node.propose(keyed('a'), timeoutMs)))
  const other = watch(kit.node.propose(keyed('b'), timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  await kit.apply()
  assert.deepEqual(savedKeys(kit), ['a', 'b'])
  assert.deepEqual(
    all.map(({ value }) => [value?.index, value?.duplicate]),
    [
      [2, false],
      [2, true],
      [2, true],
    ],
  )
  assert.equal(other.value?.index, 3)
})

test('Once it is applied a repeat is answered at once, by the ledger, on a node that hears no leader, too', async () => {
  const kit = await leader()
  void watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  await kit.apply()
  await kit.advance(5000)
  assert.equal(kit.node.status().role, 'precandidate')
  const repeat = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  assert.deepEqual([repeat.value?.index, repeat.value?.result, repeat.value?.duplicate], [2, 2, true])
})

test('Another command under a key is refused, whether the first is committed or not, and never enters the log', async () => {
  const kit = await leader()
  void watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  const early = watch(kit.node.propose(keyed('a', '[2]'), timeoutMs))
  const bytes = watch(kit.node.propose({ ...keyed('a'), kind: 'bytes' }, timeoutMs))
  await kit.receive(passedUnder(['a'], '[2]'))
  await kit.answer('n2')
  await kit.apply()
  const late = watch(kit.node.propose(keyed('a', '[2]'), timeoutMs))
  await kit.receive(passedUnder(['a'], '[2]'))
  const reused = 'idempotency-key-reused/not_applied'
  assert.deepEqual([early.state, bytes.state, late.state], [reused, reused, reused])
  assert.deepEqual(
    repeatsIn(kit).map(({ repeats }) => repeats),
    [[{ sequence: 1, first: null }], [{ sequence: 1, first: null }]],
  )
  assert.deepEqual(savedKeys(kit), ['a'])
  assert.equal(kit.node.counters().failed['idempotency-key-reused'], 3)
})

test('The leader tells a follower where the first one stands, and appends nothing', async () => {
  const kit = await leader()
  await kit.receive(passedUnder(['a']))
  const again = passedUnder(['b', 'a', 'b'])
  await kit.receive({ ...again, proposals: again.proposals.map((each, i) => ({ ...each, sequence: 10 + i })) })
  await kit.answer('n2', 'n3')
  assert.deepEqual(savedKeys(kit), ['a', 'b'])
  const [a, b] = kit.storage.saves.flatMap(({ entries }) => entries).filter(({ key }) => key !== null)
  const at = (entry: Entry | undefined) => ({ term: entry?.term, index: entry?.index })
  assert.deepEqual(
    repeatsIn(kit).flatMap(({ repeats }) => repeats),
    [
      { sequence: 11, first: at(a) },
      { sequence: 12, first: at(b) },
    ],
  )
  assert(repeatsIn(kit).every(({ to, origin }) => to === 'n2' && origin === otherOrigin))
})

test('A follower waits until the first is committed and applied here', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  const { origin, term } = passedOn(kit)
  const repeats = [{ sequence: 1, first: { term: 1, index: 1 } }]
  await kit.receive({ type: 'ForwardRepeated', from: 'n2', to: 'n1', term, origin, repeats })
  await kit.receive(appendEntries({ term: 1, entries: [entryUnder('a', 1, 1)] }))
  assert.equal(waiting.state, 'pending')
  await kit.receive(appendEntries({ term: 1, prev: { term: 1, index: 1 }, leaderCommit: 1 }))
  assert.equal(waiting.state, 'pending')
  await kit.apply()
  assert.deepEqual(waiting.value, { index: 1, term: 1, timestampMs: 1001, duplicate: true, result: 1 })
})

test('Where fewer keys are kept than by the leader, a repeat of one that is gone is not passed on for ever', async () => {
  const kit = await follower({ ledger: { maxKeys: 1 } })
  const entries = [entryUnder('a', 1, 1), entryUnder('b', 1, 2)]
  await kit.receive(appendEntries({ term: 1, entries, leaderCommit: 2 }))
  const waiting = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  kit.forget()
  const repeats = [{ sequence: 1, first: { term: 1, index: 1 } }]
  await kit.receive({ type: 'ForwardRepeated', from: 'n2', to: 'n1', term: 1, origin, repeats })
  assert.deepEqual([waiting.state, kit.sent('ForwardedProposals')], ['result-unknown/committed', []])
  assert.deepEqual((waiting.error as { committed: unknown }).committed, { index: 1, term: 1 })
})

test('When the first one gave way to entries of another leader, its repeat is proposed again', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  const repeats = [{ sequence: 1, first: { term: 1, index: 1 } }]
  await kit.receive({ type: 'ForwardRepeated', from: 'n2', to: 'n1', term: 1, origin, repeats })
  await kit.receive(appendEntries({ term: 1, entries: [entryUnder('a', 1, 1)] }))
  kit.forget()
  await kit.receive(appendEntries({ from: 'n3', term: 2, entries: logOf([2]), leaderCommit: 1 }))
  assert.equal(waiting.state, 'pending')
  const again = passedOn(kit)
  assert.deepEqual([again.to, again.term, again.proposals.map(({ key }) => key)], ['n3', 2, ['a']])
  const entries = [entryUnder('a', 2, 2, { origin, sequence: 1 })]
  await kit.receive(appendEntries({ from: 'n3', term: 2, prev: { term: 2, index: 1 }, entries, leaderCommit: 2 }))
  await kit.apply()
  assert.deepEqual([waiting.value?.index, waiting.value?.duplicate], [2, false])
})

test('A new leader takes no proposals before it knows every key of its log', async () => {
  const kit = await started({ log: [1, 1, 1] })
  kit.storage.holdsReads = true
  await kit.advance(2000)
  await kit.receive({ type: 'RequestPreVoteResponse', from: 'n2', to: 'n1', term: 2, voteGranted: true })
  await kit.receive({ type: 'RequestVoteResponse', from: 'n2', to: 'n1', term: 2, voteGranted: true })
  const waiting = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  assert.equal(kit.lastIndex, 4, 'its no-op, which is committed, and nothing else')
  assert.equal(kit.applier.commitIndex, 0, 'nor is anything delivered that may be left out')
  const [read] = kit.storage.reads
  read?.resolve([...logOf([1, 1]), entryUnder('a', 1, 3)])
  await kit.settle()
  await kit.answer('n2')
  kit.applier.appliedIndex = 4
  kit.applier.events?.applied(4, [entryUnder('a', 1, 3)], ['three'])
  await kit.settle()
  assert.equal(kit.lastIndex, 4)
  assert.deepEqual([waiting.value?.index, waiting.value?.duplicate, waiting.value?.result], [3, true, 'three'])
})

test('A snapshot carries the keys, and what those commands answered', async () => {
  const kit = await leader({ snapshots: { threshold: 2 } })
  void watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  await kit.apply()
  await kit.advance(100)
  const stored = await kit.storage.openSnapshot()
  const parts: string[] = []
  assert(stored !== null)
  for await (const part of stored.ledger()) parts.push(Buffer.from(part).toString())
  assert.match(parts.join(''), /^raft-sidecar-ledger 1 2\nk 2 1 \d+ j\S{22} a 2\nend 2\n$/)
})

async function ledgerTextOf(...entries: readonly Entry[]): Promise<string> {
  const ledger = new Ledger(limits)
  ledger.committed(entries)
  ledger.answered(
    entries,
    entries.map(({ index }) => `answer ${index}`),
  )
  const parts: string[] = []
  for await (const part of encodeLedger(ledger.picture(entries.length), async () => {})) {
    parts.push(Buffer.from(part).toString())
  }
  return parts.join('')
}

test('A node that starts from a snapshot answers repeats of what that holds', async () => {
  const ledgerText = await ledgerTextOf(entryUnder('a', 1, 1), entryUnder('b', 1, 2))
  const kit = await started({ snapshot: { term: 1, index: 2 }, ledgerText })
  kit.applier.appliedIndex = 2
  const repeat = watch(kit.node.propose(keyed('b'), timeoutMs))
  await kit.settle()
  assert.deepEqual([repeat.value?.index, repeat.value?.result, repeat.value?.duplicate], [2, 'answer 2', true])
})

test('What an earlier process kept of answers is known again, and what is learnt now is kept', async () => {
  const results = new FakeResults([
    { index: 1, resultJson: '"old"' },
    { index: 1, resultJson: '"kept"' },
  ])
  const kit = await follower({ results })
  await kit.receive(
    appendEntries({ term: 1, entries: [entryUnder('a', 1, 1), entryUnder('b', 1, 2)], leaderCommit: 2 }),
  )
  kit.applier.appliedIndex = 1
  kit.applier.events?.applied(1, [], [])
  const repeat = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  assert.equal(repeat.value?.result, 'kept')
  kit.applier.appliedIndex = 2
  kit.applier.events?.applied(2, [entryUnder('b', 1, 2)], [{ fresh: true }])
  assert.deepEqual(results.appended, [{ index: 2, resultJson: '{"fresh":true}' }])
})

test('What an application answered whose acknowledgement was lost is asked of the other nodes', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(keyed('a'), timeoutMs))
  const unkeyed = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  const entries = [
    entryUnder('a', 1, 1, { origin, sequence: 1 }),
    encodeEntry({ ...entryUnder('', 1, 2, { origin, sequence: 2 }), key: null }),
  ]
  await kit.receive(appendEntries({ term: 1, entries, leaderCommit: 2 }))
  kit.applier.appliedIndex = 2
  kit.applier.events?.applied(2, entries, null)
  await kit.advance(40)
  assert.deepEqual([waiting.state, unkeyed.state], ['pending', 'result-unknown/committed'])
  assert.deepEqual(
    kit.sent('ResultsRequest').map(({ to, indexes }) => [to, indexes]),
    [
      ['n2', [1]],
      ['n3', [1]],
    ],
  )
  const results = [{ index: 1, resultJson: '{"told":1}' }]
  await kit.receive({ type: 'ResultsResponse', from: 'n3', to: 'n1', term: 1, results })
  assert.deepEqual(waiting.value?.result, { told: 1 })
  assert.equal(waiting.value?.duplicate, false)
  await kit.receive({ type: 'ResultsRequest', from: 'n2', to: 'n1', term: 1, indexes: [1, 2, 3] })
  assert.deepEqual(
    kit.sent('ResultsResponse').map(({ to, results: told }) => [to, told]),
    [['n2', results]],
  )
})

test('When no node can tell in time, the client learns that it was applied, and where', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  const entries = [entryUnder('a', 1, 1, { origin, sequence: 1 })]
  await kit.receive(appendEntries({ term: 1, entries, leaderCommit: 1 }))
  kit.applier.appliedIndex = 1
  kit.applier.events?.applied(1, entries, null)
  await kit.advance(timeoutMs + 100)
  assert.equal(waiting.state, 'result-unknown/committed')
  assert.deepEqual((waiting.error as { committed: unknown }).committed, { index: 1, term: 1 })
  assert(kit.sent('ResultsRequest').length > 4, 'it asked again and again')
})

test('An answer longer than what is kept goes to the first, and repeats learn that it is not known', async () => {
  const kit = await leader()
  const first = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  const entries = (await kit.applier.entries?.read(2, 2, 1000)) ?? []
  kit.applier.appliedIndex = 2
  kit.applier.events?.applied(2, entries, ['x'.repeat(5000)])
  await kit.settle()
  assert.equal(first.value?.result, 'x'.repeat(5000))
  const repeat = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  assert.equal(repeat.state, 'result-unknown/committed')
})

test('A key that is forgotten may be used again', async () => {
  const kit = await leader({ ledger: { maxKeys: 1 } })
  for (const key of ['a', 'b', 'a']) {
    void watch(kit.node.propose(keyed(key), timeoutMs))
    await kit.settle()
    await kit.answer('n2')
    await kit.apply()
  }
  assert.deepEqual(savedKeys(kit), ['a', 'b', 'a'])
})

test('What was handed to a leader that is gone is proposed to the next one, which knows the key if it was not lost', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(keyed('a'), 60_000))
  await kit.settle()
  kit.forget()
  await kit.receive(appendEntries({ from: 'n3', term: 2, entries: logOf([2]), leaderCommit: 1 }))
  const again = passedOn(kit)
  assert.equal(again.proposals[0]?.key, 'a')
  assert.equal(waiting.state, 'pending')
})

test('Commands of a batch take one append, or none when there is no room for all', async () => {
  const kit = await leader({ limits: { maxPendingProposals: 3 } })
  const before = kit.storage.saves.length
  const batch = watch(kit.node.proposeBatch([keyed('a'), command(), keyed('a')], 'applied', timeoutMs))
  const tooMany = watch(kit.node.proposeBatch([command()], 'applied', timeoutMs))
  await kit.settle()
  assert.equal(tooMany.state, 'too-many-proposals/not_applied')
  assert.deepEqual(
    kit.storage.saves.slice(before).map(({ entries }) => entries.length),
    [2],
  )
  await kit.answer('n2')
  await kit.apply()
  const values = batch.value?.map((each) => ('index' in each ? [each.index, each.duplicate] : each.code))
  assert.deepEqual(values, [
    [2, false],
    [3, false],
    [2, true],
  ])
})

test('Of a batch each command has its own answer', async () => {
  const kit = await leader()
  void watch(kit.node.propose(keyed('a', '[0]'), timeoutMs))
  const batch = watch(kit.node.proposeBatch([keyed('a'), keyed('b')], 'committed', timeoutMs))
  await kit.settle()
  await kit.answer('n2')
  await kit.advance(momentMs)
  const values = batch.value?.map((each) => ('index' in each ? each.index : each.code))
  assert.deepEqual(values, ['idempotency-key-reused', 3])
})

test('With a snapshot in place of the entries that it may be among, it is proposed again, since the leader knows its key', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(keyed('b'), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  const ledger = await ledgerTextOf(entryUnder('a', 1, 1), entryUnder('b', 1, 2))
  const outgoing = new Outgoing({ index: 2, ledger })
  await kit.receive(outgoing.offer)
  kit.forget()
  for (const chunk of outgoing.chunksFrom(0)) await kit.receive(chunk)
  const again = passedOn(kit)
  assert.deepEqual(
    again.proposals.map(({ sequence, key }) => [sequence, key]),
    [[1, 'b']],
  )
  const repeats = [{ sequence: 1, first: { term: 1, index: 2 } }]
  await kit.receive({ type: 'ForwardRepeated', from: 'n2', to: 'n1', term: 1, origin, repeats })
  assert.equal(waiting.state, 'pending', 'the state machine is not restored yet')
  kit.applier.appliedIndex = 2
  kit.applier.events?.restored(2)
  await kit.settle()
  assert.equal(waiting.value?.result, 'answer 2')
})

/** Its only proposal waits for a leader again, since a snapshot stands where its entry may be. */
async function inDoubt(wait: 'applied' | 'committed' = 'applied') {
  const kit = await follower()
  const proposal =
    wait === 'applied' ? kit.node.propose(keyed('b'), 60_000) : kit.node.proposeCommitted(keyed('b'), 60_000)
  const waiting = watch<unknown>(proposal)
  await kit.settle()
  const { origin } = passedOn(kit)
  kit.transport.connected.delete('n2')
  const outgoing = new Outgoing({ index: 2, ledger: await ledgerTextOf(entryUnder('a', 1, 1), entryUnder('c', 1, 2)) })
  await kit.receive(outgoing.offer)
  for (const chunk of outgoing.chunksFrom(0)) await kit.receive(chunk)
  assert.equal(waiting.state, 'pending')
  kit.forget()
  return { kit, waiting, origin }
}

const refusals: readonly (readonly [string, (kit: NodeKit, origin: number) => Promise<unknown>])[] = [
  ['finds no leader', (kit) => kit.advance(3000)],
  ['stops', (kit) => kit.node.stop(0)],
  [
    'is refused by the leader, which has too much under way',
    async (kit, origin) => {
      kit.transport.connected.add('n2')
      await kit.advance(50)
      const refused = { type: 'ForwardRefused', from: 'n2', to: 'n1', term: 1, origin, sequences: [1] } as const
      await kit.receive({ ...refused, reason: 'tail-full' })
    },
  ],
]

for (const [what, refuse] of refusals) {
  test(`A node that got a snapshot where the entry of a proposal may be, and then ${what}, does not say that it was not applied`, async () => {
    const { kit, waiting, origin } = await inDoubt()
    await refuse(kit, origin)
    await kit.settle()
    assert.equal(waiting.state, 'leadership-lost/unknown')
    assert.equal(kit.node.status().pendingProposals, 0)
  })
}

for (const [wait, state] of [
  ['applied', 'apply-pending/committed'],
  ['committed', 'resolved'],
] as const) {
  test(`What turns up in the log behind such a snapshot is not proposed again, and is committed for a client that waits until it is ${wait}`, async () => {
    const { kit, waiting, origin } = await inDoubt(wait)
    const entries = [entryUnder('b', 1, 3, { origin, sequence: 1 })]
    await kit.receive(appendEntries({ term: 1, prev: { term: 1, index: 2 }, entries, leaderCommit: 3 }))
    kit.transport.connected.add('n2')
    await kit.advance(50)
    assert.deepEqual(kit.sent('ForwardedProposals'), [])
    await kit.node.stop(0)
    assert.equal(waiting.state, state)
  })
}

test('What this node knows and the snapshot that it gets does not is kept beside that: a restart would lose it', async () => {
  const results = new FakeResults()
  const kit = await follower({ results })
  const entries = [entryUnder('a', 1, 1), entryUnder('b', 1, 2)]
  await kit.receive(appendEntries({ term: 1, entries, leaderCommit: 2 }))
  kit.applier.appliedIndex = 2
  kit.applier.events?.applied(2, entries, ['one', 'two'])
  results.appended.length = 0
  const ledger = new Ledger(limits)
  ledger.committed([...entries, entryUnder('c', 1, 3)])
  ledger.answered([entryUnder('b', 1, 2)], ['two'])
  const parts: string[] = []
  for await (const part of encodeLedger(ledger.picture(3), async () => {})) parts.push(Buffer.from(part).toString())
  const outgoing = new Outgoing({ index: 3, ledger: parts.join('') })
  await kit.receive(outgoing.offer)
  for (const chunk of outgoing.chunksFrom(0)) await kit.receive(chunk)
  assert.deepEqual([results.appended, results.forgotten], [[{ index: 1, resultJson: '"one"' }], 0])
  const repeat = watch(kit.node.propose(keyed('a'), timeoutMs))
  await kit.settle()
  assert.equal(repeat.value?.result, 'one')
})
