// Takes connections, and keeps a stranger's costs small: few may wait for their greeting, none for long, and what one of
// them says is logged once.

import { createServer, type Server, type Socket } from 'node:net'
import { exitCodes, FatalError } from '../errors.ts'
import type { NodeId } from '../raft/entry.ts'
import { formatAddress } from './address.ts'
import { frame, frameBytes, ProtocolError } from './frames.ts'
import {
  decodeGreeting,
  encodeHello,
  type Greeting,
  type Hello,
  judgeCaller,
  type Refusal,
  refuseVersion,
} from './handshake.ts'
import { controlTypes, type Fields, packHeader } from './header.ts'
import { Link, type LinkEnd, ticksPerTimeout } from './link.ts'
import type { Settings } from './settings.ts'

export interface AcceptorEvents {
  isMember(id: NodeId): boolean
  accepted(hello: Hello, link: Link): void
  frame(id: NodeId, fields: Fields, body: Uint8Array): void
  /** Only of a link that was `accepted`. */
  closed(id: NodeId, link: Link): void
}

const maxStrangers = 64
/** Enough for any number of pongs that somebody reads. */
const maxPongBytes = 64 * 1024

const pong = frameBytes(frame(packHeader([controlTypes.pong])))

export class Acceptor {
  readonly #settings: Settings
  readonly #events: AcceptorEvents
  readonly #server: Server
  readonly #strangers = new Set<Link>()

  constructor(settings: Settings, events: AcceptorEvents) {
    this.#settings = settings
    this.#events = events
    this.#server = createServer({ noDelay: true }, (socket) => this.#take(socket))
  }

  /** The port in use, which the system chose if 0 was asked for. */
  get port(): number {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('The peer port is asked for, but not open')
    return address.port
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException) => reject(cannotListen(this.#settings.listen, error))
      this.#server.once('error', failed)
      this.#server.once('close', resolve)
      this.#server.listen(this.#settings.listen, () => {
        this.#server.off('error', failed)
        this.#server.on('error', (error: NodeJS.ErrnoException) => {
          this.#settings.journal.warn(
            'server',
            error.code ?? '',
            {},
            `Cannot take a connection from a peer: ${error.message}`,
          )
        })
        resolve()
      })
    })
  }

  close(): void {
    this.#server.close()
    for (const link of this.#strangers) link.part()
  }

  #take(socket: Socket): void {
    const remote = socket.remoteAddress ?? 'an address that is gone'
    let id: NodeId | null = null
    const link: Link = new Link(socket, this.#settings, 2 * ticksPerTimeout, {
      greeted: (greeting) => {
        id = this.#greeted(link, greeting, remote)
      },
      frame: (fields, body) => {
        if (id === null) throw new Error('A frame came before the greeting was answered')
        this.#frame(id, link, fields, body)
      },
      tick: () => {},
      closed: (end) => {
        this.#strangers.delete(link)
        this.#logEnd(id, remote, end)
        if (id !== null) this.#events.closed(id, link)
      },
    })
    this.#strangers.add(link)
    this.#dropOldestStranger()
    link.expectWithin(this.#settings.rpcTimeoutMs, 'no greeting came')
  }

  /** The longest-waiting one goes: a member's greeting comes within milliseconds. */
  #dropOldestStranger(): void {
    if (this.#strangers.size <= maxStrangers) return
    for (const oldest of this.#strangers) {
      this.#strangers.delete(oldest)
      oldest.end({
        cause: 'late',
        code: 'crowd',
        sentence: `more than ${maxStrangers} connections wait for a greeting`,
      })
      return
    }
  }

  /** Whose link it is from now on; null when it was refused. */
  #greeted(link: Link, greeting: Greeting, remote: string): NodeId | null {
    if (greeting.type === 'refused') throw new ProtocolError('a refusal came before any greeting')
    if (greeting.type === 'otherVersion') return this.#refuse(link, remote, remote, refuseVersion(greeting.version))
    const { hello } = greeting
    const { identity, journal } = this.#settings
    const refusal = judgeCaller(identity, hello, (id) => this.#events.isMember(id))
    if (refusal !== null) return this.#refuse(link, hello.id, remote, refusal)
    this.#strangers.delete(link)
    link.establish()
    link.socket.write(frameBytes(encodeHello(identity, hello.id)))
    journal.forget(`from ${hello.id}`)
    this.#events.accepted(hello, link)
    return hello.id
  }

  #frame(id: NodeId, link: Link, fields: Fields, body: Uint8Array): void {
    if (fields.type === controlTypes.ping) {
      if (link.socket.writableLength < maxPongBytes) link.socket.write(pong)
    } else if (fields.type === controlTypes.refused) {
      const greeting = decodeGreeting(fields, body)
      if (greeting.type === 'refused') link.end({ cause: 'refusedByPeer', ...greeting.refusal })
    } else this.#events.frame(id, fields, body)
  }

  #refuse(link: Link, who: string, remote: string, refusal: Refusal): null {
    const sentence = `Refused a connection from ${who} (${refusal.code}): ${refusal.sentence}`
    this.#settings.journal.warn(`from ${who}`, refusal.code, { peer: who, remote }, sentence)
    link.refuse(refusal)
    return null
  }

  /** A plain end of a member's connection is told by the one that this node dialled. */
  #logEnd(id: NodeId | null, remote: string, end: LinkEnd): void {
    if (end.cause === 'own' || end.cause === 'refusedByUs') return
    if (end.cause === 'closed' || end.cause === 'error') return
    const who = id ?? remote
    const hint = id === null ? '; only raft-sidecar nodes may dial this port' : ''
    const sentence = `Closed a connection from ${who}: ${end.sentence}${hint}`
    this.#settings.journal.warn(`from ${who}`, `${end.cause} ${end.code}`, { peer: id, remote }, sentence)
  }
}

function cannotListen(
  listen: { readonly host: string; readonly port: number },
  error: NodeJS.ErrnoException,
): FatalError {
  const where = `${formatAddress(listen)} (PEER_LISTEN)`
  return new FatalError(exitCodes.unavailable, `Cannot listen on ${where}: ${listenReason(error)}`, { cause: error })
}

function listenReason(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return 'address already in use; stop the process that holds it, or choose another port'
    case 'EADDRNOTAVAIL':
      return 'this machine has no such address; give one of its own, or 0.0.0.0 for all'
    case 'EACCES':
      return 'permission denied; choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE'
    default:
      return error.message
  }
}
