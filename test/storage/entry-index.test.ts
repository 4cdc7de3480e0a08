import assert from 'node:assert/strict'
import test from 'node:test'
import { EntryIndex } from '../../src/storage/entry-index.ts'

test('positions are found again, before and after truncation at every kind of place', () => {
  const count = 3 * 8192 + 10
  const index = new EntryIndex(5)
  const fill = (through: number, shift: number) => {
    for (let entry = index.lastIndex + 1; entry <= through; entry++) index.append(entry + shift, entry * 8)
  }
  fill(count, 0)
  for (const from of [count + 1, count, 2 * 8192 + 6, 2 * 8192 + 5, 8192 + 5, 100, 6]) {
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
