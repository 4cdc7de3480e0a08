// The follower's half of InstallSnapshot (§7). The snapshot is here, whole and verified, and waits for what the log says of it.

import { followSender, success } from './append-entries.ts'
import type { InstallSnapshot } from './messages.ts'
import type { RaftState } from './state.ts'

/** Of the current term: the term rule has run. */
export function handleInstallSnapshot(s: RaftState, message: InstallSnapshot): void {
  followSender(s, message)
  const { snapshot, from } = message
  const { lastIncluded } = snapshot
  if (lastIncluded.index > s.commitIndex) {
    // A log that has that very entry has all before it (§5.3), and what follows may be acknowledged already: it stays, and nothing is restored.
    if (!s.log.matches(lastIncluded)) {
      s.log.reset(snapshot, s.commitIndex)
      s.snapshot = snapshot
      s.outbox.install = snapshot
    }
    s.commitIndex = lastIncluded.index
  }
  // A promise: it rests on the save of the snapshot, or of the entries that made it needless. No round is confirmed by it.
  s.outbox.promises.push(success(s, from, 0, s.commitIndex, 0))
}
