import assert from 'node:assert/strict'
import test from 'node:test'
import { EntryIndex } from '../../src/storage/entry-index.ts'

const chunkEntries = 8192

test('positions are found again, before and after truncation at every kind of place', () => {
  const count = 3 * chunkEntries + 10
  const index = new EntryIndex(5)
  const fill = (through: number, shift: number) => {
    for (let entry = index.lastIndex + 1; entry <= through; entry++) index.append(entry + shift, entry * 8)
  }
  fill(count, 0)
  for (const from of [count + 1, count, 2 * chunkEntries + 6, 2 * chunkEntries + 5, chunkEntries + 5, 100, 6]) {
    index.truncate(from)
    assert.equal(index.lastIndex, from - 1)
    assert.equal(index.position(from), null)
    if (from > 6) assert.deepEqual(index.position(from - 1), { segment: from - 1, offset: (from - 1) * 8 })
    fill(from + 9000, 7)
    assert.deepEqual(index.position(from + 9000), { segment: from + 9007, offset: (from + 9000) * 8 })
    index.truncate(from)
  }
  assert.equal(index.position(5), null)
  assert.throws(() => index.truncate(5))
})

test('positions are found again after compaction at every kind of place, and what was forgotten is not', () => {
  for (const through of [
    5,
    6,
    100,
    chunkEntries + 4,
    chunkEntries + 5,
    chunkEntries + 6,
    2 * chunkEntries + 5,
    20_000,
  ]) {
    const index = new EntryIndex(5)
    for (let entry = 6; entry <= 20_000; entry++) index.append(entry, entry * 8)
    index.compact(through)
    assert.equal(index.baseIndex, through)
    assert.equal(index.lastIndex, 20_000)
    assert.equal(index.position(through), null)
    for (let entry = 20_001; entry <= 40_000; entry++) index.append(entry, entry * 8)
    for (let entry = through + 1; entry <= 40_000; entry += 97) {
      assert.deepEqual(index.position(entry), { segment: entry, offset: entry * 8 })
    }
    index.truncate(through + 1)
    assert.equal(index.lastIndex, through)
    index.append(1, 2)
    assert.deepEqual(index.position(through + 1), { segment: 1, offset: 2 })
    assert.throws(() => index.compact(through + 2))
    assert.throws(() => index.truncate(through))
  }
})

test('compacting again and again along a log that grows', () => {
  const index = new EntryIndex(0)
  for (let entry = 1; entry <= 50_000; entry++) {
    index.append(entry, entry)
    if (entry % 777 === 0) index.compact(entry - 300)
  }
  assert.deepEqual(index.position(49_999), { segment: 49_999, offset: 49_999 })
  assert.equal(index.position(index.baseIndex), null)
})

test('after a reset it begins anew behind any index', () => {
  const index = new EntryIndex(0)
  for (let entry = 1; entry <= 10_000; entry++) index.append(entry, entry)
  for (const base of [500, 20_000]) {
    index.reset(base)
    assert.equal(index.lastIndex, base)
    index.append(3, 4)
    assert.deepEqual(index.position(base + 1), { segment: 3, offset: 4 })
    assert.equal(index.position(base), null)
  }
})
