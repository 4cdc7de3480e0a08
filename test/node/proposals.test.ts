// Commands that wait for their answer: what is known of each, and that none is reported wrongly, twice, or applied twice.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProposalError } from '../../src/errors.ts'
import { Ledger } from '../../src/node/ledger.ts'
import { type ProposalLimits, Proposals } from '../../src/node/proposals.ts'
import { command, entryOf } from './node-kit.ts'
import { type Watched, watch } from './watched.ts'

const origin = 7
const limits: ProposalLimits = { maxPendingProposals: 100, maxPendingBytes: 1000, leaderPatienceMs: 2000 }
const timeoutMs = 5000

interface AddOptions {
  readonly wait?: 'applied' | 'committed'
  readonly nowMs?: number
  readonly size?: number
  readonly timeoutMs?: number
  readonly key?: string
}

class Bench {
  readonly proposals: Proposals

  readonly ledger = new Ledger({ maxKeys: 100, maxAnswerBytes: 10_000 })
  appliedIndex = 0

  constructor(changed: Partial<ProposalLimits> = {}) {
    this.proposals = new Proposals({
      origin,
      limits: { ...limits, ...changed },
      ledger: () => this.ledger,
      appliedIndex: () => this.appliedIndex,
      leavesOut: true,
    })
  }

  add(options: AddOptions = {}) {
    const { wait = 'applied', nowMs = 0, size = 2, key = null } = options
    return watch(
      this.proposals.add({ ...command(size), key, traceparent: null }, wait, nowMs, options.timeoutMs ?? timeoutMs),
    )
  }

  addAll(count: number): Watched<unknown>[] {
    return Array.from({ length: count }, () => this.add())
  }

  take(term: number): number[] {
    return this.proposals.takeQueued(term).map(({ sequence }) => sequence)
  }

  /** The entries [term, index, sequence, origin] are committed. */
  commit(...entries: readonly (readonly [number, number, number, number?])[]) {
    return this.proposals.committed(entries.map(toEntry), 100)
  }

  apply(...entries: readonly (readonly [number, number, number, number?])[]): void {
    this.proposals.applied(
      entries.map(toEntry),
      entries.map(([, index]) => `result ${index}`),
      100,
    )
  }
}

function toEntry([term, index, sequence, from = origin]: readonly [number, number, number, number?]) {
  return entryOf(term, index, from, sequence)
}

function states(watched: readonly Watched<unknown>[]): string[] {
  return watched.map(({ state }) => state)
}

/** Lets the callbacks of settled promises run. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

test('An answer finds its request by the origin and sequence of the entry, wherever in the log that stands', async () => {
  const bench = new Bench()
  const [first, second] = bench.addAll(2)
  bench.take(3)
  bench.commit([3, 40, 9, 8], [3, 41, 2], [3, 42, 1])
  bench.apply([3, 40, 9, 8], [3, 41, 2], [3, 42, 1])
  await settled()
  assert.deepEqual(first?.value, { index: 42, term: 3, timestampMs: 1042, duplicate: false, result: 'result 42' })
  assert.deepEqual(second?.value, { index: 41, term: 3, timestampMs: 1041, duplicate: false, result: 'result 41' })
  assert.equal(bench.proposals.size, 0)
})

test("Another process's entry of the same sequence answers nobody", async () => {
  const bench = new Bench()
  const waiting = bench.add()
  bench.take(1)
  assert.equal(bench.commit([1, 1, 1, origin + 1]).count, 0)
  bench.apply([1, 1, 1, origin + 1])
  await settled()
  assert.equal(waiting.state, 'pending')
})

test('A state machine that gives no result answers null', async () => {
  const bench = new Bench()
  const waiting = bench.add()
  bench.take(1)
  bench.commit([1, 1, 1])
  bench.proposals.applied([entryOf(1, 1, origin, 1)], [], 100)
  await settled()
  assert.deepEqual(waiting.value, { index: 1, term: 1, timestampMs: 1001, duplicate: false, result: null })
})

test('With wait=committed the commit is the answer, and what is applied later answers nobody again', async () => {
  const bench = new Bench()
  const waiting = bench.add({ wait: 'committed' })
  bench.take(1)
  bench.commit([1, 5, 1])
  await settled()
  assert.deepEqual(waiting.value, { index: 5, term: 1, timestampMs: 1005, duplicate: false, result: null })
  bench.apply([1, 5, 1])
  const { applied, committed } = bench.proposals.counters()
  assert.deepEqual({ applied, committed }, { applied: 0, committed: 1 })
})

test('With wait=applied the commit alone is no answer', async () => {
  const bench = new Bench()
  const waiting = bench.add()
  bench.take(1)
  bench.commit([1, 5, 1])
  await settled()
  assert.equal(waiting.state, 'pending')
})

test('What a rewound state machine takes once more answers nobody twice', async () => {
  const bench = new Bench()
  const [first, second] = bench.addAll(2)
  bench.take(1)
  bench.commit([1, 1, 1], [1, 2, 2])
  bench.apply([1, 1, 1])
  bench.proposals.applied([entryOf(1, 1, origin, 1), entryOf(1, 2, origin, 2)], ['again', 'once'], 100)
  await settled()
  assert.deepEqual(
    [first?.value, second?.value],
    [
      { index: 1, term: 1, timestampMs: 1001, duplicate: false, result: 'result 1' },
      { index: 2, term: 1, timestampMs: 1002, duplicate: false, result: 'once' },
    ],
  )
  assert.equal(bench.proposals.counters().applied, 2)
})

for (const { name, changed, sizes, expected } of [
  {
    name: 'count',
    changed: { maxPendingProposals: 2 },
    sizes: [1, 1, 1],
    expected: ['pending', 'pending', 'too-many-proposals/not_applied'],
  },
  {
    name: 'bytes, which a smaller one may still fit in',
    changed: { maxPendingBytes: 10 },
    sizes: [6, 5, 4],
    expected: ['pending', 'too-many-proposals/not_applied', 'pending'],
  },
]) {
  test(`What waits is bounded by its ${name}`, async () => {
    const bench = new Bench(changed)
    const all = sizes.map((size) => bench.add({ size }))
    await settled()
    assert.deepEqual(states(all), expected)
    assert.equal(bench.proposals.counters().failed['too-many-proposals'], 1)
    assert.equal(bench.take(1).length, 2)
  })
}

test('Whether there is room can be asked before, and a refusal counts', async () => {
  const bench = new Bench({ maxPendingProposals: 2, maxPendingBytes: 10 })
  bench.add({ size: 6 })
  assert.equal(bench.proposals.admit(4), null)
  const refusals = [bench.proposals.admit(5)]
  bench.add({ size: 1 })
  refusals.push(bench.proposals.admit(0))
  assert.deepEqual(
    refusals.map((refusal) => [refusal?.code, refusal?.outcome]),
    [
      ['too-many-proposals', 'not_applied'],
      ['too-many-proposals', 'not_applied'],
    ],
  )
  assert.equal(bench.proposals.counters().failed['too-many-proposals'], 2)
})

test('Every way to an answer makes room again, in count and in bytes', async () => {
  for (const finish of [
    (bench: Bench) => bench.apply([1, 1, 1]),
    (bench: Bench) => bench.proposals.refuseFull(1, 1, 'tail-full'),
    (bench: Bench) => bench.proposals.expire(timeoutMs),
  ]) {
    const bench = new Bench({ maxPendingProposals: 1, maxPendingBytes: 10 })
    bench.add({ size: 10 })
    bench.take(1)
    finish(bench)
    const next = bench.add({ size: 10 })
    await settled()
    assert.equal(next.state, 'pending')
  }
})

test('What is queued is handed over once, oldest first', () => {
  const bench = new Bench()
  bench.addAll(3)
  assert.equal(bench.proposals.hasQueued, true)
  assert.deepEqual(bench.take(1), [1, 2, 3])
  assert.equal(bench.proposals.hasQueued, false)
  bench.add()
  assert.deepEqual(bench.take(1), [4])
})

for (const { name, handedTerm, refusedTerm, taken } of [
  { name: 'of the term that it was handed to', handedTerm: 3, refusedTerm: 3, taken: [1] },
  { name: 'of an older term: it was handed to another leader since', handedTerm: 4, refusedTerm: 3, taken: [] },
  { name: 'of a newer term', handedTerm: 3, refusedTerm: 4, taken: [] },
]) {
  test(`A refusal ${name} ${taken.length === 0 ? 'says nothing' : 'puts it back into the queue'}`, async () => {
    const bench = new Bench()
    const waiting = bench.add()
    bench.take(handedTerm)
    bench.proposals.requeue(1, refusedTerm, 50)
    assert.deepEqual(bench.take(5), taken)
    const other = new Bench()
    const refusedAsFull = other.add()
    other.take(handedTerm)
    other.proposals.refuseFull(1, refusedTerm, 'tail-full')
    await settled()
    assert.equal(waiting.state, 'pending')
    assert.equal(refusedAsFull.state, taken.length === 0 ? 'pending' : 'too-many-proposals/not_applied')
  })
}

test('A refusal of what is queued, committed or answered changes nothing', async () => {
  const bench = new Bench()
  const committed = bench.add()
  bench.take(1)
  bench.commit([1, 1, 1])
  bench.proposals.requeue(1, 1, 0)
  bench.proposals.refuseFull(1, 1, 'tail-full')
  const queued = bench.add()
  bench.proposals.requeue(2, 1, 0)
  bench.proposals.requeue(99, 1, 0)
  bench.proposals.refuseFull(99, 1, 'tail-full')
  await settled()
  assert.deepEqual([committed.state, queued.state], ['pending', 'pending'])
  assert.deepEqual(bench.take(2), [2])
})

test('A committed entry of a newer term proves that what was handed to older leaders never entered the log: it is proposed again', async () => {
  const bench = new Bench()
  const older = bench.add()
  bench.take(3)
  const handedLater = bench.add()
  bench.take(4)
  // The no-op of term 4: nobody's proposal.
  bench.commit([4, 10, 0, 0])
  assert.deepEqual(bench.take(4), [1])
  bench.commit([4, 11, 1], [4, 12, 2])
  bench.apply([4, 11, 1], [4, 12, 2])
  await settled()
  assert.deepEqual([older.value?.index, handedLater.value?.index], [11, 12])
})

test('One handed to the leader of the committed term itself is left where it is: it may follow', () => {
  const bench = new Bench()
  bench.add()
  bench.take(4)
  bench.commit([4, 10, 0, 0], [4, 11, 9, 8])
  assert.deepEqual(bench.take(4), [])
})

test('One handed to a later term than the committed one is left where it is', () => {
  const bench = new Bench()
  bench.add()
  bench.take(5)
  bench.commit([4, 10, 0, 0])
  assert.deepEqual(bench.take(5), [])
})

test('Within one batch an entry of ours before the first of the newer term is seen first: it is not proposed again', async () => {
  const bench = new Bench()
  const [committed, lost] = bench.addAll(2)
  bench.take(3)
  bench.commit([3, 9, 1], [4, 10, 0, 0])
  assert.deepEqual(bench.take(4), [2])
  bench.apply([3, 9, 1])
  await settled()
  assert.deepEqual(states([committed, lost].filter((one) => one !== undefined)), ['resolved', 'pending'])
})

test('What was proposed again is handed over, and answered, once', async () => {
  const bench = new Bench()
  const waiting = bench.add()
  bench.take(3)
  bench.commit([4, 10, 0, 0])
  // The late refusal of the leader of term 3 must not queue it a second time.
  bench.proposals.requeue(1, 3, 0)
  assert.deepEqual(bench.take(4), [1])
  bench.proposals.requeue(1, 3, 0)
  assert.deepEqual(bench.take(4), [])
  bench.commit([4, 11, 1])
  bench.commit([5, 12, 0, 0])
  assert.deepEqual(bench.take(5), [])
  bench.apply([4, 11, 1])
  await settled()
  assert.deepEqual(waiting.value, { index: 11, term: 4, timestampMs: 1011, duplicate: false, result: 'result 11' })
})

for (const { name, prepare, expected, committed } of [
  {
    name: 'queued: it was never handed over',
    prepare: () => {},
    expected: 'no-leader/not_applied',
    committed: null,
  },
  {
    name: 'refused and queued again',
    prepare: (bench: Bench) => {
      bench.take(3)
      bench.proposals.requeue(1, 3, 0)
    },
    expected: 'no-leader/not_applied',
    committed: null,
  },
  {
    name: 'handed over: it may yet commit',
    prepare: (bench: Bench) => void bench.take(3),
    expected: 'commit-timeout/unknown',
    committed: null,
  },
  {
    name: 'committed: it will be applied here, and where it stands is known',
    prepare: (bench: Bench) => {
      bench.take(3)
      bench.commit([3, 9, 1])
    },
    expected: 'apply-pending/committed',
    committed: { index: 9, term: 3 },
  },
]) {
  test(`When its time is over, it is answered by what is known of it: ${name}`, async () => {
    const bench = new Bench({ leaderPatienceMs: timeoutMs * 2 })
    const waiting = bench.add()
    prepare(bench)
    bench.proposals.expire(timeoutMs - 1)
    await settled()
    assert.equal(waiting.state, 'pending')
    bench.proposals.expire(timeoutMs)
    await settled()
    assert.equal(waiting.state, expected)
    assert.deepEqual((waiting.error as { committed: unknown }).committed, committed)
    assert.equal(bench.proposals.size, 0)
    assert.deepEqual(bench.take(4), [], 'what was given up is not handed over any more')
  })
}

test('The patience for a leader counts from when it was queued, and is over before the time is', async () => {
  const bench = new Bench()
  const first = bench.add({ timeoutMs: 60_000 })
  const refused = bench.add({ timeoutMs: 60_000 })
  bench.take(1)
  bench.proposals.requeue(2, 1, 1000)
  bench.proposals.expire(2999)
  await settled()
  assert.deepEqual(states([first, refused]), ['pending', 'pending'])
  bench.proposals.expire(3000)
  await settled()
  assert.deepEqual(states([first, refused]), ['pending', 'no-leader/not_applied'])
})

test('An entry that commits after its request was given up answers nobody', async () => {
  const bench = new Bench()
  const waiting = bench.add()
  bench.take(1)
  bench.proposals.expire(timeoutMs)
  assert.deepEqual(bench.commit([1, 1, 1]).count, 0)
  bench.apply([1, 1, 1])
  await settled()
  assert.equal(waiting.state, 'commit-timeout/unknown')
})

test('A commit tells how many of its entries are ours, and when the oldest of those arrived', () => {
  const bench = new Bench()
  bench.add({ nowMs: 30 })
  bench.add({ nowMs: 20 })
  bench.add({ nowMs: 40 })
  bench.take(1)
  assert.deepEqual(bench.commit([1, 1, 0, 0], [1, 2, 1], [1, 3, 2], [1, 4, 5, 8]), { count: 2, oldestArrivalMs: 20 })
  assert.deepEqual(bench.commit([1, 5, 6, 8]), { count: 0, oldestArrivalMs: 100 })
})

test('A node that shuts down gives back what is queued, and nothing else', async () => {
  const bench = new Bench()
  const handed = bench.add()
  bench.take(1)
  const queued = bench.add()
  bench.proposals.refuseQueued()
  await settled()
  assert.deepEqual(states([handed, queued]), ['pending', 'shutting-down/not_applied'])
  assert.equal(bench.proposals.hasQueued, false)
})

test('A node that stops answers everybody by what is known', async () => {
  const bench = new Bench()
  const [committed, handed] = bench.addAll(2)
  bench.take(1)
  bench.commit([1, 1, 1])
  const queued = bench.add()
  bench.proposals.abandon()
  await settled()
  assert.deepEqual(
    [committed?.state, handed?.state, queued.state],
    ['apply-pending/committed', 'leadership-lost/unknown', 'shutting-down/not_applied'],
  )
  assert.equal(bench.proposals.size, 0)
})

test('The counters tell what became of all', async () => {
  const bench = new Bench({ maxPendingProposals: 5 })
  const all = bench.addAll(6)
  all.push(watch(bench.proposals.refuse('not-a-member', 'Cannot propose: n9 is not a member of the cluster')))
  bench.take(1)
  bench.commit([1, 1, 1], [1, 2, 2])
  bench.apply([1, 1, 1])
  bench.proposals.expire(timeoutMs)
  await settled()
  const { applied, committed, failed } = bench.proposals.counters()
  assert.deepEqual({ applied, committed }, { applied: 1, committed: 2 })
  assert.deepEqual(
    Object.entries(failed).filter(([, count]) => count > 0),
    [
      ['too-many-proposals', 1],
      ['not-a-member', 1],
      ['commit-timeout', 3],
      ['apply-pending', 1],
    ],
  )
  assert.equal(all.filter(({ state }) => state === 'pending').length, 0)
})

test('A refusal that names no term queues nothing twice', () => {
  const proposals = new Bench().proposals
  watch(proposals.add({ ...command(), key: null, traceparent: null }, 'applied', 0, timeoutMs))
  proposals.requeue(1, 0, 0)
  assert.equal(proposals.takeQueued(1).length, 1)
})

test('A snapshot in place of the next entries leaves unknown what may be among them; what is queued, committed or of a later term goes on', async () => {
  const bench = new Bench()
  const committed = bench.add()
  const handed = bench.add()
  bench.take(3)
  bench.commit([3, 9, 1])
  const later = bench.add()
  bench.take(5)
  const queued = bench.add()
  bench.proposals.skipped(4, 100)
  await settled()
  assert.deepEqual(states([committed, handed, later, queued]), [
    'pending',
    'leadership-lost/unknown',
    'pending',
    'pending',
  ])
  assert.deepEqual(bench.take(5), [4])
  bench.commit([5, 20, 3], [5, 21, 4])
  bench.apply([3, 9, 1], [5, 20, 3], [5, 21, 4])
  await settled()
  assert.deepEqual(states([committed, later, queued]), ['resolved', 'resolved', 'resolved'])
})

test('What a snapshot may hold is never proposed again, whatever is heard of it afterwards: that could do it twice', async () => {
  const bench = new Bench()
  const handed = bench.add()
  bench.take(3)
  bench.proposals.skipped(3, 100)
  bench.proposals.requeue(1, 3, 0)
  bench.commit([4, 20, 0, 0])
  bench.apply([3, 9, 1])
  await settled()
  assert.equal(handed.state, 'leadership-lost/unknown')
  assert.equal(bench.proposals.hasQueued, false)
  assert.equal(bench.proposals.size, 0)
})

test('A snapshot of a later term than that of the leader who got it tells no more: also then it may be among the entries', async () => {
  const bench = new Bench()
  const handed = bench.add()
  bench.take(3)
  bench.proposals.skipped(8, 100)
  await settled()
  assert.equal(handed.state, 'leadership-lost/unknown')
})

test('After a snapshot, what was handed to the leader of a later term waits for an entry that is newer still', async () => {
  const bench = new Bench()
  bench.add()
  bench.take(5)
  bench.proposals.skipped(4, 100)
  // Of the snapshot's own term, behind it: says nothing of term 5.
  bench.commit([4, 11, 0, 0])
  assert.equal(bench.proposals.hasQueued, false)
  bench.commit([6, 12, 0, 0])
  assert.deepEqual(bench.take(6), [1])
})

test('What is committed within a snapshot that the state machine was restored from has no result here', async () => {
  const bench = new Bench()
  const all = bench.addAll(4)
  const committed = bench.add({ wait: 'committed' })
  bench.take(1)
  bench.commit([1, 1, 1], [1, 2, 2], [1, 3, 3], [1, 4, 5])
  bench.proposals.answersLost(2, 'it was restored')
  await settled()
  assert.deepEqual(states([...all, committed]), [
    'result-unknown/committed',
    'result-unknown/committed',
    'pending',
    'pending',
    'resolved',
  ])
  const { error } = all[1] as Watched<unknown>
  assert(error instanceof ProposalError, 'It is answered with a ProposalError')
  assert.deepEqual([error.committed?.index, error.committed?.term], [2, 1])
  bench.apply([1, 3, 3])
  await settled()
  assert.equal(all[2]?.state, 'resolved')
})

test('A leader without room on its disk is told from one that has too much under way', async () => {
  const bench = new Bench()
  const all = bench.addAll(2)
  bench.take(1)
  bench.proposals.refuseFull(1, 1, 'storage-full')
  bench.proposals.refuseFull(2, 1, 'tail-full')
  await settled()
  assert.deepEqual(states(all), ['storage-full/not_applied', 'too-many-proposals/not_applied'])
  assert.equal(bench.proposals.counters().failed['storage-full'], 1)
})

test('What was proposed again in doubt, and stands in the log twice since its key had expired by then, is answered by the first one', async () => {
  const bench = new Bench()
  const waiting = bench.add({ key: 'a' })
  bench.take(1)
  bench.proposals.skipped(1, 0)
  bench.take(1)
  bench.commit([1, 5, 1], [1, 9, 1])
  bench.apply([1, 5, 1])
  await settled()
  assert.deepEqual(waiting.value, { index: 5, term: 1, timestampMs: 1005, duplicate: false, result: 'result 5' })
})

test('What is in doubt, and finds its key with another command, may have been committed before that', async () => {
  const bench = new Bench()
  const waiting = bench.add({ key: 'a' })
  bench.take(1)
  bench.proposals.skipped(1, 0)
  bench.take(1)
  bench.proposals.repeated(1, 1, null, true, 0)
  await settled()
  assert.equal(waiting.state, 'leadership-lost/unknown')
})
