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

/** Several changes that make one fault: what guards against it is gone, too. */
function bugs(name: string, changes: readonly (readonly [file: string, find: string, replace: string])[]): PlantedBug {
  return { name, patches: changes.map(([file, find, replace]) => ({ file: `src/${file}`, find, replace })) }
}

export const plantedBugs: readonly PlantedBug[] = [
  // Elections (§5.2, §5.4.1)
  bug(
    'double vote after a restart',
    'storage/metafile.ts',
    'hardState: { currentTerm, votedFor },',
    'hardState: { currentTerm, votedFor: null },',
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
    ...bug('stickiness ignored', 'raft/raft.ts', 'if (isUnwanted && (hearsLeader(s) || isBound(s))) return false', ''),
    directed: 'test/raft/pre-vote.test.ts: While the leader is heard nobody helps to replace it',
  },
  {
    ...bug(
      'pre-vote granted while the leader is heard',
      'raft/election.ts',
      'const isFree = !hearsLeader(s) && !isBound(s)',
      'const isFree = !isBound(s)',
    ),
    directed:
      'test/raft/leader-lost.test.ts: A node whose own connection broke disturbs nobody: the others still hear the leader',
  },

  // Replication (§5.3, §5.4.2)
  bug(
    'ack before it is synced',
    'raft/append-entries.ts',
    's.outbox.promises.push(success(s, message.from, message.round, matchIndex, leaseMs))',
    's.outbox.send.push(success(s, message.from, message.round, matchIndex, leaseMs))',
  ),
  bug(
    'heartbeat acknowledges what is not synced',
    'raft/append-entries.ts',
    'message.round, Math.min(matchIndex, s.log.durableIndex), leaseMs)',
    'message.round, matchIndex, leaseMs)',
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
      'isCurrent && last !== undefined && s.log.matches(last)',
      'isCurrent && last !== undefined',
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
    'node/saves.ts',
    'if (after > this.#savedId) this.',
    'if (after > this.#savedId + 1) this.',
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
    'pending.handedTerm !== term || pending.committed !== null) return\n    this.#byLedger.delete(pending)',
    'pending.committed !== null) return\n    this.#byLedger.delete(pending)',
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

  // Exactly once
  bug(
    'proposals taken before every key of the log is known',
    'node/hand-over.ts',
    "if (role.name === 'leader' && this.#options.ledger().throughIndex < role.noopIndex) return",
    '',
  ),
  bug(
    'keys that are not committed yet forgotten',
    'node/key-guard.ts',
    'if (proposal.key === null) continue\n',
    "if (proposal.key !== '') continue\n",
  ),
  bug(
    'keys that are committed forgotten',
    'node/key-guard.ts',
    'const committed = this.#ledger().find(key)',
    "const committed = this.#ledger().find('')",
  ),
  bug(
    'key that comes twice in a turn appended twice',
    'node/key-guard.ts',
    'else if (key !== null && keys.has(key)) again.push(proposal)',
    "else if (key !== null && keys.has('')) again.push(proposal)",
  ),
  {
    ...bug(
      'what a former term left uncommitted taken for a first',
      'node/key-guard.ts',
      'this.#uncommitted.clear()',
      '',
    ),
    directed:
      'test/node/key-guard.test.ts: What was appended in a former term, and may be gone, keeps no key from being appended again',
  },
  bugs('digest ignored', [
    ['node/key-guard.ts', 'isCommandKind(kind) && digestOf(kind, payload) === digest', 'isCommandKind(kind)'],
    [
      'node/proposals.ts',
      "return kind !== 'skip' && digestOf(kind, payload) === first.digest",
      "return kind !== 'skip'",
    ],
  ]),
  bug(
    'another command taken for the one that is not committed yet',
    'node/key-guard.ts',
    'kind === proposal.kind && Buffer.compare(payload, proposal.payload) === 0',
    'kind === proposal.kind',
  ),
  bug(
    'repeat answered before the first is committed',
    'node/proposals.ts',
    'this.#byLedger.add(pending)\n    this.#consult(pending, nowMs)\n  }',
    'this.#byLedger.add(pending)\n    this.#commit(pending, { ...first, timestampMs: 0, duplicate: true })\n    this.#consult(pending, nowMs)\n  }',
  ),
  bug(
    'repeat passed off as the first',
    'node/proposals.ts',
    'this.#commit(pending, { ...id, timestampMs, duplicate: true })',
    'this.#commit(pending, { ...id, timestampMs, duplicate: false })',
  ),
  {
    ...bug(
      'what may be in a snapshot told to be in no log',
      'node/proposals.ts',
      "if (!pending.isInDoubt) this.#fail(pending, code, 'not_applied', sentence)",
      "if (pending.sequence > 0) this.#fail(pending, code, 'not_applied', sentence)",
    ),
    directed: 'test/node/keys.test.ts: does not say that it was not applied',
  },
  bug(
    'answered by the last of those that stand in the log',
    'node/proposals.ts',
    'if (pending === undefined || pending.committed !== null) continue',
    'if (pending === undefined) continue',
  ),
  bug(
    'lost answer taken for the answer null',
    'machine/progress.ts',
    'undelivered.filter((command) => command.index <= position),\n      null,',
    'undelivered.filter((command) => command.index <= position),\n      undelivered.filter((command) => command.index <= position).map(() => null),',
  ),
  {
    ...bug(
      'a later answer takes the place of the first',
      'node/ledger.ts',
      "if (this.#queue[position]?.answer.type !== 'unknown') continue",
      '',
    ),
    directed:
      'test/node/ledger.test.ts: The first answer holds, whatever a state machine says that gets the command again',
  },
  bug(
    'answer learnt for another command',
    'node/ledger.ts',
    "if (command?.id.index !== index || command.answer.type !== 'unknown') return false",
    "if (command?.answer.type !== 'unknown') return false",
  ),
  bug(
    'answer kept for another command',
    'node/ledger-keeper.ts',
    'const resultJson = this.#kept.get(index)',
    'const resultJson = this.#kept.get(index + 1) ?? this.#kept.get(index)',
  ),
  bug(
    'ledger not taken from the snapshot',
    'node/ledger-keeper.ts',
    'await Ledger.of(picture ?? { index, keys: [], skips: [] }, limits, giveWay)',
    'await Ledger.of({ index, keys: [], skips: picture?.skips ?? [] }, limits, giveWay)',
  ),
  bug(
    'skips not taken from the snapshot',
    'node/ledger.ts',
    'for (const skip of picture.skips) ledger.#skips.set(skip.index, skip)',
    '',
  ),
  bug(
    'ledger of the snapshot past what is applied',
    'node/ledger.ts',
    'this.#queue.slice(this.#oldest, this.#positionOf(index + 1))',
    'this.#queue.slice(this.#oldest)',
  ),
  bug(
    'keys expire by the cluster time at which they were read',
    'node/ledger.ts',
    'const last = entries.at(-1)\n',
    'const last = entries[0]\n',
  ),
  bug('keys never expire by time', 'node/ledger.ts', 'oldest.timestampMs + keyLifetimeMs <= nowMs', 'nowMs < 0'),
  bug(
    'one key too many kept',
    'node/ledger.ts',
    'this.#queue.length - this.#oldest > maxKeys ||',
    'this.#queue.length - this.#oldest > maxKeys + 1 ||',
  ),

  // Skips
  bugs('left out as soon as somebody asks for it', [
    [
      'node/ledger.ts',
      'isSkipped(index: number): boolean {\n    return ',
      'readonly asked = new Set<number>()\n\n  isSkipped(index: number): boolean {\n    return this.asked.has(index) || ',
    ],
    [
      'node/node.ts',
      'const payload = this.#poisoned.skipOf(index, this.#keeper.ledger.isSkipped(index))',
      'const payload = this.#poisoned.skipOf(index, this.#keeper.ledger.isSkipped(index))\n    Reflect.get(this.#keeper.ledger, "asked").add(index)',
    ],
  ]),
  bug(
    'commands delivered before it is known what is left out',
    'node/node.ts',
    'this.#keeper.committed(commitIndex, entries)',
    'this.#options.applier.commit(commitIndex)\n    this.#keeper.committed(commitIndex, entries)',
  ),
  bug(
    'embedded machine leaves out what a watcher refuses',
    'node/node.ts',
    'this.#entries(() => this.#openInstalled(), this.#options.leavesOut),',
    'this.#entries(() => this.#openInstalled(), true),',
  ),
  bug(
    'skip does not let a stopped delivery go on',
    'machine/applier.ts',
    'if (this.#refused === null || !this.#isSkipped(this.#refused.index)) return false\n    this.#refused = null\n    return true',
    'return false',
  ),
  {
    ...bugs('application that took what is left out goes on', [
      ['node/poisoned.ts', 'if (skip !== null) throw this.#diverged(skip)', ''],
      ['node/poisoned.ts', 'throw this.#diverged(skip)\n  }\n\n  #diverged', '}\n\n  #diverged'],
    ]),
    directed:
      'test/node/skip.test.ts: A node whose application has taken what the cluster leaves out stops: its state is another than that of the others',
  },

  // Leadership
  bug(
    'acquired before the application has caught up',
    'node/leadership.ts',
    'this.#acquiredTerm === null && appliedIndex >= noopIndex',
    'this.#acquiredTerm === null',
  ),
  bug(
    'lost not told',
    'node/leadership.ts',
    "this.#acquiredTerm = null\n      tell('lost')",
    'this.#acquiredTerm = null',
  ),
  bug(
    'read before the application has shown what it holds',
    'node/confirmed-read.ts',
    'if (confirmation === null) return index',
    'if (confirmation !== undefined) return index',
  ),

  // Leases
  bug('promise counted from when its answer came', 'raft/lease.ts', 'sent.startedMs + leaseMs)', 's.nowMs + leaseMs)'),
  {
    ...bug('clocks taken to run alike', 'raft/lease.ts', '* (1 - (2 * maxClockDriftPpm) / 1_000_000)', ''),
    directed:
      'test/raft/lease.test.ts: from when it sent what a majority answered, for as long as they promised, less the drift of two clocks',
  },
  bugs('promises bind nobody', [
    ['raft/lease.ts', 'return s.nowMs < s.boundUntilMs', 'return s.nowMs < 0'],
    ['raft/election.ts', 'Math.max(s.nowMs, s.boundUntilMs) + spreadMs(s)', 's.nowMs + spreadMs(s)'],
  ]),
  bug('lease outlives a transfer', 'raft/transfer.ts', 'giveUpLease(role)', 'void giveUpLease'),
  bug(
    'lease held before the first commit of the term',
    'raft/lease.ts',
    'if (s.commitIndex < role.noopIndex) return null',
    '',
  ),
  {
    ...bug(
      'promises forgotten over a restart',
      'raft/lease.ts',
      'return nowMs + electionTimeoutMinMs',
      'return Number.NEGATIVE_INFINITY',
    ),
    directed: 'test/raft/lease.test.ts: keeps to what it may have promised before',
  },

  // Storage
  bug(
    'append not synced',
    'storage/log.ts',
    'await this.#put(bytes, position.offset)\n    await this.#file.sync()',
    'await this.#put(bytes, position.offset)',
  ),
  bug(
    'term and vote not synced',
    'storage/slot-file.ts',
    'await this.#file.sync().catch(neverAgain)\n    this.#doubled',
    'this.#doubled',
  ),
  bug('metafile slot reused', 'storage/slot-file.ts', 'this.#newest.number === 0 ? 1 : 0', 'this.#newest.number'),
  {
    ...bug(
      'entries before the term they are of',
      'storage/storage.ts',
      'if (hardState) await this.#whenRoom(() => this.#metafile.save(hardState))\n',
      'if (hardState) await this.#log.append(group.entries, () => this.#pending.replacesFrom)\n    if (hardState) await this.#whenRoom(() => this.#metafile.save(hardState))\n    if (hardState) group.entries.length = 0\n',
    ),
    directed: 'test/storage/crash.test.ts: nothing acknowledged is lost, and what is found stays',
  },
  bug(
    'torn tail accepted',
    'storage/segment.ts',
    'return crc32(content) === header.contentChecksum ? content : null',
    'return content',
  ),
  bug('torn tail left behind', 'storage/recover-log.ts', 'if (torn) await cut(disk, directory, torn)', ''),
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

  bug(
    'mark written too early',
    'storage/log.ts',
    'position, mark, records, firstIndex })',
    'position, mark: { ...position, offset: position.offset + bytes.length }, records, firstIndex })',
  ),
  bug(
    'new file named before its content is synced',
    'storage/disk.ts',
    'await fill(file)\n    await file.sync()',
    'await fill(file)',
  ),

  // Snapshots and what leaves the log (§7)
  bugs('compacts past the snapshot', [
    ['raft/compaction.ts', 's.snapshot.lastIncluded.index - (s.storage.isFull ? 0 : maxLogEntries)', 's.commitIndex'],
    ['storage/storage.ts', 'assert(through.index <= newest,', 'assert(through.index <= newest || true,'],
  ]),
  {
    ...bug('forgets whom it sends a snapshot', 'raft/compaction.ts', '...pinned(s),', ''),
    directed: 'test/raft/compaction.test.ts: While a follower is being sent a snapshot',
  },
  bug(
    'install acknowledged before it is durable',
    'raft/install-snapshot.ts',
    's.outbox.promises.push(success(s, from, 0, s.commitIndex, 0))',
    's.outbox.send.push(success(s, from, 0, s.commitIndex, 0))',
  ),
  bug(
    'snapshot taken for durable at once',
    'raft/log.ts',
    'this.#durableIndex = Math.min(this.#durableIndex, commitIndex)',
    'this.#durableIndex = lastIncluded.index',
  ),
  {
    ...bug(
      'installs although the log has all of it',
      'raft/install-snapshot.ts',
      'if (!s.log.matches(lastIncluded)) {',
      'if (lastIncluded.index > 0) {',
    ),
    directed:
      'test/raft/install-snapshot.test.ts: nothing is replaced, everything through it is committed, and what lies behind stays',
  },
  {
    ...bugs('installs what is older than its log', [
      ['raft/install-snapshot.ts', 'if (lastIncluded.index > s.commitIndex) {', 'if (lastIncluded.index > 0) {'],
      ['raft/log.ts', 'lastIncluded.index > commitIndex,', 'lastIncluded.index > 0,'],
    ]),
    directed: 'test/raft/install-snapshot.test.ts: changes nothing, and is answered for all that is committed',
  },
  bug(
    'snapshot counts for nothing after a restart',
    'raft/raft.ts',
    'commitIndex: snapshot?.lastIncluded.index ?? 0',
    'commitIndex: base.index',
  ),
  bug(
    'cluster time of a snapshot forgotten',
    'raft/log.ts',
    'this.#lastTimestampMs = timestampMs\n    this.#configurations = [configuration]',
    'this.#configurations = [configuration]',
  ),
  {
    ...bug(
      'older configuration kept over a snapshot',
      'raft/log.ts',
      'this.#lastTimestampMs = timestampMs\n    this.#configurations = [configuration]',
      'this.#lastTimestampMs = timestampMs',
    ),
    directed: 'test/raft/install-snapshot.test.ts: comes with it, replaces what the log held, and is told',
  },
  bug(
    'snapshot named for what was applied since',
    'node/snapshot-taker.ts',
    'describe(picture.appliedIndex)',
    'describe(this.#options.applier.appliedIndex)',
  ),
  bug(
    'picture of a state that went on',
    'machine/kv-store.ts',
    'if (old.modifiedIndex > this.position) return\n',
    'if (old.modifiedIndex > 0) return\n',
  ),
  bug(
    'log begins anew before its snapshot is durable',
    'storage/storage.ts',
    'await this.#snapshots.install(group.snapshot.lastIncluded)\n      await this.#log.beginAfter(group.snapshot.lastIncluded)',
    'await this.#log.beginAfter(group.snapshot.lastIncluded)\n      await this.#snapshots.install(group.snapshot.lastIncluded)',
  ),
  bug(
    'nothing says that the log begins anew',
    'storage/storage.ts',
    'await this.#log.beginAfter(group.snapshot.lastIncluded)\n    }',
    '}',
  ),
  bug(
    'log kept that its snapshot has replaced',
    'storage/recover-snapshots.ts',
    'return snapshot === null || contents.termAt(snapshot.index) === snapshot.term',
    'return true',
  ),
  bug(
    'segment removed that still holds entries',
    'storage/log.ts',
    'this.#wantedFrom = position.segment',
    'this.#wantedFrom = position.segment + 1',
  ),
  bug(
    'segments never given up',
    'storage/log.ts',
    'for (; this.#firstSegment < this.#wantedFrom; this.#firstSegment++) {',
    'for (; this.#firstSegment < 0; this.#firstSegment++) {',
  ),
  bugs('segments removed from the end', [
    [
      'storage/remover.ts',
      'let name = this.#names[0]; name !== undefined; name = this.#names[0]',
      'let name = this.#names.at(-1); name !== undefined; name = this.#names.at(-1)',
    ],
    ['storage/remover.ts', 'this.#names.shift()', 'this.#names.pop()'],
  ]),
  bug(
    'name of a snapshot not synced',
    'storage/snapshot-store.ts',
    'await disk.syncDirectory(directory).catch((error: unknown) => {\n        throw failed(error)\n      })',
    'void failed',
  ),
  {
    ...bug(
      'newest snapshot is the one that was named last',
      'storage/snapshot-store.ts',
      'if (this.#stored.at(-1) === lastIncluded) this.#newest = verified',
      'this.#newest = verified',
    ),
    directed: 'test/storage/snapshots.test.ts: one that was overtaken by a later one does not become the newest',
  },
  bugs('rotten snapshot believed', [
    ['storage/snapshot-file.ts', 'if (stored !== computed) throw chunkDamaged(offset)', ''],
    [
      'storage/snapshot-file.ts',
      "if (readU32(this.#came, 0) !== this.#checksum) throw this.#damaged('All of it",
      "if (this.#came.length === 0) throw this.#damaged('All of it",
    ],
    ['storage/snapshot-file.ts', 'if (crc32(chunk.subarray(4)) !== readU32(chunk, 0)) throw chunkDamaged(offset)', ''],
    ['machine/kv-snapshot.ts', 'if (trailer?.crc32 !== this.#checksum) throw', 'if (trailer === undefined) throw'],
  ]),
  {
    ...bugs('transfer goes on with another file, and is not verified', [
      ['node/snapshot-receiver.ts', '    a.checksum === b.checksum', '    a.checksum !== null'],
      ['storage/snapshot-store.ts', '    a.checksum === b.checksum', '    a.checksum !== null'],
      ['storage/snapshot-file.ts', 'if (stored !== computed) throw chunkDamaged(offset)', ''],
      [
        'storage/snapshot-file.ts',
        "if (readU32(this.#came, 0) !== this.#checksum) throw this.#damaged('All of it",
        "if (this.#came.length === 0) throw this.#damaged('All of it",
      ],
      ['storage/incoming-snapshot.ts', 'checksum !== announced.checksum ||', 'checksum === null ||'],
    ]),
    directed: 'test/storage/receive-snapshot.test.ts: refused, and it begins anew',
  },
  {
    ...bug(
      'chunks taken wherever they stand',
      'node/snapshot-receiver.ts',
      'if (length === 0 || offset !== transfer.receivedBytes || offset + length > file.sizeBytes) return',
      'if (length === 0 || transfer.receivedBytes + length > file.sizeBytes) return',
    ),
    directed: 'test/node/snapshot-receiver.test.ts: A chunk that comes twice is taken once',
  },
  bug(
    'commands lost behind a restore',
    'machine/progress.ts',
    'restore(appliedIndex: number, after: number): void {\n    this.#appliedIndex = appliedIndex',
    'restore(appliedIndex: number, after: number): void {\n    this.#appliedIndex = appliedIndex + 1',
  ),
  bug(
    'commands come again behind a restore',
    'machine/progress.ts',
    'restore(appliedIndex: number, after: number): void {\n    this.#appliedIndex = appliedIndex',
    'restore(appliedIndex: number, after: number): void {\n    this.#appliedIndex = after - 1',
  ),
  bug(
    'restored to another position',
    'machine/restoration.ts',
    'machine.restore({ position, body: body.chunks() })',
    'machine.restore({ position: appliedIndex, body: body.chunks() })',
  ),
  bug('restored from what is not installed yet', 'node/node.ts', 'await this.#installation.durable\n', ''),
  {
    ...bug(
      'restores from a snapshot that the log has left behind',
      'machine/restoration.ts',
      'if (appliedIndex < entries.firstIndex - 1) {',
      'if (appliedIndex < 0) {',
    ),
    directed: 'test/machine/applier-restore.test.ts: where the log no longer reaches back and…',
  },
  bug(
    'proposals made again that a snapshot may hold',
    'node/proposals.ts',
    "this.#fail(pending, 'leadership-lost', 'unknown', sentence)",
    'void sentence\n      this.requeue(pending.sequence, pending.handedTerm, pending.arrivedMs)',
  ),
  {
    ...bug(
      'results made up for what a snapshot holds',
      'node/proposals.ts',
      'this.#answerLost(pending, why)',
      'void why\n      this.#remove(pending)\n      pending.resolve({ ...committed, result: { ok: true } })',
    ),
    directed:
      'test/node/install-snapshot.test.ts: What was committed here before the state machine was restored over it has no result, and its client learns where it stands',
  },

  // Disks that fail
  bug(
    'leads on with a disk that hangs',
    'raft/ailing-storage.ts',
    'if (stalledSinceMs !== null) {',
    'if (stalledSinceMs === -1) {',
  ),
  bug(
    'full disk taken for a write',
    'storage/log.ts',
    'await this.#options.space.retry(error, bytes.length, () => this.#file.write(bytes, offset))',
    'void error',
  ),
  bug(
    'full disk taken for the end',
    'storage/space.ts',
    'if (!isOutOfRoom(error)) throw error\n    this.#needs++',
    'if (error) throw error\n    this.#needs++',
  ),
  bug(
    'room is not looked for again',
    'storage/space.ts',
    'for (const wake of woken) wake()',
    'for (const wake of woken.slice(1)) wake()',
  ),
  bug(
    'failed sync of a snapshot overlooked',
    'storage/snapshot-store.ts',
    'throw this.#options.failed(error)\n    }\n  }\n\n  async #fill(',
    "throw new StorageFullError('Cannot take a snapshot', { cause: error })\n    }\n  }\n\n  async #fill(",
  ),

  // Members that forget
  bug(
    'emptied member let in',
    'node/acquaintances.ts',
    'const what = this.#otherDirectory(known, shown) ?? this.#lessThanBefore',
    'const what = this.#lessThanBefore',
  ),
  bug(
    'older copy of a directory let in',
    'node/acquaintances.ts',
    'if (then === null || then === run.id) return null',
    'if (then !== undefined) return null',
  ),
  bug(
    'member let in with an older term',
    'node/acquaintances.ts',
    'if (shown.currentTerm < known.currentTerm)',
    'if (shown.currentTerm < 0)',
  ),
  bug(
    'member let in without what it acknowledged',
    'node/acquaintances.ts',
    'if (shown.lastIndex < index)',
    'if (shown.lastIndex < 0)',
  ),
  {
    ...bug(
      'member let in before it is remembered',
      'node/acquaintances.ts',
      'await (known === undefined ? this.#meet(id, standing) : this.#meetAgain(id, known, standing)).durable\n',
      'void (known === undefined ? this.#meet(id, standing) : this.#meetAgain(id, known, standing)).durable\n',
    ),
    directed: 'test/node/acquaintances.test.ts: counts once its incarnation and its run are durable',
  },

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
