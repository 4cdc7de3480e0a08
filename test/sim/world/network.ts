// The network between the nodes, as the loop's `Transport`. One connection a pair: what it carries is lost when it is dropped. Messages of Raft
// may be lost, delayed, duplicated and overtake each other; forwarded proposals keep their order and never come twice, since TCP sees to that.

import type { Peer, PeerMessage, Transport, TransportEvents } from '../../../src/node/ports.ts'
import type { NodeId } from '../../../src/raft/entry.ts'
import type { Random } from './random.ts'
import type { Owner, World } from './world.ts'

export interface NetworkOptions {
  readonly latencyMs: number
  readonly jitterMs: number
}

interface Endpoint {
  readonly id: NodeId
  readonly owner: Owner
  readonly events: TransportEvents
  /** Whom this side takes for connected. */
  readonly connected: Set<NodeId>
  /** When the last news of each connection arrive here, so that they do not overtake each other. */
  readonly newsAtMs: Map<NodeId, number>
}

interface Connection {
  isUp: boolean
  /** Counts the drops: what was sent before one is lost with it. */
  epoch: number
  isConnecting: boolean
}

interface Lane {
  lastAtMs: number
  lastForwardedAtMs: number
  clogMs: number
  isBlocked: boolean
}

export class Network {
  lossChance = 0
  delayChance = 0
  duplicateChance = 0
  reorderChance = 0
  readonly #world: World
  readonly #random: Random
  readonly #options: NetworkOptions
  readonly #sent: (owner: Owner, message: PeerMessage) => void
  readonly #endpoints = new Map<NodeId, Endpoint>()
  readonly #connections = new Map<string, Connection>()
  readonly #lanes = new Map<string, Lane>()

  constructor(
    world: World,
    random: Random,
    options: NetworkOptions,
    sent: (owner: Owner, message: PeerMessage) => void,
  ) {
    this.#world = world
    this.#random = random
    this.#options = options
    this.#sent = sent
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
    this.#endpoints.set(id, { id, owner, events, connected: new Set(), newsAtMs: new Map() })
    for (const other of others) {
      if (other === id) continue
      const key = pairOf(id, other)
      const connection = this.#connections.get(key) ?? { isUp: false, epoch: 0, isConnecting: false }
      this.#connections.set(key, connection)
      // The other side may not have noticed yet that the last process here is gone.
      if (connection.isUp) this.#drop(key, connection)
      else this.#connect(key, connection, this.#random.between(0.1, 3))
    }
  }

  #connect(key: string, connection: Connection, delayMs: number): void {
    if (connection.isConnecting) return
    connection.isConnecting = true
    this.#world.after(this.#world.nature, delayMs, () => {
      connection.isConnecting = false
      const [a, b] = this.#ends(key)
      if (connection.isUp || a === undefined || b === undefined) return
      if (this.#lane(a.id, b.id).isBlocked || this.#lane(b.id, a.id).isBlocked) {
        this.#connect(key, connection, this.#random.between(5, 30))
        return
      }
      connection.isUp = true
      this.#notify(a, b.id, true)
      this.#notify(b, a.id, true)
    })
  }

  #drop(key: string, connection: Connection): void {
    connection.isUp = false
    connection.epoch++
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
    this.#sent(owner, message)
    const sender = this.#endpoints.get(from)
    const connection = this.#connections.get(pairOf(from, to))
    if (sender?.owner !== owner || !sender.connected.has(to) || connection === undefined || !connection.isUp) return
    const lane = this.#lane(from, to)
    if (lane.isBlocked || this.#random.chance(this.lossChance)) return
    const isForwarded = message.type === 'ForwardedProposals' || message.type === 'ForwardRefused'
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
    const receiver = this.#endpoints.get(message.to)
    if (receiver === undefined) return
    const { epoch } = connection
    // A frame is decoded into objects of the receiver's own; the bytes of a record never change.
    const copy = message.type === 'AppendEntries' ? { ...message, entries: [...message.entries] } : message
    this.#world.at(receiver.owner, atMs, () => {
      if (connection.epoch !== epoch) return
      if (this.#world.trace.isTold) this.#world.tell(message.to, `recv  ${describeMessage(message)}`)
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
      .map((other) => ({ id: other, connected: connected.has(other), appUrl: null }))
  }

  #lane(from: NodeId, to: NodeId): Lane {
    const key = `${from}>${to}`
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      lane = { lastAtMs: 0, lastForwardedAtMs: 0, clogMs: 0, isBlocked: false }
      this.#lanes.set(key, lane)
    }
    return lane
  }
}

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
    default:
      return head
  }
}
