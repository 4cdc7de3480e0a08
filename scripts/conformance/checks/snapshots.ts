// The whole state, out and in: without it the log is kept for ever, and with it an instance comes back from nothing.

import type { Entry } from '../../../src/raft/entry.ts'
import type { Check } from '../check.ts'
import { Failure, Skip } from '../finding.ts'
import type { OpenedSnapshot, TakenSnapshot } from '../hooks.ts'
import { difference, range, type Subject } from '../subject.ts'

const neverCompacted =
  'no snapshot hook: the log is never compacted, and an application that comes back empty is fed all of it'
const notRestored =
  'no way to restore: an instance that the log no longer reaches back to stays behind until someone copies another one’s state'

export const snapshots: readonly Check[] = [
  {
    name: 'snapshot',
    claim: 'it gives its whole state, and says by raft-position which command is the last in it',
    async run({ subject }) {
      const [first, second] = [await taken(subject), await taken(subject)]
      for (const { position } of [first, second]) expectAt(position, subject.log.lastIndex, 'Its snapshot')
      const before = first
      await subject.take(subject.log.append(3))
      const after = await taken(subject)
      expectAt(after.position, subject.log.lastIndex, 'The snapshot after three more commands')
      if (!first.body.equals(second.body)) {
        return 'two snapshots of one state differ, so that only its position tells here whether something was applied'
      }
      if (before.body.equals(after.body)) {
        return 'three commands left it as it was, so that much cannot be seen here: give commands that change the state by --command'
      }
      return undefined
    },
  },
  {
    name: 'restore',
    claim:
      'restored to an older snapshot it is at its position, in its state, and answers what follows as it did before',
    async run({ subject }) {
      const old = await taken(subject)
      const behind = subject.log.append(4)
      await subject.take(behind)
      const expected = await taken(subject)
      await restored(subject, old)
      await expectSnapshot(subject, old, `After it was restored to ${old.position}`)
      await subject.retake(behind, `Restored to ${old.position},`)
      await expectSnapshot(subject, expected, `After it was restored to ${old.position} and got ${range(behind)} again`)
      subject.restoresWell = true
      return undefined
    },
  },
  {
    name: 'restore-newer',
    claim: 'restored to a snapshot that is ahead of it, it goes on behind that',
    async run({ subject }) {
      const old = await taken(subject)
      await subject.take(subject.log.append(3))
      const ahead = await taken(subject)
      await restored(subject, old)
      await restored(subject, ahead)
      await expectSnapshot(subject, ahead, `At ${old.position} it was restored to ${ahead.position}, and then`)
      await subject.take(subject.log.append(1))
      return undefined
    },
  },
  {
    name: 'restore-broken-off',
    claim: 'a snapshot that breaks off on its way in leaves the state as it was',
    async run({ subject }) {
      const old = await taken(subject)
      await subject.take(subject.log.append(3))
      const before = await subject.state()
      const half = old.body.length >> 1
      for (const [what, size] of [
        [`half of a snapshot (${half} bytes)`, half],
        [`a snapshot of ${old.body.length} bytes without the end of the request`, old.body.length],
      ] as const) {
        const exchange = subject.hooks.beginRestore(old.position)
        await exchange.write(old.body.subarray(0, size))
        await exchange.cut()
        const changed = difference(before, await subject.stateAfterCut())
        if (changed === null) continue
        throw new Failure(
          `It got ${what}, then the connection ended, and ${changed}: put the new state in the place of the old one when the last byte is there`,
        )
      }
      const offers = await subject.hooks.restore(old)
      if (offers.type === 'not-offered') throw new Skip(notRestored)
      return undefined
    },
  },
  {
    name: 'snapshot-moment',
    claim: 'a snapshot shows one moment: it takes commands while one is read, and nothing of them is in it',
    async run({ subject }) {
      const reference = await taken(subject)
      const opened = await open(subject)
      const behind = subject.log.append(3)
      await takeWhileRead(subject, behind)
      const body = await opened.read()
      expectAt(opened.position, reference.position, 'A snapshot whose body was read later')
      if ((await subject.snapshotsAreRepeatable()) && !body.equals(reference.body)) {
        throw new Failure(
          `Commands ${range(behind)} were applied while the snapshot at ${opened.position} was read, and it is another one than the one taken just before: fix the state before the headers are sent`,
        )
      }
      if (!subject.restoresWell) return undefined
      await restored(subject, { position: opened.position, body })
      await subject.retake(behind, `Restored from a snapshot that was read while they were applied,`)
      return undefined
    },
  },
  {
    name: 'portions',
    claim: 'commands in one batch and one at a time give the same answers and the same state',
    async run({ subject }) {
      const old = await taken(subject)
      if (!subject.restoresWell) throw new Skip('it takes a restore to compare, and that is not to be relied on here')
      const behind = subject.log.append(6)
      await subject.take(behind)
      const together = await taken(subject)
      await restored(subject, old)
      for (const command of behind) {
        await subject.retake([command], 'Alone, and before with others in one batch,')
      }
      await expectSnapshot(
        subject,
        together,
        `Commands ${range(behind)} came one at a time, and before in one batch: now`,
      )
      return undefined
    },
  },
]

async function taken(subject: Subject): Promise<TakenSnapshot> {
  const opened = await open(subject)
  return { position: opened.position, body: await opened.read() }
}

async function open(subject: Subject): Promise<OpenedSnapshot> {
  const opened = await subject.hooks.openSnapshot()
  if (opened === null) throw new Skip(neverCompacted)
  return opened
}

async function restored(subject: Subject, snapshot: TakenSnapshot): Promise<void> {
  const outcome = await subject.hooks.restore(snapshot)
  if (outcome.type === 'not-offered') throw new Skip(notRestored)
  if (outcome.type === 'restored') return
  throw new Failure(`It does not take its own snapshot at ${snapshot.position} back: ${outcome.reason}`)
}

async function takeWhileRead(subject: Subject, commands: readonly Entry[]): Promise<void> {
  try {
    await subject.take(commands)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    throw new Failure(
      `Commands ${range(commands)} came while a snapshot was being read, and were not taken: ${error.message}. Applying goes on once the headers of the snapshot are sent`,
      { cause: error },
    )
  }
}

function expectAt(position: number, expected: number, what: string): void {
  if (position === expected) return
  throw new Failure(
    `${what} has raft-position ${position}, and the last command in the state is ${expected}: take the state and its position in one transaction`,
  )
}

async function expectSnapshot(subject: Subject, expected: TakenSnapshot, when: string): Promise<void> {
  await subject.expectPosition(expected.position, when)
  const found = await taken(subject)
  expectAt(found.position, expected.position, `${when} its snapshot`)
  if (!(await subject.snapshotsAreRepeatable()) || found.body.equals(expected.body)) return
  throw new Failure(
    `${when} its snapshot is another one (${found.body.length} bytes, and it was ${expected.body.length}): restore all of the state, and nothing beside it`,
  )
}
