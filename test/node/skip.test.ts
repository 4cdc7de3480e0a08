// Leaving out a command that an application refuses for good: every node does, by the log, or none does.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SkipError } from '../../src/errors.ts'
import { encodeSkip } from '../../src/node/skip.ts'
import { appendEntries, encodeEntry } from '../raft/entries.ts'
import { command, entryOf, follower, type NodeKit, otherOrigin, passedOn, timeoutMs } from './node-kit.ts'
import { watch } from './watched.ts'

function skipEntry(at: number, index: number) {
  const payload = encodeSkip(index, 'no such account')
  return encodeEntry({ ...entryOf(1, at, otherOrigin, at), kind: 'skip', payload })
}

function deliver(applier: NodeKit['applier'], from: number, through: number): void {
  applier.appliedIndex = through
  const entries = []
  for (let index = from; index <= through; index++) entries.push(entryOf(1, index, otherOrigin, index))
  applier.events?.applied(
    through,
    entries,
    entries.map(() => null),
  )
}

async function withPoison(options: { readonly watched?: boolean } = {}): Promise<NodeKit> {
  const kit = await follower(options)
  const entries = [1, 2, 3].map((index) => entryOf(1, index, otherOrigin, index))
  await kit.receive(appendEntries({ term: 1, entries, leaderCommit: 3 }))
  return kit
}

test('It is proposed only where delivery stops, and says why it does', async () => {
  const kit = await withPoison()
  await assert.rejects(
    kit.node.skip(2, timeoutMs),
    (error) => error instanceof SkipError && /stops before none/.test(error.message),
  )
  kit.applier.poison = { index: 2, reason: 'no such account' }
  assert.deepEqual(kit.node.status().poison, kit.applier.poison)
  await assert.rejects(kit.node.skip(3, timeoutMs), /stops before 2/)
  const skipping = watch(kit.node.skip(2, timeoutMs))
  await kit.settle()
  const { origin, proposals } = passedOn(kit)
  assert.deepEqual(
    proposals.map(({ kind, payload }) => [kind, Buffer.from(payload).toString()]),
    [['skip', '{"index":2,"reason":"no such account"}']],
  )
  const entry = encodeEntry({ ...skipEntry(4, 2), origin, sequence: proposals[0]?.sequence ?? 0 })
  await kit.receive(appendEntries({ term: 1, prev: { term: 1, index: 3 }, entries: [entry], leaderCommit: 4 }))
  assert.equal(skipping.value?.index, 4)
  assert.deepEqual([kit.applier.entries?.isSkipped(2), kit.applier.entries?.isSkipped(3)], [true, false])
  assert.equal(kit.applier.commitIndex, 4)
  await assert.rejects(kit.node.skip(2, timeoutMs), SkipError, 'once is enough')
})

test('Whoever proposed what is left out learns so, and so does everybody who repeats it', async () => {
  const kit = await follower()
  const waiting = watch(kit.node.propose(command(), timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  await kit.receive(appendEntries({ term: 1, entries: [entryOf(1, 1, origin, 1)], leaderCommit: 1 }))
  assert.equal(waiting.state, 'pending')
  const entries = [skipEntry(2, 1)]
  await kit.receive(appendEntries({ term: 1, prev: { term: 1, index: 1 }, entries, leaderCommit: 2 }))
  assert.equal(waiting.state, 'command-skipped/not_applied')
})

test('A node whose application has taken what the cluster leaves out stops: its state is another than that of the others', async () => {
  const kit = await withPoison()
  deliver(kit.applier, 1, 2)
  const prev = { term: 1, index: 3 }
  await kit.receive(appendEntries({ term: 1, prev, entries: [skipEntry(4, 2)], leaderCommit: 4 }))
  assert.deepEqual(
    kit.fatal.map(({ exitCode }) => exitCode),
    [65],
  )
  assert.match(kit.fatal[0]?.message ?? '', /leaves out the command at 2 .* has taken it\. .*reset it/)
})

test('So does one whose application took it while the cluster was agreeing', async () => {
  const kit = await withPoison()
  deliver(kit.applier, 1, 1)
  const prev = { term: 1, index: 3 }
  await kit.receive(appendEntries({ term: 1, prev, entries: [skipEntry(4, 2)], leaderCommit: 4 }))
  assert.equal(kit.fatal.length, 0)
  deliver(kit.applier, 2, 2)
  assert.match(kit.fatal[0]?.message ?? '', /leaves out the command at 2 .* has taken it/)
})

for (const [where, position, isFatal] of [
  ['at that command', 2, true],
  ['past all that it was sent, by other hands', 3, false],
] as const) {
  test(`One whose acknowledgement was lost, and that is found ${where}, ${isFatal ? 'has taken it' : 'may have left it out'}`, async () => {
    const kit = await withPoison()
    deliver(kit.applier, 1, 1)
    const prev = { term: 1, index: 3 }
    await kit.receive(appendEntries({ term: 1, prev, entries: [skipEntry(4, 2)], leaderCommit: 4 }))
    kit.applier.appliedIndex = position
    kit.applier.events?.applied(position, [entryOf(1, 2, otherOrigin, 2)], null)
    assert.equal(kit.fatal.length, isFatal ? 1 : 0)
  })
}

const harmless: readonly (readonly [string, (kit: NodeKit) => void])[] = [
  ['has not come to it', (kit) => deliver(kit.applier, 1, 1)],
  ['was past it when this process began, and may have left it out', (kit) => deliver(kit.applier, 3, 3)],
  [
    'took it, and was restored since',
    (kit) => {
      deliver(kit.applier, 1, 2)
      kit.applier.events?.rewound(1)
      kit.applier.appliedIndex = 1
    },
  ],
]

for (const [name, prepare] of harmless) {
  test(`A node goes on whose application ${name}`, async () => {
    const kit = await withPoison()
    prepare(kit)
    const prev = { term: 1, index: 3 }
    await kit.receive(appendEntries({ term: 1, prev, entries: [skipEntry(4, 2)], leaderCommit: 4 }))
    assert.deepEqual(kit.fatal, [])
  })
}

test('An application that only watches may have taken it', async () => {
  const kit = await withPoison({ watched: true })
  assert(kit.watcher !== null)
  deliver(kit.watcher, 1, 3)
  const prev = { term: 1, index: 3 }
  await kit.receive(appendEntries({ term: 1, prev, entries: [skipEntry(4, 2)], leaderCommit: 4 }))
  assert.deepEqual(kit.fatal, [])
})

test('It is the poison of the application that counts, not of the embedded machine', async () => {
  const kit = await withPoison({ watched: true })
  assert(kit.watcher !== null)
  kit.watcher.poison = { index: 2, reason: 'bad' }
  void watch(kit.node.skip(2, timeoutMs))
  await kit.settle()
  assert.equal(passedOn(kit).proposals[0]?.kind, 'skip')
})

test('An embedded machine takes what applications leave out, with or without one that watches it: live it had taken it long before', async () => {
  for (const watched of [true, false]) {
    const kit = await follower({ leavesOut: false, watched })
    const waiting = watch(kit.node.propose(command(), timeoutMs))
    await kit.settle()
    const { origin } = passedOn(kit)
    const entries = [entryOf(1, 1, origin, 1), skipEntry(2, 1)]
    await kit.receive(appendEntries({ term: 1, entries, leaderCommit: 2 }))
    assert.equal(kit.applier.entries?.isSkipped(1), false)
    assert.equal(kit.watcher?.entries?.isSkipped(1) ?? true, true)
    await kit.apply()
    assert.deepEqual([waiting.value?.index, kit.fatal], [1, []])
  }
})

test('What an application leaves out that only watches, the embedded machine takes on every node, and its proposer is answered by that', async () => {
  const kit = await follower({ watched: true })
  assert(kit.watcher !== null)
  const waiting = watch(kit.node.propose({ ...command(), key: 'a' }, timeoutMs))
  await kit.settle()
  const { origin } = passedOn(kit)
  const first = encodeEntry({ ...entryOf(1, 1, origin, 1), key: 'a' })
  await kit.receive(appendEntries({ term: 1, entries: [first, skipEntry(2, 1)], leaderCommit: 2 }))
  assert.deepEqual([kit.applier.entries?.isSkipped(1), kit.watcher.entries?.isSkipped(1)], [false, true])
  assert.equal(waiting.state, 'pending')
  await kit.apply()
  assert.equal(waiting.value?.result, 1)
  const repeat = watch(kit.node.propose({ ...command(), key: 'a' }, timeoutMs))
  await kit.settle()
  assert.deepEqual([repeat.value?.duplicate, repeat.state], [true, 'resolved'])
})
