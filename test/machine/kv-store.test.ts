import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvStore } from '../../src/machine/kv-store.ts'

const keys = ['a', 'b', 'c', 'd']

const changes: readonly [name: string, change: (store: KvStore, key: string) => void][] = [
  ['replaced', (store, key) => store.set(key, '"new"', 100)],
  ['deleted', (store, key) => store.delete(key)],
  [
    'deleted and created anew',
    (store, key) => {
      store.delete(key)
      store.set(key, '"new"', 100)
    },
  ],
  [
    'replaced twice and deleted',
    (store, key) => {
      store.set(key, '"new"', 100)
      store.set(key, '"newer"', 101)
      store.delete(key)
    },
  ],
]

for (const [name, change] of changes) {
  test(`a picture holds every item once when any one is ${name} at any step of the walk`, () => {
    for (const key of keys) {
      // 256 shards and 4 keys take fewer steps than this.
      for (let moment = 0; moment <= keys.length + 1; moment++) {
        const store = new KvStore()
        for (const [i, each] of keys.entries()) store.set(each, `${i}`, i + 1)
        const picture = store.picture(keys.length)
        const seen: string[] = []
        let step = 0
        if (moment === 0) change(store, key)
        for (const item of picture.steps()) {
          if (item !== null) seen.push(`${item.key}=${item.valueJson}@${item.modifiedIndex}`)
          if (++step === moment) change(store, key)
        }
        picture.close()
        assert.deepEqual(seen.sort(), ['a=0@1', 'b=1@2', 'c=2@3', 'd=3@4'], `${key} at step ${moment}`)
      }
    }
  })
}

test('a picture of keys that share a shard holds every item once, whatever is written at any step', () => {
  const count = 1200
  for (const stride of [1, 7, 101]) {
    const store = new KvStore()
    for (let i = 0; i < count; i++) store.set(`k${i}`, `${i}`, i + 1)
    const picture = store.picture(count)
    const seen = new Map<string, string>()
    let step = 0
    for (const item of picture.steps()) {
      if (item !== null) {
        assert.ok(!seen.has(item.key), `${item.key} came twice`)
        seen.set(item.key, item.valueJson)
        // The very item at which the walk stands, and others before and behind it.
        store.set(item.key, '"new"', count + ++step)
      }
      store.delete(`k${(step * stride) % count}`)
    }
    picture.close()
    assert.equal(seen.size, count)
    for (const [key, valueJson] of seen) assert.equal(key, `k${valueJson}`)
  }
})

test('the size counts keys, and loading a key twice is refused', async () => {
  const store = new KvStore()
  const item = { key: 'a', valueJson: '1', createdIndex: 1, modifiedIndex: 2 }
  assert.equal(store.load(item), true)
  assert.equal(store.load(item), false)
  await store.order(async () => {})
  assert.equal(store.size, 1)
  store.set('a', '2', 3)
  assert.equal(store.size, 1)
  assert.equal(store.delete('a'), true)
  assert.equal(store.delete('a'), false)
  assert.equal(store.size, 0)
})
