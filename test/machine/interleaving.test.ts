// Whatever the order in which commands are applied, pictures taken, machines restarted, logs compacted and snapshots installed: the state is that of
// the plain sequence of the commands, without those that are to be left out.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createApplier } from '../../src/machine/applier.ts'
import { createKvMachine, type KvMachine } from '../../src/machine/kv.ts'
import type { Applier } from '../../src/node/ports.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { noFatal } from './applier-kit.ts'
import { collect, entry, FakeClock, FakeLog, FakeSnapshot, jsonEntry, promptClock, setEntry } from './fixtures.ts'

type Action =
  | { readonly type: 'commit'; readonly entries: number; readonly seed: number }
  /** A few turns of the loop, whatever is under way. */
  | { readonly type: 'turn'; readonly turns: number }
  | { readonly type: 'picture' }
  | { readonly type: 'compact' }
  /** A leader's snapshot comes, through entries that this node never saw. */
  | { readonly type: 'install'; readonly entries: number; readonly seed: number }
  | { readonly type: 'restart' }

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('commit' as const),
      entries: fc.integer({ min: 1, max: 40 }),
      seed: fc.nat(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('turn' as const), turns: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('picture' as const) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('compact' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('install' as const),
      entries: fc.integer({ min: 1, max: 40 }),
      seed: fc.nat(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('restart' as const) }) },
)

function newEntry(index: number, seed: number): Entry {
  const number = (index * 7919 + seed) % 1_000_003
  const key = `k${number % 11}`
  if (number % 5 === 0) return entry(index, 'noop')
  if (number % 5 === 1) return jsonEntry(index, { op: 'delete', key })
  if (number % 5 === 2) return jsonEntry(index, { op: 'set', key, value: index, ifModifiedIndex: 0 })
  return setEntry(index, key, `${index}`)
}

/** What the plain sequence through `through` gives. */
function replayed(log: FakeLog, through: number): KvMachine {
  const kv = createKvMachine(promptClock)
  const isDelivered = ({ kind, index }: Entry) => kind === 'json' && !log.isSkipped(index)
  kv.apply(0, log.entries.slice(0, through).filter(isDelivered))
  return kv
}

async function snapshotOf(kv: KvMachine, lastIndex: number): Promise<FakeSnapshot> {
  const { position, body } = await kv.snapshot()
  return new FakeSnapshot(lastIndex, position, await collect(body))
}

/** One node: its log and newest snapshot last, its machine does not. */
class Run {
  readonly clock = new FakeClock()
  readonly log = new FakeLog()
  commitIndex = 0
  kv!: KvMachine
  applier!: Applier
  /** Pictures under way. */
  readonly taking: Promise<void>[] = []

  constructor(isLogRemote: boolean) {
    this.log.asynchronous = isLogRemote
    this.restart()
  }

  restart(): void {
    void this.applier?.close()
    this.kv = createKvMachine(this.clock)
    this.applier = createApplier({
      machine: this.kv,
      clock: this.clock,
      random: () => 0,
      maxBatchCommands: 7,
      onFatal: noFatal,
    })
    const { kv, applier } = this
    const isCurrent = () => this.applier === applier
    // What is told is in the machine at that very moment.
    const told = (appliedIndex: number) => {
      if (isCurrent()) assert.equal(applier.appliedIndex, appliedIndex)
      this.expect(kv, appliedIndex)
    }
    applier.start(this.log, { applied: told, rewound: told, restored: told })
    const snapshot = this.log.snapshot as FakeSnapshot | null
    this.commitIndex = Math.max(snapshot?.header.lastIncluded.index ?? 0, this.log.firstIndex - 1)
    applier.commit(this.commitIndex)
  }

  append(entries: number, seed: number): void {
    for (let i = 0; i < entries; i++) {
      const index = this.log.entries.length + 1
      this.log.append(newEntry(index, seed))
      if ((index * 31 + seed) % 9 < 2) this.log.skipped.add(index)
    }
  }

  async perform(step: Action): Promise<void> {
    switch (step.type) {
      case 'commit':
        this.append(step.entries, step.seed)
        this.applier.commit(this.log.entries.length)
        break
      case 'turn':
        for (let i = 0; i < step.turns; i++) {
          await this.clock.microtasks()
          this.clock.turn()
        }
        break
      case 'picture':
        this.taking.push(this.picture())
        break
      case 'compact':
        if (this.log.snapshot !== null)
          this.compactThrough((this.log.snapshot as FakeSnapshot).header.lastIncluded.index)
        break
      case 'install': {
        this.append(step.entries, step.seed)
        const through = this.log.entries.length
        this.log.snapshot = await snapshotOf(replayed(this.log, through), through)
        this.compactThrough(through)
        this.applier.commit(through)
        break
      }
      case 'restart':
        this.restart()
        break
      default:
        step satisfies never
    }
  }

  async picture(): Promise<void> {
    const { applier } = this
    // A refusal is no fault: it must only come to an end.
    const picture = await applier.snapshot().catch(() => null)
    if (picture === null) return
    const { appliedIndex, position } = picture
    const bytes = await collect(picture.body)
    const copy = createKvMachine(promptClock)
    await copy.restore({
      position,
      body: (async function* () {
        yield bytes
      })(),
    })
    this.expect(copy, appliedIndex)
    const newest = this.log.snapshot as FakeSnapshot | null
    if (appliedIndex > (newest?.header.lastIncluded.index ?? 0))
      this.log.snapshot = new FakeSnapshot(appliedIndex, position, bytes)
  }

  compactThrough(index: number): void {
    this.log.compact(Math.max(index, this.log.firstIndex - 1))
  }

  expect(kv: KvMachine, appliedIndex: number): void {
    const expected = replayed(this.log, appliedIndex)
    assert.equal(kv.size, expected.size)
    for (let i = 0; i < 11; i++) assert.deepEqual(kv.get(`k${i}`), expected.get(`k${i}`))
  }
}

test('any interleaving of applying, pictures, restores and restarts gives the state of the plain sequence', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 40 }), fc.boolean(), async (actions, isLogRemote) => {
      const run = new Run(isLogRemote)
      for (const step of actions) await run.perform(step)
      const through = run.log.entries.length
      run.applier.commit(through)
      await run.clock.advance(100_000)
      await Promise.all(run.taking)
      assert.equal(run.applier.appliedIndex, through)
      assert.equal(run.applier.blocked, null)
      run.expect(run.kv, through)
    }),
    { numRuns: 300 },
  )
})
