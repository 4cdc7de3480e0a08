// A member that forgot is found out; one that did not is never accused.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { StorageFullError } from '../../src/errors.ts'
import { Acquaintances, maxAcquaintances } from '../../src/node/acquaintances.ts'
import type { AcquaintanceStore, Run, Standing } from '../../src/node/ports.ts'
import { ManualClock } from './fakes.ts'

/** As their numbers: each is called by its own unless it was another process. */
function run(number: number, others: Readonly<Record<number, string>> = {}, kept = 63): Run {
  const id = (n: number) => others[n] ?? `r${n}`
  const former = Array.from({ length: Math.min(number - 1, kept) }, (_, i) => id(number - 1 - i))
  return { number, id: id(number), former }
}

/** As it is remembered. */
function met(number: number): Run {
  return { number, id: `r${number}`, former: [] }
}

const whole: Standing = { incarnation: 'aa', run: run(4), currentTerm: 5, lastIndex: 100 }
const remembered: Standing = { ...whole, run: met(4), lastIndex: 0 }
const emptied = { incarnation: 'bb', run: { number: 1, id: 'x', former: [] }, currentTerm: 0, lastIndex: 0 }

class FakeStore implements AcquaintanceStore {
  saved: ReadonlyMap<string, Standing>
  readonly saves: ReadonlyMap<string, Standing>[] = []
  holds = false
  error: Error | null = null
  #release: () => void = () => {}

  constructor(saved: ReadonlyMap<string, Standing> = new Map()) {
    this.saved = saved
  }

  load(): ReadonlyMap<string, Standing> {
    return this.saved
  }

  async save(standings: ReadonlyMap<string, Standing>): Promise<void> {
    this.saves.push(new Map(standings))
    if (this.holds) {
      await new Promise<void>((resolve) => {
        this.#release = resolve
      })
    }
    if (this.error !== null) throw this.error
    this.saved = new Map(standings)
  }

  release(): void {
    this.#release()
  }
}

class Kit {
  readonly clock = new ManualClock()
  readonly store: FakeStore
  readonly failures: unknown[] = []
  acquaintances: Acquaintances

  constructor(saved?: ReadonlyMap<string, Standing>) {
    this.store = new FakeStore(saved)
    this.acquaintances = this.#start()
  }

  /** This node crashes and comes back with what it had saved. */
  restart(): void {
    this.acquaintances = this.#start()
  }

  /** Well past every lazy save. */
  async wait(): Promise<void> {
    while (this.clock.advanceToTimer(this.clock.nowMs + 60_000));
    await turn()
  }

  #start(): Acquaintances {
    return new Acquaintances({
      id: 'n1',
      store: this.store,
      after: (delayMs, run) => this.clock.after(delayMs, run),
      onFailure: (error) => this.failures.push(error),
    })
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true
  promise.then(
    () => {
      pending = false
    },
    () => {
      pending = false
    },
  )
  await turn()
  return pending
}

describe('a member that is not known', () => {
  test('counts once its incarnation and its run are durable', async () => {
    const { acquaintances, store } = new Kit()
    store.holds = true
    const greeted = acquaintances.greeted('n2', whole)
    const again = acquaintances.greeted('n2', whole)
    assert.deepEqual([await isPending(greeted), await isPending(again)], [true, true])
    store.release()
    assert.deepEqual([await greeted, await again], [null, null])
    assert.equal(store.saves.length, 1)
  })

  test('is remembered without the end of its log, which may yet be truncated', async () => {
    const { acquaintances, store } = new Kit()
    await acquaintances.greeted('n2', whole)
    assert.deepEqual(store.saved.get('n2'), remembered)
    assert.equal(await acquaintances.greeted('n2', { ...whole, lastIndex: 0 }), null)
  })

  test('shares its save with others that come at the same time', async () => {
    const { acquaintances, store } = new Kit()
    await Promise.all(['n2', 'n3', 'n4', 'n5'].map((id) => acquaintances.greeted(id, whole)))
    assert.ok(store.saves.length <= 2, `${store.saves.length} saves`)
    assert.deepEqual([...store.saved.keys()], ['n2', 'n3', 'n4', 'n5'])
  })

  test('does not count when it cannot be saved, and the node is told, once', async () => {
    const { acquaintances, store, failures } = new Kit()
    store.error = new Error('EIO')
    await assert.rejects(acquaintances.greeted('n2', whole), /EIO/)
    await assert.rejects(acquaintances.greeted('n2', whole), /EIO/)
    await assert.rejects(acquaintances.greeted('n3', whole), /EIO/)
    assert.deepEqual(failures, [store.error])
    assert.equal(store.saves.length, 1)
  })

  test('waits where there is no room for it, and counts as soon as there is', async () => {
    const { acquaintances, store, failures, clock } = new Kit()
    store.error = new StorageFullError('full')
    const greeted = acquaintances.greeted('n2', whole)
    for (let tries = 1; tries <= 3; tries++) {
      assert.equal(await isPending(greeted), true)
      assert.equal(store.saves.length, tries)
      clock.advanceToTimer(Number.POSITIVE_INFINITY)
    }
    store.error = null
    clock.advanceToTimer(Number.POSITIVE_INFINITY)
    assert.equal(await greeted, null)
    assert.deepEqual([...store.saved.keys()], ['n2'])
    assert.deepEqual(failures, [])
  })

  test('is let go when this node closes before there is room for it', async () => {
    const { acquaintances, store, failures } = new Kit()
    store.error = new StorageFullError('full')
    const greeted = acquaintances.greeted('n2', whole)
    assert.equal(await isPending(greeted), true)
    await Promise.all([assert.rejects(greeted, StorageFullError), acquaintances.close()])
    assert.deepEqual(failures, [])
  })

  test('is not replaced by another one that shows itself while it is being saved', async () => {
    const { acquaintances, store } = new Kit()
    store.holds = true
    const first = acquaintances.greeted('n2', whole)
    assert.match((await acquaintances.greeted('n2', { ...whole, incarnation: 'bb' })) ?? '', /another data directory/)
    await turn()
    store.release()
    assert.equal(await first, null)
    assert.equal(store.saved.get('n2')?.incarnation, 'aa')
  })
})

describe('a member that is known', () => {
  const known = new Map([['n2', { ...remembered, lastIndex: 80 }]])

  const table: readonly (readonly [name: string, shown: Partial<Standing>, says: RegExp | null])[] = [
    ['the same', {}, null],
    ['a later term', { currentTerm: 6 }, null],
    ['a longer log', { lastIndex: 200 }, null],
    ['a log cut back to what is committed', { lastIndex: 80 }, null],
    [
      'another incarnation',
      { incarnation: 'bb' },
      /^n2 shows another data directory \(bb\) than .* n1 knows .* \(aa\)/,
    ],
    ['an emptied directory', emptied, /another data directory/],
    ['its next run', { run: run(5) }, null],
    ['a run long after', { run: run(60) }, null],
    ['a run that no longer knows of the one that was met', { run: run(100, { 4: 'x' }) }, null],
    ['a lower run', { run: run(3) }, /^n2 shows run 3 of its data directory, but showed n1 run 4 before/],
    [
      'the same run of another process',
      { run: run(4, { 4: 'x' }) },
      /^n2 shows run 4 of a data directory whose run 4 \(x\) is not the one that it showed n1 before \(r4\)/,
    ],
    [
      'a later run of a copy that was made before the one that was met, and started again and again',
      { run: run(7, { 4: 'x', 5: 'y', 6: 'z', 7: 'v' }) },
      /^n2 shows run 7 of a data directory whose run 4 \(x\) is not the one that it showed n1 before \(r4\)/,
    ],
    ['a later run of a copy that was made since', { run: run(7, { 5: 'x', 6: 'y', 7: 'z' }) }, null],
    ['a lower term', { currentTerm: 4 }, /^n2 shows term 4, but showed n1 term 5 before/],
    ['a shorter log', { lastIndex: 79 }, /^n2 shows a log that ends at 79, but acknowledged 80 to n1 before/],
  ]
  for (const [name, shown, says] of table) {
    test(`and shows ${name} is ${says === null ? 'taken' : 'refused, with the way to rejoin'}`, async () => {
      const { acquaintances, store } = new Kit(known)
      const answer = await acquaintances.greeted('n2', { ...whole, ...shown })
      if (says === null) assert.equal(answer, null)
      else {
        assert.match(answer ?? '', says)
        assert.match(answer ?? '', /forgotten votes or acknowledgements/)
        assert.match(answer ?? '', /Put back the data directory that .* last, or remove n2 .* under a new id\.$/)
        assert.ok((answer ?? '').length < 1024, 'the handshake carries it whole')
      }
      assert.equal(store.saves.length, says === null && shown.run !== undefined ? 1 : 0)
    })
  }

  test('counts in a new run once that is durable', async () => {
    const kit = new Kit(known)
    kit.store.holds = true
    const greeted = kit.acquaintances.greeted('n2', { ...whole, run: run(5) })
    const again = kit.acquaintances.greeted('n2', { ...whole, run: run(5) })
    const another = { ...whole, run: run(5, { 5: 'x' }) }
    assert.match((await kit.acquaintances.greeted('n2', another)) ?? '', /whose run 5 \(x\)/)
    assert.deepEqual([await isPending(greeted), await isPending(again)], [true, true])
    kit.store.release()
    assert.deepEqual([await greeted, await again], [null, null])
    assert.deepEqual([kit.store.saves.length, kit.store.saved.get('n2')?.run], [1, met(5)])
    kit.restart()
    assert.match((await kit.acquaintances.greeted('n2', whole)) ?? '', /shows run 4 .* but showed n1 run 5 before/)
    assert.equal(await kit.acquaintances.greeted('n2', { ...whole, run: run(5) }), null)
  })

  test('and restarts while its last run is being saved counts in the new one, and in that only', async () => {
    const { acquaintances, store } = new Kit(known)
    store.holds = true
    const runs = [5, 6, 7].map((number) => acquaintances.greeted('n2', { ...whole, run: run(number) }))
    await turn()
    store.release()
    await turn()
    store.release()
    assert.deepEqual(await Promise.all(runs), [null, null, null])
    assert.deepEqual([store.saves.length <= 2, store.saved.get('n2')?.run], [true, met(7)])
  })

  test('is not held to what its process has acknowledged since it was found whole: the greeting may be older', async () => {
    const { acquaintances } = new Kit(known)
    assert.equal(await acquaintances.greeted('n2', whole), null)
    acquaintances.acknowledged('n2', 6, 120, 110)
    assert.equal(await acquaintances.greeted('n2', whole), null)
    // Its next process knows of it.
    assert.match((await acquaintances.greeted('n2', { ...whole, run: run(5) })) ?? '', /showed n1 term 6 before/)
  })

  test('is not met by being judged', async () => {
    const { acquaintances, store } = new Kit(known)
    assert.equal(acquaintances.judge('n2', { ...whole, run: run(9), currentTerm: 9 }), null)
    assert.equal(acquaintances.judge('n3', whole), null)
    assert.match(acquaintances.judge('n2', { ...whole, ...emptied }) ?? '', /another data directory/)
    assert.equal(await acquaintances.greeted('n2', whole), null)
    assert.equal(await acquaintances.greeted('n3', { ...whole, incarnation: 'bb' }), null)
    assert.deepEqual([...store.saved.keys()].sort(), ['n2', 'n3'])
  })

  test('is refused again and again, and taken when its own directory is back', async () => {
    const { acquaintances } = new Kit(known)
    assert.notEqual(await acquaintances.greeted('n2', emptied), null)
    assert.notEqual(await acquaintances.greeted('n2', emptied), null)
    assert.equal(await acquaintances.greeted('n2', whole), null)
  })

  test('is held to what it has shown since, also after a restart of this node', async () => {
    const kit = new Kit(known)
    await kit.acquaintances.greeted('n2', { ...whole, currentTerm: 7 })
    kit.acquaintances.acknowledged('n2', 8, 120, 110)
    await kit.wait()
    kit.restart()
    assert.match((await kit.acquaintances.greeted('n2', { ...whole, currentTerm: 7 })) ?? '', /showed n1 term 8/)
    const shorter = { ...whole, run: run(5), currentTerm: 8, lastIndex: 109 }
    assert.match((await kit.acquaintances.greeted('n2', shorter)) ?? '', /acknowledged 110 to n1/)
    assert.equal(await kit.acquaintances.greeted('n2', { ...shorter, lastIndex: 110 }), null)
  })

  test('is held to what it acknowledged before it was committed, while its term is that one', async () => {
    const { acquaintances } = new Kit(known)
    await acquaintances.greeted('n2', whole)
    acquaintances.acknowledged('n2', 6, 120, 90)
    const restarted = { ...whole, run: run(5), currentTerm: 6, lastIndex: 119 }
    assert.match((await acquaintances.greeted('n2', restarted)) ?? '', /acknowledged 120 to n1/)
    assert.equal(await acquaintances.greeted('n2', { ...restarted, lastIndex: 120 }), null)
    // The leader of a later term may have truncated all that is not committed.
    const truncated = { ...restarted, run: run(6), currentTerm: 7, lastIndex: 89 }
    assert.match((await acquaintances.greeted('n2', truncated)) ?? '', /90 to n1/)
    assert.equal(await acquaintances.greeted('n2', { ...truncated, lastIndex: 90 }), null)
  })

  test('is not held to an acknowledgement that comes late, of an earlier term', async () => {
    const { acquaintances } = new Kit(known)
    acquaintances.acknowledged('n2', 7, 0, 80)
    acquaintances.acknowledged('n2', 6, 120, 80)
    assert.equal(await acquaintances.greeted('n2', { ...whole, currentTerm: 7, lastIndex: 80 }), null)
  })
})

describe('what is learned on the way', () => {
  test('is saved once every few seconds at most, and not at all when it is nothing new', async () => {
    const kit = new Kit()
    await kit.acquaintances.greeted('n2', whole)
    const before = kit.store.saves.length
    for (let index = 1; index <= 1000; index++) kit.acquaintances.acknowledged('n2', 5, index, index)
    assert.equal(kit.clock.timers, 1)
    assert.equal(kit.store.saves.length, before)
    await kit.wait()
    assert.equal(kit.store.saves.length, before + 1)
    assert.deepEqual(kit.store.saved.get('n2'), { ...remembered, lastIndex: 1000 })
    kit.acquaintances.acknowledged('n2', 5, 1000, 1000)
    assert.equal(kit.clock.timers, 0)
  })

  test('is saved at the close, and nothing is left to run', async () => {
    const kit = new Kit()
    await kit.acquaintances.greeted('n2', whole)
    kit.acquaintances.acknowledged('n2', 9, 50, 40)
    await kit.acquaintances.close()
    assert.deepEqual(kit.store.saved.get('n2'), { ...remembered, currentTerm: 9, lastIndex: 40 })
    assert.equal(kit.clock.timers, 0)
    kit.acquaintances.acknowledged('n2', 10, 60, 60)
    assert.equal(kit.clock.timers, 0)
  })

  test('and cannot be saved is told to the node, though nobody waits for it', async () => {
    const kit = new Kit()
    await kit.acquaintances.greeted('n2', whole)
    kit.store.error = new Error('EIO')
    kit.acquaintances.acknowledged('n2', 9, 50, 40)
    await kit.wait()
    assert.deepEqual(kit.failures, [kit.store.error])
    await kit.acquaintances.close()
  })

  test('from someone who never showed himself is not taken', async () => {
    const kit = new Kit()
    kit.acquaintances.acknowledged('n9', 9, 50, 40)
    assert.equal(kit.clock.timers, 0)
    assert.equal(await kit.acquaintances.greeted('n9', { ...whole, currentTerm: 0, lastIndex: 0 }), null)
  })

  test('is bounded: those that were not heard of for longest are forgotten', async () => {
    const { acquaintances, store } = new Kit()
    for (let i = 0; i < maxAcquaintances; i++) await acquaintances.greeted(`m${i}`, whole)
    await acquaintances.greeted('m0', whole)
    await acquaintances.greeted('one more', whole)
    assert.equal(store.saved.size, maxAcquaintances)
    assert.ok(store.saved.has('m0') && !store.saved.has('m1') && store.saved.has('one more'))
  })
})

test('A member that only ever goes on is never accused; one that goes back behind a promise or a run always is', async () => {
  const step = fc.record({
    raisesTerm: fc.boolean(),
    appends: fc.nat(5),
    truncates: fc.nat(5),
    commits: fc.nat(5),
    restarts: fc.boolean(),
    judgeRestarts: fc.boolean(),
  })
  const steps = fc.array(step, { minLength: 1, maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(), fc.integer({ min: 1, max: 3 }), async (history, back, starts) => {
      const kit = new Kit()
      let runs = 1
      let term = 1
      let lastIndex = 0
      let commitIndex = 0
      /** Every state of its directory, and up to what it had promised by then. */
      const past: { readonly run: Run; readonly currentTerm: number; readonly lastIndex: number }[] = []
      const shown = (): Standing => ({ incarnation: 'aa', run: run(runs), currentTerm: term, lastIndex })
      assert.equal(await kit.acquaintances.greeted('n2', shown()), null)
      for (const { raisesTerm, appends, truncates, commits, restarts, judgeRestarts } of history) {
        if (raisesTerm) {
          term++
          // Only the leader of a later term truncates, and never what is committed.
          lastIndex = Math.max(commitIndex, lastIndex - truncates)
        }
        lastIndex += appends
        kit.acquaintances.acknowledged('n2', term, lastIndex, commitIndex)
        commitIndex = Math.min(lastIndex, commitIndex + commits)
        past.push(shown())
        if (judgeRestarts) {
          // In order, so that all that it knows is saved, but for what is not committed.
          await kit.acquaintances.close()
          kit.restart()
        }
        if (restarts) runs++
        if (restarts || judgeRestarts) assert.equal(await kit.acquaintances.greeted('n2', shown()), null)
      }
      const older = past[back % past.length] as (typeof past)[number]
      // An older copy is put in its place, and started more than once.
      const copied = older.run.number
      const others = Object.fromEntries(Array.from({ length: starts }, (_, i) => [copied + 1 + i, 'copy']))
      const copy = { incarnation: 'aa', ...older, run: run(copied + starts, others) }
      const answer = await kit.acquaintances.greeted('n2', copy)
      const knowsPositions = !history.some(({ judgeRestarts }) => judgeRestarts)
      const forgets = older.currentTerm < term || (knowsPositions && older.lastIndex < lastIndex)
      if (copied < runs || forgets) assert.notEqual(answer, null)
      else if (knowsPositions) assert.equal(answer, null)
    }),
  )
})
