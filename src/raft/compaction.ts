// When entries leave the log (§7): a snapshot stands for them, and nobody is about to need them.

import { assert } from './assert.ts'
import type { SnapshotMetadata } from './snapshot.ts'
import type { RaftState } from './state.ts'

/** This node has made a snapshot of its own state. */
export function handleSnapshotTaken(s: RaftState, snapshot: SnapshotMetadata, neededFrom: number | undefined): void {
  s.neededFrom = neededFrom ?? Number.POSITIVE_INFINITY
  const { index, term } = snapshot.lastIncluded
  // While it was being taken, the leader may have sent a later one.
  if (s.snapshot !== null && s.snapshot.lastIncluded.index >= index) return
  assert(
    index <= s.commitIndex,
    () => `A snapshot through ${index} was taken of what is committed through ${s.commitIndex}`,
  )
  assert(s.log.termAt(index) === term, () => `A snapshot through ${index} of term ${term} is not of this log`)
  s.snapshot = snapshot
  compact(s)
}

export function compact(s: RaftState): void {
  if (s.snapshot === null) return
  const { maxLogEntries } = s.options
  const through = Math.min(
    // Slow followers find what they lack behind the snapshot; on a full disk they have to take the snapshot itself.
    s.snapshot.lastIncluded.index - (s.storage.isFull ? 0 : maxLogEntries),
    s.log.durableIndex,
    s.neededFrom - 1,
    ...pinned(s),
  )
  if (through <= s.log.base.index) return
  s.log.compactTo(through)
  s.outbox.compactThrough = s.log.base
}

/** Whoever is being sent a snapshot must be able to go on from it. One with no room for it might never have it, and would keep the log for ever. */
function pinned(s: RaftState): number[] {
  if (s.role.name !== 'leader') return []
  return [...s.role.progress.values()]
    .filter((progress) => progress.state === 'snapshot' && progress.hasRoom)
    .map((progress) => progress.nextIndex - 1)
}
