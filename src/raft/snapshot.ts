// What the core knows of a snapshot: which entry it reaches to, and what no longer stands in the log behind it. The state itself is
// carried by others.

import type { IndexedConfiguration } from './configuration.ts'
import type { EntryId } from './entry.ts'

/** §7. */
export interface SnapshotMetadata {
  /** The last entry whose effect the state holds; the paper's lastIncludedIndex and lastIncludedTerm. */
  readonly lastIncluded: EntryId
  /** Cluster time when it was taken, Unix ms: not before that of its last entry, and a log that begins behind it does not go back behind it. */
  readonly timestampMs: number
  /** In force at that entry. */
  readonly configuration: IndexedConfiguration
}
