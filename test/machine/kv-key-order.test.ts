// The keys in order, held against a sorted array, whatever comes and goes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { KeyOrder } from '../../src/machine/kv-key-order.ts'

const giveWay = async () => {}

function assertSame(order: KeyOrder, keys: ReadonlySet<string>): void {
  assert.deepEqual([...order.above(null, '')], [...keys].toSorted())
}

/** Few enough that they come again, and of all heights: `ﬀ` stands above `𐀀` by code units, and below it by code points. */
const key = fc
  .array(fc.constantFrom('a', 'b', 'é', 'ﬀ', '𐀀', '\u0000'), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join(''))

test('keys that come and go in any order are listed in order, from anywhere, by any prefix', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(key, { maxLength: 60 }),
      fc.array(key, { maxLength: 200 }),
      fc.array(fc.tuple(fc.option(key), fc.constantFrom('', 'a', 'ab', 'é', 'ﬀ', '𐀀a', 'none')), { maxLength: 20 }),
      async (loaded, changes, listings) => {
        const order = new KeyOrder()
        const keys = new Set(loaded)
        await order.fill(loaded, loaded.slice(0, 9), giveWay)
        for (const each of changes) {
          if (keys.delete(each)) {
            order.remove(each)
          } else {
            order.add(each)
            keys.add(each)
          }
        }
        assertSame(order, keys)
        for (const [after, prefix] of listings) {
          const expected = [...keys].toSorted().filter((k) => k.startsWith(prefix) && (after === null || k > after))
          assert.deepEqual([...order.above(after, prefix)], expected)
        }
      },
    ),
  )
})

for (const [name, nth] of [
  ['rise', (i: number) => i],
  ['fall', (i: number) => 9999 - i],
  ['jump', (i: number) => (i * 7919) % 10_000],
] as const) {
  test(`ten thousand keys that ${name}, of which most are removed and come again`, () => {
    const order = new KeyOrder()
    const keys = new Set<string>()
    const nameOf = (i: number) => `k${String(nth(i)).padStart(4, '0')}`
    const add = (each: string) => {
      order.add(each)
      keys.add(each)
    }
    for (let i = 0; i < 10_000; i++) add(nameOf(i))
    assertSame(order, keys)
    for (let i = 0; i < 10_000; i++) {
      if (i % 97 === 0) continue
      order.remove(nameOf(i))
      keys.delete(nameOf(i))
    }
    assertSame(order, keys)
    for (let i = 9999; i >= 0; i--) if (!keys.has(nameOf(i))) add(nameOf(i))
    assertSame(order, keys)
    for (const each of keys) order.remove(each)
    assertSame(order, new Set())
  })
}

test('keys that are taken in at once leave the loop now and then, are in order, and others may follow', async () => {
  const order = new KeyOrder()
  const loaded = Array.from({ length: 10_000 }, (_, i) => `k${(i * 7919) % 10_000}`)
  let turns = 0
  await order.fill(loaded, loaded.slice(0, 100), async () => {
    turns++
  })
  assert.ok(turns >= 8, `${turns} turns`)
  const keys = new Set(loaded)
  assertSame(order, keys)
  for (let i = 0; i < 1000; i++) {
    order.add(`k${i}x`)
    keys.add(`k${i}x`)
  }
  assertSame(order, keys)
})
