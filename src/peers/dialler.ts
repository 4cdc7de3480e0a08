// Keeps one connection of one kind to one member, over which this node sends and never receives more than a sign of life. Whatever ends
// it, another dial follows: soon after a loss, late after a refusal, and the name is resolved again each time.

import { connect } from 'node:net'
import type { PeerMessage, Standing } from '../node/ports.ts'
import type { NodeId } from '../raft/entry.ts'
import { formatAddress, parseAddress } from './address.ts'
import { backoffMs, refusedBackoffMs, slowestMs } from './backoff.ts'
import type { Channel, ChannelLimits } from './channel.ts'
import { encodeMessage, splitMessage } from './codec.ts'
import { frame, frameBytes, maxHeaderBytes, ProtocolError, prefixBytes } from './frames.ts'
import {
  encodeHello,
  type Greeting,
  type Hello,
  judgeAnswer,
  type Refusal,
  refuseAmnesia,
  refuseVersion,
} from './handshake.ts'
import { controlTypes, packHeader } from './header.ts'
import { Link, type LinkEnd, ticksPerTimeout } from './link.ts'
import type { Settings } from './settings.ts'
import { SocketWriter } from './socket-writer.ts'

export interface DiallerEvents {
  /** What this node says of itself, now. */
  hello(): Hello
  /** Whether the peer has forgotten something: a sentence if so. */
  judge(hello: Hello): Promise<string | null>
  /** Asked before another dial; if not, only `dial` brings the next. */
  isWanted(): boolean
  up(hello: Hello): void
  /** An established connection ended, or the peer's machine refused a dial. */
  down(): void
  /** One of the two does not want the other. */
  refused(sentence: string): void
  /** The peer says what this node has forgotten, and where it stands itself. */
  disowned(standing: Standing, sentence: string): void
}

const linkNames: Readonly<Record<Channel, { readonly journal: string; readonly link: string }>> = {
  consensus: { journal: 'to', link: 'connection' },
  snapshots: { journal: 'snapshots to', link: 'snapshot connection' },
}

const connectTimeoutMs = 1000
/** A connection that ends sooner counts as a failed dial, else a peer that takes our greeting and drops us would be dialled without pause. */
const provenMs = 1000

const ping = frame(packHeader([controlTypes.ping]))

export class Dialler {
  readonly #id: NodeId
  readonly #channel: Channel
  readonly #settings: Settings
  readonly #limits: ChannelLimits
  readonly #events: DiallerEvents
  readonly #subject: string
  #address: string
  #link: Link | null = null
  #writer: SocketWriter | null = null
  #wait: NodeJS.Timeout | null = null
  #failures = 0
  #upSinceMs = 0
  #shortLives = 0
  #closed = false

  constructor(id: NodeId, address: string, channel: Channel, settings: Settings, events: DiallerEvents) {
    this.#id = id
    this.#address = address
    this.#channel = channel
    this.#settings = settings
    this.#limits = settings.limits[channel]
    this.#events = events
    this.#subject = `${linkNames[channel].journal} ${id}`
  }

  get connected(): boolean {
    return this.#link?.established ?? false
  }

  dial(): void {
    if (this.#closed || this.#link !== null) return
    this.#stopWaiting()
    const address = parseAddress(this.#address)
    if (address === null) {
      this.#warn(
        'address',
        `Cannot dial ${this.#id}: its address '${this.#address}' is not host:port; correct it in the membership`,
      )
      this.#dialAfter(slowestMs)
      return
    }
    const { lookup, rpcTimeoutMs } = this.#settings
    const socket = connect({ ...address, noDelay: true, ...(lookup === null ? {} : { lookup }) })
    const link: Link = new Link(socket, this.#settings, ticksPerTimeout, {
      greeted: (greeting) => this.#greeted(link, greeting),
      frame: (fields) => {
        if (fields.type !== controlTypes.pong)
          throw new ProtocolError(`a header of type ${fields.type} came where only answers to pings may`)
      },
      tick: () => this.#writer?.pushUrgent(ping),
      closed: (end) => this.#ended(link, end),
    })
    this.#link = link
    link.expectWithin(Math.min(connectTimeoutMs, rpcTimeoutMs), `${formatAddress(address)} did not take the connection`)
    socket.once('connect', () => {
      link.expectWithin(rpcTimeoutMs, 'it took the connection but did not answer the greeting')
      socket.write(frameBytes(encodeHello(this.#events.hello())))
    })
  }

  /** The peer is evidently alive: does not wait any longer. */
  dialNow(): void {
    if (this.#wait !== null) this.dial()
  }

  moveTo(address: string): void {
    if (address === this.#address) return
    this.#address = address
    this.#failures = 0
    const dialling = this.#link !== null || this.#wait !== null
    this.#letGo()
    if (dialling) this.#redial()
  }

  send(message: PeerMessage): void {
    const { maxFrameBytes } = this.#limits
    if (this.#writer === null) return
    for (const part of splitMessage(message, maxFrameBytes - maxHeaderBytes - prefixBytes)) {
      const encoded = encodeMessage(part)
      if (encoded.sizeBytes > maxFrameBytes)
        throw new Error(
          `Cannot send ${message.type} of ${encoded.sizeBytes} bytes: no frame is larger than ${maxFrameBytes}`,
        )
      this.#writer.push(encoded)
    }
  }

  /** What was sent before still leaves, if the peer takes it at once. */
  close(): void {
    this.#closed = true
    this.#stopWaiting()
    this.#letGo()
  }

  #letGo(): void {
    this.#writer?.flush()
    this.#writer?.stop()
    this.#writer = null
    const link = this.#link
    this.#link = null
    link?.part()
  }

  #greeted(link: Link, greeting: Greeting): void {
    const refusal = this.#judge(greeting)
    if (refusal !== null) link.refuse(refusal)
    else if (greeting.type === 'hello') void this.#introduce(link, greeting.hello)
    else if (greeting.type === 'refused') link.end({ cause: 'refusedByPeer', ...greeting.refusal })
  }

  #judge(greeting: Greeting): Refusal | null {
    if (greeting.type === 'otherVersion') return refuseVersion(greeting.version)
    if (greeting.type === 'hello') return judgeAnswer(this.#settings.identity, greeting.hello, this.#id, this.#channel)
    return null
  }

  async #introduce(link: Link, hello: Hello): Promise<void> {
    const forgotten = await link.introduce(this.#events.judge(hello))
    if (link.ended) return
    if (forgotten !== null) link.refuse(refuseAmnesia(forgotten, this.#events.hello().standing))
    else this.#established(link, hello)
  }

  #established(link: Link, hello: Hello): void {
    link.establish(this.#limits.maxFrameBytes)
    this.#failures = 0
    this.#upSinceMs = performance.now()
    this.#writer = new SocketWriter(link.socket, this.#limits, {
      progress: () => link.signOfLife(),
      dropped: () => this.#queueFull(),
    })
    const { journal } = this.#settings
    const sentence = `Connected to ${this.#id} at ${this.#address}`
    // The other link follows this one, and is worth a line only when it does not.
    if (this.#channel === 'consensus')
      journal.info(this.#subject, `connected ${this.#address}`, this.#fields(), sentence)
    else journal.forget(this.#subject)
    journal.forget(`${this.#subject}, queue`)
    this.#events.up(hello)
  }

  #ended(link: Link, end: LinkEnd): void {
    if (this.#link !== link) return
    this.#link = null
    this.#writer?.stop()
    this.#writer = null
    const { random } = this.#settings
    const state = `${end.cause} ${end.code}`
    if (end.cause === 'refusedByPeer' || end.cause === 'refusedByUs' || end.cause === 'garbage') {
      const sentence = this.#refusalSentence(end)
      this.#warn(state, sentence)
      if (end.cause !== 'garbage') this.#events.refused(sentence)
      this.#dialAfter(refusedBackoffMs(random))
    } else {
      // Of a peer that is gone as a whole, the link that matters tells.
      if (this.#events.isWanted()) this.#warn(state, this.#lossSentence(link, end))
      this.#countFailure(link.wasEstablished)
      this.#dialAfter(backoffMs(this.#failures, random))
    }
    if (link.wasEstablished || end.code === 'ECONNREFUSED') this.#events.down()
    if (end.cause === 'refusedByPeer' && end.standing !== undefined) this.#events.disowned(end.standing, end.sentence)
  }

  #countFailure(wasEstablished: boolean): void {
    if (wasEstablished) {
      this.#shortLives = performance.now() - this.#upSinceMs < provenMs ? this.#shortLives + 1 : 0
      this.#failures = this.#shortLives
    } else this.#failures++
  }

  #lossSentence(link: Link, end: LinkEnd): string {
    const { link: name } = linkNames[this.#channel]
    const failed = this.#channel === 'consensus' ? `Cannot reach ${this.#id}` : `Cannot open a ${name} to ${this.#id}`
    const what = link.wasEstablished ? `Lost the ${name} to ${this.#id}` : failed
    return `${what} at ${this.#address}: ${end.sentence}; dialling until it answers`
  }

  #refusalSentence(end: LinkEnd): string {
    const at = `${this.#id} at ${this.#address}`
    if (end.cause === 'refusedByPeer') return `Connection refused by ${at} (${end.code}), it says: ${end.sentence}`
    if (end.cause === 'refusedByUs') return `Refused what answers for ${at} (${end.code}): ${end.sentence}`
    return `What answers for ${at} is no peer: ${end.sentence}; check the members' addresses`
  }

  #queueFull(): void {
    const { maxQueueBytes, dropsPastQueue } = this.#limits
    const what = this.#channel === 'consensus' ? 'messages' : 'snapshot chunks'
    const sentence = `${this.#id} takes ${what} too slowly: more than ${maxQueueBytes} bytes wait, the ${dropsPastQueue} are dropped`
    this.#settings.journal.warn(`${this.#subject}, queue`, 'full', this.#fields(), sentence)
  }

  #warn(state: string, sentence: string): void {
    this.#settings.journal.warn(this.#subject, `${state} ${this.#address}`, this.#fields(), sentence)
  }

  #fields(): object {
    return { peer: this.#id, address: this.#address }
  }

  #dialAfter(delayMs: number): void {
    if (this.#closed) return
    this.#wait = setTimeout(() => this.#redial(), delayMs).unref()
  }

  #redial(): void {
    this.#stopWaiting()
    if (this.#events.isWanted()) this.dial()
  }

  #stopWaiting(): void {
    if (this.#wait !== null) clearTimeout(this.#wait)
    this.#wait = null
  }
}
