// Pictures of a machine's state, asked of an applier while delivery goes on.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MachineSnapshot } from '../../src/node/ports.ts'
import { command, commands, down, ScriptedMachine, setUp } from './applier-kit.ts'
import { collect, entry } from './fixtures.ts'

async function shown(snapshot: MachineSnapshot | null) {
  if (snapshot === null) return null
  const { appliedIndex, position, body } = snapshot
  return { appliedIndex, position, state: (await collect(body)).toString() }
}

/** A machine that holds the commands at 1, 2 and 4; the entries at 3 and 5 are none. */
async function setUpAt4(setup: Parameters<typeof setUp>[0] = {}) {
  const kit = setUp(setup)
  kit.log.append(command(1), command(2), entry(3, 'noop'), command(4), entry(5, 'noop'))
  kit.start()
  kit.applier.commit(5)
  await kit.clock.settle()
  kit.machine.takeCalls()
  return kit
}

test('a picture holds every entry through the applied index, and says which was the last command', async () => {
  const { applier } = await setUpAt4()
  assert.deepEqual(await shown(await applier.snapshot()), { appliedIndex: 5, position: 4, state: 'state at 4' })
})

test('a machine that offers none is asked, and delivery goes on', async () => {
  const { machine, log, clock, applier } = await setUpAt4()
  machine.snapshotScript.push(null)
  assert.equal(await applier.snapshot(), null)
  log.append(command(6))
  applier.commit(6)
  await clock.settle()
  assert.deepEqual(machine.calls, ['snapshot', '4: 6'])
})

test('a picture waits for the batch in flight, and no batch is sent before it is there', async () => {
  const { machine, log, clock, applier } = await setUpAt4({ maxBatchCommands: 1 })
  machine.holds = true
  machine.holdsSnapshots = true
  log.append(...commands(6, 8))
  applier.commit(8)
  await clock.settle()
  const picture = applier.snapshot()
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['4: 6'])
  machine.release()
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['snapshot'])
  machine.holds = false
  applier.commit(8)
  await clock.advance(60_000)
  assert.deepEqual(machine.calls, [])
  assert.equal(applier.appliedIndex, 6)
  machine.release()
  const snapshot = await picture
  await clock.settle()
  // The body is read while applying has gone on.
  assert.equal(applier.appliedIndex, 8)
  assert.deepEqual(await shown(snapshot), { appliedIndex: 6, position: 6, state: 'state at 6' })
})

test('a picture is taken between two slices of a machine that answers at once', async () => {
  const machine = new ScriptedMachine()
  machine.synchronous = true
  const { log, clock, applier, start } = setUp({ machine })
  log.append(...commands(1, 1200))
  start()
  await clock.settle()
  applier.commit(1200)
  assert.equal(applier.appliedIndex, 500)
  const picture = applier.snapshot()
  assert.equal((await shown(await picture))?.appliedIndex, 500)
  await clock.settle()
  assert.equal(applier.appliedIndex, 1200)
})

test('a picture that shows the machine elsewhere is refused, given up, and the machine is asked where it is', async () => {
  const { machine, log, clock, events, applier } = await setUpAt4()
  machine.snapshotScript.push(2)
  machine.knownPosition = 2
  await assert.rejects(applier.snapshot(), /gave its state at 2, and was taken to be at 4/)
  assert.equal(machine.givenUp, 1)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['snapshot', 'position', '2: 4'])
  assert.equal(events.includes('rewound 2'), true)
  log.append(command(6))
  applier.commit(6)
  await clock.settle()
  assert.equal((await shown(await applier.snapshot()))?.position, 6)
})

test('a machine that cannot give one now is no obstacle to delivery', async () => {
  const { machine, log, clock, alarms, applier } = await setUpAt4()
  machine.snapshotScript.push(new Error('busy'))
  await assert.rejects(applier.snapshot(), /Cannot take a snapshot of the state machine: busy/)
  log.append(command(6))
  applier.commit(6)
  await clock.settle()
  assert.equal(applier.appliedIndex, 6)
  assert.deepEqual(alarms, [])
})

test('between two tries of a failed batch a picture is taken, and the batch then comes again as it is, at its time', async () => {
  const { machine, log, clock, applier } = await setUpAt4()
  machine.script.push(down)
  log.append(...commands(6, 7))
  applier.commit(7)
  await clock.settle()
  assert.deepEqual(clock.dueInMs, [100])
  assert.equal((await shown(await applier.snapshot()))?.appliedIndex, 5)
  assert.equal(applier.blocked, 'down')
  await clock.advance(99)
  assert.deepEqual(machine.takeCalls(), ['4: 6 7', 'snapshot'])
  await clock.advance(1)
  assert.deepEqual(machine.takeCalls(), ['position', '4: 6 7'])
  assert.equal(applier.appliedIndex, 7)
})

test('the time of the next try that comes while a picture is taken is made up for after it', async () => {
  const { machine, log, clock, applier } = await setUpAt4()
  machine.script.push(down)
  log.append(command(6))
  applier.commit(6)
  await clock.settle()
  machine.holdsSnapshots = true
  const picture = applier.snapshot()
  await clock.advance(10_000)
  assert.deepEqual(machine.takeCalls(), ['4: 6', 'snapshot'])
  machine.release()
  assert.equal((await shown(await picture))?.position, 4)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '4: 6'])
  assert.equal(applier.appliedIndex, 6)
})

test('a batch whose answer was lost is in the picture or not: the position tells, and it is not sent twice', async () => {
  const { machine, log, clock, events, applier } = await setUpAt4()
  machine.script.push(() => {
    machine.knownPosition = 6
    machine.snapshotScript.push(6)
    return down
  })
  log.append(command(6))
  applier.commit(6)
  await clock.settle()
  await assert.rejects(applier.snapshot(), /gave its state at 6, and was taken to be at 4/)
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['4: 6', 'snapshot', 'position'])
  assert.equal(events.at(-1), '6 [6] null')
  assert.deepEqual(clock.dueInMs, [])
})

test('a delivery that stopped at a poisonous command gives the picture of what stands before it', async () => {
  const { machine, log, clock, applier } = await setUpAt4()
  machine.script.push({ type: 'poison', index: 6, reason: 'no' })
  log.append(...commands(6, 7))
  applier.commit(7)
  await clock.settle()
  assert.match(applier.blocked ?? '', /command at 6/)
  assert.deepEqual(await shown(await applier.snapshot()), { appliedIndex: 5, position: 4, state: 'state at 4' })
  assert.match(applier.blocked ?? '', /command at 6/)
})

test('asked while the machine is asked where it is, a picture waits for that', async () => {
  const { log, clock, applier, start } = setUp()
  log.append(...commands(1, 3))
  applier.commit(3)
  start()
  const picture = applier.snapshot()
  await clock.settle()
  // Taken as soon as it is known where the machine is.
  assert.deepEqual(await shown(await picture), { appliedIndex: 0, position: 0, state: 'state at 0' })
  assert.equal(applier.appliedIndex, 3)
})

test('a machine that cannot be reached gives no picture, and none that waits for ever', async () => {
  const { machine, clock, applier, start } = setUp()
  machine.knownPosition = new Error('refused')
  machine.snapshotScript.push(new Error('refused, too'))
  start()
  const picture = applier.snapshot()
  picture.catch(() => {})
  await clock.settle()
  await assert.rejects(picture, /refused, too/)
})

test('a machine ahead of the log, and one that is overtaken by it, give no picture', async () => {
  const { machine, log, clock, applier, start } = setUp()
  machine.knownPosition = 9
  log.append(...commands(1, 12))
  start()
  applier.commit(2)
  await clock.settle()
  await assert.rejects(applier.snapshot(), /at 9, and the log is known to be committed through 2 only/)
  applier.commit(9)
  await clock.settle()
  log.compact(11)
  await assert.rejects(applier.snapshot(), /behind what the log still holds/)
  applier.commit(12)
  await clock.settle()
  await assert.rejects(applier.snapshot(), /needs the entries from 10 on, the log no longer holds those before 12/)
  assert.deepEqual(machine.calls, ['position', 'position'])
})

test('one is taken at a time', async () => {
  const { machine, applier } = await setUpAt4()
  machine.holdsSnapshots = true
  const first = applier.snapshot()
  await assert.rejects(applier.snapshot(), /one is being taken/)
  machine.release()
  assert.equal((await first)?.position, 4)
  machine.holdsSnapshots = false
  assert.equal((await applier.snapshot())?.position, 4)
})

test('before the start there is none, and closing ends one that waits', async () => {
  const { machine, log, clock, applier, start } = setUp()
  await assert.rejects(applier.snapshot(), /starting/)
  machine.holds = true
  log.append(command(1))
  applier.commit(1)
  start()
  await clock.settle()
  const picture = applier.snapshot()
  const closed = applier.close()
  await assert.rejects(picture, /closing/)
  await assert.rejects(applier.snapshot(), /closing/)
  machine.release()
  await closed
  await assert.rejects(applier.snapshot(), /Cannot take a snapshot/)
  assert.deepEqual(machine.calls, ['position', '0: 1'])
})

test('a picture that comes after the close is given up', async () => {
  const { machine, clock, applier } = await setUpAt4()
  machine.holdsSnapshots = true
  const picture = applier.snapshot()
  const closed = applier.close()
  await assert.rejects(picture, /closing/)
  machine.release()
  await closed
  await clock.settle()
  assert.equal(machine.givenUp, 1)
})
