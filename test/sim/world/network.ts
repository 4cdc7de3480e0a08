// The network between the nodes, as the loop's `Transport`. One connection a pair: what it carries is lost when it is dropped, and it is up only when
// either end has judged what the other showed of itself. Messages of Raft may be lost, delayed, duplicated and overtake each other; forwarded
// proposals keep their order and never come twice, since TCP sees to that. Chunks of snapshots have a link of their own, with a narrow bandwidth.

import type { Peer, PeerMessage, SnapshotChunk, Standing, Transport, TransportEvents } from '../../../src/node/ports.ts'
import type { NodeId } from '../../../src/raft/entry.ts'
import type { Random } from './random.ts'
import type { Owner, World } from './world.ts'

export interface NetworkOptions {
  readonly latencyMs: number
  readonly jitterMs: number
  /** What the link for chunks takes in. */
  readonly bulkBytesPerMs: number
}

/** Whom it concerns: what a process says, and what of that reaches another. */
export interface NetworkEvents {
  readonly sent: (owner: Owner, message: PeerMessage) => void
  readonly received: (message: PeerMessage) => void
  /** The second one lets the first one in, by what that showed of itself; they have not spoken to each other yet. */
  readonly accepted: (id: NodeId, by: NodeId, standing: Standing) => void
}

interface Endpoint {
  readonly id: NodeId
  readonly owner: Owner
  readonly events: TransportEvents
  /** Whom this side takes for connected. */
  readonly connected: Set<NodeId>
  /** When the last news of each connection arrive here, so that they do not overtake each other. */
  readonly newsAtMs: Map<NodeId, number>
  /** What it makes of the process of each other one that showed itself last. A sentence: that has forgotten what it once promised. */
  readonly verdicts: Map<NodeId, { readonly owner: Owner; readonly refusal: Promise<string | null> }>
  /** Why it and another do not speak to each other. */
  readonly refusals: Map<NodeId, string>
}

interface Connection {
  isUp: boolean
  /** Counts the drops: what was sent before one is lost with it. */
  epoch: number
  /** Counts the attempts to connect: an earlier one leads to nothing any more. */
  attempt: number
  /** As `epoch`, of the link for chunks. */
  bulkEpoch: number
  /** Until then it is being dialled again. */
  bulkDownUntilMs: number
}

interface Lane {
  lastAtMs: number
  lastForwardedAtMs: number
  lastBulkAtMs: number
  /** When the last chunk has left the sender. */
  bulkFreeAtMs: number
  clogMs: number
  isBlocked: boolean
}

/** Who does not answer a handshake by then is not there. */
const handshakeTimeoutMs = 60

/** No more chunks wait to be sent than leave in this time. */
const maxBulkQueueMs = 2000

export class Network {
  lossChance = 0
  delayChance = 0
  duplicateChance = 0
  reorderChance = 0
  readonly #world: World
  readonly #random: Random
  readonly #options: NetworkOptions
  readonly #events: NetworkEvents
  readonly #endpoints = new Map<NodeId, Endpoint>()
  readonly #connections = new Map<string, Connection>()
  readonly #lanes = new Map<string, Lane>()

  constructor(world: World, random: Random, options: NetworkOptions, events: NetworkEvents) {
    this.#world = world
    this.#random = random
    this.#options = options
    this.#events = events
  }

  transport(id: NodeId, owner: Owner, others: readonly NodeId[]): Transport {
    return {
      start: async (events) => this.#attach(id, owner, events, others),
      send: (message) => this.#send(owner, message),
      setMembers: () => {},
      peers: () => this.#peers(id, owner, others),
      close: async () => this.detach(id, owner, 0),
    }
  }

  /** The process is gone; the others hear of it after a while, as when the machine itself is gone. */
  detach(id: NodeId, owner: Owner, noticeAfterMs: number): void {
    if (this.#endpoints.get(id)?.owner !== owner) return
    this.#endpoints.delete(id)
    for (const [key, connection] of this.#connections) {
      if (!connection.isUp || !key.split('|').includes(id)) continue
      const { epoch } = connection
      this.#world.after(this.#world.nature, noticeAfterMs, () => {
        if (connection.isUp && connection.epoch === epoch) this.#drop(key, connection)
      })
    }
  }

  /** One way. */
  block(from: NodeId, to: NodeId, isBlocked: boolean): void {
    this.#lane(from, to).isBlocked = isBlocked
  }

  clog(from: NodeId, to: NodeId, delayMs: number): void {
    this.#lane(from, to).clogMs = delayMs
  }

  reset(a: NodeId, b: NodeId): void {
    const key = pairOf(a, b)
    const connection = this.#connections.get(key)
    if (connection?.isUp) this.#drop(key, connection)
  }

  /** Only the link for chunks. */
  resetBulk(a: NodeId, b: NodeId): void {
    const connection = this.#connections.get(pairOf(a, b))
    if (connection === undefined) return
    connection.bulkEpoch++
    connection.bulkDownUntilMs = this.#world.nowMs + this.#random.between(0.5, 30)
  }

  /** One side is told of a lost connection that was not lost. */
  hint(at: NodeId, about: NodeId): void {
    const endpoint = this.#endpoints.get(at)
    if (endpoint === undefined || !this.#isUp(at, about)) return
    this.#notify(endpoint, about, false)
    this.#notify(endpoint, about, true)
  }

  heal(): void {
    this.lossChance = 0
    this.delayChance = 0
    this.duplicateChance = 0
    this.reorderChance = 0
    for (const lane of this.#lanes.values()) {
      lane.isBlocked = false
      lane.clogMs = 0
    }
  }

  #attach(id: NodeId, owner: Owner, events: TransportEvents, others: readonly NodeId[]): void {
    this.#endpoints.set(id, {
      id,
      owner,
      events,
      connected: new Set(),
      newsAtMs: new Map(),
      verdicts: new Map(),
      refusals: new Map(),
    })
    for (const other of others) {
      if (other === id) continue
      const key = pairOf(id, other)
      const connection = this.#connections.get(key) ?? {
        isUp: false,
        epoch: 0,
        attempt: 0,
        bulkEpoch: 0,
        bulkDownUntilMs: 0,
      }
      this.#connections.set(key, connection)
      // The other side may not have noticed yet that the last process here is gone.
      if (connection.isUp) this.#drop(key, connection)
      else this.#connect(key, connection, this.#random.between(0.1, 3))
    }
  }

  /** In place of any attempt that is under way. */
  #connect(key: string, connection: Connection, delayMs: number): void {
    const attempt = ++connection.attempt
    const isCurrent = () => connection.attempt === attempt
    this.#world.after(this.#world.nature, delayMs, () => {
      const [a, b] = this.#ends(key)
      // Who is not there dials when it is.
      if (!isCurrent() || a === undefined || b === undefined) return
      if (this.#isBlocked(a.id, b.id)) this.#connect(key, connection, this.#random.between(5, 30))
      else this.#shakeHands(key, connection, [a, b], isCurrent)
    })
  }

  /** Each shows itself to the other, and is judged. */
  #shakeHands(
    key: string,
    connection: Connection,
    ends: readonly [Endpoint, Endpoint],
    isCurrent: () => boolean,
  ): void {
    const [a, b] = ends
    let missing = 2
    const judged = (shown: Endpoint, by: Endpoint, refusal: string | null) => {
      if (!isCurrent() || !shown.owner.isAlive) return
      if (refusal !== null) {
        this.#world.tell(by.id, `net   refuses ${shown.id}: ${refusal}`)
        by.refusals.set(shown.id, refusal)
        shown.refusals.set(by.id, refusal)
        // The refusal says where the refusing one stands itself.
        const standing = by.events.standing()
        this.#world.after(shown.owner, this.#flightMs(), () => shown.events.disowned(by.id, standing, refusal))
        this.#connect(key, connection, this.#random.between(20, 60))
        return
      }
      if (--missing > 0) return
      connection.attempt++
      connection.isUp = true
      a.refusals.delete(b.id)
      b.refusals.delete(a.id)
      this.#notify(a, b.id, true)
      this.#notify(b, a.id, true)
    }
    const show = (shown: Endpoint, by: Endpoint) => {
      this.#world.after(shown.owner, this.#flightMs(), () => {
        if (!isCurrent()) return
        const standing = shown.events.standing()
        this.#world.after(by.owner, this.#flightMs(), () => {
          if (!isCurrent() || this.#isBlocked(shown.id, by.id)) return
          this.#judge(shown, by, standing).then((refusal) => judged(shown, by, refusal), goneWrong)
        })
      })
    }
    show(a, b)
    show(b, a)
    this.#world.after(this.#world.nature, handshakeTimeoutMs, () => {
      if (isCurrent()) this.#connect(key, connection, this.#random.between(0.1, 10))
    })
  }

  /** Once for each process that is found whole: what it shows later may be older than what it has acknowledged meanwhile, and it forgets nothing. */
  #judge({ id, owner }: Endpoint, by: Endpoint, standing: Standing): Promise<string | null> {
    const known = by.verdicts.get(id)
    if (known?.owner === owner) return known.refusal
    const refusal = by.events.greeted(id, standing)
    const verdict = { owner, refusal }
    by.verdicts.set(id, verdict)
    refusal.then((sentence) => {
      if (sentence === null) this.#events.accepted(id, by.id, standing)
      else if (by.verdicts.get(id) === verdict) by.verdicts.delete(id)
    }, goneWrong)
    return refusal
  }

  #flightMs(): number {
    return this.#options.latencyMs + this.#random.exponential(this.#options.jitterMs)
  }

  #isBlocked(a: NodeId, b: NodeId): boolean {
    return this.#lane(a, b).isBlocked || this.#lane(b, a).isBlocked
  }

  #drop(key: string, connection: Connection): void {
    connection.isUp = false
    connection.epoch++
    connection.bulkEpoch++
    const [a, b] = this.#ends(key)
    const [first, second] = key.split('|') as [NodeId, NodeId]
    if (a !== undefined) this.#notify(a, second, false)
    if (b !== undefined) this.#notify(b, first, false)
    this.#connect(key, connection, this.#random.between(0.5, 20))
  }

  #ends(key: string): [Endpoint | undefined, Endpoint | undefined] {
    const [first, second] = key.split('|') as [NodeId, NodeId]
    return [this.#endpoints.get(first), this.#endpoints.get(second)]
  }

  #notify(endpoint: Endpoint, about: NodeId, isUp: boolean): void {
    const atMs = Math.max(this.#world.nowMs + this.#random.between(0.01, 1), endpoint.newsAtMs.get(about) ?? 0)
    endpoint.newsAtMs.set(about, atMs)
    this.#world.at(endpoint.owner, atMs, () => {
      if (endpoint.connected.has(about) === isUp) return
      if (isUp) endpoint.connected.add(about)
      else endpoint.connected.delete(about)
      this.#world.tell(endpoint.id, `net   connection to ${about} is ${isUp ? 'up' : 'down'}`)
      if (isUp) endpoint.events.peerUp(about)
      else endpoint.events.peerDown(about)
    })
  }

  #send(owner: Owner, message: PeerMessage): void {
    const { from, to } = message
    this.#events.sent(owner, message)
    const sender = this.#endpoints.get(from)
    const connection = this.#connections.get(pairOf(from, to))
    if (sender?.owner !== owner || !sender.connected.has(to) || connection === undefined || !connection.isUp) return
    const lane = this.#lane(from, to)
    if (lane.isBlocked || this.#random.chance(this.lossChance)) return
    if (message.type === 'SnapshotChunk') {
      this.#sendBulk(message, connection, lane)
      return
    }
    const isForwarded = forwarding.has(message.type)
    this.#deliver(message, connection, lane, isForwarded)
    if (!isForwarded && this.#random.chance(this.duplicateChance)) this.#deliver(message, connection, lane, false)
  }

  #deliver(message: PeerMessage, connection: Connection, lane: Lane, isForwarded: boolean): void {
    const { latencyMs, jitterMs } = this.#options
    const { nowMs } = this.#world
    let atMs = nowMs + latencyMs + this.#random.exponential(jitterMs) + lane.clogMs
    if (this.#random.chance(this.delayChance)) atMs += this.#random.exponential(80)
    const mayOvertake = this.#random.chance(this.reorderChance) && !isForwarded
    // Stragglers: what overtakes nothing may be overtaken by much.
    if (mayOvertake && this.#random.chance(0.3)) atMs += this.#random.exponential(120)
    if (isForwarded) {
      atMs = Math.max(atMs, lane.lastForwardedAtMs)
      lane.lastForwardedAtMs = atMs
    }
    if (!mayOvertake) {
      atMs = Math.max(atMs, lane.lastAtMs)
      lane.lastAtMs = atMs
      if (isForwarded) lane.lastForwardedAtMs = atMs
    }
    const { epoch } = connection
    this.#arrive(message, atMs, () => connection.epoch === epoch)
  }

  /** It never holds up the other link. */
  #sendBulk(chunk: SnapshotChunk, connection: Connection, lane: Lane): void {
    const { nowMs } = this.#world
    if (nowMs < connection.bulkDownUntilMs) return
    // What comes later is worth nothing without what went before.
    if (lane.bulkFreeAtMs - nowMs > maxBulkQueueMs) return
    const takenMs = chunk.bytes.length / this.#options.bulkBytesPerMs
    lane.bulkFreeAtMs = Math.max(lane.bulkFreeAtMs, nowMs) + takenMs
    // The sender reads each chunk into bytes of their own, which the transport may keep.
    this.#deliverChunk(chunk, connection, lane)
    if (this.#random.chance(this.duplicateChance)) this.#deliverChunk(chunk, connection, lane)
  }

  #deliverChunk(chunk: SnapshotChunk, connection: Connection, lane: Lane): void {
    let atMs = lane.bulkFreeAtMs + this.#flightMs() + lane.clogMs
    if (this.#random.chance(this.delayChance)) atMs += this.#random.exponential(80)
    if (!this.#random.chance(this.reorderChance)) {
      atMs = Math.max(atMs, lane.lastBulkAtMs)
      lane.lastBulkAtMs = atMs
    }
    const { bulkEpoch } = connection
    this.#arrive(chunk, atMs, () => connection.bulkEpoch === bulkEpoch)
  }

  #arrive(message: PeerMessage, atMs: number, isThere: () => boolean): void {
    const receiver = this.#endpoints.get(message.to)
    if (receiver === undefined) return
    // A frame is decoded into objects of the receiver's own; the bytes of a record never change.
    const copy = message.type === 'AppendEntries' ? { ...message, entries: [...message.entries] } : message
    this.#world.at(receiver.owner, atMs, () => {
      if (!isThere()) return
      if (this.#world.trace.isTold) this.#world.tell(message.to, `recv  ${describeMessage(message)}`)
      this.#events.received(message)
      receiver.events.received(copy)
    })
  }

  #isUp(a: NodeId, b: NodeId): boolean {
    return this.#connections.get(pairOf(a, b))?.isUp === true
  }

  #peers(id: NodeId, owner: Owner, others: readonly NodeId[]): readonly Peer[] {
    const endpoint = this.#endpoints.get(id)
    const connected = endpoint?.owner === owner ? endpoint.connected : new Set<NodeId>()
    return others
      .filter((other) => other !== id)
      .map((other) => ({
        id: other,
        connected: connected.has(other),
        appUrl: null,
        refusal: connected.has(other) ? null : (endpoint?.refusals.get(other) ?? null),
      }))
  }

  #lane(from: NodeId, to: NodeId): Lane {
    const key = `${from}>${to}`
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      lane = { lastAtMs: 0, lastForwardedAtMs: 0, lastBulkAtMs: 0, bulkFreeAtMs: 0, clogMs: 0, isBlocked: false }
      this.#lanes.set(key, lane)
    }
    return lane
  }
}

const forwarding: ReadonlySet<PeerMessage['type']> = new Set([
  'ForwardedProposals',
  'ForwardRefused',
  'ForwardRepeated',
])

/** What is to be remembered of a member could not be saved: whoever judges it is about to end. */
function goneWrong(): void {}

function pairOf(a: NodeId, b: NodeId): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`
}

export function describeMessage(message: PeerMessage): string {
  const { type, from, to, term } = message
  const head = `${from}→${to} ${type} t${term}`
  switch (message.type) {
    case 'AppendEntries': {
      const { prev, entries, leaderCommit, round } = message
      const last = entries.at(-1)
      const range = last === undefined ? 'empty' : `${entries[0]?.index}…${last.index}`
      return `${head} prev ${prev.index}/t${prev.term} ${range} commit ${leaderCommit} round ${round}`
    }
    case 'AppendEntriesResponse':
      return message.success
        ? `${head} matches ${message.matchIndex} round ${message.round}`
        : `${head} refuses ${message.rejectedIndex}, hint ${message.hint.index}/t${message.hint.term} round ${message.round}`
    case 'RequestVote':
    case 'RequestPreVote':
      return `${head} last ${message.lastEntry.index}/t${message.lastEntry.term}`
    case 'RequestVoteResponse':
    case 'RequestPreVoteResponse':
      return `${head} ${message.voteGranted ? 'granted' : 'refused'}`
    case 'ReadIndexRequest':
      return `${head} read ${message.readId}`
    case 'ReadIndexResponse':
      return `${head} read ${message.readId} at ${message.index}`
    case 'ForwardedProposals':
      return `${head} ${message.proposals.map(({ sequence }) => sequence).join(',')}`
    case 'ForwardRefused':
      return `${head} ${message.sequences.join(',')} ${message.reason}`
    case 'ForwardRepeated':
      return `${head} ${message.repeats.map(({ sequence, first }) => `${sequence} at ${first?.index ?? 'another'}`).join(', ')}`
    case 'ResultsRequest':
      return `${head} of ${message.indexes.join(',')}`
    case 'ResultsResponse':
      return `${head} of ${message.results.map(({ index }) => index).join(',')}`
    case 'SnapshotOffer':
      return `${head} through ${message.file.lastIncluded.index}/t${message.file.lastIncluded.term}, ${message.file.sizeBytes} bytes`
    case 'SnapshotChunk':
      return `${head} through ${message.lastIncluded.index} ${message.offset}+${message.bytes.length}`
    case 'SnapshotAck':
      return `${head} through ${message.lastIncluded.index} at ${message.offset}`
    default:
      return head
  }
}
