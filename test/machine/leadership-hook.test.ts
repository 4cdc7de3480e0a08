// What the application hears of leadership, in which order, and what it is spared. The time is moved by hand; what goes over the sockets is waited for.

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { LeadershipHook, type LeadershipNews } from '../../src/machine/leadership-hook.ts'
import { FakeClock, someUnixMs } from './fixtures.ts'
import { startServer } from './test-server.ts'
import { until } from './until.ts'

const timeoutMs = 1000

type Answer = number | 'reset' | readonly [status: number, headers: Record<string, string>]

class Application {
  /** What it was sent: event, leader and term. */
  readonly heard: string[] = []
  readonly bodies: unknown[] = []
  readonly open: ServerResponse[] = []
  /** To the next requests, then 204. */
  readonly script: Answer[] = []
  /** Requests wait for `answer`. */
  holds = false

  take(url: string, body: Buffer, response: ServerResponse): void {
    assert.equal(url, '/raft/leadership')
    const news = JSON.parse(body.toString())
    this.bodies.push(news)
    this.heard.push(`${news.event} ${news.leader} ${news.term}`)
    this.open.push(response)
    if (!this.holds) this.answer()
  }

  answer(): void {
    const next = this.script.shift() ?? 204
    const response = this.open.shift()
    if (next === 'reset') response?.socket?.resetAndDestroy()
    else if (typeof next === 'number') response?.writeHead(next).end()
    else response?.writeHead(next[0], next[1]).end()
  }
}

interface Subject {
  readonly app: Application
  readonly hook: LeadershipHook
  readonly clock: FakeClock
  readonly alarms: readonly string[]
  /** How often it was to be found out whether the application is whole. */
  rechecks(): number
}

/** The application is found whole whenever that is asked, unless the test does it by `repeat`. */
async function withHook(
  run: (subject: Subject) => Promise<void>,
  { random = () => 1, isWhole = true }: { readonly random?: () => number; readonly isWhole?: boolean } = {},
): Promise<void> {
  const app = new Application()
  const server = await startServer((request, body, response) => app.take(request.url ?? '', body, response))
  const fake = new FakeClock()
  const alarms: string[] = []
  let rechecks = 0
  const hook: LeadershipHook = new LeadershipHook({
    url: `${server.url}/raft/`,
    clock: { after: fake.after, unixMs: () => someUnixMs },
    random,
    timeoutMs,
    signer: null,
    recheck: () => {
      rechecks++
      if (isWhole) hook.repeat()
    },
    observer: {
      obstructed: (kind, sentence) => alarms.push(`${kind}: ${sentence}`),
      resumed: () => alarms.push('resumed'),
    },
  })
  try {
    await run({ app, hook, clock: fake, alarms, rechecks: () => rechecks })
  } finally {
    const closed = hook.close()
    await fake.advance(1000)
    await closed
    await server.stop()
    assert.deepEqual(fake.dueInMs, [])
  }
}

function news(event: LeadershipNews['event'], leader: string | null, term: number): LeadershipNews {
  return { event, leader: leader === null ? null : { id: leader }, term }
}

const acquired = (term: number) => news('acquired', 'n1', term)
const lost = (leader: string | null, term: number) => news('lost', leader, term)
const changed = (leader: string | null, term: number) => news('changed', leader, term)

/** Nothing is under way any more; a timer, if one runs, is that of a retry. */
async function rested({ app, clock }: Subject, heard: number): Promise<void> {
  await until(() => app.heard.length === heard)
  await until(() => !clock.dueInMs.includes(timeoutMs))
  await clock.settle()
}

test('the application hears of each change in order, with the term to fence by', async () => {
  await withHook(async (subject) => {
    const { app, hook } = subject
    hook.tell(changed('n2', 2))
    await rested(subject, 1)
    hook.tell(acquired(3))
    await rested(subject, 2)
    hook.tell(lost(null, 4))
    await rested(subject, 3)
    assert.deepEqual(app.bodies, [
      { event: 'changed', leader: 'n2', term: 2, fencingToken: 2 },
      { event: 'acquired', leader: 'n1', term: 3, fencingToken: 3 },
      { event: 'lost', leader: null, term: 4, fencingToken: 4 },
    ])
  })
})

/** While the application does not answer the first news. */
const overtaken: readonly [name: string, told: readonly LeadershipNews[], heard: readonly string[]][] = [
  ['of several leaders the last one', [changed('n2', 5), changed(null, 5), changed('n3', 6)], ['changed n3 6']],
  ['of leadership that is lost again only who leads', [acquired(5), lost('n3', 6)], ['changed n3 6']],
  [
    'of leadership lost and won the last',
    [acquired(5), lost(null, 6), changed('n3', 6), acquired(7)],
    ['acquired n1 7'],
  ],
  ['nothing, when it is as it was', [changed('n9', 1), changed('n2', 5), changed('n0', 1)], []],
]
for (const [name, told, heard] of overtaken) {
  test(`an application that is slow to answer hears ${name}`, async () => {
    await withHook(async (subject) => {
      const { app, hook } = subject
      app.holds = true
      hook.tell(changed('n0', 1))
      await until(() => app.open.length === 1)
      for (const each of told) hook.tell(each)
      app.holds = false
      app.answer()
      await rested(subject, 1 + heard.length)
      assert.deepEqual(app.heard.slice(1), heard)
    })
  })
}

test('one that heard that it leads hears that it lost it, whatever came since', async () => {
  await withHook(async (subject) => {
    const { app, hook } = subject
    hook.tell(acquired(3))
    await rested(subject, 1)
    app.holds = true
    hook.tell(lost(null, 3))
    await until(() => app.open.length === 1)
    for (const each of [changed('n2', 4), changed(null, 4), acquired(5)]) hook.tell(each)
    app.holds = false
    app.answer()
    await rested(subject, 3)
    assert.deepEqual(app.heard, ['acquired n1 3', 'lost null 3', 'acquired n1 5'])
  })
})

test('one that is away hears first that it lost what it had, then who leads by now', async () => {
  await withHook(async (subject) => {
    const { app, hook, clock } = subject
    hook.tell(acquired(3))
    await rested(subject, 1)
    app.script.push(503, 503)
    hook.tell(lost(null, 3))
    await rested(subject, 2)
    for (const each of [changed('n2', 4), acquired(5), lost('n3', 6), changed(null, 6), changed('n2', 7)])
      hook.tell(each)
    await clock.advance(100)
    await rested(subject, 3)
    await clock.advance(200)
    await rested(subject, 5)
    assert.deepEqual(app.heard.slice(1), ['lost null 3', 'lost n3 6', 'lost n3 6', 'changed n2 7'])
  })
})

test('leadership whose news may have been heard is taken back when it is lost before the answer', async () => {
  await withHook(async (subject) => {
    const { app, hook, clock } = subject
    app.holds = true
    app.script.push('reset')
    hook.tell(acquired(3))
    await until(() => app.open.length === 1)
    hook.tell(lost('n2', 4))
    app.holds = false
    app.answer()
    await rested(subject, 1)
    await clock.advance(100)
    await rested(subject, 2)
    assert.deepEqual(app.heard, ['acquired n1 3', 'lost n2 4'])
  })
})

test('what may have been heard last is not taken for known', async () => {
  await withHook(async (subject) => {
    const { app, hook, clock } = subject
    hook.tell(changed('n2', 3))
    await rested(subject, 1)
    app.script.push('reset')
    hook.tell(changed(null, 3))
    await rested(subject, 2)
    hook.tell(changed('n2', 3))
    await clock.advance(100)
    await rested(subject, 3)
    assert.deepEqual(app.heard, ['changed n2 3', 'changed null 3', 'changed n2 3'])
  })
})

const waits: readonly [name: string, answer: Answer, random: () => number, waitMs: readonly number[]][] = [
  ['500', 500, () => 1, [100, 200, 400, 800]],
  ['500, with full jitter', 500, () => 0.5, [50, 100, 200]],
  ['a reset', 'reset', () => 1, [100, 200]],
  ['429 with a wish', [429, { 'retry-after': '7' }], () => 1, [7000, 7000]],
  ['503 with a date', [503, { 'retry-after': new Date(someUnixMs + 4877).toUTCString() }], () => 1, [4877]],
  ['503 with no time at all', [503, { 'retry-after': '0' }], () => 1, [100]],
  ['302', [302, { location: '/' }], () => 1, [30_000, 30_000]],
  ['401', 401, () => 1, [30_000]],
  ['400', 400, () => 1, [30_000]],
]
for (const [name, answer, random, waitsMs] of waits) {
  test(`after ${name} the news come again in ${waitsMs.join(', ')} ms`, async () => {
    await withHook(
      async (subject) => {
        const { app, hook, clock, alarms } = subject
        app.script.push(...waitsMs.map(() => answer))
        hook.tell(acquired(3))
        for (const [i, waitMs] of waitsMs.entries()) {
          await rested(subject, i + 1)
          assert.deepEqual(clock.dueInMs, [waitMs])
          await clock.advance(waitMs)
        }
        await rested(subject, waitsMs.length + 1)
        assert.ok(app.heard.every((each) => each === 'acquired n1 3'))
        assert.equal(alarms.length, 2)
        assert.match(alarms[0] ?? '', /: Cannot tell the application who leads: /)
        assert.equal(alarms[1], 'resumed')
      },
      { random },
    )
  })
}

test('an answer that takes too long is none', async () => {
  await withHook(async (subject) => {
    const { app, hook, clock, alarms } = subject
    app.holds = true
    hook.tell(acquired(3))
    await until(() => app.open.length === 1)
    await clock.advance(timeoutMs)
    await until(() => alarms.length === 1)
    assert.match(alarms[0] ?? '', /no whole answer within 1000 ms/)
    app.holds = false
    await clock.advance(100)
    await rested(subject, 2)
  })
})

for (const status of [404, 405, 501]) {
  test(`one that answers ${status} offers no hook, which is no alarm, and is asked again slowly`, async () => {
    await withHook(async (subject) => {
      const { app, hook, clock, alarms } = subject
      app.script.push(status)
      hook.tell(acquired(3))
      await rested(subject, 1)
      hook.tell(lost('n2', 4))
      hook.tell(changed('n3', 5))
      hook.tell(acquired(6))
      hook.tell(lost('n3', 7))
      await clock.advance(599_999)
      assert.equal(app.heard.length, 1)
      await clock.advance(1)
      await rested(subject, 2)
      assert.deepEqual(app.heard, ['acquired n1 3', 'changed n3 7'])
      assert.deepEqual(alarms, [])
    })
  })
}

test('one that did not offer the hook is asked again when it may have been restarted', async () => {
  await withHook(async (subject) => {
    const { app, hook } = subject
    app.script.push(404)
    hook.tell(acquired(3))
    await rested(subject, 1)
    hook.repeat()
    await rested(subject, 2)
    assert.deepEqual(app.heard, ['acquired n1 3', 'acquired n1 3'])
  })
})

const repeats: readonly [told: readonly LeadershipNews[], again: string][] = [
  [[acquired(3)], 'acquired n1 3'],
  [[changed('n2', 4)], 'changed n2 4'],
  [[acquired(3), lost('n2', 4)], 'changed n2 4'],
]
for (const [told, again] of repeats) {
  test(`one that may have been restarted after ${told.at(-1)?.event} hears ${again}`, async () => {
    await withHook(async (subject) => {
      const { app, hook } = subject
      for (const [i, each] of told.entries()) {
        hook.tell(each)
        await rested(subject, i + 1)
      }
      hook.repeat()
      await rested(subject, told.length + 1)
      assert.equal(app.heard.at(-1), again)
      hook.repeat()
      await rested(subject, told.length + 2)
      assert.equal(app.heard.at(-1), again)
    })
  })
}

test('one that is found again hears at once what it missed', async () => {
  await withHook(async (subject) => {
    const { app, hook, clock } = subject
    app.script.push(...Array<Answer>(9).fill(503))
    hook.tell(acquired(3))
    for (let i = 0; i < 9; i++) {
      await rested(subject, i + 1)
      if (i < 8) await clock.advance(clock.dueInMs[0] ?? 0)
    }
    hook.repeat()
    await rested(subject, 10)
    assert.equal(app.heard.at(-1), 'acquired n1 3')
  })
})

test('one that may have been restarted while it was told hears it once more', async () => {
  await withHook(async (subject) => {
    const { app, hook } = subject
    app.holds = true
    hook.tell(changed('n2', 4))
    await until(() => app.open.length === 1)
    hook.repeat()
    app.holds = false
    app.answer()
    await rested(subject, 2)
    assert.deepEqual(app.heard, ['changed n2 4', 'changed n2 4'])
  })
})

test('that it leads is told to an application only when it was found whole right before, at each try anew', async () => {
  await withHook(
    async (subject) => {
      const { app, hook, clock, rechecks } = subject
      hook.tell(acquired(3))
      await clock.advance(600_000)
      assert.deepEqual(app.heard, [])
      assert.equal(rechecks(), 1)
      app.script.push(503)
      hook.repeat()
      await rested(subject, 1)
      await clock.advance(600_000)
      assert.equal(app.heard.length, 1)
      assert.equal(rechecks(), 2)
      hook.repeat()
      await rested(subject, 2)
      assert.deepEqual(app.heard, ['acquired n1 3', 'acquired n1 3'])
      assert.equal(rechecks(), 2)
    },
    { isWhole: false },
  )
})

test('one that is not found whole hears that it lost what it had, and who leads, all the same', async () => {
  await withHook(
    async (subject) => {
      const { app, hook } = subject
      hook.tell(acquired(3))
      hook.tell(lost('n2', 4))
      await rested(subject, 1)
      hook.tell(acquired(5))
      hook.repeat()
      await rested(subject, 2)
      hook.tell(lost(null, 5))
      await rested(subject, 3)
      hook.tell(acquired(7))
      hook.tell(lost('n3', 8))
      await rested(subject, 4)
      assert.deepEqual(app.heard, ['changed n2 4', 'acquired n1 5', 'lost null 5', 'changed n3 8'])
    },
    { isWhole: false },
  )
})

test('closing does not wait for an application to be found whole', async () => {
  await withHook(
    async ({ app, hook }) => {
      hook.tell(acquired(3))
      await hook.close()
      hook.repeat()
      assert.deepEqual(app.heard, [])
    },
    { isWhole: false },
  )
})

test('there is nothing to repeat before anything is known', async () => {
  await withHook(async (subject) => {
    subject.hook.repeat()
    await subject.clock.settle()
    assert.deepEqual(subject.app.heard, [])
  })
})

test('closing waits for the last word, and what is due behind it', async () => {
  await withHook(async (subject) => {
    const { app, hook } = subject
    app.holds = true
    hook.tell(acquired(3))
    await until(() => app.open.length === 1)
    hook.tell(lost(null, 3))
    const closed = hook.close()
    app.holds = false
    app.answer()
    await closed
    assert.deepEqual(app.heard, ['acquired n1 3', 'lost null 3'])
    hook.tell(changed('n2', 4))
    hook.repeat()
    await subject.clock.advance(60_000)
    assert.equal(app.heard.length, 2)
  })
})

test('closing does not wait for an application that does not answer, nor for one that is away', async () => {
  await withHook(async ({ app, hook, clock }) => {
    app.holds = true
    hook.tell(acquired(3))
    await until(() => app.open.length === 1)
    const closed = hook.close()
    await clock.advance(1000)
    await closed
  })
  await withHook(async (subject) => {
    subject.app.script.push(503)
    subject.hook.tell(acquired(3))
    await rested(subject, 1)
    await subject.hook.close()
  })
})
