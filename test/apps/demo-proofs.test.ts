import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Evidence, judge, type Testimony } from '../../scripts/demo/proofs.ts'
import type { Task } from './task-queue/queue.ts'

function lease(leaseId: string, fromMs: number, untilMs: number): Task['leases'][number] {
  return { leaseId, worker: 'w', fromMs, untilMs }
}

const a: Task = {
  id: 'a',
  path: 'a.txt',
  leases: [lease('a#1', 0, 100), lease('a#2', 100, 200)],
  completions: [{ leaseId: 'a#2', atMs: 150, result: 'A' }],
}
const b: Task = {
  id: 'b',
  path: 'b.txt',
  leases: [lease('b#1', 0, 100)],
  completions: [{ leaseId: 'b#1', atMs: 0, result: 'B' }],
}

function evidence(
  first: Partial<Testimony> = {},
  everywhere: Partial<Testimony> = {},
  rest: Partial<Evidence> = {},
): Evidence {
  const testimony: Testimony = { node: 'n', position: 9, digest: 'd', tasks: [a, b], ...everywhere }
  return {
    acknowledged: new Set(['a', 'b']),
    testimonies: [
      { ...testimony, node: 'n1', ...first },
      { ...testimony, node: 'n2' },
      { ...testimony, node: 'n3' },
    ],
    digests: new Map([
      ['a.txt', 'A'],
      ['b.txt', 'B'],
    ]),
    ...rest,
  }
}

function failures(given: Evidence): string[] {
  return judge(given)
    .filter(({ holds }) => !holds)
    .map(({ sentence }) => sentence)
}

function withTask(task: Partial<Task>): Evidence {
  return evidence({}, { tasks: [{ ...a, ...task }, b] })
}

const everywhere = (what: string) => `${what} on n1, ${what} on n2, ${what} on n3`

describe('the proofs of the demo', () => {
  it('hold for a run in which a task was leased again after its first lease had run out', () => {
    assert.deepEqual(failures(evidence()), [])
  })

  const lies: Readonly<Record<string, readonly [Evidence, readonly string[]]>> = {
    'an acknowledged task that is gone everywhere': [evidence({}, { tasks: [b] }), [`not done: ${everywhere('a')}`]],
    'an acknowledged task that is not done': [
      withTask({ completions: [] }),
      [`not done: ${everywhere('a')}`, `done otherwise: ${everywhere('a')}`],
    ],
    'a task that nobody acknowledged': [
      evidence({}, {}, { acknowledged: new Set(['b']) }),
      [`never acknowledged: ${everywhere('a')}`],
    ],
    'a task that was done twice': [
      withTask({ completions: [...a.completions, { leaseId: 'a#2', atMs: 160, result: 'A' }] }),
      [`done otherwise: ${everywhere('a')}`],
    ],
    'a completion under an earlier lease': [
      withTask({ completions: [{ leaseId: 'a#1', atMs: 50, result: 'A' }] }),
      [`done otherwise: ${everywhere('a')}`],
    ],
    'a completion at the very end of its lease': [
      withTask({ completions: [{ leaseId: 'a#2', atMs: 200, result: 'A' }] }),
      [`done otherwise: ${everywhere('a')}`],
    ],
    'a completion before its lease': [
      withTask({ completions: [{ leaseId: 'a#2', atMs: 99, result: 'A' }] }),
      [`done otherwise: ${everywhere('a')}`],
    ],
    'a completion under no lease': [
      withTask({ completions: [{ leaseId: 'a#3', atMs: 150, result: 'A' }] }),
      [`done otherwise: ${everywhere('a')}`],
    ],
    'two leases at once': [
      withTask({ leases: [lease('a#1', 0, 101), lease('a#2', 100, 200)] }),
      [`overlapping: ${everywhere('a')}`],
    ],
    'a lease within an earlier one that is not its neighbour': [
      withTask({ leases: [lease('a#0', 0, 300), lease('a#1', 300, 310), lease('a#2', 100, 200)] }),
      [`overlapping: ${everywhere('a')}`],
    ],
    'a wrong result': [
      withTask({ completions: [{ leaseId: 'a#2', atMs: 150, result: 'unreadable: ENOENT' }] }),
      ['wrong: a.txt as a on n1, a.txt as a on n2, a.txt as a on n3'],
    ],
    'a file that was never hashed again': [
      evidence({}, {}, { digests: new Map([['b.txt', 'B']]) }),
      ['wrong: a.txt as a on n1, a.txt as a on n2, a.txt as a on n3'],
    ],
    'a state at another index': [
      evidence({ position: 8 }),
      ['the states differ: n1 at 8 with d, n2 at 9 with d, n3 at 9 with d'],
    ],
    'a state with another digest': [
      evidence({ digest: 'e' }),
      ['the states differ: n1 at 9 with e, n2 at 9 with d, n3 at 9 with d'],
    ],
    'a history that differs below an equal digest': [
      evidence({ tasks: [{ ...a, leases: [lease('a#1', 0, 99), lease('a#2', 100, 200)] }, b] }),
      ['the states differ: n1 at 9 with d, n2 at 9 with d, n3 at 9 with d'],
    ],
  }
  for (const [lie, [given, expected]] of Object.entries(lies)) {
    it(`fail on ${lie}`, () => assert.deepEqual(failures(given), expected))
  }

  it('leave out the result of a file that changed meanwhile, and say so', () => {
    const digests = new Map([
      ['a.txt', null],
      ['b.txt', 'B'],
    ])
    assert.deepEqual(failures(evidence({}, {}, { digests })), [])
    assert.ok(
      judge(evidence({}, {}, { digests })).some(({ sentence }) => sentence.includes('1 that changed meanwhile')),
    )
  })
})
