import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Answer, type Command, Queue } from './task-queue/queue.ts'
import { Replica } from './task-queue/replica.ts'

const enqueue = (id: string): Command => ({ op: 'enqueue', id, path: `${id}.txt` })
const lease = (worker: string, leaseMs = 100, max = 1): Command => ({ op: 'lease', worker, leaseMs, max })
const complete = (id: string, leaseId: string, result = 'digest'): Command => ({ op: 'complete', id, leaseId, result })
const retry = (id: string, leaseId: string): Command => ({ op: 'retry', id, leaseId, reason: 'unreadable' })

const known: Answer = { ok: true, known: true }
const fresh: Answer = { ok: true, known: false }
const nothing: Answer = { ok: true, tasks: [] }
const leased = (id: string, attempt: number): Answer => ({
  ok: true,
  tasks: [{ id, path: `${id}.txt`, leaseId: `${id}#${attempt}`, attempt }],
})
const refused = (leaseId: string): Answer => ({ ok: false, reason: `lease ${leaseId} is not held any more` })

type Step = readonly [timestampMs: number, command: unknown, answer: Answer]

const rules: Readonly<Record<string, readonly Step[]>> = {
  'a task that is known already is not enqueued again': [
    [0, enqueue('a'), fresh],
    [1, enqueue('a'), known],
    [2, lease('w', 100, 9), leased('a', 1)],
    [3, lease('w', 100, 9), nothing],
    [4, enqueue('a'), known],
  ],
  'tasks are leased in the order in which they came': [
    [0, enqueue('b'), fresh],
    [0, enqueue('a'), fresh],
    [1, lease('w'), leased('b', 1)],
    [1, lease('w'), leased('a', 1)],
  ],
  'a leased task is not leased again before its lease has run out, by the timestamp of the command': [
    [0, enqueue('a'), fresh],
    [10, lease('w1', 100), leased('a', 1)],
    [109, lease('w2', 100), nothing],
    [110, lease('w2', 100), leased('a', 2)],
  ],
  'a completion under a lease that ran out and was given again is refused': [
    [0, enqueue('a'), fresh],
    [0, lease('w1', 100), leased('a', 1)],
    [100, lease('w2', 100), leased('a', 2)],
    [101, complete('a', 'a#1'), refused('a#1')],
    [102, complete('a', 'a#2'), fresh],
    [103, complete('a', 'a#1'), refused('a#1')],
  ],
  'a completion after the end of its lease is refused even if nobody else has the task yet': [
    [0, enqueue('a'), fresh],
    [0, lease('w1', 100), leased('a', 1)],
    [99, enqueue('b'), fresh],
    [100, complete('a', 'a#1'), refused('a#1')],
    [101, lease('w2'), leased('b', 1)],
    [102, lease('w2'), leased('a', 2)],
  ],
  'a completion that is repeated says that it is known, however late': [
    [0, enqueue('a'), fresh],
    [0, lease('w1', 100), leased('a', 1)],
    [50, complete('a', 'a#1'), fresh],
    [51, complete('a', 'a#1'), known],
    [900, complete('a', 'a#1', 'another digest'), known],
  ],
  'a done task is never leased again': [
    [0, enqueue('a'), fresh],
    [0, lease('w1', 100), leased('a', 1)],
    [1, complete('a', 'a#1'), fresh],
    [500, lease('w2'), nothing],
  ],
  'a task that is given back can be leased at once, and its old lease is worth nothing': [
    [0, enqueue('a'), fresh],
    [0, lease('w1', 100), leased('a', 1)],
    [5, retry('a', 'a#1'), { ok: true }],
    [5, lease('w2', 100), leased('a', 2)],
    [6, retry('a', 'a#1'), refused('a#1')],
    [7, complete('a', 'a#1'), refused('a#1')],
    [8, complete('a', 'a#2'), fresh],
  ],
  'what was never enqueued or never leased cannot be completed': [
    [0, complete('a', 'a#1'), refused('a#1')],
    [0, enqueue('a'), fresh],
    [0, complete('a', 'a#1'), refused('a#1')],
    [0, retry('a', 'a#1'), refused('a#1')],
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
    ] as const
  ).map((command) => [0, command, { ok: false, reason: 'not a command of this queue' }]),
}

describe('the queue', () => {
  for (const [rule, steps] of Object.entries(rules)) {
    it(rule, () => {
      const queue = new Queue()
      for (const [timestampMs, command, answer] of steps) assert.deepEqual(queue.apply(command, timestampMs), answer)
    })
  }

  it('gives at most a hundred tasks in one lease', () => {
    const queue = new Queue()
    for (let number = 0; number < 150; number++) queue.apply(enqueue(`t${number}`), 0)
    const answer = queue.apply(lease('w', 100, 1_000_000), 1)
    assert.equal(answer.ok && answer.tasks?.length, 100)
    assert.deepEqual(queue.stats(), { queued: 50, leased: 100, done: 0, refused: 0 })
  })

  it('keeps every lease with its true end, and every completion, for the audit', () => {
    const queue = new Queue()
    for (const [timestampMs, command] of [
      [0, enqueue('a')],
      [10, lease('w1', 100)],
      [20, retry('a', 'a#1')],
      [30, lease('w2', 100)],
      [130, lease('w3', 100)],
      [140, complete('a', 'a#2', 'late')],
      [150, complete('a', 'a#3', 'digest')],
    ] as const) {
      queue.apply(command, timestampMs)
    }
    assert.deepEqual(queue.history(), [
      {
        id: 'a',
        path: 'a.txt',
        leases: [
          { leaseId: 'a#1', worker: 'w1', fromMs: 10, untilMs: 20 },
          { leaseId: 'a#2', worker: 'w2', fromMs: 30, untilMs: 130 },
          { leaseId: 'a#3', worker: 'w3', fromMs: 130, untilMs: 230 },
        ],
        completions: [{ leaseId: 'a#3', atMs: 150, result: 'digest' }],
      },
    ])
    assert.deepEqual(queue.stats(), { queued: 0, leased: 0, done: 1, refused: 1 })
  })

  it('says that there may be something to lease once the oldest lease has run out', () => {
    const queue = new Queue()
    assert.equal(queue.claimable(0), false)
    queue.apply(enqueue('a'), 0)
    assert.equal(queue.claimable(0), true)
    queue.apply(lease('w', 100), 0)
    assert.equal(queue.claimable(99), false)
    assert.equal(queue.claimable(100), true)
  })
})

describe('a replica', () => {
  const commands = [
    enqueue('a'),
    enqueue('b'),
    lease('w1', 10, 2),
    complete('a', 'a#1'),
    enqueue('c'),
    lease('w2', 10, 2),
    complete('b', 'b#1'),
    'garbage',
    complete('b', 'b#2'),
    lease('w3', 10, 2),
  ].map((command, at) => ({ index: at * 2 + 1, timestamp: new Date(at * 4).toISOString(), command }))

  it('has the same digest as another one that was fed the same log in other portions', () => {
    const [one, other] = [new Replica(), new Replica()]
    one.deliver({ after: 0, commands })
    for (const command of commands) other.deliver({ after: Math.max(0, command.index - 2), commands: [command] })
    assert.equal(one.position, 19)
    assert.equal(other.position, 19)
    assert.equal(one.queue.digest(), other.queue.digest())
  })

  it('has another digest as soon as one timestamp differs', () => {
    const [one, other] = [new Replica(), new Replica()]
    one.deliver({ after: 0, commands })
    other.deliver({
      after: 0,
      commands: commands.map((command) => ({ ...command, timestamp: new Date(0).toISOString() })),
    })
    assert.notEqual(one.queue.digest(), other.queue.digest())
  })

  it('ignores a command that it holds already, and takes the new ones behind it', () => {
    const [once, twice] = [new Replica(), new Replica()]
    once.deliver({ after: 0, commands })
    twice.deliver({ after: 0, commands: commands.slice(0, 6) })
    const answers = twice.deliver({ after: 0, commands })
    assert.deepEqual(answers?.slice(0, 6), [null, null, null, null, null, null])
    assert.ok(answers?.slice(6).every((answer) => answer !== null))
    assert.equal(twice.queue.digest(), once.queue.digest())
  })

  it('takes nothing when a command is missing in between', () => {
    const replica = new Replica()
    replica.deliver({ after: 0, commands: commands.slice(0, 3) })
    const before = replica.queue.digest()
    assert.equal(replica.deliver({ after: 7, commands: commands.slice(4) }), null)
    assert.equal(replica.position, 5)
    assert.equal(replica.queue.digest(), before)
  })
})
