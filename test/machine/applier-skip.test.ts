// Commands that the cluster has agreed to leave out, and the poisonous ones for whose sake it does.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { command, commands, down, MemoryCursor, type Reply, ScriptedMachine, setUp, take } from './applier-kit.ts'
import { entry, FakeSnapshot } from './fixtures.ts'

const refusing =
  (index: number, reason = 'no such account'): Reply =>
  (after, batch) =>
    batch.some((each) => each.index === index) ? { type: 'poison', index, reason } : take(after, batch)

test('a command that is to be left out is not delivered, and those around it are', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 3), entry(4, 'skip'), command(5))
  log.skipped.add(2)
  start()
  applier.commit(5)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '0: 1 3 5'])
  assert.deepEqual(events, ['5 [1 3 5] ["r1","r3","r5"]'])
})

test('a batch of which nothing is left needs no request, and what follows it says what was delivered before', async () => {
  const { machine, log, clock, events, applier, start } = setUp({ maxBatchCommands: 2 })
  log.append(...commands(1, 6))
  log.skipped.add(3).add(4)
  start()
  applier.commit(6)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '0: 1 2', '2: 5 6'])
  assert.deepEqual(events, ['2 [1 2] ["r1","r2"]', '4 [] []', '6 [5 6] ["r5","r6"]'])
  assert.equal(applier.appliedIndex, 6)
})

test('a machine that stands before a command which is to be left out has lost nothing', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 3))
  log.skipped.add(2)
  start()
  applier.commit(2)
  await clock.settle()
  machine.script.push(down)
  applier.commit(3)
  await clock.advance(100)
  assert.deepEqual(machine.calls, ['position', '0: 1', '1: 3', 'position', '1: 3'])
  assert.deepEqual(events, ['2 [1] ["r1"]', '3 [3] ["r3"]'])
})

test('after a rewind the command is left out again', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 4))
  log.skipped.add(2)
  start()
  applier.commit(3)
  await clock.settle()
  machine.script.push({ type: 'elsewhere', position: 0 })
  applier.commit(4)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1 3', '3: 4', '0: 1 3 4'])
  assert.deepEqual(events.slice(1), ['rewound 0', '4 [1 3 4] ["r1","r3","r4"]'])
})

test('behind a snapshot, a command is left out as anywhere', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 9))
  log.compact(6)
  // The commands at 5 and 6 were left out when it was taken.
  log.snapshot = new FakeSnapshot(6, 4, 'state at 4')
  log.skipped.add(5).add(6).add(8)
  start()
  applier.commit(9)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', 'restore 4', 'position', '4: 7 9'])
  assert.deepEqual(events, ['restored 6', '9 [7 9] ["r7","r9"]'])
})

test('a cursor never stands at a command that was left out', async () => {
  const cursor = new MemoryCursor()
  const machine = new ScriptedMachine()
  machine.knownPosition = null
  const { log, clock, applier, start } = setUp({ machine, cursor })
  log.append(...commands(1, 2))
  log.skipped.add(2)
  start()
  applier.commit(2)
  await clock.advance(5000)
  assert.equal(applier.appliedIndex, 2)
  assert.deepEqual(cursor.saves, [1])
})

test('what is sent again is sent without a command that is to be left out by now', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(...commands(1, 3), entry(4, 'skip'))
  machine.script.push(down)
  start()
  applier.commit(3)
  await clock.settle()
  log.skipped.add(2)
  applier.commit(4)
  await clock.advance(100)
  assert.deepEqual(machine.calls, ['position', '0: 1 2 3', 'position', '0: 1 3'])
  assert.deepEqual(events, ['3 [1 3] ["r1","r3"]', '4 [] []'])
})

test('what is sent again is nothing when its only command is to be left out by now', async () => {
  const { machine, log, clock, events, applier, start } = setUp()
  log.append(command(1), entry(2, 'skip'))
  machine.script.push(down)
  start()
  applier.commit(1)
  await clock.settle()
  log.skipped.add(1)
  applier.commit(2)
  await clock.advance(100)
  assert.deepEqual(machine.calls, ['position', '0: 1', 'position'])
  assert.deepEqual(events, ['1 [] []', '2 [] []'])
  assert.equal(applier.blocked, null)
})

test('what delivery stops before is told, with the command line that gets over it', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(...commands(1, 4))
  machine.script.push(refusing(3), take)
  start()
  assert.equal(applier.poison, null)
  applier.commit(4)
  await clock.settle()
  assert.equal(applier.appliedIndex, 2)
  assert.deepEqual(applier.poison, { index: 3, reason: 'no such account' })
  assert.match(applier.blocked ?? '', /`raft-sidecar skip 3` leaves it out on every node$/)
})

test('delivery goes on at once when the command that it stopped before is left out', async () => {
  const { machine, log, clock, events, alarms, applier, start } = setUp()
  log.append(...commands(1, 4))
  machine.script.push(refusing(3), take)
  start()
  applier.commit(4)
  await clock.settle()
  machine.takeCalls()
  log.append(entry(5, 'skip'))
  log.skipped.add(3)
  applier.commit(5)
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '2: 4'])
  assert.deepEqual(events.slice(1), ['5 [4] ["r4"]'])
  assert.equal(applier.appliedIndex, 5)
  assert.equal(applier.poison, null)
  assert.equal(applier.blocked, null)
  assert.deepEqual(clock.dueInMs, [])
  assert.equal(alarms.at(-1), 'resumed')
})

test('what else is committed does not get over it, and asks nothing of the machine', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(...commands(1, 9))
  machine.script.push(refusing(1))
  start()
  applier.commit(1)
  await clock.settle()
  machine.takeCalls()
  log.skipped.add(5)
  for (let index = 2; index <= 9; index++) applier.commit(index)
  await clock.settle()
  assert.deepEqual(machine.calls, [])
  assert.deepEqual(clock.dueInMs, [30_000])
})

test('a machine that fails right after the skip is asked by the backoff, not at each commit', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(...commands(1, 9))
  machine.script.push(refusing(1))
  start()
  applier.commit(1)
  await clock.settle()
  machine.takeCalls()
  machine.knownPosition = new Error('refused')
  log.skipped.add(1)
  for (let index = 2; index <= 9; index++) {
    applier.commit(index)
    await clock.settle()
  }
  assert.deepEqual(machine.takeCalls(), ['position'])
  machine.knownPosition = 0
  await clock.advance(100)
  assert.deepEqual(machine.takeCalls(), ['position', '0: 2 3 4 5 6 7 8 9'])
})

test('a command that is left out while those before it are delivered does not stop delivery any more', async () => {
  const { machine, log, clock, applier, start } = setUp()
  machine.holds = true
  log.append(...commands(1, 4), entry(5, 'skip'))
  machine.script.push(refusing(3))
  start()
  applier.commit(4)
  await clock.settle()
  machine.release()
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1 2 3 4', '0: 1 2'])
  log.skipped.add(3)
  applier.commit(5)
  machine.holds = false
  machine.release()
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['2: 4'])
  assert.equal(applier.appliedIndex, 5)
  assert.equal(applier.blocked, null)
})

test('a skip that comes while a picture is taken is not overlooked', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(...commands(1, 3), entry(4, 'skip'))
  machine.script.push(refusing(2), take)
  start()
  applier.commit(3)
  await clock.settle()
  machine.holdsSnapshots = true
  const picture = applier.snapshot()
  await clock.settle()
  log.skipped.add(2)
  applier.commit(4)
  await clock.settle()
  assert.equal(applier.appliedIndex, 1)
  machine.release()
  assert.equal((await picture)?.position, 1)
  await clock.settle()
  assert.equal(applier.appliedIndex, 4)
  assert.deepEqual(clock.dueInMs, [])
})

test('it stays the one that delivery stops before while the machine is away, and until it is taken', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(command(1))
  machine.script.push(refusing(1), down)
  start()
  applier.commit(1)
  await clock.advance(30_000)
  assert.equal(applier.blocked, 'down')
  assert.equal(applier.poison?.index, 1)
  await clock.advance(100)
  assert.equal(applier.appliedIndex, 1)
  assert.equal(applier.poison, null)
})

test('a machine that went back is not taken to refuse what it refused before', async () => {
  const { machine, log, clock, applier, start } = setUp()
  log.append(...commands(1, 3))
  machine.script.push(refusing(3), take)
  start()
  applier.commit(3)
  await clock.settle()
  assert.equal(applier.poison?.index, 3)
  machine.knownPosition = 0
  machine.holds = true
  await clock.advance(30_000)
  assert.deepEqual(machine.calls.slice(-2), ['position', '0: 1 2 3'])
  assert.equal(applier.poison, null)
})
