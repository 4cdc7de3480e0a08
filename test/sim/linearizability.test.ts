// The checker against histories known good and known bad.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkHistory, checkRegister, type Operation } from './history/linearizability.ts'
import { Random } from './world/random.ts'

const never = Number.POSITIVE_INFINITY

function write(value: string | null, calledAt: number, returnedAt: number, key = 'k'): Operation {
  return { kind: 'write', key, value, calledAt, returnedAt }
}

function read(value: string | null, calledAt: number, returnedAt: number, key = 'k'): Operation {
  return { kind: 'read', key, value, calledAt, returnedAt }
}

const good: Readonly<Record<string, readonly Operation[]>> = {
  'nothing happened': [],
  'a register begins empty': [read(null, 1, 2)],
  'a read after a write sees it': [write('a', 1, 2), read('a', 3, 4)],
  'a read beside a write may see it': [write('a', 1, 4), read('a', 2, 3)],
  'a read beside a write may miss it': [write('a', 1, 4), read(null, 2, 3)],
  'two writes at once take effect in either order': [write('a', 1, 4), write('b', 2, 3), read('a', 5, 6)],
  'readers beside a write see it one after the other': [
    write('a', 1, 8),
    read(null, 2, 3),
    read('a', 4, 5),
    read('a', 6, 7),
  ],
  'a write of unknown outcome may never happen': [write('a', 1, never), read(null, 2, 3), read(null, 4, 5)],
  'a write of unknown outcome may happen late': [
    write('a', 1, never),
    read(null, 2, 3),
    write('b', 4, 5),
    read('a', 6, 7),
  ],
  'a deletion empties the register': [write('a', 1, 2), write(null, 3, 4), read(null, 5, 6)],
  'a deletion of unknown outcome explains an empty register': [
    write('a', 1, 2),
    write(null, 3, never),
    read('a', 4, 5),
    read(null, 6, 7),
  ],
  'keys are registers of their own': [
    write('a', 1, 2, 'x'),
    write('b', 3, 4, 'y'),
    read('a', 5, 6, 'x'),
    read('b', 7, 8, 'y'),
  ],
}

const bad: Readonly<Record<string, readonly Operation[]>> = {
  'a stale read': [write('a', 1, 2), write('b', 3, 4), read('a', 5, 6)],
  'a lost write': [write('a', 1, 2), read(null, 3, 4)],
  'a value that nobody wrote': [read('a', 1, 2)],
  'a value before it is written': [read('a', 1, 2), write('a', 3, 4)],
  'a value that goes and comes again': [write('a', 1, 2), write('b', 3, 8), read('b', 4, 5), read('a', 6, 7)],
  'two readers that see writes in different orders': [
    write('a', 1, 10),
    write('b', 2, 11),
    read('a', 12, 13),
    read('b', 14, 15),
  ],
  'a write of unknown outcome that happens twice': [
    write('a', 1, never),
    read('a', 2, 3),
    write('b', 4, 5),
    read('b', 6, 7),
    read('a', 8, 9),
  ],
  'a write of unknown outcome seen before its call': [read('a', 1, 2), write('a', 3, never)],
  'a fault of one key among others': [
    write('a', 1, 2, 'x'),
    read(null, 3, 4, 'x'),
    write('b', 5, 6, 'y'),
    read('b', 7, 8, 'y'),
  ],
}

for (const [name, history] of Object.entries(good)) {
  test(`linearizable: ${name}`, () => assert.equal(checkHistory(history).verdict, 'linearizable'))
}

for (const [name, history] of Object.entries(bad)) {
  test(`not linearizable: ${name}`, () => assert.equal(checkHistory(history).verdict, 'not-linearizable'))
}

test('a search that is too long says that it does not know', () => {
  const writes = Array.from({ length: 12 }, (_, i) => write(`${i}`, i + 1, 100 + i))
  assert.equal(checkRegister([...writes, read('nobody wrote this', 200, 201)], 500), 'undecided')
})

test('a register that is simulated is linearizable, and is not once one of its reads is falsified', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const history = simulatedRegister(new Random(seed, 'register'))
    assert.equal(checkRegister(history, 200_000), 'linearizable', `seed ${seed}`)
    const reads = history.filter(({ kind, value }) => kind === 'read' && value !== null)
    const last = reads.at(-1)
    if (last === undefined) continue
    const falsified = history.map((operation) =>
      operation === last ? { ...operation, value: 'never written' } : operation,
    )
    assert.equal(checkRegister(falsified, 200_000), 'not-linearizable', `seed ${seed}`)
  }
})

/** Operations of several clients, each of which takes effect at a moment between its call and its answer. */
function simulatedRegister(random: Random): Operation[] {
  const moments = Array.from({ length: 40 }, (_, number) => {
    const at = random.between(0, 100)
    return {
      number,
      at,
      calledAt: at - random.exponential(4),
      returnedAt: at + random.exponential(4),
      isWrite: random.chance(0.4),
    }
  }).sort((a, b) => a.at - b.at)
  let state: string | null = null
  return moments.map(({ number, calledAt, returnedAt, isWrite }) => {
    if (isWrite) state = `v${number}`
    return {
      kind: isWrite ? 'write' : 'read',
      key: 'k',
      value: state,
      calledAt,
      returnedAt: isWrite && random.chance(0.2) ? never : returnedAt,
    }
  })
}
