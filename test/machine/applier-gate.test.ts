// What an applier does while the application does not say that it is healthy, and when it takes one to have been restarted.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { command, commands, down, FakeGate, setUp } from './applier-kit.ts'
import { FakeSnapshot } from './fixtures.ts'

function setUpGated() {
  const gate = new FakeGate()
  return { gate, ...setUp({ gate }) }
}

test('nothing is asked of an application before it has said that it is healthy', async () => {
  const { gate, machine, log, clock, alarms, applier, start } = setUpGated()
  log.append(...commands(1, 3))
  start()
  applier.commit(3)
  await clock.advance(600_000)
  assert.deepEqual(machine.calls, [])
  assert.equal(applier.blocked, 'not asked yet')
  gate.become('healthy')
  await clock.settle()
  assert.deepEqual(machine.calls, ['position', '0: 1 2 3'])
  assert.equal(applier.blocked, null)
  // Usual at a start.
  assert.deepEqual(alarms, [])
})

test('one that is not healthy is an alarm for each reason, and gets nothing until it is', async () => {
  const { gate, machine, log, clock, alarms, applier, start } = setUpGated()
  log.append(command(1))
  start()
  applier.commit(1)
  gate.become('unhealthy', 'GET answered 503')
  gate.become('unhealthy', 'GET answered 503')
  gate.become('unhealthy', 'GET got no answer')
  await clock.advance(600_000)
  assert.equal(applier.blocked, 'GET got no answer')
  assert.deepEqual(machine.calls, [])
  gate.become('healthy')
  await clock.settle()
  assert.equal(applier.appliedIndex, 1)
  assert.deepEqual(alarms, ['unhealthy: GET answered 503', 'unhealthy: GET got no answer', 'resumed'])
})

test('when it turns unhealthy a batch in flight comes to its end, and no other one follows', async () => {
  const { gate, machine, log, clock, events, applier, start } = setUpGated()
  log.append(...commands(1, 4))
  start()
  gate.become('healthy')
  machine.holds = true
  applier.commit(2)
  await clock.settle()
  gate.become('unhealthy', 'tired')
  applier.commit(4)
  machine.release()
  await clock.advance(60_000)
  assert.deepEqual(events, ['2 [1 2] ["r1","r2"]'])
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1 2'])
  assert.equal(applier.blocked, 'tired')
  machine.holds = false
  gate.become('healthy')
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '2: 3 4'])
  assert.equal(applier.blocked, null)
})

test('it is told apart though there is nothing to deliver', async () => {
  const { gate, machine, clock, applier, start } = setUpGated()
  start()
  gate.become('healthy')
  await clock.settle()
  gate.become('unhealthy', 'tired')
  assert.equal(applier.blocked, 'tired')
  gate.become('healthy')
  await clock.settle()
  assert.equal(applier.blocked, null)
  assert.deepEqual(machine.calls, ['position', 'position'])
})

for (const [name, outcome, doubts] of [
  ['a failure', down, 1],
  ['an answer that does not fit', { type: 'malformed', reason: 'x' }, 1],
  ['what is set up wrongly', { type: 'misconfigured', reason: 'x' }, 1],
  ['a command that it refuses', { type: 'poison', index: 1, reason: 'x' }, 0],
] as const) {
  test(`after ${name} it is ${doubts === 0 ? 'taken to be as healthy as before' : 'asked whether it is healthy'}`, async () => {
    const { gate, machine, log, clock, applier, start } = setUpGated()
    log.append(command(1))
    machine.script.push(outcome)
    start()
    gate.become('healthy')
    applier.commit(1)
    await clock.settle()
    assert.equal(gate.doubts, doubts)
  })
}

test('a batch that failed is sent again after its time and after the answer, whichever comes last', async () => {
  const { gate, machine, log, clock, applier, start } = setUpGated()
  log.append(command(1))
  machine.script.push(down, down)
  start()
  gate.become('healthy')
  applier.commit(1)
  await clock.settle()
  machine.takeCalls()
  await clock.advance(5000)
  assert.deepEqual(machine.takeCalls(), [])
  assert.equal(applier.blocked, 'down')
  gate.become('healthy')
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1'])
  gate.become('healthy')
  await clock.advance(199)
  assert.deepEqual(machine.takeCalls(), [])
  await clock.advance(1)
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1'])
  assert.equal(applier.appliedIndex, 1)
})

test('a position that cannot be had, and is had no more, does not get around it', async () => {
  const { gate, machine, clock, applier, start } = setUpGated()
  machine.knownPosition = new Error('refused')
  start()
  gate.become('healthy')
  await clock.settle()
  assert.equal(gate.doubts, 1)
  gate.become('unhealthy', 'gone')
  await clock.advance(60_000)
  assert.deepEqual(machine.calls, ['position'])
  assert.equal(applier.blocked, 'gone')
})

test('no picture is taken of an unhealthy application, and one waits for it to say how it is', async () => {
  const { gate, clock, applier, start } = setUpGated()
  start()
  const picture = applier.snapshot()
  gate.become('healthy')
  assert.equal((await picture)?.position, 0)
  gate.become('unhealthy', 'tired')
  await assert.rejects(applier.snapshot(), /tired/)
  gate.become('unknown')
  const refused = applier.snapshot()
  gate.become('unhealthy', 'still tired')
  await assert.rejects(refused, /still tired/)
  await clock.settle()
})

test('a restore under way comes to its end', async () => {
  const { gate, machine, log, clock, events, start } = setUpGated()
  log.append(...commands(1, 7))
  log.compact(7)
  log.snapshot = new FakeSnapshot(7, 7, 'state')
  machine.holdsSnapshots = true
  start()
  gate.become('healthy')
  await clock.settle()
  gate.become('unhealthy', 'busy')
  machine.release()
  await clock.settle()
  assert.deepEqual(events, ['restored 7'])
})

test('closing while it is waited for leaves nothing behind', async () => {
  const { gate, machine, clock, applier, start } = setUpGated()
  start()
  await applier.close()
  gate.become('healthy')
  await clock.advance(60_000)
  assert.deepEqual(machine.calls, [])
})

// What may have been restarted

test('one that failed and was found again has recovered once it holds what was committed by then', async () => {
  const { machine, log, clock, recoveries, applier, start } = setUp({ maxBatchCommands: 1 })
  log.append(...commands(1, 5))
  start()
  applier.commit(3)
  await clock.settle()
  machine.script.push(down)
  machine.knownPosition = 0
  applier.commit(4)
  await clock.settle()
  applier.commit(5)
  assert.deepEqual(recoveries, [])
  await clock.advance(100)
  assert.deepEqual(recoveries, [5])
})

test('what is committed after it was found again is not waited for', async () => {
  const { machine, log, clock, recoveries, applier, start } = setUp({ maxBatchCommands: 1 })
  log.append(...commands(1, 9))
  machine.script.push(down)
  start()
  applier.commit(2)
  await clock.settle()
  machine.holds = true
  await clock.advance(100)
  applier.commit(9)
  for (let i = 0; i < 9; i++) {
    machine.release()
    await clock.settle()
  }
  assert.deepEqual(recoveries, [2])
})

test('one that answers that it lost something has recovered once it has made up for it', async () => {
  const { machine, log, clock, recoveries, applier, start } = setUp()
  log.append(...commands(1, 4))
  start()
  applier.commit(3)
  await clock.settle()
  machine.script.push({ type: 'elsewhere', position: 0 })
  applier.commit(4)
  await clock.settle()
  assert.deepEqual(recoveries, [4])
})

test('one that was unhealthy has recovered when it is healthy again', async () => {
  const { gate, log, clock, recoveries, applier, start } = setUpGated()
  log.append(command(1))
  start()
  gate.become('healthy')
  applier.commit(1)
  await clock.settle()
  assert.deepEqual(recoveries, [])
  gate.become('unhealthy', 'gone')
  gate.become('healthy')
  await clock.settle()
  assert.deepEqual(recoveries, [1])
})

test('one that never failed has nothing to recover from', async () => {
  const { log, clock, recoveries, applier, start } = setUp()
  log.append(...commands(1, 3))
  start()
  for (let index = 1; index <= 3; index++) {
    applier.commit(index)
    await clock.settle()
  }
  assert.deepEqual(recoveries, [])
})

test('one that is doubted is asked where it is, and has recovered once it holds everything', async () => {
  const { machine, log, clock, recoveries, applier, start } = setUp()
  log.append(...commands(1, 3))
  start()
  applier.commit(3)
  await clock.settle()
  machine.takeCalls()
  applier.doubt()
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position'])
  assert.deepEqual(recoveries, [3])
  machine.knownPosition = 0
  applier.doubt()
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1 2 3'])
  assert.deepEqual(recoveries, [3, 3])
})

test('one that is doubted while a batch is in flight is asked before the next one', async () => {
  const { machine, log, clock, recoveries, applier, start } = setUp({ maxBatchCommands: 1 })
  log.append(...commands(1, 3))
  start()
  await clock.settle()
  machine.holds = true
  applier.commit(3)
  await clock.settle()
  applier.doubt()
  applier.doubt()
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '0: 1'])
  machine.holds = false
  machine.release()
  await clock.settle()
  assert.deepEqual(machine.takeCalls(), ['position', '1: 2', '2: 3'])
  assert.deepEqual(recoveries, [3])
})

test('one that is doubted and does not answer is asked again by the backoff', async () => {
  const { machine, clock, recoveries, applier, start } = setUp()
  start()
  await clock.settle()
  machine.knownPosition = new Error('refused')
  applier.doubt()
  await clock.settle()
  assert.deepEqual(clock.dueInMs, [100])
  assert.match(applier.blocked ?? '', /refused/)
  machine.knownPosition = 0
  await clock.advance(100)
  assert.deepEqual(recoveries, [0])
  assert.equal(applier.blocked, null)
})
