// Takes connections, and keeps a stranger's costs small: few may wait for their greeting, none for long, and what one of
// them says is logged once.

import { createServer, type Server, type Socket } from 'node:net'
import { exitCodes, FatalError } from '../errors.ts'
import type { Standing } from '../node/ports.ts'
import type { NodeId } from '../raft/entry.ts'
import { formatAddress } from './address.ts'
import type { Channel } from './channel.ts'
import { frame, frameBytes, ProtocolError } from './frames.ts'
import {
  decodeGreeting,
  encodeHello,
  type Greeting,
  type Hello,
  judgeCaller,
  type Refusal,
  refuseAmnesia,
  refuseVersion,
} from './handshake.ts'
import { controlTypes, type Fields, packHeader } from './header.ts'
import { Link, type LinkEnd, ticksPerTimeout } from './link.ts'
import type { Settings } from './settings.ts'

export interface AcceptorEvents {
  isMember(id: NodeId): boolean
  /** What this node says of itself, now. */
  hello(to: NodeId, channel: Channel): Hello
  /** Whether a member has forgotten something: a sentence if so. */
  judge(hello: Hello): Promise<string | null>
  accepted(hello: Hello, link: Link): void
  frame(hello: Hello, fields: Fields, body: Uint8Array): void
  /** Only of a link that was `accepted`. */
  closed(hello: Hello, link: Link): void
  /** This node does not want that one, which may be no member, or that one does not want this. */
  refused(id: NodeId, sentence: string): void
  /** A member that called says what this node has forgotten, and where it stands itself. */
  disowned(by: NodeId, standing: Standing, sentence: string): void
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
    /** Of a member that belongs here, if it is what it says. */
    let caller: Hello | null = null
    const link: Link = new Link(socket, this.#settings, 2 * ticksPerTimeout, {
      greeted: (greeting) => {
        this.#greeted(link, greeting, remote, (hello) => {
          caller = hello
        })
      },
      frame: (fields, body) => {
        if (caller === null) throw new Error('A frame came before the greeting was answered')
        this.#frame(caller, link, fields, body)
      },
      tick: () => {},
      closed: (end) => {
        this.#strangers.delete(link)
        this.#logEnd(caller?.id ?? null, remote, end)
        if (caller !== null && link.wasEstablished) this.#events.closed(caller, link)
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

  #greeted(link: Link, greeting: Greeting, remote: string, onCaller: (hello: Hello) => void): void {
    if (greeting.type === 'refused') throw new ProtocolError('a refusal came before any greeting')
    if (greeting.type === 'otherVersion') {
      this.#refuse(link, remote, remote, refuseVersion(greeting.version))
      return
    }
    const { hello } = greeting
    const refusal = this.#judge(hello)
    if (refusal !== null) {
      this.#refuse(link, hello.id, remote, refusal)
      return
    }
    onCaller(hello)
    void this.#introduce(link, hello, remote)
  }

  async #introduce(link: Link, hello: Hello, remote: string): Promise<void> {
    const forgotten = await link.introduce(this.#events.judge(hello))
    if (link.ended) return
    const own = this.#events.hello(hello.id, hello.channel)
    // It may have ceased to be a member meanwhile.
    const refusal = forgotten === null ? this.#judge(hello) : refuseAmnesia(forgotten, own.standing)
    if (refusal !== null) {
      this.#refuse(link, hello.id, remote, refusal)
      return
    }
    this.#strangers.delete(link)
    link.establish(this.#settings.limits[hello.channel].maxFrameBytes)
    link.socket.write(frameBytes(encodeHello(own)))
    this.#settings.journal.forget(`from ${hello.id}`)
    this.#events.accepted(hello, link)
  }

  #judge(hello: Hello): Refusal | null {
    return judgeCaller(this.#settings.identity, hello, (id) => this.#events.isMember(id))
  }

  #frame(hello: Hello, link: Link, fields: Fields, body: Uint8Array): void {
    if (fields.type === controlTypes.ping) {
      if (link.socket.writableLength < maxPongBytes) link.socket.write(pong)
    } else if (fields.type === controlTypes.refused) {
      const greeting = decodeGreeting(fields, body)
      if (greeting.type === 'refused') link.end({ cause: 'refusedByPeer', ...greeting.refusal })
    } else this.#events.frame(hello, fields, body)
  }

  #refuse(link: Link, who: string, remote: string, refusal: Refusal): void {
    const sentence = `Refused a connection from ${who} (${refusal.code}): ${refusal.sentence}`
    this.#settings.journal.warn(`from ${who}`, refusal.code, { peer: who, remote }, sentence)
    this.#events.refused(who, sentence)
    link.refuse(refusal)
  }

  /** A plain end of a member's connection is told by the one that this node dialled. */
  #logEnd(id: NodeId | null, remote: string, end: LinkEnd): void {
    if (end.cause === 'refusedByPeer') {
      if (id !== null) this.#refusedByPeer(id, remote, end)
      return
    }
    if (id !== null) this.#settings.journal.forget(`answer to ${id}`)
    if (end.cause === 'own' || end.cause === 'refusedByUs') return
    if (end.cause === 'closed' || end.cause === 'error') return
    const who = id ?? remote
    const hint = id === null ? '; only raft-sidecar nodes may dial this port' : ''
    const sentence = `Closed a connection from ${who}: ${end.sentence}${hint}`
    this.#settings.journal.warn(`from ${who}`, `${end.cause} ${end.code}`, { peer: id, remote }, sentence)
  }

  /** It calls again and again, and was taken each time, so that this has a subject of its own to be told once. */
  #refusedByPeer(id: NodeId, remote: string, end: LinkEnd): void {
    const sentence = `${id} called, and refused the answer (${end.code}), it says: ${end.sentence}`
    this.#settings.journal.warn(`answer to ${id}`, `${end.code}`, { peer: id, remote }, sentence)
    this.#events.refused(id, sentence)
    if (end.standing !== undefined) this.#events.disowned(id, end.standing, end.sentence)
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
