// When a node takes snapshots of its own state, how often at most, and what becomes of one that cannot be taken or is not wanted any more.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes, FatalError, SnapshotError, StorageFullError } from '../../src/errors.ts'
import type { NodeEvent } from '../../src/node/ports.ts'
import { SnapshotTaker } from '../../src/node/snapshot-taker.ts'
import type { SnapshotMetadata } from '../../src/raft/snapshot.ts'
import { FakeApplier, FakeStorage, ManualClock } from './fakes.ts'
import { recoveredOf } from './node-kit.ts'
import { headerAt, settle } from './transfer-kit.ts'
import { watch } from './watched.ts'

const threshold = 100

class Bench {
  readonly clock = new ManualClock()
  readonly journal: string[] = []
  readonly storage = new FakeStorage(this.journal, recoveredOf({}), [])
  readonly applier = new FakeApplier(this.journal)
  readonly events: NodeEvent[] = []
  readonly taken: number[] = []
  readonly failures: unknown[] = []
  describe: (index: number) => SnapshotMetadata = (index) => {
    const { lastIncluded, timestampMs, configuration } = headerAt(index)
    return { lastIncluded, timestampMs, configuration }
  }
  readonly taker = new SnapshotTaker({
    storage: this.storage,
    applier: this.applier,
    clock: this.clock,
    observer: { event: (event) => this.events.push(event) },
    threshold,
    describe: (index) => this.describe(index),
    ledgerAt: async function* (index) {
      yield Buffer.from(`ledger at ${index}`)
    },
    onTaken: ({ lastIncluded }) => this.taken.push(lastIncluded.index),
    onFailure: (error) => this.failures.push(error),
  })

  async tick(appliedIndex = this.applier.appliedIndex): Promise<void> {
    this.applier.appliedIndex = appliedIndex
    this.taker.tick()
    await settle()
  }

  /** How often the state machine was asked. */
  get asked(): number {
    return this.journal.filter((line) => line.startsWith('picture')).length
  }

  get skipped(): string[] {
    return this.events.flatMap((event) => (event.type === 'snapshotSkipped' ? [event.reason] : []))
  }

  /** Takes one that lasts so long. */
  async takeFor(ms: number, appliedIndex: number): Promise<void> {
    this.storage.shelf.gates.take.shut()
    await this.tick(appliedIndex)
    this.clock.nowMs += ms
    this.storage.shelf.gates.take.open()
    await settle()
  }
}

test('One is taken after every so many applied entries, and holds what the state machine gave and what the log says', async () => {
  const b = new Bench()
  b.applier.picture = async () => ({ ...b.applier.pictureOf(['first ', 'second']), position: 98 })
  await b.tick(threshold - 1)
  assert.equal(b.asked, 0)
  await b.tick(threshold)
  assert.deepEqual(b.taken, [threshold])
  const stored = await b.storage.openSnapshot()
  assert.deepEqual(stored?.header, { ...headerAt(threshold), machinePosition: 98 })
  const parts: Uint8Array[] = []
  for await (const part of stored?.body() ?? []) parts.push(part)
  assert.equal(Buffer.concat(parts).toString(), 'first second')
  await b.tick(2 * threshold - 1)
  assert.equal(b.asked, 1)
  await b.tick(2 * threshold)
  assert.deepEqual(b.taken, [threshold, 2 * threshold])
  assert.equal(b.applier.openPictures, 0)
})

test('Before anything is applied there is nothing to take: it would be no snapshot to whoever reads it', async () => {
  const b = new Bench()
  await assert.rejects(b.taker.take(), { code: 'snapshot-failed', message: /nothing is applied yet/ })
  assert.equal(b.storage.newestSnapshot, null)
})

test('It counts from the newest snapshot, whoever took it', async () => {
  const b = new Bench()
  b.storage.shelf.put(headerAt(500))
  await b.tick(599)
  assert.equal(b.asked, 0)
  await b.tick(600)
  assert.deepEqual(b.taken, [600])
})

test('One at a time', async () => {
  const b = new Bench()
  b.storage.shelf.gates.take.shut()
  await b.tick(100)
  await b.tick(1000)
  b.taker.hurry()
  assert.equal(b.asked, 1)
})

test('After one that took long it rests four times as long: a fifth of the time at most goes into them', async () => {
  const b = new Bench()
  await b.takeFor(3000, 100)
  for (; b.clock.nowMs < 15_000; b.clock.nowMs += 500) {
    await b.tick(1000)
    assert.equal(b.asked, 1, `Another one after ${b.clock.nowMs} ms`)
  }
  await b.tick()
  assert.equal(b.asked, 2)
})

test('What is worth telling: that one was taken, and how long it took', async () => {
  const b = new Bench()
  await b.takeFor(700, 100)
  assert.deepEqual(b.events, [{ type: 'snapshotTaken', file: b.storage.newestSnapshot, durationMs: 700 }])
})

for (const { name, fail, reason } of [
  {
    name: 'the state machine gives none now',
    fail: (b: Bench) => {
      b.applier.picture = () => Promise.reject(new Error('The application answers 503'))
    },
    reason: 'Cannot take a snapshot: The application answers 503',
  },
  {
    name: 'the state machine breaks off',
    fail: (b: Bench) => {
      b.applier.picture = async () =>
        b.applier.pictureOf(
          (async function* () {
            yield 'first'
            throw new Error('The connection was closed')
          })(),
        )
    },
    reason: 'Cannot take a snapshot: The connection was closed',
  },
  {
    name: 'there is no room',
    fail: (b: Bench) => b.storage.shelf.gates.take.fail(new StorageFullError('No room')),
    reason: 'Cannot take a snapshot: No room',
  },
  {
    name: 'the log does not vouch for it',
    fail: (b: Bench) => {
      b.describe = (index) => {
        throw new SnapshotError('snapshot-failed', `Cannot use a snapshot through ${index}`)
      }
    },
    reason: 'Cannot use a snapshot through 100',
  },
]) {
  test(`When ${name} it says why, lets go of the state, and tries again after a tenth of the way and a while`, async () => {
    const b = new Bench()
    fail(b)
    await b.tick(100)
    assert.deepEqual([b.skipped, b.taken, b.failures], [[reason], [], []])
    assert.equal(b.applier.openPictures, 0)
    b.applier.picture = async () => b.applier.pictureOf(['state'])
    b.describe = (index) => headerAt(index)
    await b.tick(109)
    b.clock.nowMs += 60_000
    await b.tick(109)
    assert.equal(b.asked, 1)
    await b.tick(110)
    assert.deepEqual(b.taken, [110])
  })
}

test('A state machine that offers none is asked once in a threshold', async () => {
  const b = new Bench()
  b.applier.picture = async () => null
  assert.equal(b.taker.isUnsupported, false)
  await b.tick(100)
  assert.equal(b.taker.isUnsupported, true)
  b.clock.nowMs += 60_000
  await b.tick(199)
  assert.equal(b.asked, 1)
  b.applier.picture = async () => b.applier.pictureOf(['state'])
  await b.tick(200)
  assert.deepEqual([b.taken, b.taker.isUnsupported], [[200], false])
})

test('On a disk that runs full one is taken at once, without a rest, of whatever there is', async () => {
  const b = new Bench()
  await b.takeFor(3000, 100)
  b.storage.isFull = true
  b.applier.appliedIndex = 101
  b.taker.hurry()
  await settle()
  assert.deepEqual(b.taken, [100, 101])
  b.taker.hurry()
  await settle()
  assert.equal(b.asked, 2, 'there is nothing new to take')
})

test('While the disk is full it is tried again and again, though nothing more is applied, but not without a rest', async () => {
  const b = new Bench()
  b.storage.isFull = true
  b.applier.appliedIndex = 50
  b.storage.shelf.gates.take.fail(new StorageFullError('No room'))
  b.taker.hurry()
  await settle()
  for (let ms = 0; ms < 990; ms += 30) {
    await b.tick()
    b.clock.nowMs += 30
  }
  assert.equal(b.asked, 1)
  b.clock.nowMs += 10
  await b.tick()
  assert.deepEqual(b.taken, [50])
  b.clock.nowMs += 60_000
  await b.tick()
  assert.equal(b.asked, 2)
})

test('A full disk is no reason to ask a state machine again and again that offers none', async () => {
  const b = new Bench()
  b.storage.isFull = true
  b.applier.picture = async () => null
  await b.tick(50)
  for (let ticks = 0; ticks < 100; ticks++) {
    b.clock.nowMs += 1000
    await b.tick()
  }
  assert.equal(b.asked, 1)
})

test('On request one is taken of everything that is applied, and the newest is given when it holds all that', async () => {
  const b = new Bench()
  b.applier.appliedIndex = 7
  const first = await b.taker.take()
  assert.equal(first.lastIncluded.index, 7)
  assert.deepEqual(await b.taker.take(), first)
  assert.equal(b.asked, 1)
})

test('A request waits for one that is under way, and takes another when that began too early for it', async () => {
  const b = new Bench()
  b.storage.shelf.gates.take.shut()
  await b.tick(100)
  const enough = watch(b.taker.take())
  b.applier.appliedIndex = 105
  const more = watch(b.taker.take())
  const again = watch(b.taker.take())
  await settle()
  b.storage.shelf.gates.take.letOne()
  await settle()
  assert.deepEqual([enough.value?.lastIncluded.index, more.state], [100, 'pending'])
  b.storage.shelf.gates.take.open()
  await settle()
  assert.deepEqual([more.value?.lastIncluded.index, again.value?.lastIncluded.index, b.asked], [105, 105, 2])
})

test('A request goes on when the one under way fails, and fails only by its own', async () => {
  const b = new Bench()
  b.storage.shelf.gates.take.shut()
  await b.tick(100)
  const asked = watch(b.taker.take())
  b.storage.shelf.gates.take.fail(new Error('It went wrong'))
  b.storage.shelf.gates.take.open()
  await settle()
  assert.equal(asked.value?.lastIncluded.index, 100)
})

for (const { name, prepare, code } of [
  {
    name: 'the state machine offers none',
    prepare: (b: Bench) => {
      b.applier.picture = async () => null
    },
    code: 'snapshot-unsupported',
  },
  {
    name: 'there is no room',
    prepare: (b: Bench) => b.storage.shelf.gates.take.fail(new StorageFullError('No room')),
    code: 'storage-full',
  },
  {
    name: 'the state machine cannot give one now',
    prepare: (b: Bench) => {
      b.applier.picture = () => Promise.reject(new Error('Not now'))
    },
    code: 'snapshot-failed',
  },
]) {
  test(`A request is refused with ${code} when ${name}`, async () => {
    const b = new Bench()
    prepare(b)
    b.applier.appliedIndex = 1
    await assert.rejects(b.taker.take(), (error) => error instanceof SnapshotError && error.code === code)
    assert.deepEqual([b.failures, b.skipped], [[], []])
  })
}

test('A disk that fails is a failure of this node, also to whoever asked', async () => {
  const b = new Bench()
  const failure = new FatalError(exitCodes.ioError, 'fdatasync failed')
  b.storage.shelf.gates.take.fail(failure)
  b.applier.appliedIndex = 1
  const asked = watch(b.taker.take())
  await settle()
  assert.deepEqual([asked.state, b.failures], ['snapshot-failed', [failure]])
})

for (const { name, prepare } of [
  {
    name: 'while the state machine is asked',
    prepare: async (b: Bench) => {
      let give = () => {}
      b.applier.picture = () =>
        new Promise((resolve) => {
          give = () => resolve(b.applier.pictureOf(['state']))
        })
      return () => give()
    },
  },
  {
    name: 'while the state is read',
    prepare: async (b: Bench) => {
      let go = () => {}
      const wait = new Promise<void>((resolve) => {
        go = resolve
      })
      b.applier.picture = async () =>
        b.applier.pictureOf(
          (async function* () {
            yield 'first'
            await wait
            yield 'second'
            assert.fail('What comes behind is not asked for')
          })(),
        )
      return () => go()
    },
  },
]) {
  test(`Stopped ${name}, it breaks off, lets go of the state, and begins nothing else`, async () => {
    const b = new Bench()
    const goOn = await prepare(b)
    b.applier.appliedIndex = 100
    const first = watch(b.taker.take())
    await settle()
    b.applier.appliedIndex = 105
    const second = watch(b.taker.take())
    await settle()
    b.taker.stop()
    goOn()
    await settle()
    assert.deepEqual([first.state, second.state], ['shutting-down', 'shutting-down'])
    assert.deepEqual([b.asked, b.taken, b.applier.openPictures, b.failures], [1, [], 0, []])
    assert.equal(b.storage.newestSnapshot, null)
  })
}
