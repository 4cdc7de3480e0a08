// A node's own snapshots: when one is taken, what of the log it frees and for whom the log is kept all the same, and backups.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes, FatalError, SnapshotError } from '../../src/errors.ts'
import type { MachineSnapshot } from '../../src/node/ports.ts'
import { appendEntries, logOf } from '../raft/entries.ts'
import { command, follower, type KitSetup, leader, type NodeKit, tickMs, timeoutMs } from './node-kit.ts'
import { Outgoing, settle } from './transfer-kit.ts'
import { watch } from './watched.ts'

/** A leader of one, with so many entries that are committed and applied; the first is its no-op. */
async function applied(entries: number, setup: KitSetup = {}): Promise<NodeKit> {
  const kit = await leader({ voters: ['n1'], ...setup }, [])
  await grow(kit, entries - kit.lastIndex)
  kit.forget()
  return kit
}

async function grow(kit: NodeKit, commands: number): Promise<void> {
  for (let i = 0; i < commands; i++) {
    watch(kit.node.proposeCommitted(command(), timeoutMs))
    await kit.settle()
  }
  await kit.apply()
}

test('After so many applied entries one is taken, and only then do they leave the log', async () => {
  const kit = await applied(9, { snapshots: { threshold: 10 } })
  await kit.advance(tickMs)
  assert.equal(kit.storage.newestSnapshot, null)
  await grow(kit, 1)
  await kit.advance(2 * tickMs)
  assert.deepEqual(
    kit.journal.filter((line) => !line.startsWith('save') && !line.startsWith('commit')),
    ['picture at 10', 'take snapshot 10', 'compact 10'],
  )
  const { snapshot, firstIndex, compactionBlocked } = kit.node.status()
  assert.deepEqual([snapshot?.index, snapshot?.term, firstIndex, compactionBlocked], [10, 1, 11, null])
  assert.deepEqual(
    kit.events.filter(({ type }) => type === 'compacted' || type === 'snapshotTaken').map(({ type }) => type),
    ['snapshotTaken', 'compacted'],
  )
})

test('So many entries stay in the log behind it, for followers that lag', async () => {
  const kit = await applied(10, { raft: { maxLogEntries: 4 } })
  assert.deepEqual(await kit.node.takeSnapshot(), { index: 10, term: 1, sizeBytes: kit.storage.shelf.bytes.length })
  await kit.settle()
  assert.deepEqual(kit.storage.compacted, [{ term: 1, index: 6 }])
})

test('An application that only watches keeps what it has not taken in the log, and the status says so', async () => {
  const kit = await applied(10, { watched: true })
  assert(kit.watcher !== null, 'There is a watcher')
  kit.watcher.appliedIndex = 4
  await kit.node.takeSnapshot()
  await kit.settle()
  assert.deepEqual(kit.storage.compacted, [{ term: 1, index: 4 }])
  assert.equal(
    kit.node.status().compactionBlocked,
    'The application that observes has taken nothing since 4: the log is kept from there on for it',
  )
  kit.watcher.appliedIndex = 7
  await kit.advance(tickMs)
  assert.equal(kit.storage.compacted.at(-1)?.index, 7, 'soon, and not only with the next snapshot')
  await grow(kit, 2)
  kit.watcher.appliedIndex = 12
  await kit.node.takeSnapshot()
  await kit.settle()
  assert.deepEqual([kit.storage.compacted.at(-1)?.index, kit.node.status().compactionBlocked], [12, null])
})

test('An application that offers none keeps the log whole, and the status says so', async () => {
  const kit = await applied(10)
  kit.applier.picture = async () => null
  const refused = watch(kit.node.takeSnapshot())
  await kit.settle()
  assert.deepEqual([refused.state, kit.storage.compacted], ['snapshot-unsupported', []])
  assert.equal(
    kit.node.status().compactionBlocked,
    'The application offers no snapshots: the log is kept whole, 10 entries by now',
  )
})

test('A node that stops takes none', async () => {
  const kit = await applied(10)
  const stop = kit.node.stop(0)
  await assert.rejects(
    kit.node.takeSnapshot(),
    (error) => error instanceof SnapshotError && error.code === 'shutting-down',
  )
  await assert.rejects(
    kit.node.openBackup(),
    (error) => error instanceof SnapshotError && error.code === 'shutting-down',
  )
  await kit.advance(1000)
  await stop
})

for (const { name, end } of [
  { name: 'stopped', end: (kit: NodeKit) => kit.node.stop(0) },
  {
    name: 'halted',
    end: async (kit: NodeKit) => {
      kit.storage.save = () => Promise.reject(new FatalError(exitCodes.ioError, 'fdatasync failed'))
      kit.node.proposeCommitted(command(), timeoutMs).catch(() => {})
    },
  },
]) {
  test(`A node that is ${name} while one is taken lets it go, and nothing comes of it`, async () => {
    const kit = await applied(10)
    kit.storage.shelf.gates.take.shut()
    const taken = watch(kit.node.takeSnapshot())
    await kit.settle()
    const ended = end(kit)
    await kit.advance(tickMs)
    await ended
    kit.forget()
    kit.storage.shelf.gates.take.open()
    await kit.advance(60_000)
    assert.deepEqual([taken.state, kit.applier.openPictures], ['shutting-down', 0])
    assert.deepEqual([kit.journal, kit.storage.compacted, kit.storage.newestSnapshot], [[], [], null])
  })
}

test("A picture that was taken before the leader's snapshot was installed is of no use after it, and does no harm", async () => {
  const kit = await follower()
  await kit.receive(appendEntries({ term: 1, entries: logOf(new Array(5).fill(1)), leaderCommit: 5 }))
  await kit.apply()
  let give: (picture: MachineSnapshot) => void = () => {}
  kit.applier.picture = () =>
    new Promise((resolve) => {
      give = resolve
    })
  const taken = watch(kit.node.takeSnapshot())
  await kit.settle()
  const picture = kit.applier.pictureOf(['state'])
  const outgoing = new Outgoing({ index: 10 })
  await kit.receive(outgoing.offer)
  for (const chunk of outgoing.chunksFrom()) await kit.receive(chunk)
  give(picture)
  await kit.settle()
  assert.deepEqual([taken.state, kit.applier.openPictures, kit.fatal], ['snapshot-failed', 0, []])
  assert.match(String(taken.error), /Cannot use a snapshot through 5: one of the leader has taken its place/)
  assert.equal(kit.storage.newestSnapshot?.lastIncluded.index, 10)
})

test("One that is durable only after the leader's was installed frees nothing, and does no harm", async () => {
  const kit = await follower()
  await kit.receive(appendEntries({ term: 1, entries: logOf(new Array(5).fill(1)), leaderCommit: 5 }))
  await kit.apply()
  kit.storage.shelf.gates.take.shut()
  const taken = watch(kit.node.takeSnapshot())
  await kit.settle()
  const outgoing = new Outgoing({ index: 10 })
  await kit.receive(outgoing.offer)
  for (const chunk of outgoing.chunksFrom()) await kit.receive(chunk)
  kit.storage.shelf.gates.take.open()
  await kit.settle()
  assert.deepEqual([taken.value?.index, kit.fatal, kit.storage.compacted], [5, [], []])
  assert.deepEqual([kit.node.status().snapshot?.index, kit.node.status().firstIndex], [10, 11])
})

test('None is taken of a term that is not on the disk yet: a crash would leave it with a node that is behind it', async () => {
  const kit = await follower()
  kit.storage.holdsSaves = true
  await kit.receive(appendEntries({ term: 7, from: 'n3', entries: logOf([7]), leaderCommit: 1 }))
  await kit.apply()
  const early = watch(kit.node.takeSnapshot())
  await settle()
  assert.equal(early.state, 'snapshot-failed')
  assert.match(String(early.error), /its term 7 is not on the disk yet/)
  kit.storage.releaseSaves()
  await kit.settle()
  assert.equal((await kit.node.takeSnapshot()).index, 1)
})

test('A backup is the file of a snapshot of everything that is applied, and stays open until it is closed', async () => {
  const kit = await applied(10)
  const backup = await kit.node.openBackup()
  await grow(kit, 1)
  await kit.node.takeSnapshot()
  assert.equal(backup.snapshot.index, 10)
  const bytes = Buffer.alloc(backup.snapshot.sizeBytes + 1)
  assert.equal(await backup.read(bytes, 0), backup.snapshot.sizeBytes)
  assert.equal(kit.storage.shelf.opened, 1)
  await backup.close()
  assert.equal(kit.storage.shelf.opened, 0)
})

test('A backup of a snapshot that is damaged on the disk is refused, and halts the node', async () => {
  const rot = new FatalError(exitCodes.dataError, 'The snapshot is damaged at 4096')
  const atOpening = await applied(10)
  atOpening.storage.shelf.gates.open.fail(rot)
  await assert.rejects(atOpening.node.openBackup(), (error) => error instanceof SnapshotError)
  assert.deepEqual(atOpening.fatal, [rot])
  const atReading = await applied(10)
  const backup = await atReading.node.openBackup()
  atReading.storage.shelf.gates.read.fail(rot)
  await assert.rejects(backup.read(Buffer.alloc(10), 0), rot)
  assert.deepEqual(atReading.fatal, [rot])
  await backup.close()
  assert.equal(atReading.storage.shelf.opened, 0)
})

test('A backup that is read after it was closed is a mistake of the reader, not of the disk', async () => {
  const kit = await applied(10)
  const backup = await kit.node.openBackup()
  await backup.close()
  await assert.rejects(backup.read(Buffer.alloc(10), 0), /closed/)
  assert.deepEqual(kit.fatal, [])
})

test('A backup for which there is no snapshot after all is refused', async () => {
  const kit = await applied(10)
  kit.storage.openSnapshot = async () => null
  await assert.rejects(
    kit.node.openBackup(),
    (error) => error instanceof SnapshotError && error.code === 'snapshot-failed',
  )
})
