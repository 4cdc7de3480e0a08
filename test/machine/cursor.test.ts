import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CursorSaver, type CursorStore } from '../../src/machine/cursor.ts'
import { FakeClock } from './fixtures.ts'

/** Saves stay in flight until they are finished by hand. */
class SlowCursor implements CursorStore {
  readonly started: number[] = []
  #finish: (() => void) | null = null

  load(): number {
    return 5
  }

  save(position: number): Promise<void> {
    assert.equal(this.#finish, null, 'two saves are in flight')
    this.started.push(position)
    return new Promise((resolve) => {
      this.#finish = resolve
    })
  }

  async finish(clock: FakeClock): Promise<void> {
    this.#finish?.()
    this.#finish = null
    await clock.settle()
  }
}

function setUp() {
  const store = new SlowCursor()
  const clock = new FakeClock()
  const saver = new CursorSaver(store, clock, () => assert.fail('no save fails here'))
  return { store, clock, saver }
}

test('one save is in flight, at most one begins in a second, and the newest position wins', async () => {
  const { store, clock, saver } = setUp()
  for (let position = 6; position <= 20; position++) saver.note(position)
  assert.deepEqual(store.started, [6])
  await clock.advance(5000)
  assert.deepEqual(store.started, [6])
  await store.finish(clock)
  saver.note(21)
  await clock.advance(999)
  assert.deepEqual(store.started, [6])
  await clock.advance(1)
  assert.deepEqual(store.started, [6, 21])
})

test('what was loaded or saved already is not saved again', async () => {
  const { store, clock, saver } = setUp()
  assert.equal(saver.position, 5)
  saver.note(5)
  saver.note(6)
  await store.finish(clock)
  saver.note(6)
  await clock.advance(5000)
  assert.deepEqual(store.started, [6])
})

test('a position that goes back is saved at once, and right after a save in flight', async () => {
  const { store, clock, saver } = setUp()
  saver.note(8)
  saver.note(2)
  await store.finish(clock)
  assert.deepEqual(store.started, [8, 2])
  await store.finish(clock)
  saver.note(1)
  assert.deepEqual(store.started, [8, 2, 1])
})

test('flushing saves what is not saved yet, without waiting for the second to pass', async () => {
  const { store, clock, saver } = setUp()
  saver.note(6)
  saver.note(7)
  const flushed = saver.flush()
  await store.finish(clock)
  assert.deepEqual(store.started, [6, 7])
  await store.finish(clock)
  await flushed
  assert.deepEqual(clock.dueInMs, [])
  await saver.flush()
  assert.deepEqual(store.started, [6, 7])
})
