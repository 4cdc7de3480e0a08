// What arrives in a flood is taken up turn by turn.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pace } from '../../src/api/pace.ts'
import { ProposalError } from '../../src/errors.ts'
import { startApi } from './running-api.ts'

const MiB = 1024 * 1024

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

test('what fits into a turn begins at once, the rest in the next ones, in order', async () => {
  const pace = new Pace()
  const begun: number[] = []
  for (let number = 1; number <= 5; number++) {
    assert.equal(
      pace.take(MiB, () => begun.push(number)),
      true,
    )
  }
  assert.deepEqual(begun, [1, 2])
  await nextTurn()
  assert.deepEqual(begun, [1, 2, 3, 4])
  // One that comes now does not overtake.
  pace.take(0, () => begun.push(6))
  assert.deepEqual(begun, [1, 2, 3, 4])
  await nextTurn()
  assert.deepEqual(begun, [1, 2, 3, 4, 5, 6])
})

test('small ones are bounded by their number, and one that is larger than a turn begins, too', async () => {
  const pace = new Pace()
  let begun = 0
  for (let number = 1; number <= 300; number++) pace.take(0, () => begun++)
  assert.equal(begun, 256)
  await nextTurn()
  assert.equal(begun, 300)
  await nextTurn()
  const large = new Pace()
  large.take(64 * MiB, () => begun++)
  assert.equal(begun, 301)
})

test('a new turn owes nothing to the one before', async () => {
  const pace = new Pace()
  const begun: number[] = []
  for (let turn = 1; turn <= 3; turn++) {
    pace.take(2 * MiB, () => begun.push(turn))
    assert.equal(begun.length, turn)
    await nextTurn()
  }
})

test('what would wait behind a thousand others is not taken', async () => {
  const pace = new Pace()
  let begun = 0
  const taken = Array.from({ length: 1_300 }, () => pace.take(0, () => begun++))
  assert.equal(taken.filter((isTaken) => isTaken).length, 1_256)
  assert.equal(taken.lastIndexOf(true), 1_255)
  for (let turns = 0; turns < 5; turns++) await nextTurn()
  assert.equal(begun, 1_256)
})

test('commands that have to wait for their turn are proposed, or refused, as all others are', async (t) => {
  const { node, send } = await startApi(t, { maxCommandBytes: MiB })
  const body = `"${'x'.repeat(MiB - 2)}"`
  const headers = { 'content-type': 'application/json' }
  let room = 7
  node.onAdmit = () => (room > 0 ? null : new ProposalError('too-many-proposals', 'not_applied', 'No room.'))
  node.onPropose = async () => {
    room--
    return { index: 42, term: 3, timestampMs: 0, duplicate: false, result: null }
  }
  const answers = await Promise.all(Array.from({ length: 12 }, () => send('POST', '/v1/commands', { headers, body })))
  assert.equal(node.proposals.length, 7)
  assert.equal(answers.filter(({ status }) => status === 200).length, 7)
  assert.equal(answers.filter(({ status, json }) => status === 429 && json.code === 'too-many-proposals').length, 5)
})
