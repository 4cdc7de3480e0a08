// Messages between nodes over TCP. Each node dials every other member and sends over what it dialled; it receives over what it
// accepted. So there is one ordered link each way, and no tie to break when both dial at once.

import type { Socket } from 'node:net'
import type { Peer, PeerMessage, Transport, TransportEvents } from '../node/ports.ts'
import type { Member } from '../raft/configuration.ts'
import type { NodeId } from '../raft/entry.ts'
import { Acceptor } from './acceptor.ts'
import { type Conversation, decodeMessage } from './codec.ts'
import { Dialler } from './dialler.ts'
import type { Hello } from './handshake.ts'
import type { Fields } from './header.ts'
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

/** Both links of a member, and what it said of itself. */
interface Links extends Conversation {
  readonly dialler: Dialler
  accepted: Link | null
  appUrl: string | null
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
      accepted: (hello, link) => this.#accepted(hello, link),
      frame: (id, fields, body) => this.#frame(id, fields, body),
      closed: (id, link) => this.#acceptedClosed(id, link),
    })
  }

  get port(): number {
    return this.#acceptor.port
  }

  async start(events: TransportEvents): Promise<void> {
    if (this.#events !== null || this.#closed !== null) throw new Error('A transport starts once')
    this.#events = events
    await this.#acceptor.listen()
    for (const { dialler } of this.#links.values()) dialler.dial()
  }

  send(message: PeerMessage): void {
    const { id } = this.#settings.identity
    if (message.from !== id) throw new Error(`Cannot send ${message.type} of ${message.from} from ${id}`)
    this.#links.get(message.to)?.dialler.send(message)
  }

  setMembers(members: readonly Member[]): void {
    if (this.#closed !== null) return
    const others = members.filter((member) => member.id !== this.#settings.identity.id)
    const ids = new Set(others.map((member) => member.id))
    for (const [id, links] of this.#links) if (!ids.has(id)) this.#remove(id, links)
    for (const { id, peerAddress } of others) {
      const known = this.#links.get(id)
      if (known === undefined) this.#add(id, peerAddress)
      else known.dialler.moveTo(peerAddress)
    }
  }

  peers(): readonly Peer[] {
    return [...this.#links].map(([id, { dialler, appUrl }]) => ({ id, connected: dialler.connected, appUrl }))
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
    const dialler = new Dialler(id, peerAddress, this.#settings, {
      up: (hello) => {
        links.appUrl = hello.appUrl
        this.#events?.peerUp(id)
      },
      down: () => this.#events?.peerDown(id),
    })
    const { decodeRecords, identity } = this.#settings
    const links: Links = { from: id, to: identity.id, decodeRecords, dialler, accepted: null, appUrl: null }
    this.#links.set(id, links)
    if (this.#events !== null) dialler.dial()
  }

  #remove(id: NodeId, links: Links): void {
    this.#links.delete(id)
    links.dialler.close()
    links.accepted?.part()
  }

  #accepted(hello: Hello, link: Link): void {
    const links = this.#links.get(hello.id)
    if (links === undefined) throw new Error(`Accepted a connection from ${hello.id}, which is not a member`)
    const older = links.accepted
    links.accepted = link
    links.appUrl = hello.appUrl
    older?.part()
    links.dialler.dialNow()
  }

  #frame(id: NodeId, fields: Fields, body: Uint8Array): void {
    const links = this.#links.get(id)
    if (links === undefined) return
    const message = decodeMessage(fields, body, links)
    this.#events?.received(message)
  }

  #acceptedClosed(id: NodeId, link: Link): void {
    const links = this.#links.get(id)
    if (links?.accepted !== link) return
    links.accepted = null
    this.#events?.peerDown(id)
  }
}
