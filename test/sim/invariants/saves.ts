// What nodes save: hard state that never goes back, logs without gaps, leaders that only append, committed entries that stay; and what a save that
// has ended is worth, when its node comes back from its disk.

import type { Entry, NodeId } from '../../../src/raft/entry.ts'
import type { Recovered, Save } from '../../../src/raft/work.ts'
import type { NodeRecord } from './node-record.ts'
import type { Truth } from './truth.ts'

export class Saves {
  readonly #truth: Truth

  constructor(truth: Truth) {
    this.#truth = truth
  }

  issued(id: NodeId, save: Save): void {
    const record = this.#truth.record(id)
    if (save.id !== record.lastSaveId + 1)
      this.#truth.world.violated('saves count up', `${id} issues save ${save.id} after ${record.lastSaveId}`)
    if (save.hardState !== null) this.#checkHardState(record, save)
    const first = save.entries[0]
    if (first !== undefined && save.snapshot === null) this.#checkEntries(record, save, first)
    record.issue(save)
    if (first !== undefined && save.snapshot !== null) this.#checkBehindSnapshot(record, save, first)
  }

  #checkHardState({ id, issuedHardState: old }: NodeRecord, { hardState }: Save): void {
    if (hardState === null) return
    const { currentTerm, votedFor } = hardState
    if (currentTerm < old.currentTerm)
      this.#truth.world.violated('currentTerm rises', `${id} goes from term ${old.currentTerm} to ${currentTerm}`)
    if (currentTerm === old.currentTerm && old.votedFor !== null && votedFor !== old.votedFor) {
      this.#truth.world.violated(
        'one vote a term',
        `${id} changes its vote in term ${currentTerm} from ${old.votedFor} to ${votedFor}`,
      )
    }
    if (votedFor === id) {
      this.#truth.highestTerm = Math.max(this.#truth.highestTerm, currentTerm)
    } else if (currentTerm > this.#truth.highestTerm) {
      this.#truth.world.violated(
        'terms begin with a candidate',
        `${id} adopts term ${currentTerm}, which nobody has stood in`,
      )
    }
  }

  #checkEntries(record: NodeRecord, { hardState, entries }: Save, first: Entry): void {
    const { id, issued } = record
    // It may have learned of a new term and of what its leader sends at once.
    const { currentTerm } = hardState ?? record.issuedHardState
    if (first.index > issued.length)
      this.#truth.world.violated('logs have no gaps', `${id} saves entry ${first.index} after ${record.lastIndex}`)
    const replaces = issued.slice(first.index).some((term, at) => term !== entries[at]?.term)
    if (replaces && first.index <= record.commitIndex) {
      this.#truth.world.violated(
        'committed entries stay',
        `${id} replaces entries from ${first.index} on, and has committed through ${record.commitIndex}`,
      )
    }
    if (first.index <= record.lastIndex && record.leads === currentTerm && record.leads > 0) {
      this.#truth.world.violated(
        'leader append-only',
        `${id} leads term ${record.leads} and replaces entry ${first.index}`,
      )
    }
    let prevTerm = issued[first.index - 1] ?? 0
    for (const entry of entries) {
      this.#truth.see(entry, prevTerm, id)
      prevTerm = entry.term
    }
  }

  /** The log began anew: there is nothing that these could replace. */
  #checkBehindSnapshot({ id, issued }: NodeRecord, { snapshot, entries }: Save, first: Entry): void {
    const before = snapshot?.lastIncluded.index ?? 0
    if (first.index !== before + 1)
      this.#truth.world.violated(
        'logs have no gaps',
        `${id} saves entry ${first.index} behind a snapshot through ${before}`,
      )
    let prevTerm = issued[before] ?? 0
    for (const entry of entries) {
      this.#truth.see(entry, prevTerm, id)
      prevTerm = entry.term
    }
  }

  /** `problem`: what the disk does not hold of it, or null. */
  saved(id: NodeId, save: Save, problem: string | null): void {
    if (!this.#truth.record(id).saved(save))
      this.#truth.world.violated('saves end in order', `${id} ends save ${save.id} out of order`)
    if (problem !== null)
      this.#truth.world.violated('saved is synced', `${id} takes save ${save.id} for durable: ${problem}`)
  }

  /** `isAnother`: its disk was emptied, or set back. */
  restarted(id: NodeId, recovered: Recovered, isAnother: boolean): void {
    if (isAnother) {
      this.#truth.record(id).becameAnother(recovered)
      return
    }
    const problem = this.#truth.record(id).restarted(recovered)
    if (problem !== null) this.#truth.world.violated('durable stays', `${id} restarted: ${problem}`)
  }
}
