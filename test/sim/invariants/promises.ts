// What nodes say to each other, held against what their disks have synced: a vote, a candidacy or an acknowledgement is a promise, and whoever
// gives one must keep it over a power loss. And who leads: one a term (election safety), and with everything that is committed (leader completeness).

import type { PeerMessage } from '../../../src/node/ports.ts'
import type { NodeId } from '../../../src/raft/entry.ts'
import type {
  AppendEntries,
  AppendEntriesResponse,
  RequestVote,
  RequestVoteResponse,
} from '../../../src/raft/messages.ts'
import type { CommittedLog } from './committed-log.ts'
import type { NodeRecord } from './node-record.ts'
import type { Truth } from './truth.ts'

export class Promises {
  readonly #truth: Truth
  readonly #log: CommittedLog
  /** By term and voter. */
  readonly #votes = new Map<string, NodeId>()

  constructor(truth: Truth, log: CommittedLog) {
    this.#truth = truth
    this.#log = log
  }

  sent(message: PeerMessage): void {
    const record = this.#truth.record(message.from)
    switch (message.type) {
      case 'AppendEntries':
        this.#sentEntries(record, message)
        break
      case 'RequestVote':
        this.#sentCandidacy(record, message)
        break
      case 'RequestVoteResponse':
        this.#sentVote(record, message)
        break
      case 'AppendEntriesResponse':
        this.#sentAcknowledgement(record, message)
        break
      default:
    }
  }

  #sentEntries(record: NodeRecord, message: AppendEntries): void {
    this.#leads(record, message.term)
    let prevTerm = message.prev.term
    for (const entry of message.entries) {
      this.#truth.see(entry, prevTerm, record.id)
      prevTerm = entry.term
    }
  }

  #sentCandidacy(record: NodeRecord, { term, lastEntry }: RequestVote): void {
    this.#vote(record.id, term, record.id)
    const { currentTerm, votedFor } = record.durableHardState
    if (currentTerm < term || (currentTerm === term && votedFor !== record.id)) {
      this.#truth.world.violated(
        'promises are durable',
        `${record.id} asks for votes in term ${term}; durable is term ${currentTerm} with a vote for ${votedFor}`,
      )
    }
    const lastIndex = record.durable.length - 1
    const lastTerm = record.durable.at(-1) ?? 0
    const holds = record.durable[lastEntry.index] === lastEntry.term
    if (
      currentTerm === term &&
      !holds &&
      !(lastTerm > lastEntry.term || (lastTerm === lastEntry.term && lastIndex >= lastEntry.index))
    ) {
      this.#truth.world.violated(
        'promises are durable',
        `${record.id} stands with the log end ${lastEntry.index}/t${lastEntry.term}; durable is ${lastIndex}/t${lastTerm}`,
      )
    }
  }

  #sentVote(record: NodeRecord, { to, term, voteGranted }: RequestVoteResponse): void {
    if (!voteGranted) return
    const { currentTerm, votedFor } = record.durableHardState
    if (currentTerm < term || (currentTerm === term && votedFor !== to)) {
      this.#truth.world.violated(
        'promises are durable',
        `${record.id} votes for ${to} in term ${term}; durable is term ${currentTerm} with a vote for ${votedFor}`,
      )
    }
    this.#vote(record.id, term, to)
  }

  #vote(voter: NodeId, term: number, candidate: NodeId): void {
    const key = `${term}/${voter}`
    const earlier = this.#votes.get(key)
    if (earlier === undefined) this.#votes.set(key, candidate)
    else if (earlier !== candidate)
      this.#truth.world.violated(
        'one vote a term',
        `${voter} votes in term ${term} for ${candidate}, and has for ${earlier}`,
      )
  }

  #sentAcknowledgement(record: NodeRecord, message: AppendEntriesResponse): void {
    const { term, to } = message
    const { currentTerm } = record.durableHardState
    if (currentTerm < term) {
      this.#truth.world.violated(
        'promises are durable',
        `${record.id} answers ${to} in term ${term}; durable is term ${currentTerm}`,
      )
    }
    if (!message.success || currentTerm !== term) return
    const { matchIndex } = message
    const leader = this.#truth.record(to)
    if (matchIndex >= record.durable.length) {
      this.#truth.world.violated(
        'promises are durable',
        `${record.id} acknowledges ${matchIndex} to ${to}; durable are ${record.durable.length - 1} entries`,
      )
    } else if (leader.isLeading(term) && record.durable[matchIndex] !== leader.issued[matchIndex]) {
      this.#truth.world.violated(
        'promises are durable',
        `${record.id} acknowledges entry ${matchIndex} to ${to}; it has it of term ${record.durable[matchIndex]}, the leader of ${leader.issued[matchIndex]}`,
      )
    }
  }

  #leads(record: NodeRecord, term: number): void {
    if (record.leads === term) return
    record.leads = term
    const other = this.#truth.leaders.get(term)
    if (other !== undefined && other !== record.id) {
      this.#truth.world.violated('election safety', `${record.id} leads term ${term}, and so does ${other}`)
      return
    }
    const { currentTerm, votedFor } = record.durableHardState
    if (currentTerm !== term || votedFor !== record.id) {
      this.#truth.world.violated(
        'promises are durable',
        `${record.id} leads term ${term}; durable is term ${currentTerm} with a vote for ${votedFor}`,
      )
    }
    this.#vote(record.id, term, record.id)
    if (other === undefined) this.#elected(record, term)
  }

  /** §5.4.3: whoever leads holds everything that was committed in earlier terms; late votes may still elect one that others have overtaken. */
  #elected(record: NodeRecord, term: number): void {
    this.#truth.leaders.set(term, record.id)
    this.#truth.highestTerm = Math.max(this.#truth.highestTerm, term)
    for (let index = 1; index < this.#log.length; index++) {
      const committed = this.#log.at(index)
      const committedTerm = committed?.entry.term ?? 0
      if (committed !== null && committed.inTerm < term && record.issued[index] !== committedTerm) {
        this.#truth.world.violated(
          'leader completeness',
          `${record.id}, elected in term ${term}, lacks entry ${index} of term ${committedTerm}, which is committed`,
        )
        return
      }
    }
  }
}
