// One production node with the real core between fakes that do nothing by themselves: turns, time, saves, messages and applying happen when the
// test says so. What leaves the node stands in one journal, in the order in which it left.

import assert from 'node:assert/strict'
import { setImmediate as microtasksDone } from 'node:timers/promises'
import type { FatalError } from '../../src/errors.ts'
import { type NodeOptions, RaftNode } from '../../src/node/node.ts'
import type { NodeEvent, PeerMessage, Standing } from '../../src/node/ports.ts'
import { type Entry, type EntryId, isCommand, type NodeId } from '../../src/raft/entry.ts'
import type { AppendEntries } from '../../src/raft/messages.ts'
import type { Recovered } from '../../src/raft/work.ts'
import { appendEntries, encodeEntry, founding, logOf } from '../raft/entries.ts'
import { FakeApplier, FakeStorage, FakeTransport, ManualClock } from './fakes.ts'

export const timeoutMs = 5000
/** Of the process at the other node. */
export const otherOrigin = 4242
/** A tenth of a heartbeat: how often the node looks at the clock. */
export const tickMs = 30
/** Longer than the node waits before it announces a commit, and too short for a heartbeat. */
export const momentMs = 50
export const testTimings = { electionTimeoutMinMs: 1000, electionTimeoutMaxMs: 2000, heartbeatIntervalMs: 300 }

export interface KitSetup {
  readonly voters?: readonly NodeId[]
  readonly learners?: readonly NodeId[]
  /** The term of every entry on the disk at the start, those behind `base`. */
  readonly log?: readonly number[]
  /** The last entry of the snapshot that is on the disk at the start. */
  readonly snapshot?: EntryId
  /** The entry before the first one of the log; the snapshot's last one unless it is given. */
  readonly base?: EntryId
  /** The state machine is the application; unless told otherwise, when none watches. */
  readonly leavesOut?: boolean
  /** With an application that only watches. */
  readonly watched?: boolean
  readonly snapshots?: Partial<NodeOptions['snapshots']>
  readonly raft?: Partial<NodeOptions['raft']>
  readonly limits?: Partial<NodeOptions['limits']>
  readonly ledger?: Partial<NodeOptions['ledger']>
  readonly results?: NodeOptions['results']
  /** Of the snapshot that is on the disk at the start. */
  readonly ledgerText?: string
  readonly encodeEntry?: NodeOptions['encodeEntry']
  /** What is known of the peers at the start. */
  readonly acquaintances?: ReadonlyMap<NodeId, Standing>
}

type Sent<T> = Extract<PeerMessage, { readonly type: T }>

export class NodeKit {
  readonly clock = new ManualClock()
  /** `send TYPE to ID`, `save N`, `commit N`, `close PART`. */
  readonly journal: string[] = []
  readonly storage: FakeStorage
  readonly transport: FakeTransport
  readonly applier = new FakeApplier(this.journal)
  readonly watcher: FakeApplier | null
  readonly events: NodeEvent[] = []
  readonly fatal: FatalError[] = []
  readonly node: RaftNode
  /** AppendEntries that `answer` has seen. */
  #answered = new Set<AppendEntries>()

  constructor(setup: KitSetup = {}) {
    const { voters = ['n1', 'n2', 'n3'], learners = [], log = [] } = setup
    const recovered = recoveredOf(setup)
    this.storage = new FakeStorage(this.journal, recovered, logOf(log, recovered.base.index + 1), setup.ledgerText)
    this.watcher = setup.watched === true ? new FakeApplier(this.journal, 'watcher ') : null
    this.transport = new FakeTransport(this.journal, [...voters, ...learners])
    this.node = new RaftNode({
      incarnation: '0011223344556677',
      run: { number: 1, id: '8899aabbccddeeff', former: [] },
      acquaintances: { load: () => setup.acquaintances ?? new Map(), save: async () => {} },
      id: 'n1',
      storage: this.storage,
      transport: this.transport,
      applier: this.applier,
      leavesOut: setup.leavesOut ?? setup.watched !== true,
      watcher: this.watcher,
      results: setup.results ?? null,
      ledger: { maxKeys: 1000, maxAnswerBytes: 1024 * 1024, ...setup.ledger },
      clock: this.clock,
      random: () => 0.5,
      encodeEntry: setup.encodeEntry ?? encodeEntry,
      observer: { event: (event) => this.events.push(event) },
      raft: {
        ...testTimings,
        leaseReads: false,
        maxClockDriftPpm: 500,
        waitsAfterRestart: false,
        maxInFlightMessages: 1,
        maxMessageBytes: 64 * 1024,
        maxUncommittedBytes: 1024 * 1024,
        maxCachedBytes: 1024 * 1024,
        maxLogEntries: 0,
        ...setup.raft,
      },
      snapshots: { threshold: 1_000_000, bytesPerSecond: 1024 * 1024 * 1024, ...setup.snapshots },
      limits: { maxPendingProposals: 1000, maxPendingBytes: 1024 * 1024, ...setup.limits },
      appUrl: 'http://n1.test',
      onFatal: (error) => this.fatal.push(error),
    })
  }

  /** Lets promises go on, without a turn of the node. */
  async microtasks(): Promise<void> {
    await microtasksDone()
  }

  /** Turns and promises until only time, a save or a message could bring more. */
  async settle(): Promise<void> {
    for (let turns = 0; turns < 100; turns++) {
      await this.microtasks()
      if (!this.clock.turn()) return
    }
    assert.fail('The node takes turn after turn without an end')
  }

  async advance(ms: number): Promise<void> {
    const untilMs = this.clock.nowMs + ms
    await this.settle()
    while (this.clock.advanceToTimer(untilMs)) await this.settle()
  }

  /** In one turn. */
  async receive(...messages: readonly PeerMessage[]): Promise<void> {
    for (const message of messages) this.transport.events?.received(message)
    await this.settle()
  }

  /** The oldest save under way is durable. */
  async completeSave(): Promise<void> {
    const oldest = this.storage.held.shift()
    assert(oldest !== undefined, 'No save is under way')
    oldest.resolve()
    await this.settle()
  }

  /** The applier takes everything that is committed; a command's result is its index. */
  async apply(): Promise<void> {
    const from = this.applier.appliedIndex + 1
    const entries = (await this.applier.entries?.read(from, this.applier.commitIndex, Number.POSITIVE_INFINITY)) ?? []
    const commands = entries.filter(isCommand)
    this.applier.appliedIndex = this.applier.commitIndex
    this.applier.events?.applied(
      this.applier.appliedIndex,
      commands,
      commands.map(({ index }) => index),
    )
    await this.settle()
  }

  /** Followers whose logs agree with ours answer every AppendEntries that they were sent, until no more comes. */
  async answer(...ids: readonly NodeId[]): Promise<void> {
    for (let rounds = 0; rounds < 100; rounds++) {
      const asked = this.sent('AppendEntries').filter((sent) => ids.includes(sent.to) && !this.#answered.has(sent))
      if (asked.length === 0) return
      for (const sent of asked) {
        this.#answered.add(sent)
        const matchIndex = sent.prev.index + sent.entries.length
        const { to: from, term, round } = sent
        await this.receive(matched({ from, term, round, matchIndex }))
      }
    }
    assert.fail('AppendEntries follow each other without an end')
  }

  /** These answer every heartbeat on the way. */
  async advanceAnswered(ms: number, ...ids: readonly NodeId[]): Promise<void> {
    for (const untilMs = this.clock.nowMs + ms; this.clock.nowMs < untilMs; ) {
      await this.advance(Math.min(tickMs, untilMs - this.clock.nowMs))
      await this.answer(...ids)
    }
  }

  sent<T extends PeerMessage['type']>(type: T): Sent<T>[] {
    return this.transport.sent.filter((message): message is Sent<T> => message.type === type)
  }

  /** What was sent since, and what was noted, is forgotten. */
  forget(): void {
    this.transport.sent.length = 0
    this.journal.length = 0
    this.events.length = 0
  }

  get lastIndex(): number {
    return this.node.status().lastIndex
  }
}

/** What the disk holds at the start. */
export function recoveredOf(setup: KitSetup): Recovered {
  const { voters = ['n1', 'n2', 'n3'], learners = [], log = [] } = setup
  const base = setup.base ?? setup.snapshot ?? { term: 0, index: 0 }
  const lastIndex = base.index + log.length
  const configuration = founding(voters, learners)
  return {
    hardState: { currentTerm: log.at(-1) ?? base.term, votedFor: null },
    snapshot:
      setup.snapshot === undefined
        ? null
        : { lastIncluded: setup.snapshot, timestampMs: setup.snapshot.index, configuration },
    base,
    termRuns: log.flatMap((term, i) => (term === log[i - 1] ? [] : [{ from: base.index + i + 1, term }])),
    lastIndex,
    lastTimestampMs: lastIndex,
    configurations: [configuration],
  }
}

export async function started(setup: KitSetup = {}): Promise<NodeKit> {
  const kit = new NodeKit(setup)
  const start = kit.node.start()
  await kit.settle()
  await start
  return kit
}

/** Of the term after the log's last one, its no-op committed; `others` are those that answered so far. */
export async function leader(setup: KitSetup = {}, others: readonly NodeId[] = ['n2', 'n3']): Promise<NodeKit> {
  const kit = await started(setup)
  await kit.advance(testTimings.electionTimeoutMaxMs)
  if (kit.node.status().role !== 'leader') {
    const term = kit.node.currentTerm + 1
    await kit.receive({ type: 'RequestPreVoteResponse', from: 'n2', to: 'n1', term, voteGranted: true })
    await kit.receive({ type: 'RequestVoteResponse', from: 'n2', to: 'n1', term, voteGranted: true })
  }
  assert.equal(kit.node.status().role, 'leader')
  await kit.answer(...others)
  await kit.advance(momentMs)
  await kit.answer(...others)
  assert.equal(kit.node.status().commitIndex, kit.lastIndex)
  kit.forget()
  return kit
}

/** Follows n2 in the given term. */
export async function follower(
  setup: KitSetup = {},
  term = (setup.log?.at(-1) ?? setup.snapshot?.term ?? 0) + 1,
): Promise<NodeKit> {
  const kit = await started(setup)
  const { base, lastIndex } = kit.storage.recovered
  await kit.receive(appendEntries({ term, prev: { term: setup.log?.at(-1) ?? base.term, index: lastIndex } }))
  kit.forget()
  return kit
}

/** A follower's log is equal to that of n1 through `matchIndex`. */
export function matched(fields: {
  readonly from: NodeId
  readonly term: number
  readonly matchIndex: number
  readonly round?: number
  readonly leaseMs?: number
  readonly isStorageFull?: boolean
}) {
  const defaults = { to: 'n1', round: 0, leaseMs: 0, isStorageFull: false } as const
  return { type: 'AppendEntriesResponse', success: true, ...defaults, ...fields } as const
}

/** A command as the leader of the term would append it. */
export function entryOf(term: number, index: number, origin: number, sequence: number): Entry {
  const timestampMs = 1000 + index
  return encodeEntry({
    term,
    index,
    kind: 'json',
    timestampMs,
    origin,
    sequence,
    key: null,
    traceparent: null,
    payload: bytes(2),
  })
}

export function bytes(length: number): Uint8Array {
  return new Uint8Array(length).fill(0x20)
}

export function command(length = 2): { readonly kind: 'json'; readonly payload: Uint8Array } {
  return { kind: 'json', payload: bytes(length) }
}

/** A follower passes on one command for each sequence. */
export function forwarded(sequences: readonly number[], options: { from?: string; term?: number; size?: number } = {}) {
  const { from = 'n2', term = 1, size = 2 } = options
  const proposals = sequences.map((sequence) => ({ sequence, key: null, traceparent: null, ...command(size) }))
  return { type: 'ForwardedProposals', from, to: 'n1', term, origin: otherOrigin, proposals } as const
}

/** The only ForwardedProposals that left. */
export function passedOn(kit: NodeKit) {
  const [message, ...more] = kit.sent('ForwardedProposals')
  assert(message !== undefined && more.length === 0, 'Exactly one message was expected to pass commands on')
  return message
}
