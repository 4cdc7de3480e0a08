// The log as the core keeps it: terms of everything, entries of the newest, and how much is durable.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isUpToDate } from '../../src/raft/entry.ts'
import { RaftLog } from '../../src/raft/log.ts'
import { TermRuns } from '../../src/raft/term-runs.ts'
import type { Recovered } from '../../src/raft/work.ts'
import { configurationEntry, entry, founding, logOf, snapshotOf } from './entries.ts'

const everything = 1_000_000

function emptyLog(maxCachedBytes = everything, recovered: Partial<Recovered> = {}): RaftLog {
  return new RaftLog(
    {
      hardState: { currentTerm: 0, votedFor: null },
      snapshot: null,
      base: { term: 0, index: 0 },
      termRuns: [],
      lastIndex: 0,
      lastTimestampMs: 0,
      configurations: [founding(['n1'])],
      ...recovered,
    },
    maxCachedBytes,
  )
}

function logWith(terms: readonly number[], maxCachedBytes = everything): RaftLog {
  const log = emptyLog(maxCachedBytes)
  log.append(logOf(terms))
  return log
}

function terms(log: RaftLog): (number | null)[] {
  return Array.from({ length: log.lastIndex }, (_, i) => log.termAt(i + 1))
}

describe('Which of two logs is as up to date as 3/5', () => {
  for (const [term, index, expected] of [
    [3, 5, true],
    [3, 6, true],
    [3, 4, false],
    [4, 1, true],
    [2, 9, false],
  ] as const) {
    test(`${term}/${index}: ${expected}`, () =>
      assert.equal(isUpToDate({ term, index }, { term: 3, index: 5 }), expected))
  }
})

test('Indexes begin at 1; before them lies entry 0 of term 0', () => {
  const log = emptyLog()
  assert.deepEqual(log.lastEntry, { term: 0, index: 0 })
  assert.equal(log.termAt(0), 0)
  assert.equal(log.termAt(1), null)
  assert.equal(log.matches({ term: 0, index: 0 }), true)
})

describe('Where a diverging log may agree: the last entry at most so far and so new (log: 1 1 3 3 3 6)', () => {
  for (const [index, term, at] of [
    [6, 6, [6, 6]],
    [9, 9, [6, 6]],
    [6, 5, [5, 3]],
    [4, 3, [4, 3]],
    [6, 2, [2, 1]],
    [1, 6, [1, 1]],
    [6, 0, [0, 0]],
    [0, 6, [0, 0]],
  ] as const) {
    test(`${index}, term ${term}: ${at[1]}/${at[0]}`, () => {
      assert.deepEqual(logWith([1, 1, 3, 3, 3, 6]).lastAtMost(index, term), { index: at[0], term: at[1] })
    })
  }
})

test('Entries that begin at or before the end replace everything from there on', () => {
  const log = logWith([1, 1, 2, 2])
  log.append(logOf([3], 3))
  assert.deepEqual(terms(log), [1, 1, 3])
  log.append(logOf([4, 4], 1))
  assert.deepEqual(terms(log), [4, 4])
})

describe('What cannot be stops the process', () => {
  const broken: Readonly<Record<string, (log: RaftLog) => void>> = {
    'a gap': (log) => log.append(logOf([2], 5)),
    'entries that do not follow each other': (log) => log.append([entry(2, 4), entry(2, 6)]),
    'terms that fall': (log) => log.append(logOf([1], 4)),
  }
  for (const [what, append] of Object.entries(broken)) {
    test(what, () => assert.throws(() => append(logWith([1, 1, 2])), { name: 'InvariantError' }))
  }
})

describe('The durable mark', () => {
  test('moves when a save ends, to the end of what it held', () => {
    const log = logWith([1, 1])
    assert.equal(log.takeUnsaved(1).length, 2)
    log.append(logOf([1], 3))
    assert.equal(log.durableIndex, 0)
    log.saved(1, everything)
    assert.equal(log.durableIndex, 2)
  })

  test('goes back with what is truncated', () => {
    const log = logWith([1, 1, 1])
    log.takeUnsaved(1)
    log.saved(1, everything)
    log.append(logOf([2], 2))
    assert.equal(log.durableIndex, 1)
    assert.deepEqual(
      log.takeUnsaved(2).map(({ term, index }) => [term, index]),
      [[2, 2]],
    )
  })

  test('does not move for the replaced part of a save that ends late', () => {
    const log = logWith([1, 1, 1])
    log.takeUnsaved(1)
    log.append(logOf([2, 2], 2))
    log.takeUnsaved(2)
    log.saved(1, everything)
    assert.equal(log.durableIndex, 1)
    log.saved(2, everything)
    assert.equal(log.durableIndex, 3)
  })

  test('moves over several saves by the report of the last one', () => {
    const log = logWith([1])
    log.takeUnsaved(1)
    log.append(logOf([1], 2))
    log.takeUnsaved(2)
    log.saved(2, everything)
    assert.equal(log.durableIndex, 2)
  })

  test('what was truncated before any save took it is in none', () => {
    const log = logWith([1, 1, 1])
    log.append(logOf([2], 1))
    assert.deepEqual(
      log.takeUnsaved(1).map(({ term, index }) => [term, index]),
      [[2, 1]],
    )
    assert.deepEqual(log.takeUnsaved(2), [])
  })
})

test('What was durable before it was replaced stays held until what replaces it is durable, and no longer', () => {
  const log = emptyLog(everything, { termRuns: [{ from: 1, term: 1 }], lastIndex: 4 })
  log.append(logOf([2], 3))
  assert.deepEqual([log.durableIndex, log.heldIndex], [2, 4])
  log.takeUnsaved(1)
  log.append(logOf([3], 2))
  log.saved(1, 1)
  assert.deepEqual([log.durableIndex, log.heldIndex], [1, 4])
  log.takeUnsaved(2)
  log.append(logOf([3], 3))
  log.takeUnsaved(3)
  log.saved(2, 1)
  assert.deepEqual([log.durableIndex, log.heldIndex], [2, 2])
  log.saved(3, 1)
  assert.deepEqual([log.durableIndex, log.heldIndex], [3, 3])
})

describe('Memory', () => {
  test('what is durable leaves it when there is too much; what is not stays', () => {
    const log = logWith([1, 1, 1, 1], 0)
    assert.equal(log.slice(1, 4, everything)?.length, 4)
    log.takeUnsaved(1)
    log.append(logOf([1, 1], 5))
    log.saved(1, everything)
    assert.equal(log.slice(4, 6, everything), null)
    assert.equal(log.cachedFrom, 5)
    assert.deepEqual(
      log.slice(5, 6, everything)?.map(({ index }) => index),
      [5, 6],
    )
    assert.deepEqual(terms(log), [1, 1, 1, 1, 1, 1])
  })

  test('what is not committed stays as well: who proposed it waits for it', () => {
    const log = logWith([1, 1, 1, 1], 0)
    log.takeUnsaved(1)
    log.saved(1, 2)
    assert.equal(log.cachedFrom, 3)
  })

  test('what leaves makes room for more than the next entry', () => {
    const log = logWith(Array<number>(9).fill(1), 64)
    log.takeUnsaved(1)
    log.saved(1, everything)
    assert.equal(log.cachedFrom, 4, 'down to three quarters of the limit')
  })

  test('below the limit nothing leaves', () => {
    const log = logWith([1, 1, 1, 1], 32)
    log.takeUnsaved(1)
    log.saved(1, everything)
    assert.equal(log.slice(1, 4, everything)?.length, 4)
  })

  test('a truncation into what has left begins again from there', () => {
    const log = logWith([1, 1, 1, 1], 0)
    log.takeUnsaved(1)
    log.saved(1, everything)
    log.append(logOf([2, 2], 2))
    assert.equal(log.cachedFrom, 2)
    assert.equal(log.slice(1, 3, everything), null)
    assert.deepEqual(
      log.slice(2, 3, everything)?.map(({ term }) => term),
      [2, 2],
    )
    assert.deepEqual(log.takeUnsaved(2).length, 2)
  })

  test('what was on disk at the start is not in it', () => {
    const log = emptyLog(everything, { termRuns: [{ from: 1, term: 1 }], lastIndex: 3 })
    assert.equal(log.slice(3, 3, everything), null)
    assert.equal(log.durableIndex, 3)
    assert.deepEqual(log.takeUnsaved(1), [])
  })

  test('a slice holds one entry at least, and no more than was asked for', () => {
    const log = logWith([1, 1, 1, 1])
    const indexes = (from: number, through: number, bytes: number) =>
      log.slice(from, through, bytes)?.map((e) => e.index)
    assert.deepEqual(indexes(1, 4, 1), [1])
    assert.deepEqual(indexes(1, 4, 16), [1, 2])
    assert.deepEqual(indexes(2, 3, everything), [2, 3])
    assert.deepEqual(indexes(5, 9, everything), [])
  })
})

describe('The configuration in force', () => {
  const two = founding(['n1', 'n2']).configuration
  const three = founding(['n1', 'n2', 'n3']).configuration

  test('is the last one appended, and goes back when that is truncated', () => {
    const log = logWith([1])
    log.append([configurationEntry(1, 2, two), configurationEntry(1, 3, three)])
    assert.deepEqual(log.configuration, { index: 3, configuration: three })
    log.append(logOf([2], 3))
    assert.deepEqual(log.configuration, { index: 2, configuration: two })
    log.append(logOf([3], 1))
    assert.deepEqual(log.configuration, founding(['n1']))
  })
})

describe('A log that begins after a snapshot', () => {
  const recovered = { base: { term: 4, index: 10 }, termRuns: [{ from: 11, term: 5 }], lastIndex: 12 }

  test('knows the term at its boundary, and none before it', () => {
    const log = emptyLog(everything, recovered)
    assert.equal(log.termAt(9), null)
    assert.equal(log.termAt(10), 4)
    assert.equal(log.termAt(12), 5)
    assert.deepEqual(log.lastAtMost(12, 4), { term: 4, index: 10 })
    assert.equal(log.lastAtMost(12, 3), null)
    assert.equal(log.lastAtMost(9, 9), null)
  })

  test('is never truncated into it', () => {
    const log = emptyLog(everything, recovered)
    log.append(logOf([6], 11))
    assert.deepEqual(log.lastEntry, { term: 6, index: 11 })
    assert.throws(() => log.append(logOf([7], 10)), { name: 'InvariantError' })
  })
})

describe('What a snapshot stands for leaves the log', () => {
  const all = [1, 1, 2, 2, 5]

  for (let index = 0; index <= all.length; index++) {
    test(`through ${index} of ${all.join(' ')}: what lies behind is as it was`, () => {
      const log = logWith(all)
      log.takeUnsaved(1)
      log.saved(1, everything)
      log.compactTo(index)
      assert.deepEqual(log.base, { term: index === 0 ? 0 : all[index - 1], index })
      for (let i = 0; i <= all.length; i++) {
        const expected = i < index ? null : i === 0 ? 0 : all[i - 1]
        assert.equal(log.termAt(i), expected)
        const at = log.lastAtMost(i, 2)
        const agreed = Math.min(i, 4)
        assert.deepEqual(at?.index ?? null, agreed < index || (index === 5 && i === 5) ? null : agreed)
      }
      assert.deepEqual([log.lastEntry, log.durableIndex], [{ term: 5, index: 5 }, 5])
      log.append(logOf([5, 6], 6))
      assert.deepEqual([log.termAt(5), log.termAt(6), log.termAt(7)], [5, 5, 6])
    })
  }

  test('what is in no save yet is still saved', () => {
    const log = logWith(all)
    log.takeUnsaved(1)
    log.append(logOf([5], 6))
    log.saved(1, everything)
    log.compactTo(4)
    assert.deepEqual(
      log.takeUnsaved(2).map(({ index }) => index),
      [6],
    )
  })

  test('one after the other, and truncated behind it', () => {
    const log = logWith(all)
    log.compactTo(2)
    log.compactTo(3)
    log.append(logOf([7], 5))
    assert.deepEqual([log.base, log.termAt(4), log.lastEntry], [{ term: 2, index: 3 }, 2, { term: 7, index: 5 }])
    assert.throws(() => log.append(logOf([8], 3)), { name: 'InvariantError' })
  })

  for (const [what, index] of [
    ['past the end', 6],
    ['before the base', 1],
  ] as const) {
    test(`and never ${what}`, () => {
      const log = logWith(all)
      log.compactTo(2)
      assert.throws(() => log.compactTo(index), { name: 'InvariantError' })
    })
  }

  test('but for the configuration that was in force there: to that the log goes back', () => {
    const members = (id: string) => founding([id]).configuration
    const log = logWith([1])
    log.append([configurationEntry(1, 2, members('n2')), entry(1, 3), configurationEntry(1, 4, members('n4'))])
    log.compactTo(3)
    assert.deepEqual(log.configuration, { index: 4, configuration: members('n4') })
    assert.deepEqual(log.configurationAt(3), { index: 2, configuration: members('n2') })
    log.append(logOf([2], 4))
    assert.deepEqual(log.configuration, { index: 2, configuration: members('n2') })
  })
})

describe('A log that is replaced by a snapshot', () => {
  function replaced(): RaftLog {
    const log = logWith([1, 1, 1, 1])
    log.takeUnsaved(1)
    log.append(logOf([1, 1], 5))
    log.takeUnsaved(2)
    log.saved(1, 2)
    log.append(logOf([1], 7))
    log.reset(snapshotOf(3, 6), 2)
    return log
  }

  test('holds nothing but what lies behind it', () => {
    const log = replaced()
    assert.deepEqual(
      [log.base, log.lastEntry],
      [
        { term: 3, index: 6 },
        { term: 3, index: 6 },
      ],
    )
    assert.deepEqual([log.termAt(5), log.termAt(6), log.termAt(7)], [null, 3, null])
    assert.equal(log.slice(6, 7, everything), null)
    assert.deepEqual(log.slice(7, 9, everything), [])
    assert.deepEqual([log.lastTimestampMs, log.configuration], [6, snapshotOf(3, 6).configuration])
  })

  test('has durable what was committed, until its own save ends; what was held stays known meanwhile', () => {
    const log = replaced()
    assert.deepEqual([log.durableIndex, log.heldIndex], [2, 4])
    assert.deepEqual(log.takeUnsaved(3), [])
    log.saved(2, 6)
    assert.deepEqual([log.durableIndex, log.heldIndex], [2, 4])
    log.saved(3, 6)
    assert.deepEqual([log.durableIndex, log.heldIndex], [6, 6])
    assert.deepEqual(log.takeUnsaved(4), [])
  })

  test('and appended to, and replaced again, before any save holds it', () => {
    const log = replaced()
    log.append(logOf([3, 3], 7))
    log.reset(snapshotOf(3, 20), 6)
    log.append(logOf(Array<number>(20).fill(4), 21))
    assert.deepEqual(
      log.takeUnsaved(3).map(({ index }) => index),
      Array.from({ length: 20 }, (_, i) => 21 + i),
    )
    log.saved(2, 20)
    assert.equal(log.durableIndex, 2)
    log.saved(3, 20)
    assert.equal(log.durableIndex, 40)
  })

  test('and again while the save of the first one is under way: that vouches for the first one', () => {
    const log = replaced()
    log.append(logOf([3, 3], 7))
    log.takeUnsaved(3)
    log.reset(snapshotOf(3, 20), 7)
    log.takeUnsaved(4)
    log.saved(3, 20)
    assert.equal(log.durableIndex, 7)
    log.saved(4, 20)
    assert.equal(log.durableIndex, 20)
  })

  test('and truncated behind it while its save is under way', () => {
    const log = replaced()
    log.append(logOf([3, 3], 7))
    log.takeUnsaved(3)
    log.append(logOf([4], 8))
    log.takeUnsaved(4)
    log.saved(3, 6)
    assert.equal(log.durableIndex, 7)
    log.saved(4, 6)
    assert.equal(log.durableIndex, 8)
  })

  test('does not lose what was committed', () => {
    const log = logWith([1, 1, 1])
    assert.throws(() => log.reset(snapshotOf(1, 3), 3), { name: 'InvariantError' })
  })
})

test('Millions of entries of a few terms are a few runs', () => {
  const runs = new TermRuns({ term: 0, index: 0 }, [{ from: 1, term: 1 }], 5_000_000)
  runs.append(2, 5_000_001)
  assert.equal(runs.termAt(5_000_000), 1)
  assert.deepEqual(runs.lastAtMost(5_000_001, 1), { term: 1, index: 5_000_000 })
  runs.truncateFrom(5_000_001)
  assert.equal(runs.lastTerm, 1)
  assert.equal(runs.lastIndex, 5_000_000)
})
