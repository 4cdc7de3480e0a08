// Whether the machine still holds what it was given: known only by an answer to something that was asked after the wish to know.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { watch } from '../node/watched.ts'
import { commands, down, ScriptedMachine, setUp } from './applier-kit.ts'

async function applied(count: number, machine = new ScriptedMachine()) {
  const kit = setUp({ machine })
  kit.log.append(...commands(1, count))
  kit.start()
  kit.applier.commit(count)
  await kit.clock.settle()
  assert.equal(kit.applier.appliedIndex, count)
  machine.takeCalls()
  return { ...kit, machine }
}

function confirm({ applier }: Awaited<ReturnType<typeof applied>>) {
  return watch(applier.confirm() ?? assert.fail('There is something to confirm'))
}

test('A machine at rest is asked where it is, once for all who wish to know', async () => {
  const kit = await applied(3)
  const wishes = [confirm(kit), confirm(kit), confirm(kit)]
  await kit.clock.settle()
  assert.deepEqual(
    wishes.map(({ state }) => state),
    ['resolved', 'resolved', 'resolved'],
  )
  // The first wish is on its way when the others come: they need another answer.
  assert.deepEqual(kit.machine.takeCalls(), ['position', 'position'])
})

test('One that lost its state is found out, and fed again', async () => {
  const kit = await applied(3)
  kit.machine.knownPosition = 0
  kit.machine.holds = true
  const wish = confirm(kit)
  await kit.clock.settle()
  assert.equal(wish.state, 'resolved')
  assert.equal(kit.applier.appliedIndex, 0)
  kit.machine.release()
  await kit.clock.settle()
  assert.equal(kit.applier.appliedIndex, 3)
  assert.deepEqual(kit.machine.takeCalls(), ['position', '0: 1 2 3'])
})

test('A batch that was on its way before proves nothing, the next one does', async () => {
  const kit = await applied(3)
  kit.machine.holds = true
  kit.log.append(...commands(4, 5))
  kit.applier.commit(4)
  await kit.clock.settle()
  const wish = confirm(kit)
  kit.applier.commit(5)
  kit.machine.release()
  await kit.clock.settle()
  assert.equal(wish.state, 'pending')
  kit.machine.release()
  await kit.clock.settle()
  assert.equal(wish.state, 'resolved')
  assert.deepEqual(kit.machine.takeCalls(), ['3: 4', '4: 5'])
})

test('While it does not answer nobody is told anything', async () => {
  const kit = await applied(3)
  kit.machine.script.push(down)
  kit.log.append(...commands(4, 4))
  const wish = confirm(kit)
  await kit.clock.settle()
  assert.equal(wish.state, 'resolved')
  kit.applier.commit(4)
  await kit.clock.settle()
  kit.machine.knownPosition = new Error('connection refused')
  const late = confirm(kit)
  await kit.clock.advance(60_000)
  assert.equal(late.state, 'pending')
  kit.machine.knownPosition = 3
  await kit.clock.advance(60_000)
  assert.equal(late.state, 'resolved')
  assert.equal(kit.applier.appliedIndex, 4)
})

test('An answer that it is elsewhere confirms nothing', async () => {
  const kit = await applied(3)
  kit.machine.script.push(() => {
    kit.machine.knownPosition = 1
    return { type: 'elsewhere', position: 1 }
  })
  kit.machine.holds = true
  kit.log.append(...commands(4, 5))
  kit.applier.commit(4)
  await kit.clock.settle()
  kit.applier.commit(5)
  const wish = confirm(kit)
  kit.machine.release()
  await kit.clock.settle()
  assert.equal(wish.state, 'pending')
  kit.machine.release()
  await kit.clock.settle()
  assert.equal(wish.state, 'resolved')
  assert.equal(kit.applier.appliedIndex, 5)
})

test('There is nothing to confirm of a machine in this process, or of one that does not tell its position', async () => {
  const own = new ScriptedMachine()
  own.movesByItself = false
  assert.equal((await applied(3, own)).applier.confirm(), null)
  const untold = new ScriptedMachine()
  untold.knownPosition = null
  assert.equal((await applied(3, untold)).applier.confirm(), null)
})

test('Whoever waits when delivery ends is told so', async () => {
  const kit = await applied(3)
  kit.machine.holds = true
  kit.log.append(...commands(4, 4))
  kit.applier.commit(4)
  await kit.clock.settle()
  const wish = confirm(kit)
  void kit.applier.close()
  await kit.clock.settle()
  assert.match(wish.state, /closing/)
  assert.match(confirm(kit).state, /pending/)
  await kit.clock.settle()
})
