// Saves under way and what rests on them: the order, the promises, how long the oldest has been waited for, and silence after a stop.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { Saves } from '../../src/node/saves.ts'
import type { Message } from '../../src/raft/messages.ts'
import type { Save } from '../../src/raft/work.ts'
import { accepted } from '../raft/entries.ts'
import { FakeStorage, ManualClock } from './fakes.ts'
import { recoveredOf } from './node-kit.ts'
import { settle } from './transfer-kit.ts'

class Bench {
  readonly clock = new ManualClock()
  readonly storage = new FakeStorage([], recoveredOf({}), [])
  readonly journal: string[] = []
  readonly failures: unknown[] = []
  readonly saves = new Saves({
    storage: this.storage,
    transport: { send: (message) => this.journal.push(`send ${message.term}`) },
    clock: this.clock,
    observer: { event: (event) => event.type === 'saved' && this.journal.push(`took ${event.durationMs} ms`) },
    onSaved: ({ id }) => this.journal.push(`saved ${id}`),
    onFailure: (error) => this.failures.push(error),
  })

  constructor() {
    this.storage.holdsSaves = true
  }

  begin(id: number): void {
    this.saves.begin(saveOf(id), this.clock.nowMs)
  }

  async durable(): Promise<void> {
    this.storage.held.shift()?.resolve()
    await settle()
  }
}

function saveOf(id: number): Save {
  return { id, hardState: null, snapshot: null, entries: [] }
}

/** Told apart by its term. */
function promise(term: number): Message {
  return accepted(term, 0, 'n1')
}

test('The disk is asked a microtask later, so that what was sent in the same turn is on its way by then', async () => {
  const b = new Bench()
  b.begin(1)
  assert.equal(b.storage.saves.length, 0)
  await settle()
  assert.equal(b.storage.saves.length, 1)
})

test('A promise leaves with the save that it rests on, in the order in which it was made; before anybody hears of the save', async () => {
  const b = new Bench()
  b.begin(1)
  b.begin(2)
  b.saves.promise(2, [promise(21), promise(22)])
  b.saves.promise(2, [promise(23)])
  await settle()
  await b.durable()
  assert.deepEqual(b.journal, ['took 0 ms', 'saved 1'])
  await b.durable()
  assert.deepEqual(b.journal.slice(2), ['took 0 ms', 'send 21', 'send 22', 'send 23', 'saved 2'])
})

test('A promise that rests on what is durable leaves at once', async () => {
  const b = new Bench()
  b.saves.promise(0, [promise(1)])
  b.begin(1)
  await settle()
  await b.durable()
  b.journal.length = 0
  b.saves.promise(1, [promise(2)])
  assert.deepEqual(b.journal, ['send 2'])
})

test('The newest durable save is news once', async () => {
  const b = new Bench()
  assert.equal(b.saves.takeSaved(), null)
  b.begin(1)
  b.begin(2)
  await settle()
  await b.durable()
  await b.durable()
  assert.deepEqual([b.saves.takeSaved(), b.saves.takeSaved()], [2, null])
})

test('How long the oldest save under way has been waited for', async () => {
  const b = new Bench()
  const oldestMs = () => b.saves.oldestMs(b.clock.nowMs)
  assert.equal(oldestMs(), 0)
  b.clock.nowMs = 100
  b.begin(1)
  b.clock.nowMs = 130
  b.begin(2)
  b.clock.nowMs = 150
  await settle()
  assert.equal(oldestMs(), 50)
  await b.durable()
  assert.equal(oldestMs(), 20)
  await b.durable()
  assert.equal(oldestMs(), 0)
  assert.deepEqual(
    b.journal.filter((line) => line.startsWith('took')),
    ['took 50 ms', 'took 20 ms'],
  )
})

test('A save that ends before an older one is a failure, and no promise leaves on it', async () => {
  const b = new Bench()
  b.begin(1)
  b.begin(2)
  b.saves.promise(2, [promise(2)])
  await settle()
  b.storage.held.reverse()
  await b.durable()
  const [failure] = b.failures
  assert(failure instanceof FatalError, 'It fails with a FatalError')
  assert.equal(failure.exitCode, exitCodes.software)
  assert.deepEqual(b.journal, [])
})

test('After a stop nothing is sent and nothing told, whatever becomes durable then', async () => {
  const b = new Bench()
  b.begin(1)
  b.saves.promise(1, [promise(1)])
  await settle()
  b.saves.stop()
  await b.durable()
  assert.deepEqual([b.journal, b.saves.takeSaved(), b.failures], [[], null, []])
})

test('A disk that throws, and a failure in what is done about a save, are told', async () => {
  const b = new Bench()
  const broken = new Error('It throws')
  b.storage.save = () => {
    throw broken
  }
  b.begin(1)
  await settle()
  assert.deepEqual(b.failures, [broken])
})
