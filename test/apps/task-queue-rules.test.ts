import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type Answer, type Command, Queue } from './task-queue/queue.ts'

const enqueue = (id: string): Command => ({ op: 'enqueue', id, path: `${id}.txt` })
const lease = (worker: string, leaseMs = 100, max = 1): Command => ({ op: 'lease', worker, leaseMs, max })
const complete = (id: string, leaseId: string, result = 'digest'): Command => ({ op: 'complete', id, leaseId, result })

const done: Answer = { ok: true }
const nothing: Answer = { ok: true, tasks: [] }
const leased = (id: string, attempt: number): Answer => ({
  ok: true,
  tasks: [{ id, path: `${id}.txt`, leaseId: `${id}#${attempt}` }],
})
const refused = (leaseId: string): Answer => ({ ok: false, reason: `lease ${leaseId} is not held any more` })

type Step = readonly [timestampMs: number, command: unknown, answer: Answer]

const rules: Readonly<Record<string, readonly Step[]>> = {
  'a task that is there already is not enqueued again': [
    [0, enqueue('a'), done],
    [1, enqueue('a'), { ok: false, reason: 'there is a task a already' }],
    [2, lease('w', 100, 9), leased('a', 1)],
    [3, lease('w', 100, 9), nothing],
    [4, complete('a', 'a#1'), done],
    [5, enqueue('a'), { ok: false, reason: 'there is a task a already' }],
  ],
  'tasks are leased in the order in which they came': [
    [0, enqueue('b'), done],
    [0, enqueue('a'), done],
    [1, lease('w'), leased('b', 1)],
    [1, lease('w'), leased('a', 1)],
  ],
  'a leased task is not leased again before its lease has run out, by the timestamp of the command': [
    [0, enqueue('a'), done],
    [10, lease('w1', 100), leased('a', 1)],
    [109, lease('w2', 100), nothing],
    [110, lease('w2', 100), leased('a', 2)],
  ],
  'a completion under a lease that ran out and was given again is refused': [
    [0, enqueue('a'), done],
    [0, lease('w1', 100), leased('a', 1)],
    [100, lease('w2', 100), leased('a', 2)],
    [101, complete('a', 'a#1'), refused('a#1')],
    [102, complete('a', 'a#2'), done],
    [103, complete('a', 'a#1'), refused('a#1')],
  ],
  'a completion after the end of its lease is refused even if nobody else has the task yet': [
    [0, enqueue('a'), done],
    [0, lease('w1', 100), leased('a', 1)],
    [99, enqueue('b'), done],
    [100, complete('a', 'a#1'), refused('a#1')],
    [101, lease('w2'), leased('a', 2)],
    [102, lease('w2'), leased('b', 1)],
  ],
  'a task is completed once': [
    [0, enqueue('a'), done],
    [0, lease('w1', 100), leased('a', 1)],
    [50, complete('a', 'a#1'), done],
    [51, complete('a', 'a#1', 'another digest'), refused('a#1')],
  ],
  'a done task is never leased again': [
    [0, enqueue('a'), done],
    [0, lease('w1', 100), leased('a', 1)],
    [1, complete('a', 'a#1'), done],
    [500, lease('w2'), nothing],
  ],
  'what was never enqueued or never leased cannot be completed': [
    [0, complete('a', 'a#1'), refused('a#1')],
    [0, enqueue('a'), done],
    [0, complete('a', 'a#1'), refused('a#1')],
  ],
  'a lease of no task, or for no time, is one': [
    [0, enqueue('a'), done],
    [0, lease('w', 100, 0), nothing],
    [0, lease('w', 100, -1), nothing],
    [0, lease('w', 0), leased('a', 1)],
    [0, complete('a', 'a#1'), refused('a#1')],
    [0, lease('w', -50), leased('a', 2)],
    [0, lease('w', 100), leased('a', 3)],
  ],
  'what is not a command of the queue is answered with the reason and changes nothing': (
    [
      null,
      7,
      'lease',
      [],
      {},
      { op: 'drop' },
      { op: 'toString' },
      { op: 'enqueue', id: 1, path: 'p' },
      { op: 'lease' },
      { op: 'lease', worker: 'w', leaseMs: 1.5, max: 1 },
      { op: 'lease', worker: 'w', leaseMs: Number.POSITIVE_INFINITY, max: 1 },
    ] as const
  ).map((command) => [0, command, { ok: false, reason: 'not a command of this queue' }]),
}

/** Everything that there is to see of it. */
function picture(queue: Queue): string {
  return JSON.stringify([...queue.tasks.values()])
}

describe('the queue', () => {
  for (const [rule, steps] of Object.entries(rules)) {
    it(rule, () => {
      const queue = new Queue()
      for (const [timestampMs, command, answer] of steps) assert.deepEqual(queue.apply(command, timestampMs), answer)
    })

    it(`${rule}: also when it is restored from a snapshot before every command`, () => {
      let queue = new Queue()
      for (const [timestampMs, command, answer] of steps) {
        queue = new Queue(JSON.parse(picture(queue)))
        assert.deepEqual(queue.apply(command, timestampMs), answer)
      }
    })
  }

  it('gives at most a hundred tasks in one lease', () => {
    const queue = new Queue()
    for (let number = 0; number < 150; number++) queue.apply(enqueue(`t${number}`), 0)
    assert.equal(queue.apply(lease('w', 100, 1_000_000), 1).tasks?.length, 100)
    assert.deepEqual(queue.stats(1), { queued: 50, leased: 100, done: 0 })
    assert.deepEqual(queue.stats(101), { queued: 150, leased: 0, done: 0 })
  })

  it('keeps every lease and every completion, for the audit', () => {
    const queue = new Queue()
    for (const [timestampMs, command] of [
      [0, enqueue('a')],
      [10, lease('w1', 100)],
      [30, lease('w2', 100)],
      [110, lease('w3', 100)],
      [140, complete('a', 'a#1', 'late')],
      [150, complete('a', 'a#2', 'digest')],
    ] as const) {
      queue.apply(command, timestampMs)
    }
    assert.deepEqual(queue.tasks.get('a'), {
      id: 'a',
      path: 'a.txt',
      leases: [
        { leaseId: 'a#1', worker: 'w1', fromMs: 10, untilMs: 110 },
        { leaseId: 'a#2', worker: 'w3', fromMs: 110, untilMs: 210 },
      ],
      completions: [{ leaseId: 'a#2', atMs: 150, result: 'digest' }],
    })
    assert.deepEqual(queue.stats(150), { queued: 0, leased: 0, done: 1 })
  })

  it('shows what a lease could find, also once the oldest lease has run out', () => {
    const queue = new Queue()
    const free = (nowMs: number) => queue.free(nowMs).map(({ id }) => id)
    assert.deepEqual(free(0), [])
    queue.apply(enqueue('a'), 0)
    assert.deepEqual(free(0), ['a'])
    queue.apply(lease('w', 100), 0)
    assert.deepEqual(free(99), [])
    assert.deepEqual(free(100), ['a'])
  })

  it('is another one as soon as one timestamp differs', () => {
    const [one, other] = [new Queue(), new Queue()]
    for (const command of [enqueue('a'), lease('w')]) {
      one.apply(command, 10)
      other.apply(command, 11)
    }
    assert.notEqual(picture(one), picture(other))
  })
})

it('the whole service of the task queue is under 200 lines', async () => {
  const folder = join(import.meta.dirname, 'task-queue')
  const files = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), 'utf8')))
  const lines = files.reduce((sum, file) => sum + file.split('\n').length - 1, 0)
  assert.ok(lines < 200, `it has ${lines}`)
})
