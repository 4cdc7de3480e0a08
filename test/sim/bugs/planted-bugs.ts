// Faults that production code must never have, each as a change of its source text. An anchor that is not found exactly once stops the run: then the
// code has moved on, and the bug has to be planted anew. `directed` names the test that catches what seeds alone miss.

/** A change of one file below src/: text that stands there exactly once, and what stands there instead. */
export interface Patch {
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface PlantedBug {
  readonly name: string
  readonly patches: readonly Patch[]
  readonly directed?: string
}

function bug(name: string, file: string, find: string, replace: string): PlantedBug {
  return { name, patches: [{ file: `src/${file}`, find, replace }] }
}

export const plantedBugs: readonly PlantedBug[] = [
  // Elections (§5.2, §5.4.1)
  bug(
    'double vote after a restart',
    'storage/metafile.ts',
    '{ currentTerm, votedFor })\n  }',
    '{ currentTerm, votedFor: null })\n  }',
  ),
  bug('a second vote in one term', 'raft/election.ts', 's.votedFor === message.from ||', 'true ||'),
  bug(
    'vote before it is saved',
    'raft/election.ts',
    's.outbox.promises.push(response)',
    's.outbox.send.push(response)',
  ),
  bug('candidacy before it is saved', 'raft/election.ts', 's.outbox.promises.push({', 's.outbox.send.push({'),
  bug(
    'up-to-date check missing',
    'raft/entry.ts',
    'if (candidate.term !== mine.term) return candidate.term > mine.term',
    'return true',
  ),
  bug(
    'up-to-date check compares the index first',
    'raft/entry.ts',
    'if (candidate.term !== mine.term) return candidate.term > mine.term',
    'if (candidate.index !== mine.index) return candidate.index > mine.index',
  ),
  bug('pre-vote bumps the term', 'raft/raft.ts', "if (message.type === 'RequestPreVote') return true", ''),
  bug(
    'quorum off by one in even clusters',
    'raft/configuration.ts',
    'Math.floor(voters / 2) + 1',
    'Math.ceil(voters / 2)',
  ),
  bug(
    'learner counted',
    'raft/configuration.ts',
    "configuration.members.filter((member) => member.role === 'voter')",
    'configuration.members',
  ),
  {
    ...bug(
      'stickiness ignored',
      'raft/raft.ts',
      "if (message.type === 'RequestVote' && !message.leadershipTransfer && hearsLeader(s)) return false",
      '',
    ),
    directed: 'test/raft/pre-vote.test.ts: While the leader is heard nobody helps to replace it',
  },
  {
    ...bug(
      'pre-vote granted while the leader is heard',
      'raft/election.ts',
      'message.term > s.currentTerm && !hearsLeader(s) &&',
      'message.term > s.currentTerm &&',
    ),
    directed:
      'test/raft/leader-lost.test.ts: A node whose own connection broke disturbs nobody: the others still hear the leader',
  },

  // Replication (§5.3, §5.4.2)
  bug(
    'ack before it is synced',
    'raft/append-entries.ts',
    's.outbox.promises.push(response(matchIndex))',
    's.outbox.send.push(response(matchIndex))',
  ),
  bug(
    'heartbeat acknowledges what is not synced',
    'raft/append-entries.ts',
    'response(Math.min(matchIndex, s.log.durableIndex))',
    'response(matchIndex)',
  ),
  bug(
    'prevLogTerm unchecked',
    'raft/append-entries.ts',
    '!s.log.matches(message.prev)',
    'message.prev.index > s.log.lastIndex',
  ),
  bug(
    'committed entry truncated',
    'raft/append-entries.ts',
    'message.entries.findIndex((entry) => entry.index > commitIndex && !s.log.matches(entry))',
    'message.entries.length > 0 ? 0 : -1',
  ),
  bug(
    'commitIndex beyond the last new entry',
    'raft/append-entries.ts',
    'Math.min(message.leaderCommit, lastNew)',
    'Math.min(message.leaderCommit, s.log.lastIndex)',
  ),
  bug(
    'older term committed by counting',
    'raft/replication.ts',
    'if (s.log.termAt(index) !== s.currentTerm) return',
    '',
  ),
  bug(
    'leader counts what it has not synced',
    'raft/replication.ts',
    'id === s.options.id ? s.log.durableIndex',
    'id === s.options.id ? s.log.lastIndex',
  ),
  bug(
    'overwritten suffix not saved again',
    'raft/log.ts',
    'this.#unsavedFrom = Math.min(this.#unsavedFrom, index)',
    '',
  ),
  {
    ...bug(
      'stale save vouches for what replaced it',
      'raft/log.ts',
      'for (const save of this.#inFlight) save.through = Math.min(save.through, index - 1)',
      '',
    ),
    directed: 'test/raft/asynchrony.test.ts: vouches for what lies before them only',
  },
  bug(
    'durable mark kept over a truncation',
    'raft/log.ts',
    'this.#durableIndex = Math.min(this.#durableIndex, index - 1)',
    '',
  ),
  {
    ...bug(
      'entries loaded for another term are sent',
      'raft/replication.ts',
      'progress.nextIndex === from && s.log.matches(last)',
      'progress.nextIndex === from',
    ),
    directed: 'test/raft/flow.test.ts: that another leader replaced meanwhile are not sent',
  },
  bug(
    'hard state taken for durable',
    'raft/state.ts',
    'return s.durable.currentTerm === s.currentTerm && s.durable.votedFor === s.votedFor',
    'return true',
  ),
  bug(
    'promises do not wait for their save',
    'node/node.ts',
    'if (after > this.#savedId) {',
    'if (after > this.#savedId + 1) {',
  ),
  bug('cluster time going back', 'raft/leader.ts', 'Math.max(unixMs, s.log.lastTimestampMs)', 'unixMs'),

  // Reads
  bug(
    'read answered without a round',
    'raft/reads.ts',
    'role.reads.push({ readId, from, ready: { index: s.commitIndex, round: role.round } })',
    'role.reads.push({ readId, from, ready: { index: s.commitIndex, round: 0 } })',
  ),
  bug(
    'read answered before the first commit of the term',
    'raft/reads.ts',
    'if (s.commitIndex < role.noopIndex) {',
    'if (s.commitIndex < 0) {',
  ),
  bug(
    'read answered before it is applied',
    'node/reads.ts',
    'if (appliedIndex >= index) waiter.resolve(index)',
    'if (appliedIndex >= 0) waiter.resolve(index)',
  ),

  {
    ...bug(
      'read answered by what a former process asked',
      'node/reads.ts',
      'this.#lastReadId = options.firstReadId',
      'this.#lastReadId = 0',
    ),
    directed:
      'test/node/reads.test.ts: The numbers of the questions go on from a random start, so that answers to a former process answer nobody',
  },

  // Proposals
  bug(
    'results answered to the wrong proposer',
    'node/proposals.ts',
    'if (entry === undefined || entry.origin !== this.#origin) continue',
    'if (entry === undefined) continue',
  ),
  bug(
    'proposal that may still commit queued again',
    'node/proposals.ts',
    'pending.handedTerm < term && pending.committed === null',
    'pending.handedTerm <= term && pending.committed === null',
  ),
  bug(
    'refusal of an earlier term believed',
    'node/proposals.ts',
    'pending.handedTerm !== term || pending.committed !== null) return\n    pending.handedTerm = 0',
    'pending.committed !== null) return\n    pending.handedTerm = 0',
  ),
  bug(
    'forwarded proposals accepted in another term',
    'node/forwarding.ts',
    'if (handedTerm !== term) {',
    'if (handedTerm > term) {',
  ),
  bug(
    'timeout taken for a refusal',
    'node/proposals.ts',
    "'commit-timeout',\n          'unknown'",
    "'commit-timeout',\n          'not_applied'",
  ),

  // Storage
  bug(
    'append not synced',
    'storage/log.ts',
    'this.#file.write(bytes, position.offset)\n    await this.#file.sync()',
    'this.#file.write(bytes, position.offset)',
  ),
  bug(
    'term and vote not synced',
    'storage/slot-file.ts',
    'await this.#file.sync()\n    this.#doubled',
    'this.#doubled',
  ),
  bug('metafile slot reused', 'storage/slot-file.ts', 'this.#newest.number === 0 ? 1 : 0', 'this.#newest.number'),
  {
    ...bug(
      'entries before the term they are of',
      'storage/storage.ts',
      'if (group.hardState) await this.#metafile.save(group.hardState)\n    await this.#log.append(group.entries, () => this.#pending.firstIndex)',
      'await this.#log.append(group.entries, () => this.#pending.firstIndex)\n    if (group.hardState) await this.#metafile.save(group.hardState)',
    ),
    directed:
      'test/storage/crash.test.ts: after every single operation the process dies: nothing acknowledged is lost, and what is found stays',
  },
  bug(
    'torn tail accepted',
    'storage/segment.ts',
    'return crc32(content) === header.contentChecksum ? content : null',
    'return content',
  ),
  bug(
    'torn tail left behind',
    'storage/recover-log.ts',
    'torn && (await cut(disk, directory, torn.at, torn.bad))',
    'torn && null',
  ),
  bug(
    'rotten record truncated as torn',
    'storage/recover-log.ts',
    'if (ending.bad.mark && isBefore(torn.at, ending.bad.mark)) {',
    'if (ending.bad.mark && isBefore(ending.bad.mark, torn.at)) {',
  ),
  bug(
    'last batch believed from the page cache',
    'storage/recover-log.ts',
    'await makeCertain(disk, directory, lastBatch)',
    '',
  ),
  bug('name of a new file not synced', 'storage/disk.ts', 'await disk.syncDirectory(directory)', ''),

  // Delivery
  bug('applied twice', 'machine/kv.ts', 'this.#position = commands.at(-1)?.index ?? after', ''),
  bug(
    'lost acknowledgement never made up for',
    'machine/progress.ts',
    'if (position <= this.#appliedIndex) return false',
    'return false',
  ),
  bug(
    'cursor ahead of the application',
    'machine/progress.ts',
    'this.#cursor?.note(this.#after)',
    'this.#cursor?.note(this.#after + 1)',
  ),
]
