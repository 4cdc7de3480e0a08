import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createApplier } from '../../src/machine/applier.ts'
import { createKvMachine } from '../../src/machine/kv.ts'
import {
  command,
  commands,
  down,
  MemoryCursor,
  noEvents,
  noFatal,
  type Reply,
  ScriptedMachine,
  setUp,
  take,
} from './applier-kit.ts'
import { entry, FakeClock, FakeLog, jsonEntry, setEntry } from './fixtures.ts'

test('commands are delivered in order, entries of other kinds are skipped and counted', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(entry(1, 'noop'), command(2), entry(3, 'configuration'), command(4), entry(5, 'noop'), entry(6, 'noop'))
  start()
  applier.commit(2)
  await clock.settle()
  applier.commit(5)
  await clock.settle()
  applier.commit(6)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '0: 2', '2: 4'])
  assert.deepEqual(events, ['2 [2] ["r2"]', '5 [4] ["r4"]', '6 [] []'])
  assert.equal(applier.appliedIndex, 6)
  assert.equal(applier.blocked, null)
})

test('what is committed before the start is delivered once the position is known', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(...commands(1, 3))
  applier.commit(3)
  await clock.settle()
  assert.deepEqual(machine.calls, [])
  start()
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '0: 1 2 3'])
})

test('one batch is in flight, and no more than it is read, however much is committed', async () => {
  const { machine, log, clock, applier, start } = setUp({ maxBatchCommands: 10 })
  machine.holds = true
  log.append(...commands(1, 1000))
  start()
  await clock.settle()
  for (let index = 1; index <= 1000; index++) applier.commit(index)
  for (let i = 0; i < 20; i++) await clock.settle()
  assert.equal(log.reads.length, 1)
  const delivered = () => machine.calls.slice(1).flatMap((call) => call.split(': ')[1]?.split(' ').map(Number) ?? [])
  while (applier.appliedIndex < 1000) {
    machine.release()
    await clock.settle()
    assert.equal(machine.mostInFlight, 1)
    assert.ok(log.reads.every(({ from, through }) => through - from < 10))
    assert.ok((log.reads.at(-1)?.from ?? 0) <= applier.appliedIndex + 1)
  }
  assert.deepEqual(
    delivered(),
    Array.from({ length: 1000 }, (_, i) => i + 1),
  )
})

test('batches are bounded by commands and by bytes', async () => {
  const { machine, log, clock, applier, start } = setUp({ maxBatchCommands: 3, maxBatchBytes: 100 })
  log.append(...commands(1, 4), jsonEntry(5, 'x'.repeat(90)), jsonEntry(6, 'x'.repeat(300)), command(7))
  start()
  applier.commit(7)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1 2 3', '3: 4 5', '5: 6', '6: 7'])
  assert.ok(log.reads.every(({ maxBytes }) => maxBytes === 100))
})

test('a log that is read asynchronously is delivered alike', async () => {
  const { machine, log, clock, applier, start } = setUp({ maxBatchCommands: 2 })
  log.asynchronous = true
  log.append(...commands(1, 3))
  start()
  applier.commit(3)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '0: 1 2', '2: 3'])
})

test('a machine that answers at once applies within the call of commit', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  machine.synchronous = true
  log.append(command(1))
  start()
  await clock.settle()
  applier.commit(1)
  assert.equal(applier.appliedIndex, 1)
  assert.deepEqual(events, ['1 [1] ["r1"]'])
})

test('a machine that answers at once gives the loop back between slices', async () => {
  const { machine, log, clock, applier, start } = setUp()
  machine.synchronous = true
  log.append(...commands(1, 1600), jsonEntry(1601, 'x'.repeat(200_000)), jsonEntry(1602, 'x'))
  start()
  await clock.settle()
  applier.commit(1602)
  const reached = [applier.appliedIndex]
  while (clock.deferredCount > 0) {
    applier.commit(1602)
    clock.turn()
    reached.push(applier.appliedIndex)
  }
  assert.deepEqual(reached, [500, 1000, 1500, 1600, 1601, 1602])
})

test('a commit that comes from within the events does not disturb the order', async () => {
  const machine = new ScriptedMachine()
  machine.synchronous = true
  const clock = new FakeClock()
  const log = new FakeLog()
  log.append(...commands(1, 3))
  const applier = createApplier({ machine, clock, random: () => 1, onFatal: noFatal })
  const seen: number[] = []
  applier.start(log, {
    applied(index) {
      seen.push(index)
      applier.commit(index + 1)
    },
    rewound() {},
    restored() {},
  })
  await clock.settle()
  applier.commit(1)
  log.append(...commands(4, 20))
  while (applier.appliedIndex < 20) clock.turn()
  assert.deepEqual(
    seen,
    Array.from({ length: 20 }, (_, i) => i + 1),
  )
})

for (const [name, random, waits] of [
  ['doubles from 100 ms to 30 s', () => 1, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]],
  ['has full jitter', () => 0.25, [25, 50, 100]],
] as const) {
  test(`a failed batch is sent again as it is, and the backoff ${name}`, async () => {
    const { machine, log, clock, applier, start } = setUp({ random })
    log.append(...commands(1, 2))
    machine.script.push(...waits.map(() => down))
    start()
    applier.commit(2)
    for (const waitMs of waits) {
      await clock.settle()
      assert.deepEqual(machine.takeCalls(), ['position', '0: 1 2'])
      // Commands that are committed meanwhile do not change the batch.
      log.append(command(log.entries.length + 1))
      applier.commit(log.entries.length)
      assert.equal(applier.blocked, 'down')
      await clock.advance(waitMs - 1)
      assert.deepEqual(machine.takeCalls(), [])
      await clock.advance(1)
    }
    assert.deepEqual(machine.takeCalls().slice(0, 2), ['position', '0: 1 2'])
    assert.equal(applier.appliedIndex, log.entries.length)
    assert.equal(applier.blocked, null)
  })
}

test('the backoff begins anew after a success, and the observer hears of each change once', async () => {
  const { machine, log, clock, alarms, applier, start } = setUp()
  log.append(...commands(1, 2))
  machine.script.push(down, down, take, down)
  start()
  applier.commit(1)
  await clock.advance(300)
  assert.equal(applier.appliedIndex, 1)
  applier.commit(2)
  await clock.settle()
  assert.deepEqual(clock.dueInMs, [100])
  await clock.advance(100)
  assert.deepEqual(alarms, ['unavailable: down', 'resumed', 'unavailable: down', 'resumed'])
})

test('a wish of the application for its retry is honoured, but not for a tight loop', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(command(1))
  machine.script.push({ type: 'retry', afterMs: 7000, reason: 'busy' }, { type: 'retry', afterMs: 0, reason: 'busy' })
  start()
  applier.commit(1)
  await clock.settle()
  assert.deepEqual(clock.dueInMs, [7000])
  await clock.advance(7000)
  assert.deepEqual(clock.dueInMs, [100])
  await clock.advance(100)
  assert.equal(applier.appliedIndex, 1)
})

test('a machine that cannot be asked is asked again, and gets nothing before', async () => {
  const { machine, log, clock, alarms, applier, start } = setUp()
  log.append(command(1))
  machine.knownPosition = new Error('refused')
  start()
  applier.commit(1)
  await clock.advance(1000)
  assert.ok(machine.takeCalls().every((call) => call === 'position'))
  assert.match(applier.blocked ?? '', /Cannot learn where the state machine is: refused/)
  machine.knownPosition = 0
  await clock.advance(30_000)
  assert.equal(applier.appliedIndex, 1)
  assert.equal(alarms.length, 2)
})

test('an obstacle is over when the machine is back and nothing is left to deliver', async () => {
  const { machine, clock, applier, start } = setUp()
  machine.knownPosition = new Error('refused')
  start()
  await clock.settle()
  assert.notEqual(applier.blocked, null)
  machine.knownPosition = 0
  await clock.advance(100)
  assert.equal(applier.blocked, null)
  assert.deepEqual(clock.dueInMs, [])
})

test('delivery begins after the position of the machine', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 5))
  machine.knownPosition = 3
  applier.commit(5)
  start()
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '3: 4 5'])
  assert.deepEqual(events, ['3 [] null', '5 [4 5] ["r4","r5"]'])
})

test('a machine that took the batch whose answer was lost does not get it again', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 5))
  machine.script.push(() => {
    machine.knownPosition = 3
    return down
  })
  start()
  applier.commit(5)
  await clock.advance(100)
  assert.deepEqual(machine.calls, ['position', '0: 1 2 3 4 5', 'position', '3: 4 5'])
  assert.deepEqual(events, ['3 [1 2 3] null', '5 [4 5] ["r4","r5"]'])
  assert.equal(applier.blocked, null)
})

test('a machine that lost its state is fed again from where it is, found out after a failure', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 3))
  start()
  applier.commit(2)
  await clock.settle()
  machine.script.push(down)
  machine.knownPosition = 0
  applier.commit(3)
  await clock.advance(100)
  assert.deepEqual(machine.calls, ['position', '0: 1 2', '2: 3', 'position', '0: 1 2 3'])
  assert.deepEqual(events, ['2 [1 2] ["r1","r2"]', 'rewound 0', '3 [1 2 3] ["r1","r2","r3"]'])
})

test('a machine that answers that it is elsewhere is fed from there at once', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 4))
  start()
  applier.commit(3)
  await clock.settle()
  machine.script.push({ type: 'elsewhere', position: 1 })
  applier.commit(4)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1 2 3', '3: 4', '1: 2 3 4'])
  assert.deepEqual(events.slice(1), ['rewound 1', '4 [2 3 4] ["r2","r3","r4"]'])
})

test('a machine behind entries that are no commands has lost nothing', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(command(1), entry(2, 'noop'), command(3))
  start()
  applier.commit(2)
  await clock.settle()
  machine.script.push(down)
  applier.commit(3)
  await clock.advance(100)
  assert.deepEqual(machine.calls, ['position', '0: 1', '1: 3', 'position', '1: 3'])
  assert.deepEqual(events, ['2 [1] ["r1"]', '3 [3] ["r3"]'])
})

test('a machine that is elsewhere again and again is not asked in a tight loop', async () => {
  const { machine, log, clock, alarms, applier, start } = setUp()
  machine.knownPosition = null
  log.append(...commands(1, 4))
  for (let i = 0; i < 6; i++) machine.script.push({ type: 'elsewhere', position: 1 + (i % 2) })
  start()
  applier.commit(4)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1 2 3 4', '1: 2 3 4'])
  assert.match(alarms[0] ?? '', /2 times in a row/)
  await clock.advance(10_000)
  assert.equal(applier.appliedIndex, 4)
})

test('a machine that says to be elsewhere, and is where the batch begins, contradicts itself', async () => {
  const { machine, log, clock, alarms, applier, start } = setUp()
  log.append(command(1))
  machine.script.push({ type: 'elsewhere', position: 0 })
  start()
  applier.commit(1)
  await clock.settle()
  assert.match(alarms[0] ?? '', /^malformed: .* at 0, which is where the batch goes on/)
  await clock.advance(100)
  assert.equal(applier.appliedIndex, 1)
})

test('a machine ahead of what is committed gets nothing until the log has caught up with it', async () => {
  const { machine, log, clock, alarms, applier, start } = setUp()
  log.append(...commands(1, 6))
  machine.knownPosition = 4
  start()
  applier.commit(2)
  await clock.settle()
  assert.match(applier.blocked ?? '', /at 4, and the log is known to be committed through 2 only/)
  assert.equal(applier.appliedIndex, 0)
  applier.commit(3)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position'])
  applier.commit(6)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '4: 5 6'])
  assert.equal(applier.blocked, null)
  assert.deepEqual(alarms.length, 2)
})

test('a machine ahead is asked again slowly, since it may have been reset', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(...commands(1, 2))
  machine.knownPosition = 400
  start()
  applier.commit(2)
  await clock.settle()
  assert.deepEqual(clock.dueInMs, [30_000])
  machine.knownPosition = 0
  await clock.advance(30_000)
  assert.equal(applier.appliedIndex, 2)
  assert.equal(applier.blocked, null)
})

test('an answer that does not fit is an alarm, and the same batch comes again', async () => {
  const { machine, log, clock, alarms, applier, start } = setUp()
  log.append(...commands(1, 2))
  machine.script.push({ type: 'malformed', reason: 'not JSON' }, { type: 'malformed', reason: 'not JSON' })
  start()
  applier.commit(2)
  await clock.advance(100)
  assert.equal(applier.blocked, 'not JSON')
  await clock.advance(200)
  assert.deepEqual(machine.calls, ['position', '0: 1 2', 'position', '0: 1 2', 'position', '0: 1 2'])
  assert.deepEqual(alarms, ['malformed: not JSON', 'resumed'])
})

test('what is set up wrongly is an alarm, and tried again slowly', async () => {
  const { machine, log, clock, alarms, applier, start } = setUp()
  log.append(command(1))
  machine.script.push({ type: 'misconfigured', reason: 'no such hook' })
  start()
  applier.commit(1)
  await clock.advance(29_999)
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1'])
  assert.equal(applier.blocked, 'no such hook')
  await clock.advance(1)
  assert.equal(applier.appliedIndex, 1)
  assert.deepEqual(alarms, ['misconfigured: no such hook', 'resumed'])
})

test('what stands before a poisonous command is delivered, then delivery stops right before it', async () => {
  const { machine, log, clock, alarms, applier, start } = setUp()
  log.append(command(1), command(2), entry(3, 'noop'), command(4), command(5))
  const refuse: Reply = (_after, batch) =>
    batch.some(({ index }) => index === 4)
      ? { type: 'poison', index: 4, reason: 'no such account' }
      : take(_after, batch)
  machine.script.push(refuse, refuse, refuse)
  start()
  applier.commit(5)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1 2 4 5', '0: 1 2'])
  assert.equal(applier.appliedIndex, 3)
  assert.match(applier.blocked ?? '', /command at 4 for good: no such account/)
  assert.deepEqual(clock.dueInMs, [30_000])
  await clock.advance(30_000)
  assert.deepEqual(machine.takeCalls(), ['position', '2: 4 5'])
  assert.equal(applier.appliedIndex, 3)
  assert.equal(alarms.length, 1)
  // Repaired.
  await clock.advance(30_000)
  assert.deepEqual(machine.takeCalls(), ['position', '2: 4 5'])
  assert.equal(applier.appliedIndex, 5)
  assert.equal(applier.blocked, null)
})

test('a poisonous command at the head of the batch stops delivery at once', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(entry(1, 'noop'), command(2))
  machine.script.push({ type: 'poison', index: 2, reason: 'x' })
  start()
  applier.commit(2)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 2'])
  assert.equal(applier.appliedIndex, 1)
  assert.match(applier.blocked ?? '', /command at 2/)
})

test('a log that no longer reaches back to the machine is an obstacle, and nothing is left out', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(...commands(1, 3))
  log.compact(3)
  start()
  applier.commit(3)
  await clock.settle()
  assert.match(
    applier.blocked ?? '',
    /from 1 on, the log no longer holds those before 4, and there is no snapshot for it: bring it to the state at 3/,
  )
  assert.deepEqual(machine.takeCalls(), ['position'])
})

test('a log that cannot be read is tried again', async () => {
  const log = new FakeLog()
  let failures = 1
  const { read } = log
  const reader = Object.assign(log, {
    read: async (from: number, through: number, maxBytes: number) => {
      if (failures-- > 0) throw new Error('EIO')
      return read(from, through, maxBytes)
    },
  })
  const clock = new FakeClock()
  const applier = createApplier({ machine: new ScriptedMachine(), clock, random: () => 1, onFatal: noFatal })
  log.append(command(1))
  applier.start(reader, noEvents)
  applier.commit(1)
  await clock.settle()
  assert.equal(applier.blocked, 'Cannot read the log from 1 on: EIO')
  await clock.advance(100)
  assert.equal(applier.appliedIndex, 1)
})

test('the cursor says where to begin when the machine does not know, and is never ahead of an acknowledgement', async () => {
  const cursor = new MemoryCursor(2)
  const machine = new ScriptedMachine()
  machine.knownPosition = null
  machine.holds = true
  const { log, clock, applier, start } = setUp({ machine, cursor, maxBatchCommands: 1 })
  log.append(...commands(1, 4), entry(5, 'noop'))
  start()
  applier.commit(5)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '2: 3'])
  assert.deepEqual(cursor.saves, [])
  machine.release()
  await clock.settle()
  assert.deepEqual(cursor.saves, [3])
  machine.release()
  await clock.settle()
  assert.equal(applier.appliedIndex, 5)
  assert.deepEqual(cursor.saves, [3])
  await clock.advance(1000)
  assert.deepEqual(cursor.saves, [3, 4])
})

test('after a crash commands come again from the cursor on, and none is left out', async () => {
  const cursor = new MemoryCursor()
  const log = new FakeLog()
  log.append(...commands(1, 50))
  const delivered = new Set<number>()
  for (let life = 0; life < 12; life++) {
    const machine = new ScriptedMachine()
    machine.knownPosition = null
    const { clock, applier, start } = setUp({ machine, cursor, log, maxBatchCommands: 3 })
    start()
    // Each life commits a little more, and ends without a word at another moment.
    for (let index = 1; index <= Math.min(50, (life + 1) * 5); index += 2) {
      applier.commit(index)
      await clock.advance(life * 40)
    }
    for (const call of machine.calls.slice(1)) {
      const indexes = call.split(': ')[1]?.split(' ').map(Number) ?? []
      for (const index of indexes) delivered.add(index)
    }
    for (let index = 1; index <= cursor.saved; index++) assert.ok(delivered.has(index), `${index} was left out`)
  }
  assert.ok(cursor.saved > 40)
})

test('a machine without position and cursor gets everything from the first command', async () => {
  const machine = new ScriptedMachine()
  machine.knownPosition = null
  const { log, clock, applier, start } = setUp({ machine })
  log.append(...commands(1, 2))
  start()
  applier.commit(2)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '0: 1 2'])
})

test('the cursor goes back with an application that went back', async () => {
  const cursor = new MemoryCursor(3)
  const machine = new ScriptedMachine()
  machine.knownPosition = null
  machine.script.push({ type: 'elsewhere', position: 1 })
  machine.holds = true
  const { log, clock, applier, start } = setUp({ machine, cursor })
  log.append(...commands(1, 4))
  applier.commit(4)
  start()
  await clock.settle()
  machine.release()
  await clock.settle()
  assert.deepEqual(cursor.saves, [1])
  machine.release()
  await clock.advance(1000)
  assert.deepEqual(cursor.saves, [1, 4])
})

test('a machine that knows its position needs no cursor', async () => {
  const cursor = new MemoryCursor(3)
  const { machine, log, clock, applier, start } = setUp({ cursor })
  log.append(...commands(1, 4))
  applier.commit(4)
  start()
  await clock.advance(5000)
  assert.deepEqual(machine.calls, ['position', '0: 1 2 3 4'])
  assert.deepEqual(cursor.saves, [])
})

test('a cursor that cannot be saved is reported and does not stop delivery', async () => {
  const cursor = new MemoryCursor()
  cursor.fails = true
  const machine = new ScriptedMachine()
  machine.knownPosition = null
  const { log, clock, alarms, applier, start } = setUp({ machine, cursor })
  log.append(...commands(1, 2))
  start()
  applier.commit(1)
  await clock.settle()
  applier.commit(2)
  await clock.settle()
  assert.equal(applier.appliedIndex, 2)
  assert.match(alarms[0] ?? '', /^cursor: .*disk on fire/)
  cursor.fails = false
  await clock.advance(1000)
  assert.equal(cursor.saved, 2)
})

test('closing waits for the answer in flight, counts it, and saves the cursor', async () => {
  const cursor = new MemoryCursor()
  const machine = new ScriptedMachine()
  machine.knownPosition = null
  machine.holds = true
  const { log, clock, applier, start } = setUp({ machine, cursor, maxBatchCommands: 1 })
  log.append(...commands(1, 2))
  start()
  applier.commit(2)
  await clock.settle()
  const closed = applier.close()
  assert.equal(applier.close(), closed)
  await clock.settle()
  machine.release()
  await closed
  assert.equal(applier.appliedIndex, 1)
  assert.equal(cursor.saved, 1)
  await clock.advance(60_000)
  assert.deepEqual(machine.calls, ['position', '0: 1'])
  assert.deepEqual(clock.dueInMs, [])
})

test('closing abandons a batch that gets no answer in bounded time', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  machine.holds = true
  log.append(command(1))
  start()
  applier.commit(1)
  await clock.settle()
  const closed = applier.close()
  await clock.advance(2000)
  await closed
  machine.release()
  await clock.settle()
  assert.deepEqual(events, [])
  assert.equal(applier.appliedIndex, 0)
})

for (const [name, prepare] of [
  ['before the start', () => {}],
  ['while waiting for a retry', (machine: ScriptedMachine) => machine.script.push(down)],
  ['while ahead', (machine: ScriptedMachine) => (machine.knownPosition = 9)],
  ['while asking', (machine: ScriptedMachine) => (machine.knownPosition = new Error('refused'))],
] as const) {
  test(`closing ${name} leaves no timer behind`, async () => {
    const { machine, log, clock, applier, start } = setUp()
    prepare(machine)
    log.append(command(1))
    if (name !== 'before the start') start()
    applier.commit(1)
    if (name !== 'while asking') await clock.settle()
    await applier.close()
    machine.takeCalls()
    await clock.advance(100_000)
    assert.deepEqual(clock.dueInMs, [])
    assert.deepEqual(machine.calls, [])
  })
}

test('broken promises of the log stop the process rather than leave something out', async () => {
  const clock = new FakeClock()
  const machine = new ScriptedMachine()
  const applier = createApplier({ machine, clock, random: () => 1, onFatal: noFatal })
  applier.start(Object.assign(new FakeLog(), { read: () => [command(2)] }), noEvents)
  await clock.settle()
  assert.throws(() => applier.commit(2), /Reading the committed entries 1 to 2 gave 2 to 2/)
})

test('the key-value machine is rebuilt from the log and answers in the same turn', async () => {
  const clock = new FakeClock()
  const kv = createKvMachine(clock)
  const log = new FakeLog()
  log.append(entry(1, 'noop'), ...Array.from({ length: 1200 }, (_, i) => setEntry(i + 2, `k${i}`, i)))
  const applier = createApplier({ machine: kv, clock, random: () => 1, onFatal: noFatal })
  const results: unknown[] = []
  applier.start(log, { ...noEvents, applied: (_index, _entries, more) => results.push(...(more ?? [])) })
  applier.commit(1201)
  await clock.settle()
  assert.equal(kv.size, 1200)
  assert.equal(applier.appliedIndex, 1201)
  log.append(setEntry(1202, 'k0', 'new'))
  applier.commit(1202)
  assert.equal(kv.get('k0')?.value, 'new')
  assert.deepEqual(results.at(-1), { ok: true, createdIndex: 2, modifiedIndex: 1202 })
})
