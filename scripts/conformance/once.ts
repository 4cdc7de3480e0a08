// Was a command applied once? Told by the state that the same log gives undisturbed: for applications that restore well, and whose snapshots
// of one state are the same bytes.

import { Failure } from './finding.ts'
import type { TakenSnapshot } from './hooks.ts'
import type { Subject } from './subject.ts'

/** The state before a disturbance; null where it would tell nothing. */
export async function pictureOf(subject: Subject): Promise<TakenSnapshot | null> {
  return subject.restoresWell && (await subject.snapshotsAreRepeatable()) ? await subject.snapshot() : null
}

/** Everything behind the picture is applied again, and must give the state that there is. */
export async function expectOnce(subject: Subject, picture: TakenSnapshot | null, what: string): Promise<void> {
  if (picture === null) return
  const disturbed = await subject.snapshot()
  await subject.restore(picture)
  await subject.settle()
  const undisturbed = await subject.snapshot()
  if (disturbed.body.equals(undisturbed.body)) return
  throw new Failure(
    `${what}: its state is another one than when each command comes once. Hold every command's index against the position, in the same transaction`,
  )
}
