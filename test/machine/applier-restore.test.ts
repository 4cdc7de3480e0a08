// Machines that are brought forward by a snapshot: because the log no longer reaches back to them, or because they begin from nothing.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes, FatalError, InvalidSnapshotError } from '../../src/errors.ts'
import { createApplier } from '../../src/machine/applier.ts'
import { createKvMachine } from '../../src/machine/kv.ts'
import { command, commands, down, MemoryCursor, ScriptedMachine, setUp } from './applier-kit.ts'
import { collect, entry, FakeClock, FakeLog, FakeSnapshot, promptClock, setEntry } from './fixtures.ts'

/** A log of 10 commands that begins at 7, behind a snapshot through 7 whose last command is the one at 6. */
function compactedLog(): FakeLog {
  const log = new FakeLog()
  log.append(...commands(1, 6), entry(7, 'noop'), ...commands(8, 10))
  log.compact(7)
  log.snapshot = new FakeSnapshot(7, 6, 'state ', 'at 6')
  return log
}

test('a machine that begins from nothing is restored, and fed with what follows', async () => {
  const { machine, log, clock, events, alarms, applier, start } = setUp({ log: compactedLog() })
  start()
  applier.commit(10)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', 'restore 6', 'position', '6: 8 9 10'])
  assert.deepEqual(machine.restored, ['state at 6'])
  assert.deepEqual(events, ['restored 7', '10 [8 9 10] ["r8","r9","r10"]'])
  assert.deepEqual(alarms, ['The state machine is being restored from the snapshot at 7'])
  assert.equal(applier.blocked, null)
  assert.equal((log.snapshot as FakeSnapshot).closed, 1)
})

test('restoring beats replaying: a machine at 0 is restored though the log reaches back', async () => {
  const log = compactedLog()
  log.compact(0)
  const { machine, clock, events, applier, start } = setUp({ log })
  start()
  applier.commit(10)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', 'restore 6', 'position', '6: 8 9 10'])
  assert.equal(events[0], 'restored 7')
})

test('without a snapshot a machine at 0 is fed from the first entry on, and the snapshot is not looked for at each batch', async () => {
  const { machine, log, clock, applier, start } = setUp({ maxBatchCommands: 1 })
  log.append(entry(1, 'noop'), ...commands(2, 5))
  start()
  applier.commit(5)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '0: 2', '2: 3', '3: 4', '4: 5'])
  assert.equal(log.opened, 1)
})

for (const [position, calls, events] of [
  // Behind the snapshot's last command, by however little.
  [5, ['position', 'restore 6', 'position', '6: 8 9 10'], ['5 [] null', 'restored 7', '10']],
  // At the last command of the snapshot, or at an entry that is none: nothing is missing.
  [6, ['position', '6: 8 9 10'], ['6 [] null', '7 [] []', '10']],
  [7, ['position', '7: 8 9 10'], ['7 [] null', '10']],
  [9, ['position', '9: 10'], ['9 [] null', '10']],
] as const) {
  test(`a machine at ${position}, where the log begins at 8 and the snapshot's last command is at 6, gets what it lacks`, async () => {
    const kit = setUp({ log: compactedLog() })
    kit.machine.knownPosition = position
    kit.applier.commit(10)
    kit.start()
    await kit.clock.settle()
    assert.deepEqual(kit.machine.calls, calls)
    assert.deepEqual(
      kit.events.map((event) => (event.startsWith('10 ') ? '10' : event)),
      events,
    )
    assert.equal(kit.applier.blocked, null)
  })
}

test('a snapshot without any command in it brings nothing to a machine that holds none', async () => {
  const log = new FakeLog()
  log.append(entry(1, 'noop'), entry(2, 'noop'), command(3))
  log.compact(2)
  log.snapshot = new FakeSnapshot(2, 0, 'empty')
  const { machine, clock, events, applier, start } = setUp({ log })
  start()
  applier.commit(3)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '0: 3'])
  assert.deepEqual(events, ['2 [] []', '3 [3] ["r3"]'])
})

test('what a snapshot holds is committed, whatever is known of it so far', async () => {
  const { machine, clock, events, applier, start } = setUp({ log: compactedLog() })
  start()
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', 'restore 6', 'position'])
  assert.equal(applier.appliedIndex, 7)
  applier.commit(7)
  applier.commit(8)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['6: 8'])
  assert.deepEqual(events, ['restored 7', '8 [8] ["r8"]'])
})

test('a machine that is asked again right after its restore is not taken for one ahead of the log', async () => {
  const { machine, clock, applier, start } = setUp({ log: compactedLog() })
  start()
  await clock.settle()
  machine.snapshotScript.push(3)
  await assert.rejects(applier.snapshot(), /gave its state at 3, and was taken to be at 6/)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', 'restore 6', 'position', 'snapshot', 'position'])
  assert.equal(applier.blocked, null)
})

test('during a restore nothing is delivered, nothing is shown as applied, and the sentence says what goes on', async () => {
  const { machine, clock, events, applier, start } = setUp({ log: compactedLog() })
  machine.holdsSnapshots = true
  start()
  applier.commit(8)
  await clock.settle()
  applier.commit(10)
  await clock.advance(600_000)
  assert.deepEqual(machine.calls, ['position', 'restore 6'])
  assert.equal(applier.appliedIndex, 0)
  assert.equal(applier.blocked, 'The state machine is being restored from the snapshot at 7')
  await assert.rejects(applier.snapshot(), /is being restored from the snapshot at 7/)
  assert.deepEqual(events, [])
  machine.release()
  await clock.settle()
  assert.equal(applier.appliedIndex, 10)
  assert.equal(applier.blocked, null)
})

test('a snapshot that is installed while the log is delivered is restored after the answer to the batch in flight', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 9))
  start()
  applier.commit(2)
  await clock.settle()
  machine.holds = true
  applier.commit(3)
  await clock.settle()
  log.compact(8)
  log.snapshot = new FakeSnapshot(8, 8, 'state at 8')
  applier.commit(8)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1 2', '2: 3'])
  machine.holds = false
  machine.release()
  await clock.settle()
  applier.commit(9)
  await clock.settle()
  assert.deepEqual(machine.calls, ['restore 8', 'position', '8: 9'])
  assert.deepEqual(events.slice(1), ['3 [3] ["r3"]', 'restored 8', '9 [9] ["r9"]'])
})

test('a log that leaves the applier behind while it reads is noticed by what the read gives', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 9))
  start()
  applier.commit(2)
  await clock.settle()
  const { read } = log
  let finish = () => {}
  Object.assign(log, {
    read: (from: number, through: number, maxBytes: number) =>
      new Promise((resolve) => {
        finish = () => resolve(read(from, through, maxBytes))
      }),
  })
  applier.commit(4)
  await clock.settle()
  log.compact(8)
  log.snapshot = new FakeSnapshot(8, 8, 'state at 8')
  applier.commit(8)
  finish()
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '0: 1 2', 'restore 8', 'position'])
  assert.deepEqual(events.slice(1), ['restored 8'])
})

for (const [name, outcome, waitMs] of [
  ['a failed batch', down, 100],
  ['a poisonous command', { type: 'poison', index: 3, reason: 'never' }, 30_000],
  ['what is set up wrongly', { type: 'misconfigured', reason: 'no such hook' }, 30_000],
] as const) {
  test(`a snapshot that is installed ends the waiting for ${name}, and delivery goes on behind it`, async () => {
    const { machine, log, clock, events, alarms, applier, start } = setUp()
    log.append(...commands(1, 9))
    machine.script.push((_after, batch) => ({ type: 'applied', results: batch.map(() => 'r') }), outcome)
    start()
    applier.commit(2)
    await clock.settle()
    applier.commit(4)
    await clock.settle()
    assert.notEqual(applier.blocked, null)
    assert.deepEqual(clock.dueInMs, [waitMs])
    machine.takeCalls()
    log.compact(8)
    log.snapshot = new FakeSnapshot(8, 8, 'state at 8')
    applier.commit(9)
    await clock.settle()
    assert.deepEqual(machine.calls, ['position', 'restore 8', 'position', '8: 9'])
    assert.deepEqual(events.slice(1), ['restored 8', '9 [9] ["r9"]'])
    assert.equal(applier.blocked, null)
    assert.equal(alarms.at(-1), 'resumed')
    assert.deepEqual(clock.dueInMs, [])
  })
}

test('a compaction alone does not shorten the waiting of a machine that nothing brings forward', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(...commands(1, 9))
  machine.knownPosition = 1
  log.compact(4)
  start()
  applier.commit(5)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position'])
  for (let index = 6; index <= 9; index++) {
    applier.commit(index)
    await clock.settle()
  }
  assert.deepEqual(machine.takeCalls(), [])
  assert.deepEqual(clock.dueInMs, [30_000])
  assert.match(
    applier.blocked ?? '',
    /from 2 on, the log no longer holds those before 5, and there is no snapshot for it/,
  )
})

test('a snapshot that is overtaken by a newer one while it is restored is followed by that one', async () => {
  const { machine, log, clock, events, applier, start } = setUp({ log: compactedLog() })
  machine.holdsSnapshots = true
  start()
  applier.commit(7)
  await clock.settle()
  log.compact(9)
  log.snapshot = new FakeSnapshot(9, 9, 'state at 9')
  applier.commit(10)
  machine.holdsSnapshots = false
  machine.release()
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', 'restore 6', 'position', 'restore 9', 'position', '9: 10'])
  assert.deepEqual(events, ['restored 7', 'restored 9', '10 [10] ["r10"]'])
})

for (const [name, why, kind, waitMs] of [
  ['is told to come later', { type: 'retry', afterMs: 7000, reason: 'busy' }, 'unavailable: busy', 7000],
  ['is told to come at once', { type: 'retry', afterMs: 0, reason: 'busy' }, 'unavailable: busy', 100],
  ['gets no answer', { type: 'retry', afterMs: null, reason: 'reset' }, 'unavailable: reset', 100],
  ['gets an answer that does not fit', { type: 'malformed', reason: '202' }, 'malformed: 202', 100],
  ['meets something set up wrongly', { type: 'misconfigured', reason: '403' }, 'misconfigured: 403', 30_000],
  [
    'meets a machine that finds it invalid',
    new InvalidSnapshotError('line 3: its value is not JSON'),
    'unreadable: The state machine does not take the snapshot at 7: line 3: its value is not JSON',
    100,
  ],
] as const) {
  test(`a restore that ${name} is an obstacle, and tried again with the newest snapshot of then`, async () => {
    const { machine, log, clock, events, alarms, applier, start } = setUp({ log: compactedLog() })
    machine.restoreScript.push(why)
    start()
    applier.commit(10)
    await clock.settle()
    const failed = log.snapshot as FakeSnapshot
    assert.equal(failed.closed, 1)
    assert.equal(alarms.at(-1), kind)
    assert.equal(applier.blocked, kind.slice(kind.indexOf(': ') + 2))
    assert.equal(applier.appliedIndex, 0)
    assert.deepEqual(events, [])
    assert.deepEqual(clock.dueInMs, [waitMs])
    log.snapshot = new FakeSnapshot(9, 9, 'state at 9')
    await clock.advance(waitMs)
    assert.deepEqual(machine.restored, ['state at 9'])
    assert.deepEqual(events, ['restored 9', '10 [10] ["r10"]'])
    assert.equal(applier.blocked, null)
  })
}

test('a restore that fails again and again waits longer and longer', async () => {
  const { machine, clock, applier, start } = setUp({ log: compactedLog() })
  for (let i = 0; i < 4; i++) machine.restoreScript.push(new Error('no'))
  start()
  const waits: number[] = []
  for (let i = 0; i < 4; i++) {
    await clock.settle()
    waits.push(...clock.dueInMs)
    await clock.advance(clock.dueInMs[0] ?? 0)
  }
  assert.deepEqual(waits, [100, 200, 400, 800])
  assert.equal(applier.appliedIndex, 7)
})

test('a machine that says "restored" and is elsewhere is not believed', async () => {
  const { machine, clock, events, alarms, applier, start } = setUp({ log: compactedLog() })
  machine.restoreScript.push({ type: 'restored' })
  const { restore } = machine
  let tries = 0
  machine.restore = async (snapshot) => {
    const outcome = await restore.call(machine, snapshot)
    if (++tries === 1) machine.knownPosition = 0
    return outcome
  }
  start()
  applier.commit(10)
  await clock.settle()
  assert.equal(alarms.at(-1), 'malformed: The state machine was restored to 6, and answers that it is at 0')
  assert.deepEqual(events, [])
  await clock.advance(100)
  assert.deepEqual(events, ['restored 7', '10 [8 9 10] ["r8","r9","r10"]'])
})

test('a machine that took the snapshot and then was gone needs no second restore', async () => {
  const { machine, clock, events, alarms, applier, start } = setUp({ log: compactedLog() })
  const { restore } = machine
  machine.restore = async (snapshot) => {
    const outcome = await restore.call(machine, snapshot)
    machine.knownPosition = new Error('refused')
    return outcome
  }
  start()
  applier.commit(10)
  await clock.settle()
  assert.match(alarms.at(-1) ?? '', /Cannot learn whether the state machine took the snapshot at 7: refused/)
  machine.knownPosition = 6
  await clock.advance(100)
  assert.deepEqual(machine.restored.length, 1)
  assert.deepEqual(events, ['6 [] null', '7 [] []', '10 [8 9 10] ["r8","r9","r10"]'])
})

for (const [name, prepare, sentence] of [
  [
    'there is no snapshot',
    (log: FakeLog) => (log.snapshot = null),
    /and there is no snapshot for it: bring it to the state at 7 or later/,
  ],
  [
    'the newest snapshot does not reach far enough',
    (log: FakeLog) => (log.snapshot = new FakeSnapshot(5, 5, 'x')),
    /the newest snapshot reaches to 5 only/,
  ],
  [
    'the machine takes none',
    (_log: FakeLog, machine: ScriptedMachine) =>
      machine.restoreScript.push({ type: 'not-offered' }, { type: 'not-offered' }),
    /offers no way to restore it from the snapshot at 7/,
  ],
] as const) {
  test(`where the log no longer reaches back and ${name}, delivery stops with a sentence that says what to do`, async () => {
    const { machine, log, clock, alarms, applier, start } = setUp({ log: compactedLog() })
    machine.knownPosition = 2
    prepare(log, machine)
    start()
    applier.commit(10)
    await clock.settle()
    assert.match(applier.blocked ?? '', /needs the entries from 3 on, the log no longer holds those before 8/)
    assert.match(applier.blocked ?? '', sentence)
    assert.match(alarms.at(-1) ?? '', /^unreadable: /)
    assert.deepEqual(clock.dueInMs, [30_000])
    // A person brought it there.
    machine.knownPosition = 9
    await clock.advance(30_000)
    assert.equal(applier.appliedIndex, 10)
    assert.equal(applier.blocked, null)
  })
}

test('a machine at 0 that takes no snapshots is fed from the log while that reaches back', async () => {
  const log = compactedLog()
  log.compact(0)
  const { machine, clock, alarms, applier, start } = setUp({ log })
  machine.restoreScript.push({ type: 'not-offered' })
  start()
  applier.commit(10)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', 'restore 6', '0: 1 2 3 4 5 6 8 9 10'])
  assert.equal(
    alarms.some((alarm) => alarm.includes(': ')),
    false,
  )
})

test('a failed batch at 0 is still sent again as it is, after the snapshot was looked for', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(...commands(1, 2))
  machine.script.push(down)
  start()
  applier.commit(2)
  await clock.settle()
  log.append(command(3))
  applier.commit(3)
  await clock.advance(100)
  assert.deepEqual(machine.calls, ['position', '0: 1 2', 'position', '0: 1 2', '2: 3'])
})

test('a machine that lost its state is rewound, then restored', async () => {
  const { machine, log, clock, events, applier, start } = setUp({ log: compactedLog() })
  start()
  applier.commit(9)
  await clock.settle()
  machine.takeCalls()
  machine.script.push({ type: 'elsewhere', position: 0 })
  applier.commit(10)
  await clock.settle()
  assert.deepEqual(machine.calls, ['9: 10', 'restore 6', 'position', '6: 8 9 10'])
  assert.deepEqual(events.slice(2), ['rewound 0', 'restored 7', '10 [8 9 10] ["r8","r9","r10"]'])
  assert.equal((log.snapshot as FakeSnapshot).closed, 2)
})

const rot = new FatalError(exitCodes.dataError, 'snapshots/7 is damaged at byte 4711')

for (const [name, prepare] of [
  ['found in the body of a snapshot', (log: FakeLog) => (log.snapshot = new FakeSnapshot(7, 6, 'state ', rot))],
  ['found when it is opened', (log: FakeLog) => (log.snapshot = rot)],
] as const) {
  test(`bit rot ${name} reaches the caller as it is, and nothing more is delivered`, async () => {
    const log = compactedLog()
    prepare(log)
    const { machine, clock, events, alarms, fatal, applier, start } = setUp({ log })
    start()
    applier.commit(10)
    await clock.advance(100_000)
    assert.deepEqual(fatal, [rot])
    assert.deepEqual(events, [])
    assert.equal(
      alarms.some((alarm) => alarm.startsWith('unreadable')),
      false,
    )
    assert.ok(machine.calls.every((call) => call === 'position' || call === 'restore 6'))
    await assert.rejects(applier.snapshot(), /nothing more is delivered/)
    await applier.close()
  })
}

test('bit rot is told even when the machine makes something else of the broken body', async () => {
  const log = compactedLog()
  log.snapshot = new FakeSnapshot(7, 6, rot)
  const { machine, clock, fatal, start } = setUp({ log })
  machine.restore = async ({ body }) => {
    await collect(body).catch(() => {})
    return { type: 'retry', afterMs: null, reason: 'reset' }
  }
  start()
  await clock.settle()
  assert.deepEqual(fatal, [rot])
})

test('bit rot found when the log is read reaches the caller, too', async () => {
  const { machine, log, clock, fatal, alarms, applier, start } = setUp()
  Object.assign(log, { read: async () => Promise.reject(rot) })
  start()
  await clock.settle()
  applier.commit(1)
  await clock.advance(100_000)
  assert.deepEqual(fatal, [rot])
  assert.deepEqual(alarms, [])
  assert.deepEqual(machine.calls, ['position'])
})

test('a snapshot that cannot be read is tried again', async () => {
  const log = compactedLog()
  log.snapshot = new FakeSnapshot(7, 6, 'state ', new Error('EIO'))
  const { clock, alarms, applier, start } = setUp({ log })
  start()
  await clock.settle()
  assert.equal(alarms.at(-1), 'unreadable: Cannot read the snapshot at 7: EIO')
  log.snapshot = new Error('EMFILE')
  await clock.advance(100)
  assert.equal(alarms.at(-1), 'unreadable: Cannot open the newest snapshot: EMFILE')
  log.snapshot = new FakeSnapshot(7, 6, 'state at 6')
  await clock.advance(200)
  assert.equal(applier.appliedIndex, 7)
})

test('the cursor follows a restore when the machine took it, and not before', async () => {
  const cursor = new MemoryCursor(2)
  const machine = new ScriptedMachine()
  machine.knownPosition = null
  machine.holdsSnapshots = true
  const { clock, applier, start } = setUp({ machine, cursor, log: compactedLog() })
  start()
  applier.commit(7)
  await clock.advance(5000)
  assert.deepEqual(machine.calls, ['position', 'restore 6'])
  assert.equal(cursor.saved, 2)
  machine.release()
  await clock.settle()
  // The last command that it holds, not the last entry: entries behind it may be commands for another snapshot of the log.
  assert.equal(cursor.saved, 6)
  assert.equal(applier.appliedIndex, 7)
})

test('after a crash in a restore the cursor of before leads to another one', async () => {
  const cursor = new MemoryCursor(2)
  const first = new ScriptedMachine()
  first.knownPosition = null
  first.holdsSnapshots = true
  const before = setUp({ machine: first, cursor, log: compactedLog() })
  before.start()
  await before.clock.settle()
  const machine = new ScriptedMachine()
  machine.knownPosition = null
  const after = setUp({ machine, cursor, log: compactedLog() })
  after.start()
  after.applier.commit(10)
  await after.clock.settle()
  assert.deepEqual(machine.calls, ['position', 'restore 6', 'position', '6: 8 9 10'])
})

test('closing in a restore reads no further, and counts it only when it still comes to its end', async () => {
  for (const isQuick of [true, false]) {
    const { machine, log, clock, events, applier, start } = setUp({ log: compactedLog() })
    log.snapshot = new FakeSnapshot(7, 6, 'state ', 'at ', '6')
    const bodies: string[] = []
    machine.restore = async ({ body }) => {
      const chunks = body[Symbol.asyncIterator]()
      bodies.push(String((await chunks.next()).value))
      bodies.push(String((await chunks.next()).value))
      for (let i = 0; isQuick && i < 2; i++) await chunks.next()
      await new Promise<void>((resolve) => clock.after(1000, resolve))
      if (!isQuick) await chunks.next()
      machine.knownPosition = 6
      return { type: 'restored' }
    }
    start()
    await clock.settle()
    const closed = applier.close()
    await clock.advance(2000)
    await closed
    assert.deepEqual(bodies, ['state ', 'at '])
    assert.deepEqual(events, isQuick ? ['restored 7'] : [])
    assert.equal((log.snapshot as FakeSnapshot).closed, 1)
    await clock.advance(100_000)
    assert.deepEqual(clock.dueInMs, [])
  }
})

test('the key-value machine shows its old state until the new one is in place at once', async () => {
  const source = createKvMachine(promptClock)
  source.apply(0, [setEntry(1, 'a', 'new'), setEntry(2, 'b', 'new')])
  const clock = new FakeClock()
  const kv = createKvMachine(clock)
  const log = new FakeLog()
  log.append(setEntry(1, 'a', 'old'), setEntry(2, 'b', 'x'), setEntry(3, 'c', 'behind'))
  const applier = createApplier({ machine: kv, clock, random: () => 1, onFatal: assert.ifError })
  const told: number[] = []
  applier.start(log, { applied() {}, rewound() {}, restored: (index) => told.push(index) })
  applier.commit(1)
  await clock.settle()
  const bytes = await collect((await source.snapshot()).body)
  log.compact(2)
  log.snapshot = new FakeSnapshot(2, 2, bytes)
  applier.commit(3)
  assert.deepEqual([kv.get('a')?.value, kv.get('b')?.value], ['old', undefined])
  while (kv.get('a')?.value === 'old') {
    assert.equal(kv.get('b'), null)
    assert.equal(applier.appliedIndex, 1)
    await clock.microtasks()
    clock.turn()
  }
  assert.equal(kv.get('b')?.value, 'new')
  await clock.settle()
  assert.deepEqual(told, [2])
  assert.equal(kv.get('c')?.value, 'behind')
})
