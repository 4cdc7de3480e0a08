// Messages between nodes over TCP. Each node dials every other member and sends over what it dialled; it receives over what it
// accepted. So there is one ordered link each way for each kind of traffic, and no tie to break when both dial at once. Nothing that a
// member says counts before it has been judged by what it shows of itself, and nothing that a former process of it said counts after.

import type { Socket } from 'node:net'
import type { Peer, PeerMessage, Transport, TransportEvents } from '../node/ports.ts'
import type { Member } from '../raft/configuration.ts'
import type { NodeId } from '../raft/entry.ts'
import { Acceptor } from './acceptor.ts'
import { type Channel, channelOf } from './channel.ts'
import { type Conversation, decodeMessage } from './codec.ts'
import { Dialler, type DiallerEvents } from './dialler.ts'
import { ProtocolError } from './frames.ts'
import type { Hello } from './handshake.ts'
import type { Fields } from './header.ts'
import { Introduction } from './introduction.ts'
import { Journal } from './journal.ts'
import type { Link } from './link.ts'
import { type Settings, settings, type TransportOptions } from './settings.ts'

export interface TcpTransport extends Transport {
  /** Where it listens, once started; the system's choice when the port asked for was 0. */
  readonly port: number
}

/** `start` rejects with a FatalError when the address cannot be listened on. */
export function createTransport(options: TransportOptions): TcpTransport {
  return new Tcp(options)
}

/** All links of a member, and what it said of itself. */
interface Links extends Conversation {
  readonly diallers: Readonly<Record<Channel, Dialler>>
  /** At most one of each kind. */
  readonly accepted: Map<Channel, { readonly link: Link; readonly run: string }>
  readonly introduction: Introduction
  appUrl: string | null
  refusal: string | null
}

class Tcp implements TcpTransport {
  readonly #settings: Settings
  readonly #acceptor: Acceptor
  readonly #sockets = new Set<Socket>()
  readonly #links = new Map<NodeId, Links>()
  #events: TransportEvents | null = null
  #closed: Promise<void> | null = null

  constructor(options: TransportOptions) {
    this.#settings = settings(options, new Journal(options.logger), (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    this.#acceptor = new Acceptor(this.#settings, {
      isMember: (id) => this.#links.has(id),
      hello: (to, channel) => this.#hello(to, channel),
      judge: (hello) => this.#member(hello.id).introduction.judge(hello),
      accepted: (hello, link) => this.#accepted(hello, link),
      frame: (hello, fields, body) => this.#frame(hello, fields, body),
      closed: (hello, link) => this.#acceptedClosed(hello, link),
      refused: (id, sentence) => {
        const links = this.#links.get(id)
        if (links !== undefined) links.refusal = sentence
      },
      disowned: (by, standing, sentence) => {
        if (this.#links.has(by)) this.#events?.disowned(by, standing, sentence)
      },
    })
  }

  get port(): number {
    return this.#acceptor.port
  }

  async start(events: TransportEvents): Promise<void> {
    if (this.#events !== null || this.#closed !== null) throw new Error('A transport starts once')
    this.#events = events
    await this.#acceptor.listen()
    for (const { diallers } of this.#links.values()) diallers.consensus.dial()
  }

  send(message: PeerMessage): void {
    const { id } = this.#settings.identity
    if (message.from !== id) throw new Error(`Cannot send ${message.type} of ${message.from} from ${id}`)
    this.#links.get(message.to)?.diallers[channelOf(message.type)].send(message)
  }

  setMembers(members: readonly Member[]): void {
    if (this.#closed !== null) return
    const others = members.filter((member) => member.id !== this.#settings.identity.id)
    const ids = new Set(others.map((member) => member.id))
    for (const [id, links] of this.#links) if (!ids.has(id)) this.#remove(id, links)
    for (const { id, peerAddress } of others) {
      const known = this.#links.get(id)
      if (known === undefined) this.#add(id, peerAddress)
      else for (const dialler of Object.values(known.diallers)) dialler.moveTo(peerAddress)
    }
  }

  peers(): readonly Peer[] {
    return [...this.#links].map(([id, { diallers, appUrl, refusal }]) => {
      const { connected } = diallers.consensus
      // Both ends have judged each other by then: whatever was refused since came from another process.
      return { id, connected, appUrl, refusal: connected ? null : refusal }
    })
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#events = null
    this.#acceptor.close()
    for (const [id, links] of this.#links) this.#remove(id, links)
    await Promise.all([...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))))
  }

  #add(id: NodeId, peerAddress: string): void {
    const events = (channel: Channel): DiallerEvents => ({
      hello: () => this.#hello(id, channel),
      judge: (hello) => links.introduction.judge(hello),
      // The second link is dialled when the first one is up, so that a peer that is gone is dialled, and told of, once.
      isWanted: () => channel === 'consensus' || links.diallers.consensus.connected,
      up: (hello) => {
        this.#dropFormer(links, hello)
        if (channel === 'consensus') this.#up(links, hello)
      },
      down: () => {
        if (channel === 'consensus') this.#events?.peerDown(id)
      },
      refused: (sentence) => {
        links.refusal = sentence
      },
      disowned: (standing, sentence) => this.#events?.disowned(id, standing, sentence),
    })
    const { decodeRecords, identity } = this.#settings
    const dialler = (channel: Channel) => new Dialler(id, peerAddress, channel, this.#settings, events(channel))
    const links: Links = {
      from: id,
      to: identity.id,
      decodeRecords,
      diallers: { consensus: dialler('consensus'), snapshots: dialler('snapshots') },
      accepted: new Map(),
      introduction: new Introduction((who, standing) => this.#started().greeted(who, standing)),
      appUrl: null,
      refusal: null,
    }
    this.#links.set(id, links)
    if (this.#events !== null) links.diallers.consensus.dial()
  }

  #remove(id: NodeId, links: Links): void {
    this.#links.delete(id)
    for (const dialler of Object.values(links.diallers)) dialler.close()
    for (const { link } of links.accepted.values()) link.part()
  }

  #up(links: Links, hello: Hello): void {
    links.appUrl = hello.appUrl
    links.refusal = null
    links.diallers.snapshots.dial()
    this.#events?.peerUp(hello.id)
  }

  #hello(to: NodeId, channel: Channel): Hello {
    return { ...this.#settings.identity, to, channel, standing: this.#started().standing() }
  }

  #started(): TransportEvents {
    if (this.#events === null) throw new Error('A transport that is not started, or closed, has no one to ask')
    return this.#events
  }

  #member(id: NodeId): Links {
    const links = this.#links.get(id)
    if (links === undefined) throw new Error(`${id} is not a member, but was taken for one`)
    return links
  }

  #accepted(hello: Hello, link: Link): void {
    const links = this.#member(hello.id)
    this.#dropFormer(links, hello)
    const older = links.accepted.get(hello.channel)
    links.accepted.set(hello.channel, { link, run: hello.standing.run.id })
    links.appUrl = hello.appUrl
    older?.link.part()
    links.diallers.consensus.dialNow()
  }

  /** What is still to be read from a process that is gone was not known when its successor was judged. */
  #dropFormer(links: Links, { standing: { run } }: Hello): void {
    for (const accepted of links.accepted.values()) if (accepted.run !== run.id) accepted.link.part()
  }

  #frame(hello: Hello, fields: Fields, body: Uint8Array): void {
    const links = this.#links.get(hello.id)
    if (links === undefined) return
    const message = decodeMessage(fields, body, links)
    if (channelOf(message.type) !== hello.channel)
      throw new ProtocolError(`${message.type} came where only the link for ${channelOf(message.type)} has it`)
    this.#events?.received(message)
  }

  #acceptedClosed({ id, channel }: Hello, link: Link): void {
    const links = this.#links.get(id)
    if (links?.accepted.get(channel)?.link !== link) return
    links.accepted.delete(channel)
    if (channel === 'consensus') this.#events?.peerDown(id)
  }
}
